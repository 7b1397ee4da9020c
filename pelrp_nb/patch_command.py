"""`python -m pelrp_nb patch`: what each part of a model does for an answer, by putting in what it is for another text."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from .errors import InputError
from .exchange_command import finite
from .results.patch import Patch
from .typed import files, target_of, text_of

WHAT = "what each part does for an answer, by putting in what it is for another text"
EXAMPLES = """examples:
  python -m pelrp_nb patch "sun moon star sun" "sun fish star sun" --model induction-rotary --target moon --contrast fish
  python -m pelrp_nb patch "a fine film" "a dull film" --target positive --sites heads,mlp --measure 5
  python -m pelrp_nb patch "a fine film" "a dull film" --circuit 8 --html circuit.html
"""
ROWS = 20  # that are printed


def options(command: argparse.ArgumentParser) -> None:
    """The command's options."""
    command.add_argument("text", nargs="?", metavar="CLEAN", help="the text that is asked about; - reads it from standard input")
    command.add_argument("corrupt", nargs="?", metavar="CORRUPT", help="another of the same length in tokens, whose parts are put in")
    command.add_argument("--model", default="reviews-rotary", metavar="NAME_OR_PATH", help="as for explain (default: reviews-rotary)")
    command.add_argument("--target", help="the number: a label or token as text, or its id; the highest logit of the clean text if absent")
    command.add_argument("--contrast", help="the target rather than this one")
    command.add_argument("--at", metavar="PLACE", help="where target and contrast stand: a number (-1 is the last) or the token")
    command.add_argument("--sites", default="heads", metavar="KINDS", help="heads, queries, keys, values, attention, mlp, residual; or all")
    command.add_argument("--places", action="store_true", help="each part at each place, not over all of them")
    command.add_argument("--measure", type=int, metavar="K", help="patch the K largest, and print what it did beside the estimates")
    command.add_argument("--circuit", type=int, metavar="N", help="the N largest edges from word to word, and what they keep alone")
    command.add_argument("--html", metavar="FILE", help="write a self-contained interactive page, of the circuit if there is one")
    command.add_argument("--figure", metavar="FILE", help="write a figure (PNG, SVG or PDF by its suffix)")
    command.add_argument("--save", metavar="FILE", help="save the result (.npz or .safetensors)")
    command.add_argument("--json", action="store_true", help="print the result as JSON")


def run(given: argparse.Namespace) -> int:
    """Run it; 0 if both texts could be compared."""
    from . import zoo
    from .patch import patch

    if given.corrupt is None:
        raise InputError('There must be two texts, a clean and a corrupted one. Type python -m pelrp_nb patch "a fine film" "a dull film".')
    text = text_of(given)
    model, processor = zoo.load(given.model)
    target, contrast = target_of(given, given.target), None if given.contrast is None else target_of(given, given.contrast)
    sites = given.sites if given.sites == "all" else [kind.strip() for kind in given.sites.split(",")]
    metric = target if contrast is None else (target, contrast)
    found = patch(model, text, given.corrupt, processor=processor, metric=metric, sites=sites)
    measured = None if given.measure is None else found.true(given.measure, places=given.places)
    circuit = None if given.circuit is None else found.circuit(given.circuit)
    written = files(found if circuit is None else circuit, given)
    if given.json:
        print(json.dumps(finite(told(found, given.places, measured, circuit)), indent=1))
    else:
        print("\n\n".join(in_words(found, given.places, measured, circuit)))
    for name in written:
        print(f"wrote {name}", file=sys.stderr if given.json else sys.stdout)
    return 0


def told(found: Patch, places: bool, measured: Any, circuit: Any) -> dict[str, Any]:
    """All that was asked for as plain data."""
    more: dict[str, Any] = {}
    if measured is not None:
        more["measured"] = {**measured.to_frame().to_dict("list"), "correlation": measured.correlation}
    if circuit is not None:
        kept = {"value": circuit.value, "faithfulness": circuit.faithfulness}
        more["circuit"] = {**kept, "edges": circuit.to_frame().to_dict("records")}
    rows = json.loads(found.table(places).to_json(orient="records"))
    named = {"tokens": list(found.tokens), "other": list(found.other), "target": found.target}
    return {**named, "clean": found.clean, "corrupt": found.corrupt, "sites": rows, "notes": list(found.notes), **more}


def in_words(found: Patch, places: bool, measured: Any, circuit: Any) -> list[str]:
    """What both runs gave, the largest sites, what patching them did, the circuit."""
    sites = sorted(found.sites(places), key=lambda site: -abs(found.of(site)))
    rows = [f"{'part':<40}{'relevance':>12}{'gradient':>12}"]
    rows += [f"{site!s:<40}{found.of(site):>+12.4f}{found.of(site, 'gradient'):>+12.4f}" for site in sites[:ROWS]]
    rows += [f"and {len(sites) - ROWS} more: --json"] if len(sites) > ROWS else []
    parts = [f"{found.target}: {found.clean:+.4f}, corrupted {found.corrupt:+.4f}", "\n".join(rows)]
    parts += [f"Note: {note}" for note in found.notes]
    if measured is not None:
        parts.append(f"{measured!r}\n{measured.to_frame().to_string(index=False, float_format=lambda x: f'{x:+.4f}')}")
    return parts if circuit is None else [*parts, str(circuit)]
