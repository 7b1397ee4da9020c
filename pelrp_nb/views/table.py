"""The result as a table that survives without kernel, scripts and style sheets.

Notebook hosts that do not trust a file remove scripts, `<style>`, svg, ids and roles.  What they keep is used: table, span, div,
details, inline style, title.  Colour never carries a number alone: every number is printed with its sign.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..amounts import MINUS, Digits, account, by_size, digits, largest
from .colour import NOT_A_NUMBER, diverging, over, share
from .data import Parts, Plain
from .text import pieces, state

ROWS = 80  # tokens that get a row of their own
OPEN = 40  # up to here the rows are shown unfolded
NAMES = 30  # keepers of the ledger named one by one
BAR = 110  # pixels on each side of zero

_TABLE = "border-collapse:collapse;border:0;margin:4px 0 12px 0;font-size:13px;line-height:1.5;text-align:left"
PLAIN = "padding:2px 10px 2px 0;border:0;text-align:left;white-space:nowrap;max-width:340px;overflow:hidden"
HEAD = "padding:2px 10px;border:0;text-align:right;white-space:nowrap"
RIGHT = f"{HEAD};font-family:monospace"
_SUM = "border-top:1px solid;font-weight:bold"
_CHIP = "border:1px solid;border-radius:3px;margin:0 1px;padding:0 2px;font-size:75%;font-family:monospace"
_FOLD = "margin:0 0 8px 0;font-size:13px"
SMALL = "font-size:13px;opacity:0.75;margin:0 0 8px 0"


def table(data: Plain) -> str:
    """One fragment of HTML: numbers per token, those of each stream, the ledger."""
    signed = data["parts"]["signed"]
    scale = largest(signed["content"], signed["position"], signed["both"])
    parts = [] if data["streams"] else [_tokens(data, signed, scale)]
    for name, stream in data["streams"].items():
        parts.append(fold(f"stream {escaped(name)}", table(stream)))
    return "".join([*parts, _ledger(data)])


def listing(plan: Mapping[str, Any]) -> str:
    """A plan as nested folds: module, then its operations with their rules; modules that are alike stand there once."""
    refused = "".join(f"<div>refused: {prose(text)}</div>" for text in plan["refusals"])
    kinds = dict.fromkeys(kind for _, kind in plan["sinks"])
    sinks = ", ".join(f"{escaped(kind)} in {sum(k == kind for _, k in plan['sinks'])} places" for kind in kinds) or "none found"
    head = f'<div style="font-size:16px">{escaped(plan["model"])}</div>'
    facts = f'<div style="{SMALL}">{escaped(plan["method"], 120)} · {plan["summary"]} · positions: {sinks}</div>'
    return f'<div style="max-width:100%;overflow-x:auto">{head}{facts}{refused}{_branch(plan["tree"], plan["lines"])}</div>'


def _branch(node: Mapping[str, Any], lines: Sequence[Mapping[str, str]]) -> str:
    """One module; what it hands on as it is stands in one line."""
    own = [lines[i] for i in node.get("lines", ())]
    plain = ", ".join(line["operation"] for line in own if line["rule"] == "plain")
    rows = [
        f"<div>{escaped(line['operation'], 120)}: <b>{escaped(line['rule'], 120)}</b>, {prose(line['reason'], 120)}; "
        f"conserves {escaped(line['conserves'], 120)}</div>"
        for line in own
        if line["rule"] != "plain"
    ]
    rows += [f"<div>handed on as it is: {escaped(plain, 400)}</div>"] if plain else []
    inside = "".join(rows) + "".join(_branch(child, lines) for child in node.get("children", ()))
    alike = node.get("alike", ())
    called = f"{escaped(alike[0])} to {escaped(alike[-1])}" if alike else escaped(node["name"] or "the model")
    name = f"{called} {escaped(node['kind'])}{f', {len(alike)} alike' if alike else ''}"
    return fold(name, inside, opened=not node["name"]) if inside else f"<div>{name}</div>"


def escaped(text: str, most: int = 60) -> str:
    """Text as HTML: markup is shown, not obeyed, and what cannot be seen gets a chip with its name."""
    return "".join(
        f'<span style="{_CHIP}">{html.escape(piece.text)}</span>' if piece.chip else html.escape(piece.text) for piece in pieces(text, most)
    )


def prose(text: str, most: int = 400) -> str:
    """Text as Python writes it, as HTML: what stands between back ticks is code."""
    return coded(escaped(text, most))


def coded(shown: str) -> str:
    """HTML in which what stands between back ticks is code."""
    return re.sub(r"`+([^`]+)`+", r"<code>\1</code>", shown)


def _tokens(data: Plain, signed: Parts, scale: float) -> str:
    """A row per token, or the rows of the largest and one for the rest; the sums are always whole."""
    show, T = digits(scale), len(data["tokens"])
    columns = (signed["content"], signed["position"], signed["both"])
    order = sorted(range(T), key=lambda t: (not math.isnan(columns[2][t]), -abs(columns[2][t]), t))
    kept = sorted(order[:ROWS])
    rows = ["".join(cell(name, HEAD + ";opacity:0.75") for name in ("content", "position", "both"))]
    rows[0] = cell("", RIGHT) + cell("token", PLAIN + ";opacity:0.75") + rows[0]
    for t in kept:
        dim = ";opacity:0.75;font-style:italic" if data["special"][t] else ""
        numbers = "".join(cell(show(c[t]), f"{RIGHT};{paint(c[t], scale)}") for c in columns)
        rows.append(cell(str(t), RIGHT + ";opacity:0.6") + cell(escaped(data["tokens"][t], 40), PLAIN + dim) + numbers)
    if T > ROWS:
        rest = set(order[ROWS:])
        sums = "".join(cell(show(total([c[t] for t in rest])), RIGHT) for c in columns)
        rows.append(cell("", RIGHT) + cell(f"{len(rest):,} tokens not shown, the smallest", PLAIN) + sums)
    sums = "".join(cell(show(total(c)), f"{RIGHT};{_SUM}") for c in columns)
    rows.append(cell("", f"{RIGHT};{_SUM}") + cell("sum", f"{PLAIN};{_SUM}") + sums)
    head = f"{T:,} tokens" if T <= ROWS else f"{T:,} tokens: the {ROWS} largest, and the sum of all"
    return fold(head, grid(rows), opened=T <= OPEN)


def _ledger(data: Plain) -> str:
    """The account with bars, its keepers by name, and whether it closes."""
    ledger = data["ledger"]
    scale = largest([amount for _, amount in ledger["rows"]])
    show = digits(scale, 5)
    rows = []
    for name, amount, shown in account(ledger["rows"], ledger["state"], show):
        line = f";{_SUM}" if name == "value" else ""
        cells = cell(name, PLAIN + line) + cell(shown, RIGHT + line) + cell(_bar(amount, scale), PLAIN + line)
        rows.append(cells)
    text = f'<div style="font-size:13px;margin:0 0 8px 0">Ledger {escaped(state(data, MINUS), 400)}</div>'
    return text + grid(rows) + _keepers("constants", ledger["constants"], show) + _keepers("softmax", ledger["softmax"], show)


def _keepers(what: str, amounts: Mapping[str, float], show: Digits) -> str:
    if not amounts:
        return ""
    order = by_size(amounts, show)
    rows = [cell(escaped(name, 80), PLAIN) + cell(show(amount), RIGHT) for name, amount in order[:NAMES]]
    if left := [amount for _, amount in order[NAMES:]]:
        rows.append(cell(f"{len(left):,} more, the smallest", PLAIN) + cell(show(total(left)), RIGHT))
    return fold(f"{what} by name ({len(order):,})", grid(rows))


def _bar(amount: float, scale: float) -> str:
    """A bar to the right of zero for plus, to the left for minus."""
    part = share(amount, scale)
    width = 0 if math.isnan(part) else round(abs(part) * BAR)
    colour = diverging(0.75 if part > 0 else -0.75).back
    filled = f'<span style="display:inline-block;height:10px;width:{width}px;background-color:{colour}"></span>'
    left, right = ("", "") if width == 0 else ("", filled) if part > 0 else (filled, "")
    half = f"display:inline-block;width:{BAR}px;height:10px;line-height:10px"
    return (
        f'<span style="{half};text-align:right;border-right:1px solid #888888">{left}</span>'
        f'<span style="{half};text-align:left">{right}</span>'
    )


def paint(amount: float, scale: float) -> str:
    """The colour of an amount on whatever ground the host has; grey for what is no number."""
    part = share(amount, scale)
    return f"background-color:{NOT_A_NUMBER};color:#000000" if math.isnan(part) else f"background-color:{over(part)}"


def cell(content: str, style: str) -> str:
    return f'<td style="{style}">{content}</td>'


def grid(rows: Sequence[str]) -> str:
    lines = "".join(f'<tr style="background-color:transparent">{row}</tr>' for row in rows)
    return f'<table style="{_TABLE}">{lines}</table>'


def fold(summary: str, content: str, opened: bool = False) -> str:
    return f'<details style="{_FOLD}"{" open" if opened else ""}><summary>{summary}</summary>{content}</details>'


def total(amounts: Sequence[float]) -> float:
    """The sum without the rounding of a long chain; inf and -inf together are nan."""
    return math.fsum(amounts) if all(map(math.isfinite, amounts)) else sum(amounts)
