"""Many results as lines of one table: which input, what was explained, its tokens in colour, whether the ledger closes."""

from __future__ import annotations

from collections.abc import Sequence

from ..amounts import digits, largest
from .data import Plain
from .headline import streams_of
from .html_card import fallback, scale_of, strip
from .page import HEAD
from .table import PLAIN, RIGHT, cell, escaped, grid
from .text import line, verdict

SHOWN = 20  # results that a notebook's cell shows
STYLE = "body { font-family: sans-serif; margin: 24px; max-width: 1200px; }\n"
POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # it has no scripts


def fragment(found: Sequence[Plain], places: Sequence[str]) -> str:
    """One fragment of HTML: a row for each of the first ones, and how many more there are.

    places: how each of all is reached, `[0]` or `[0][1]`
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
    left = len(places) - len(found)
    more = f"<div>and {left:,} more: .table() has all, .to_html(path) writes all</div>" if left else ""
    return f'<div style="max-width:100%;overflow-x:auto">{grid(rows)}{more}</div>'


def page(found: Sequence[Plain], names: Sequence[str], places: Sequence[str], skipped: Sequence[str] = ()) -> str:
    """A whole document: the table of all, why inputs were skipped, then each with its numbers and its ledger.

    It needs no scripts and no network.
    """
    parts = [fragment(found, places), *(f"<p>{escaped(why, 400)}</p>" for why in skipped)]
    for data, name, at in zip(found, names, places, strict=True):
        parts.append(f"<details><summary>{at} {escaped(name, 80)}</summary>{fallback(data)}</details>")
    head = HEAD.format(policy=POLICY, title=f"{len(found)} explanations", style=STYLE)
    return "\n".join([f"{head}<body>", *parts, "</body>", "</html>\n"])


def lines(found: Sequence[Plain], places: Sequence[str]) -> str:
    """The same in text: a line for each of the first ones."""
    told = [f"  {at:<6} {line(data)}" for data, at in zip(found, places, strict=False)]
    more = [f"  and {len(places) - len(found):,} more"] if len(places) > len(found) else []
    return "\n".join([f"Explanations({len(places):,})", *told, *more])
