"""The card of a result where no scripts run: the same sentences, coloured text and bar as `js/card.js`, in inline styles alone."""

from __future__ import annotations

import html
from collections.abc import Sequence

from ..amounts import KEPT as MEANS
from ..amounts import Digits, account, digits, is_rounding, largest
from .data import Plain
from .differences import differing
from .headline import Part, adds_up, headline, kind_of, opposed, outside, places, sentence, sides, streams_of, terms
from .reading import grid_of, turned, words
from .table import HEAD, PLAIN, RIGHT, SMALL, cell, escaped, fold, grid, paint, prose, table, total
from .text import meaning, notes, positions, verdict

STRIP = 400  # words in the running text
FAINT = 0.025  # of the largest: no shade of the palette
WIDE = 420  # pixels of the bar
SIDE = 24  # rows and columns of patches; a finer picture is told in larger pieces
TONES = {"tokens": "#6b6963", "positions": "#14838b", "constants": "#b0aca6", "gap": "#a8201a"}
KEPT = "#8a6d1d"
_WORD = "padding:1px 3px;border-radius:3px;white-space:pre-wrap"


def fallback(data: Plain) -> str:
    """One fragment of HTML: the card, and behind a fold every number and the ledger."""
    told = [f'<div style="{SMALL}">Note: {prose(note)}</div>' for note in notes(data)]
    facts = [escaped(data["model"]), escaped(data["method"], 120), *filter(None, [meaning(data) if data["sinks"] else positions(data)])]
    found = [*_said(data), *_streams(data), _key(data), _made_of(data), f'<div style="{SMALL}">{" · ".join(facts)}</div>', *told]
    return f'<div style="max-width:100%;overflow-x:auto">{"".join(found)}{fold("Every number", table(data))}</div>'


def beside(names: Sequence[str], found: Sequence[Plain]) -> str:
    """Several results as columns of one table: the account of each, and its largest tokens."""
    rows = [cell("", PLAIN) + "".join(cell(escaped(name, 40), HEAD) for name in names)]
    rows.append(cell("target", PLAIN) + "".join(cell(escaped(data["target"], 40), HEAD) for data in found))
    accounts = [dict(data["ledger"]["rows"]) for data in found]
    show = digits(largest(*(amounts.values() for amounts in accounts)))
    shown = [account(data["ledger"]["rows"], data["ledger"]["state"], show) for data in found]
    rows += [cell(row[0][0], PLAIN) + "".join(cell(amount, RIGHT) for _, _, amount in row) for row in zip(*shown, strict=True)]
    rows.append(cell("ledger", PLAIN) + "".join(cell(escaped(verdict(d), 60), HEAD) for d in found))
    strips = [f'<div style="{SMALL}">{escaped(name, 60)}</div>{"".join(_streams(data))}' for name, data in zip(names, found, strict=True)]
    said = f'<div style="font-size:17px;font-weight:bold">{_sentence(differing(names, found))}</div>'
    means = f'<div style="{SMALL}">{escaped(MEANS, 400)}.</div>' if any(map(keeps, found)) else ""
    return f'<div style="max-width:100%;overflow-x:auto">{said}{"".join(strips)}{grid(rows)}{means}</div>'


def keeps(data: Plain) -> bool:
    """Whether a softmax keeps more than rounding, so that the row says what that means."""
    book = data["ledger"]
    return any(not is_rounding(amount, book["allowed"]) for amount in book["softmax"].values())


def strip(data: Plain, scale: float) -> str:
    """One stream in colour, content and position together: its text as people read it, its picture by patches, its sound in time."""
    kind = kind_of(data)
    if kind == "picture":
        return _mosaic(data, scale)
    both, show = data["parts"]["signed"]["both"], digits(scale)
    if kind == "sound":
        found = [(place.text, sum(both[t] for t in place.tokens)) for place in places(data)]
        return "".join(_block(amount, scale, f"{name} {show(amount)}", 18, 32) for name, amount in found)
    spans, shown = [], words(data)
    for word in shown[:STRIP]:
        amount = sum(both[t] for t in word["ids"])
        if len(shown) > STRIP and abs(amount) < FAINT * scale:  # in a long text only what is coloured is marked up
            spans.append(f"{word['before']}{escaped(word['own'], 30)}")
            continue
        style = f"{_WORD};{paint(amount, scale)}" + (";font-size:75%" if word["special"] else "")
        title = "" if len(shown) > STRIP else f' title="{_title(data, word["ids"], show)}"'
        spans.append(f'{word["before"]}<span style="{style}"{title}>{escaped(word["own"], 30)}</span>')
    if left := shown[STRIP:]:
        rest = total([both[t] for word in left for t in word["ids"]])
        spans.append(f'<span style="opacity:0.75"> and {len(left):,} more words, together {show(rest)}</span>')
    way = "right" if turned(data) else "left"
    return f'<div style="margin:0 0 6px 0;line-height:1.7;text-align:{way};white-space:pre-wrap">{"".join(spans) or "no words"}</div>'


