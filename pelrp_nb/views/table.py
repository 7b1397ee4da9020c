"""The result as a table that survives without kernel, scripts and style sheets.

Notebook hosts that do not trust a file remove scripts, `<style>`, svg, ids, roles.  What they keep is used: table, span, details,
inline style, title.  Colour never carries a number alone: every number is printed with its sign.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from .colour import diverging, share
from .data import Parts, Plain
from .text import Digits, digits, largest, pieces, state, visible

ROWS = 200  # tokens that get a row of their own
STRIP = 400  # tokens in the running text
OPEN = 40  # up to here the rows are shown unfolded
NAMES = 30  # constants named one by one

_TABLE = "border-collapse:collapse;border:0;margin:4px 0 10px 0;font-size:13px;line-height:1.5"
_CELL = "padding:2px 10px;border:0;white-space:nowrap"
_NUMBER = f"{_CELL};text-align:right;font-family:monospace"
_HEAD = "padding:2px 10px;border:0;font-weight:normal;opacity:0.75"
_CHIP = "border:1px solid;border-radius:3px;padding:0 2px;font-size:75%;font-family:monospace"


def table(data: Plain) -> str:
    """One `<table>`-and-`<span>` fragment: target and method, tokens in colour, numbers, ledger."""
    signed = data["parts"]["signed"]
    scale = largest(signed["content"], signed["position"], signed["both"])
    body = [_head(data), _strip(data, signed, scale), _rows(data, signed, scale), _ledger(data)]
    for name, stream in data["streams"].items():
        body.append(f'<details style="margin:4px 0"><summary>stream {escaped(name)}</summary>{table(stream)}</details>')
    return f'<div style="margin:4px 0;max-width:100%;overflow-x:auto">{"".join(body)}</div>'


def escaped(text: str, most: int = 80) -> str:
    """Text as HTML: markup is shown, not obeyed, and what cannot be seen gets a chip with its name."""
    return "".join(
        f'<span style="{_CHIP}">{html.escape(piece.text)}</span>' if piece.chip else html.escape(piece.text)
        for piece in pieces(text, most)
    )


def _head(data: Plain) -> str:
    facts = [escaped(data["model"], 60), escaped(data["method"], 120)]
    facts.append(f"positions carry {data['positional_share']:.0%}" if data["sinks"] else "no positions found in this model")
    return (
        f'<div style="font-size:16px;margin:0"><b>{escaped(data["target"])}</b> {data["value"]:+.4f}</div>'.replace("-", "\u2212")
        if False
        else f'<div style="font-size:16px">{_bold(escaped(data["target"]))} {_value(data["value"])}</div>'
        f'<div style="font-size:13px;opacity:0.75;margin:0 0 8px 0">{" · ".join(facts)}</div>'
    )
