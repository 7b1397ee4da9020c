"""`python -m pelrp_nb exchange`: what the position of each token is worth."""

from __future__ import annotations

import argparse
import json

from .results.exchange import Exchange
from .typed import files, target_of, text_of

EXAMPLES = """examples:
  python -m pelrp_nb exchange "order bird star ? a bird star in the the of in" --model tasks-rotary
  python -m pelrp_nb exchange "a dull , clumsy film" --partners 0 --figure worth.pdf
  python -m pelrp_nb exchange "not a good film" --target positive --contrast negative --html worth.html
"""


def options(command: argparse.ArgumentParser) -> None:
    """The command's options."""
    command.add_argument("text", nargs="?", metavar="TEXT", help="the text; - reads it from standard input")
    command.add_argument("--model", default="reviews-rotary", metavar="NAME_OR_PATH", help="as for explain (default: reviews-rotary)")
    command.add_argument("--target", help="a label or token as text, or a number: its id; the highest logit if absent")
    command.add_argument("--contrast", help="explain the target rather than this one")
    command.add_argument("--at", metavar="PLACE", help="where target and contrast stand: a number (-1 is the last) or the token")
    command.add_argument("--partners", type=int, default=8, metavar="K", help="with how many others each exchanges (8); 0: with all")
    command.add_argument("--seed", type=int, default=0, help="how partners are drawn (0)")
    command.add_argument("--special", action="store_true", help="special tokens take part")
    command.add_argument("--html", metavar="FILE", help="write a self-contained interactive page")
    command.add_argument("--figure", metavar="FILE", help="write a figure (PNG, SVG or PDF by its suffix)")
    command.add_argument("--save", metavar="FILE", help="save the result (.npz or .safetensors)")
    command.add_argument("--json", action="store_true", help="print the result as JSON; a pair that was not exchanged is null")


def run(given: argparse.Namespace) -> int:
    """Run it; 0 if something could be exchanged."""
    import sys

    from . import zoo
    from .exchange import exchange

    text = text_of(given)
    model, processor = zoo.load(given.model)
    found = exchange(
        model, text, processor=processor, target=target_of(given, given.target),
        contrast=None if given.contrast is None else target_of(given, given.contrast),
        partners=given.partners or None, seed=given.seed, special=given.special,
    )  # fmt: skip
    assert isinstance(found, Exchange)
    written = files(found, given)
    print(json.dumps(finite(found.plain()), indent=1) if given.json else table(found))
    for name in written:
        print(f"wrote {name}", file=sys.stderr if given.json else sys.stdout)
    return 0


def table(found: Exchange) -> str:
    """What it means, then a row for each place that took part."""
    lines = [str(found), "", f"{'token':<24}{'signed':>12}{'size':>12}"]
    for i in found.places.sort().values.tolist():
        lines.append(f"{found.tokens[i][:22]:<24}{found.signed[i]:>+12.4f}{found.absolute[i]:>12.4f}")
    away = found.by_distance()
    lines += ["", "by distance", away.to_string(index=False, float_format=lambda x: f"{x:+.4f}")]
    return "\n".join(lines)


def finite(value: object) -> object:
    """The same with None for what is not a number."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and value != value else value
