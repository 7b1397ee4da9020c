"""The command line: `python -m pelrp_nb demo|explain|exchange|patch|plan|faithfulness|zoo|bench|atlas|labs|doctor|test`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any

from . import exchange_command, patch_command, without_make
from .atlas import command as atlas
from .composites import NAMED
from .errors import PelrpError
from .streaming import command as many
from .typed import files, target_of, text_of
from .version import __version__

EXPLAIN = """examples:
  python -m pelrp_nb explain --demo --html demo.html
  python -m pelrp_nb explain "a gorgeous , witty film"
  python -m pelrp_nb explain "not a good film" --method cp-lrp --target positive --contrast negative
  python -m pelrp_nb explain "a dull film" --model reviews-learnable --audit --figure dull.png
  python -m pelrp_nb explain - --json < review.txt
  python -m pelrp_nb explain "Once upon a" --model ./stories --target time --contrast day --at -1
  python -m pelrp_nb explain --input reviews.csv --text review --output explained
"""
PLAN = """examples:
  python -m pelrp_nb plan "a dull film"
  python -m pelrp_nb plan "a dull film" --tree
  python -m pelrp_nb plan "a dull film" --model ./my-model --method cp-lrp
"""
ZOO = """examples:
  python -m pelrp_nb zoo list
  python -m pelrp_nb zoo card reviews-rotary
  python -m pelrp_nb zoo check --limit 50
  python -m pelrp_nb zoo truth --limit 20
  python -m pelrp_nb zoo train reviews-rotary --help
  python -m pelrp_nb zoo seeds --out seeds
"""
BENCH = """examples:
  python -m pelrp_nb bench engine --rounds 4
  python -m pelrp_nb bench texts
  python -m pelrp_nb bench stream --count 2000
  python -m pelrp_nb bench memory
  python -m pelrp_nb bench sizes --only bert,vit
  python -m pelrp_nb bench views
  python -m pelrp_nb bench targets
  python -m pelrp_nb bench calls --most 10
  python -m pelrp_nb bench exchange
  python -m pelrp_nb bench routes
  python -m pelrp_nb bench patch --prompts 10
  python -m pelrp_nb bench peers --path lxt=CHECKOUT
  python -m pelrp_nb bench long --only width-512
  python -m pelrp_nb bench gpu
  python -m pelrp_nb bench batch --help
"""
FAITHFULNESS = """examples:
  python -m pelrp_nb faithfulness --limit 20
  python -m pelrp_nb faithfulness --methods random,attn-lrp,pa-lrp-signed --limit 50 --report out.html
  python -m pelrp_nb faithfulness --model ./my-model --data mine.csv --columns text=review,label=stars --results mine.jsonl --resume
  python -m pelrp_nb faithfulness --methods all --dry-run
"""
LABS = """examples:
  python -m pelrp_nb labs new next-week --labs 01,02,07
  python -m pelrp_nb labs grade handed-in
  python -m pelrp_nb labs --help
"""
DOCTOR = """examples:
  python -m pelrp_nb doctor && echo all well
