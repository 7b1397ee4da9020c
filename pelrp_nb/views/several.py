"""Many results: small multiples that are sorted and filtered in the page; where no scripts run, the first of them as lines of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..amounts import MINUS, digits, largest
from .data import Plain, packed
from .headline import streams_of
from .html_card import fallback, scale_of, strip
from .payload import label
from .reading import reading
from .sheet import Sheet
from .table import PLAIN, RIGHT, cell, escaped, grid
from .text import line, meaning, verdict, visible

SHOWN = 20  # results that are listed in text, and as a table where no scripts run in a cell
WHOLE = 50  # that a page lists where no scripts run, each with its numbers and its ledger
CELL = 200  # that a notebook's cell holds
KEPT = ".table() has all, .to_html(path) writes all"
SCRIPTS = "they need scripts, or .table() in Python"


def sheet(found: Sequence[Plain], places: Sequence[str], skipped: Sequence[str] = (), whole: bool = False) -> Sheet:
    """The view that is not drawn yet, of the first results.

    places:  how each of all is reached, `[0]` or `[0][1]`: there may be more of them than results
    skipped: why inputs have no result
    whole:   the table, too, has each with its numbers and its ledger
    """
    show = digits(largest(data["value"] for data in found), 5)
    apart = [name for name in ("method", "model") if len({str(data[name]) for data in found}) > 1]
    items = [_item(data, at, show(data["value"]), apart) for data, at in zip(found, places, strict=False)]
    facts = [] if not found else [visible(str(found[0][name])) for name in ("model", "method") if name not in apart]
    facts += [f"positions ({said})" for said in sorted({meaning(data) for data in found if data["sinks"]}) if said]
    drawn = {
        "title": f"{len(places):,} explanations", "facts": " \u00b7 ".join(facts), "called": "", "items": items,
        "skipped": [visible(why, 400) for why in skipped], "left": _more(len(places) - len(found)),
    }  # fmt: skip
    parts = [fragment(found[: WHOLE if whole else SHOWN], places, SCRIPTS if whole else KEPT)]
    parts += [f"<p>{escaped(why, 400)}</p>" for why in skipped]
    for data, at in zip(found[: WHOLE if whole else 0], places, strict=False):
        parts.append(f"<details><summary>{at} {escaped(line(data, minus=MINUS), 120)}</summary>{fallback(data)}</details>")
    return Sheet("several", drawn, f"{len(places):,} explanations", lines(found[:SHOWN], places), "".join(parts))


def _item(data: Plain, at: str, shown: str, apart: Sequence[str]) -> dict[str, Any]:
    """What a tile and its card show of one result."""
    return {
        "at": at, "target": visible(data["target"], 60), "value": data["value"], "shown": shown, "share": data["positional_share"],
        "sinks": [0] * bool(data["sinks"]), "apart": [visible(str(data[name]), 40) for name in apart],  # type: ignore[literal-required]
        "ledger": {"verdict": verdict(data)}, "reading": reading(data),
        "streams": {visible(name): _numbers(stream) for name, stream in data["streams"].items()},
        **({} if data["streams"] else _numbers(data)),
    }  # fmt: skip


def _numbers(data: Plain) -> dict[str, Any]:
    signed = data["parts"]["signed"]
    return {
        "tokens": [label(token) for token in data["tokens"]],
        "content": packed(signed["content"]),
        "position": packed(signed["position"]),
    }


def fragment(found: Sequence[Plain], places: Sequence[str], rest: str = KEPT) -> str:
    """One fragment of HTML: a row for each of the first ones, and how many more there are.

    places: how each of all is reached, `[0]` or `[0][1]`; rest: where the others are
    """
    if not found:
        return "<div>no explanations</div>"
    facts = ["target", *(name for name in ("method", "model") if len({str(data[name]) for data in found}) > 1)]
    show = digits(largest(data["value"] for data in found), 5)
    heads = ["", *facts, "value", "relevance of each token", "ledger"]
    rows = ["".join(cell(head, f"{PLAIN};opacity:0.75") for head in heads)]
    for data, at in zip(found, places, strict=False):
        word = escaped(verdict(data), 60)
        told = [cell(escaped(str(data[name]), 40), PLAIN) for name in facts]  # type: ignore[literal-required]
        coloured = "".join(strip(one, scale_of(data)) for one in streams_of(data).values())
        tokens = cell(coloured, "border:0;text-align:left;padding:2px 10px 2px 0")
        rows.append("".join([cell(at, f"{RIGHT};opacity:0.6"), *told, cell(show(data["value"]), RIGHT), tokens, cell(word, PLAIN)]))
    more = _more(len(places) - len(found), rest)
    return f'<div style="max-width:100%;overflow-x:auto">{grid(rows)}{f"<div>{more}</div>" if more else ""}</div>'


def _more(left: int, rest: str = KEPT) -> str:
    return f"and {left:,} more: {rest}" if left > 0 else ""


def lines(found: Sequence[Plain], places: Sequence[str]) -> str:
    """The same in text: a line for each of the first ones."""
    told = [f"  {at:<6} {line(data)}" for data, at in zip(found, places, strict=False)]
    more = [f"  and {len(places) - len(found):,} more"] if len(places) > len(found) else []
    return "\n".join([f"Explanations({len(places):,})", *told, *more])
