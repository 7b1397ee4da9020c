"""The command line: `python -m pelrp_nb explain|plan|zoo|bench|doctor`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from .composites import NAMED
from .errors import InputError, PelrpError

EXAMPLES = """examples:
  python -m pelrp_nb explain "a gorgeous , witty film"
  python -m pelrp_nb explain "not a good film" --method cp-lrp --target positive --contrast negative
  python -m pelrp_nb explain "a dull film" --model reviews-learnable --audit --html dull.html
  python -m pelrp_nb explain - --json < review.txt
  python -m pelrp_nb plan "a dull film" --model ./my-model
"""
DEMO = 118                                         # which of the packaged held-out sentences the demo explains
REDUCTIONS = ("signed", "absolute", "positive", "l2")


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    root = argparse.ArgumentParser(
        prog="python -m pelrp_nb", description="Where relevance goes in a transformer, positions included.", epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    raw = {"formatter_class": argparse.RawDescriptionHelpFormatter, "epilog": EXAMPLES}

    what = commands.add_parser("explain", help="explain a model's answer to a text", **raw)
    _input(what)
    what.add_argument("--demo", action="store_true", help="explain a held-out review sentence, audited")
    what.add_argument("--target", help="label, token, or class number; the highest logit if absent")
    what.add_argument("--contrast", help="explain the target rather than this one")
    what.add_argument("--at", type=int, help="place of the sequence whose token is explained (language models; -1 is the last)")
    what.add_argument("--reduction", default="signed", choices=REDUCTIONS, help="how positions become one number per token")
    what.add_argument("--audit", action="store_true", help="measure every softmax, fused ones too")
    what.add_argument("--html", metavar="FILE", help="write a self-contained interactive page")
    what.add_argument("--figure", metavar="FILE", help="write a figure (PNG, SVG or PDF by its suffix)")
    what.add_argument("--save", metavar="FILE", help="save the result (.npz or .safetensors)")
    what.add_argument("--json", action="store_true", help="print the result as JSON")

    planned = commands.add_parser("plan", help="which rule applies where, and what would be refused", **raw)
    _input(planned)

    zoo = commands.add_parser("zoo", help="the models in the package: list, card, check, train")
    zoo.add_argument("action", choices=("list", "card", "check", "train"))
    zoo.add_argument("name", nargs="?", help="a model of the zoo; check without a name checks all")
    zoo.add_argument("--limit", type=int, help="check on the first N sentences only")
    zoo.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)

    bench = commands.add_parser("bench", help="benchmarks, as ratios of alternating runs", add_help=False)
    bench.add_argument("what", nargs="?", choices=("engine",), default=None)
    bench.add_argument("rest", nargs=argparse.REMAINDER)

    commands.add_parser("doctor", help="versions, device, what this host can show, and what to type if something is missing")
    return root


def _input(command: argparse.ArgumentParser) -> None:
    command.add_argument("text", nargs="?", help="the text; - reads it from standard input")
    command.add_argument("--model", default="reviews-rotary", metavar="NAME_OR_PATH", help="a zoo name, a folder, or a hub name")
    command.add_argument("--method", default="pa-lrp", choices=sorted(NAMED), metavar="METHOD", help=", ".join(NAMED))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 1 a check failed, 2 something the user can mend, 130 interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["bench"] and len(argv) > 1 and not argv[1].startswith("-"):
        return _bench(argv[1], argv[2:])
    if argv[:2] == ["zoo", "train"]:
        from .zoo.train import main as train

        return int(train(argv[2:]) or 0)
    given = parser().parse_args(argv)
    try:
        return {"explain": _explain, "plan": _plan, "zoo": _zoo, "doctor": _doctor, "bench": _usage}[given.command](given)
    except (PelrpError, OSError) as error:
        print(f"pelrp_nb: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _bench(what: str, rest: list[str]) -> int:
    if what != "engine":
        print(f"pelrp_nb: there is no benchmark {what!r}; type python -m pelrp_nb bench engine", file=sys.stderr)
        return 2
    from .bench import engine

    return engine(rest)


def _usage(given: argparse.Namespace) -> int:
    print("usage: python -m pelrp_nb bench engine [--help]", file=sys.stderr)
    return 2


def _load(given: argparse.Namespace) -> tuple[Any, Any, str]:
    """Model, processor and text."""
    from . import zoo

    text = given.text
    if text is None:
        raise InputError('There is no text. Type python -m pelrp_nb explain "some text", or - to read standard input.')
    if text == "-":
        text = sys.stdin.read().strip()
    model, processor = zoo.load(given.model)
    return model, processor, text


def _number(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.lstrip("-").isdigit() else text


def _explain(given: argparse.Namespace) -> int:
    from . import target as targets
    from .explain import Options, explain

    rating = None
    if given.demo:
        from . import zoo

        example = zoo.task("reviews").examples[DEMO]
        given.text, given.audit, rating = example.text, True, example.rating
    model, processor, text = _load(given)
    target: Any = _number(given.target)
    if given.at is not None:
        target = targets.Token(target, given.at)
    found = explain(
        model, text, processor=processor, target=target, contrast=_number(given.contrast), composite=NAMED[given.method],
        options=Options(audit=given.audit),
    )  # fmt: skip
    if given.json:
        print(json.dumps(as_json(found), ensure_ascii=False, indent=1))
    else:
        show(found, given.reduction, rating)
    written = []
    if given.html:
        found.to_html(given.html)
        written.append(given.html)
    if given.figure:
        found.figure().savefig(given.figure, bbox_inches="tight")
        written.append(given.figure)
    if given.save:
        found.save(given.save)
        written.append(given.save)
    for name in written:
        print(f"wrote {name}", file=sys.stderr if given.json else sys.stdout)
    return 0 if found.ledger.closed else 1


def as_json(found: Any) -> dict[str, Any]:
    """The whole result as plain data."""
    ledger = found.ledger
    return {
        "target": found.target,
        "value": found.value,
        "tokens": list(found.tokens),
        "semantic": found.semantic.tolist(),
        "positional": found.positional.tolist(),
        "sinks": list(found.sinks),
        "relevance": {name: found.relevance(name).tolist() for name in REDUCTIONS},
        "positional_share": found.positional_share,
        "boundaries": [
            {"name": b.name, "kind": b.kind, "layer": b.layer, "relevance": b.relevance.tolist()} for b in found.boundaries
        ],
        "ledger": {
            "value": ledger.value, "tokens": ledger.tokens, "positions": ledger.positions, "constants": dict(ledger.constants),
            "softmax": dict(ledger.softmax), "stabilisers": ledger.stabilisers, "gap": ledger.gap, "scale": ledger.scale,
            "closed": ledger.closed, "audited": ledger.audited,
        },
        "card": found.card,
    }  # fmt: skip


def show(found: Any, reduction: str, rating: float | None = None) -> None:
    """Tokens with content and position apart, the sinks, the ledger: coloured in a terminal, plain when piped."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    title = f"{found.card.get('class', 'model')}, {found.card.get('method', '')}: why {found.target} = {found.value:+.4f}"
    console.print(Text(title, style="bold"))
    if rating is not None:
        console.print(f"a held-out sentence; people rated it {rating:+.2f} on a scale from -4 to 4")
    both = found.relevance(reduction)
    largest = max(float(both.abs().max()), 1e-12) if len(both) else 1.0
    table = Table(box=None, pad_edge=False)
    for name, side in (("token", "left"), ("content", "right"), ("position", "right"), (reduction, "right"), ("", "left")):
        table.add_column(name, justify=side, no_wrap=True)
    position = found.positional.sum(0) if len(found.positional) else 0 * found.semantic
    for token, s, p, r in zip(found.tokens, found.semantic.tolist(), position.tolist(), both.tolist(), strict=True):
        bar = "\u2588" * round(12 * abs(r) / largest) if r == r else "?"
        colour = "dark_orange" if r > 0 else "medium_purple"
        table.add_row(Text(visible(token)), f"{s:+.4f}", f"{p:+.4f}", f"{r:+.4f}", Text(bar, style=colour))
    console.print(table)
    if len(found.sinks):
        amounts = found.positional.sum(1).tolist()
        parts = ", ".join(f"{name} {amount:+.4f}" for name, amount in zip(found.sinks, amounts, strict=True))
        console.print(f"positions by sink: {parts}")
    else:
        console.print("no positions receive relevance here")
    console.print("\nledger", style="bold")
    console.print(Text(str(found.ledger)))


def visible(token: str) -> str:
    """A token without characters that would move the cursor."""
    return "".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in token)


def _plan(given: argparse.Namespace) -> int:
    from .explain import plan

    model, processor, text = _load(given)
    found = plan(model, text, processor=processor, composite=NAMED[given.method])
    print(found)
    return 1 if found.refusals else 0


def _zoo(given: argparse.Namespace) -> int:
    from . import zoo

    if given.action == "list":
        for name in zoo.names():
            card = zoo.card(name)
            print(f"{name:<20} {card['accuracy']:.1%} on {card['examples']} held-out sentences, {card['bytes'] / 1e6:.1f} MB")
        return 0
    names = [given.name] if given.name else list(zoo.names())
    for name in names:
        if given.action == "card":
            print(json.dumps(dict(zoo.card(name)), indent=1, ensure_ascii=False))
        else:
            print(f"{name:<20} {zoo.check(name, limit=given.limit):.1%} on the packaged held-out sentences")
    return 0


def _doctor(given: argparse.Namespace) -> int:
    from .doctor import doctor

    report = doctor()
    print(report)
    return 0 if report.healthy else 1


if __name__ == "__main__":
    sys.exit(main())