"""
PAGES = (
    EXPLAIN, exchange_command.EXAMPLES, patch_command.EXAMPLES, PLAN, FAITHFULNESS, ZOO, BENCH, atlas.EXAMPLES, LABS, DOCTOR,
    without_make.EXAMPLES,
)  # fmt: skip
ROOT = "\n".join(["examples:", *(line for text in PAGES for line in text.splitlines()[1:3])])
DEMO = 71  # which of the packaged held-out sentences the demo explains
STATUS = {"closed": 0, "open": 1, "cannot tell": 3}  # of `explain`, by the ledger's state
BENCHES = (
    "engine", "texts", "stream", "memory", "sizes", "targets", "batch", "views", "calls", "exchange", "routes", "patch", "peers",
    "long", "gpu", "faithfulness",
)  # fmt: skip
REDUCTIONS = ("signed", "absolute", "positive", "l2")


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    root = argparse.ArgumentParser(
        prog="python -m pelrp_nb", description="Where relevance goes in a transformer, positions included.", epilog=ROOT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    root.add_argument("--version", action="version", version=f"pelrp_nb {__version__}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, what: str, examples: str, **more: Any) -> argparse.ArgumentParser:
        shape = argparse.RawDescriptionHelpFormatter
        return commands.add_parser(name, help=what, description=what, epilog=examples, formatter_class=shape, **more)

    _explain_options(command("explain", "explain a model's answer to a text", EXPLAIN))
    worth = command("exchange", "what the position of each token is worth, by exchanging it with others'", exchange_command.EXAMPLES)
    exchange_command.options(worth)
    patch_command.options(command("patch", patch_command.WHAT, patch_command.EXAMPLES))
    planned = command("plan", "which rule applies where, what would be refused, and the memory it needs", PLAN)
    _input(planned)
    planned.add_argument("--tree", action="store_true", help="module by module, with the reason and what each rule conserves")
    _faithfulness_options(command("faithfulness", "which method tells the truth: protocols, statistics, report", FAITHFULNESS))
    zoo = command("zoo", "the models in the package: list, card, check, train; truth: methods judged; seeds: trained again", ZOO)
    zoo.add_argument("action", choices=("list", "card", "check", "train", "truth", "seeds"))
    zoo.add_argument("name", nargs="?", help="a model of the zoo, or a folder; without a name, all")
    zoo.add_argument("--limit", type=int, metavar="N", help="check on the first N examples only; truth: N questions of each kind")
    zoo.add_argument("--out", metavar="DIR", help="seeds: where the models go; killed and started again it goes on from there")
    zoo.add_argument(
        "--seeds", metavar="DIR", nargs="?", const="", help="truth: over all seeds of the package, or that `zoo seeds` wrote there"
    )
    zoo.add_argument("--steps", type=int, metavar="N", help="seeds: a small dose")
    zoo.add_argument("--json", metavar="FILE", help="truth: write all numbers and their standard errors")
    zoo.add_argument("--markdown", metavar="FILE", help="truth: write the tables into a page, between its markers")
    bench = command("bench", "benchmarks: ratios of alternating runs, counts of calls", BENCH)
    bench.add_argument("what", choices=BENCHES)
    bench.add_argument("rest", nargs=argparse.REMAINDER, help="options of that benchmark")
    atlas.options(command("atlas", "every architecture of transformers, built tiny and explained once", atlas.EXAMPLES))
    command("labs", "lab packs: write them, grade them, measure the tutorials", LABS)
    without_make.commands(command)
    command("doctor", "versions, device, what this host can show, and what to type if something is missing", DOCTOR)
    return root


def _input(command: argparse.ArgumentParser) -> None:
    command.add_argument("text", nargs="?", metavar="TEXT", help="the text; - reads it from standard input")
    command.add_argument(
        "--model", default="reviews-rotary", metavar="NAME_OR_PATH",
        help="a model of the zoo (default: reviews-rotary), a folder, or a hub name with its owner",
    )  # fmt: skip
    command.add_argument("--method", default="pa-lrp", choices=NAMED, metavar="METHOD", help="one of " + ", ".join(NAMED))


def _explain_options(command: argparse.ArgumentParser) -> None:
    _input(command)
    command.add_argument("--demo", action="store_true", help="explain a held-out review sentence, audited")
    command.add_argument("--target", help="a label or token as text, or a number: its id; the highest logit if absent")
    command.add_argument("--contrast", help="explain the target rather than this one")
    command.add_argument("--pair", metavar="TEXT", help="a second text, for models that compare two or write one")
    command.add_argument("--at", metavar="PLACE", help="where target and contrast stand: a number (-1 is the last) or the token")
    command.add_argument("--reduction", default="signed", choices=REDUCTIONS, help="how sinks become one number per token")
    command.add_argument("--audit", action="store_true", help="measure every softmax, fused ones too")
    command.add_argument("--html", metavar="FILE", help="write a self-contained interactive page")
    command.add_argument("--figure", metavar="FILE", help="write a figure (PNG, SVG or PDF by its suffix)")
    command.add_argument("--save", metavar="FILE", help="save the result (.npz or .safetensors)")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    many.options(command)


def _faithfulness_options(command: argparse.ArgumentParser) -> None:
    from .faithfulness.command import options

    options(command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status.

    0 done, 1 a check failed, 2 something the user can mend, 3 a check that cannot tell at this precision, 130 interrupted
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what a console of Windows has no letter for is printed as its code
            stream.reconfigure(errors="backslashreplace")
    run = {
        "explain": _explain, "exchange": exchange_command.run, "patch": patch_command.run, "plan": _plan, "faithfulness": _faithfulness,
        "zoo": _zoo, "bench": _bench, "atlas": atlas.run, "doctor": _doctor, "test": without_make.run,
    }  # fmt: skip
    try:
        if argv[:2] == ["zoo", "train"]:
            from .zoo.train import main as train

            return int(train(argv[2:]) or 0)
        if argv[:1] == ["labs"]:
            from .labs.command import main as labs

            return labs(argv[1:])
        if argv == ["demo"]:
            argv = ["explain", "--demo", "--html", "demo.html"]
        given = parser().parse_args(argv)
        status = run[given.command](given)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (PelrpError, OSError) as error:
        print(f"pelrp_nb: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _explain(given: argparse.Namespace) -> int:
    from . import zoo
    from .explain import Options, explain_one

    target, contrast = target_of(given, given.target), None if given.contrast is None else target_of(given, given.contrast)
    if given.input or given.output:
        return many.run(given, target, contrast)
    demo = None
    if given.demo:
        demo = zoo.task("reviews").examples[DEMO]
        given.text, given.audit = demo.text, True
    text = text_of(given)
    model, processor = zoo.load(given.model)
    found = explain_one(
        model, text if given.pair is None else (text, given.pair), processor=processor, target=target, contrast=contrast,
        composite=NAMED[given.method], options=Options(audit=given.audit),
    )  # fmt: skip
    written = files(found, given)
    if given.json:
        print(json.dumps(found.to_dict(), indent=1, allow_nan=False))
    else:
        _print(found, given, demo)
    for name in written:
        print(f"wrote {name}", file=sys.stderr if given.json else sys.stdout)
    return STATUS[found.ledger.state]


def _print(found: Any, given: argparse.Namespace, demo: Any) -> None:
    """Tokens, sinks and ledger: coloured in a terminal, plain and unwrapped when piped."""
    from rich.console import Console
    from rich.text import Text

    from .views.terminal import show

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)
    if demo is not None:
        console.print(Text(demo.text, style="bold"))
        asked = f"; the model says {found.target}" if given.target is None and given.contrast is None else ""
        console.print(f"Not seen in training. People rated it {demo.rating:+.2f} on a scale from -4 to 4{asked}.\n")
    show(found.plain(), console, given.reduction)


def _plan(given: argparse.Namespace) -> int:
    from . import zoo
    from .plan import branches, plan

    text = text_of(given)
    model, processor = zoo.load(given.model)
    found = plan(model, text, processor=processor, composite=NAMED[given.method])
    if given.tree:
        print("\n".join(branches(found.tree())), end="\n\n")
    print(found)
    return 1 if found.refusals else 0


def _faithfulness(given: argparse.Namespace) -> int:
    from .faithfulness.command import run

    return run(given)


def _zoo(given: argparse.Namespace) -> int:
    from .zoo.commands import run, truth_of_seeds

    if given.action == "seeds":
        from .zoo.train_seeds import train_all

        return train_all(given.out, given.name, given.steps)
    if given.action == "truth" and given.seeds is not None:
        return truth_of_seeds(given.seeds, given.limit, given.markdown)
    return run(given.action, given.name, given.limit, given.json, given.markdown)


def _bench(given: argparse.Namespace) -> int:
    from . import bench

    if given.what == "faithfulness":
        from .faithfulness.bench import main as faithful

        return faithful(given.rest)
    return bench.ALL[given.what](given.rest)


def _doctor(given: argparse.Namespace) -> int:
    from .doctor import doctor

    report = doctor()
    print(report)
    return 0 if report.healthy else 1


if __name__ == "__main__":
    sys.exit(main())