def _said(data: Plain) -> list[str]:
    more = _sentence(opposed(data)) + (f" {html.escape(outside(data))}" if outside(data) else "")
    return [
        f'<div style="font-size:17px;font-weight:bold">{_sentence(headline(data))}</div>',
        f'<div style="{SMALL}">{more}</div>',
    ]


def _sentence(parts: Sequence[Part]) -> str:
    return html.escape(sentence(parts))


def _streams(data: Plain) -> list[str]:
    scale = scale_of(data)
    found = []
    for name, stream in streams_of(data).items():
        called = f'<div style="{SMALL}">{escaped(name)}</div>' if name else ""
        found.append(f'{called}<div style="margin:4px 0;max-width:760px">{strip(stream, scale)}</div>')
    return found


def scale_of(data: Plain) -> float:
    """The largest number of a word, in any stream."""
    return largest(
        sum(stream["parts"]["signed"]["both"][t] for t in place)
        for stream in streams_of(data).values()
        for place in ([w["ids"] for w in words(stream)] if kind_of(stream) == "text" else [p.tokens for p in places(stream)])
    )


def _key(data: Plain) -> str:
    minus, plus = (html.escape(text) for text in sides(data))
    ends = [f'<span style="{_WORD};{paint(part, 1.0)}">{text}</span>' for part, text in ((-0.75, minus), (0.75, plus))]
    return f'<div style="{SMALL}">{ends[0]} {ends[1]} darker is more</div>'


def _made_of(data: Plain) -> str:
    """The bar, what it is made of in words, and whether that adds up."""
    found = terms(data)
    show = digits(largest([amount for _, _, amount, _ in found], [data["value"]]))
    listed = ", ".join(
        f'<span style="{_swatch(name, amount)}"></span> {html.escape(called)} {shown}' for name, called, amount, shown in found
    )
    told = f'<span style="font-weight:bold">{show(data["value"])}</span> is {listed}.' if found else ""
    sums = f'<div style="font-size:13px;margin:2px 0">{html.escape(adds_up(data))}</div>'
    return f'{_bar(found)}<div style="font-size:13px">{told}</div>{sums}'


def _swatch(name: str, amount: float) -> str:
    side = f"border:1px dashed {TONES.get(name, KEPT)}" if amount < 0 else f"background-color:{TONES.get(name, KEPT)}"
    return f"display:inline-block;width:10px;height:10px;{side}"


def _bar(found: Sequence[tuple[str, str, float, str]]) -> str:
    """Terms one after another from zero; what is below zero runs back, with a dashed edge, one line lower."""
    sums = [0.0]
    for _, _, amount, _ in found:
        sums.append(sums[-1] + (amount if abs(amount) < float("inf") else 0.0))
    low, high = min(sums), max(sums)
    if not high > low:
        return ""
    lanes: dict[int, list[str]] = {1: [], -1: []}
    ends = {1: 0, -1: 0}
    for (name, _, amount, _), start, end in zip(found, sums, sums[1:], strict=False):
        side = -1 if amount < 0 else 1
        left, right = sorted(round(WIDE * (x - low) / (high - low)) for x in (start, end))
        colour = TONES.get(name, KEPT)
        edge = f"border:1px dashed {colour};height:8px" if side < 0 else f"background-color:{colour};height:10px"
        width = max(1, right - left - (2 if side < 0 else 0))
        lanes[side].append(f'<span style="display:inline-block;{edge};width:{width}px;margin:0 0 0 {left - ends[side]}px"></span>')
        ends[side] = left + width + (2 if side < 0 else 0)
    return "".join(f'<div style="height:12px;line-height:10px;white-space:nowrap">{"".join(lane)}</div>' for lane in lanes.values() if lane)


def _mosaic(data: Plain, scale: float) -> str:
    """A picture by its patches, row under row; of a fine one several patches make a piece."""
    rows, columns, prefix = grid_of(data)
    both, step = data["parts"]["signed"]["both"][prefix:], max(1, -(-max(rows, columns) // SIDE))
    lines: list[str] = []
    pieces: dict[tuple[int, int], float] = {}
    for t, amount in enumerate(both):
        at = (t // columns // step, t % columns // step)
        pieces[at] = pieces.get(at, 0.0) + amount
    show, most = digits(scale), largest(pieces.values())
    for r in range(-(-rows // step)):
        found = ((c, pieces[r, c]) for c in range(-(-columns // step)))
        blocks = (_block(amount, most, f"row {r * step + 1}, column {c * step + 1}: {show(amount)}", 12, 12) for c, amount in found)
        lines.append(f'<div style="height:12px;line-height:0;white-space:nowrap">{"".join(blocks)}</div>')
    return "".join(lines)


def _block(amount: float, scale: float, title: str, width: int, height: int) -> str:
    style = f"display:inline-block;width:{width}px;height:{height}px;{paint(amount, scale)}"
    return f'<span style="{style}" title="{html.escape(title)}"></span>'


def _title(data: Plain, ids: Sequence[int], show: Digits) -> str:
    signed = data["parts"]["signed"]
    columns = {"both": signed["both"], "content": signed["content"], "position": signed["position"]}
    return " ".join(f"{name} {show(sum(column[t] for t in ids))}" for name, column in columns.items())
