"""Two panels for papers: the text as people read it, each word on its colour, and the value as a waterfall of what it is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch
from matplotlib.textpath import text_to_path

from ..amounts import digits, largest
from ..errors import InputError
from .colour import share
from .data import Plain
from .headline import kind_of, sides, streams_of, terms
from .look import Look, drawable
from .reading import turned, words
from .text import visible

FONT, SMALLEST = 11.0, 5.0  # points of a letter; below the second a text is cut instead
LINE = 1.75  # heights of a letter from line to line
WORD = 60  # characters of one word
QUIET = "#5f5c57"
Box = tuple[float, float, float, str, float | None]  # left, line, width, text, relevance; None for the name of a stream


def texts(data: Plain) -> dict[str, Plain]:
    """The streams that are texts, by name; InputError where none is."""
    found = {name: stream for name, stream in streams_of(data).items() if kind_of(stream) == "text" and stream["tokens"]}
    if not found:
        raise InputError("There is no text to draw. Type figure('tokens') instead.")
    return found


def height(data: Plain, width: float) -> float:
    """Inches that the text needs in axes of that width, its key included."""
    return (_laid(texts(data), 72 * width, FONT)[1] * LINE + 2.2) * FONT / 72


def running(axes: Axes, data: Plain, paints: Look) -> None:
    """Words in lines as wide as the axes, smaller letters where they need more room than there is, and a key under them."""
    box = axes.get_window_extent()
    wide, high = (72 * side / axes.figure.dpi for side in (box.width, box.height))
    font, boxes, lines = FONT, *_laid(texts(data), wide, FONT)
    while (lines * LINE + 2.2) * font > high * 1.02 and font > SMALLEST:
        font *= 0.94
        boxes, lines = _laid(texts(data), wide, font)
    room = max(1, int((high / font - 2.2) / LINE))
    axes.set(xlim=(0, wide), ylim=(max(high, (min(lines, room) * LINE + 2.2) * font) - 1.5, -1.5), xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    scale, shades = largest(amount for *_, amount in boxes if amount is not None), paints.shades()
    for left, line, width, text, amount in boxes:
        y = line * LINE * font
        if line >= room:
            continue
        if amount is None:
            axes.text(left, y + 1.05 * font, text, fontsize=0.8 * font, color=QUIET)
            continue
        back = shades(0.5 + 0.5 * share(amount, scale)) if math.isfinite(amount) else shades(math.nan)
        axes.add_patch(FancyBboxPatch((left - 1.2, y), width + 2.4, 1.5 * font, "round,pad=0,rounding_size=2", color=back, linewidth=0))
        axes.text(left, y + 1.1 * font, text, fontsize=font, color=_ink(back))
    _key(axes, data, shades, scale, min(lines, room) * LINE * font + 0.9 * font, font)
    if lines > room:
        axes.text(wide, min(lines, room) * LINE * font + 1.6 * font, "the text goes on", fontsize=0.75 * font, color=QUIET, ha="right")


def _key(axes: Axes, data: Plain, shades: Any, scale: float, y: float, font: float) -> None:
    """What a colour means: its side in words, the largest number beside it."""
    show, small = digits(scale, 3), 0.75 * font
    minus, plus = (drawable(text) for text in sides(data))
    at = 0.0
    for text in (f"{minus} {show(-scale)}", None, f"{plus} {show(scale)}"):
        if text is None:
            for i in range(11):
                axes.add_patch(FancyBboxPatch((at + 6 * i, y), 6, small, "square,pad=0", color=shades(i / 10), linewidth=0))
            at += 66 + small
        else:
            axes.text(at, y + 0.9 * small, text, fontsize=small, color=QUIET)
            at += _width(text, small) + small


def _laid(found: dict[str, Plain], wide: float, font: float) -> tuple[list[Box], int]:
    """Every word in its place, and how many lines they fill; a text written from right to left runs so."""
    boxes: list[Box] = []
    line = 0
    for name, data in found.items():
        at = 0.0
        if name:
            label = drawable(f"{visible(name, 24)} ")
            boxes.append((0.0, line, 0.0, label, None))
            at = _width(label, 0.8 * font) + font
        back, both = turned(data), data["parts"]["signed"]["both"]
        for word in words(data):
            text = drawable(visible(word["own"], WORD))
            width, space = _width(text, font), 0.0 if word["before"] == "" else 0.42 * font
            if word["before"] == "\n" or (at > 0 and at + space + width > wide - 3):
                line, at, space = line + 1, 0.0, 0.0
            left = at + space + 1.5
            boxes.append((wide - left - width if back else left, line, width, text, sum(both[t] for t in word["ids"])))
            at = left + width + 1.2
        line += 1
    return boxes, line


def _width(text: str, font: float) -> float:
    """Points of a line of text; they grow with its letters."""
    return _unit(text) * font / FONT


@lru_cache(maxsize=4096)
def _unit(text: str) -> float:
    return text_to_path.get_text_width_height_descent(text, FontProperties(size=FONT), ismath=False)[0]


def _ink(back: Sequence[float]) -> str:
    """Black or white, whichever reads better on it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in back[:3]]
    return "#000000" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 else "#ffffff"


def waterfall(axes: Axes, data: Plain, paints: Look) -> None:
    """The value from top to bottom: each term begins where the one above it ends, and the value stands at the foot."""
    value = data["value"] if math.isfinite(data["value"]) else 0.0
    found = [(called, amount if math.isfinite(amount) else 0.0, shown) for _, called, amount, shown in terms(data)]
    show = digits(largest([amount for _, amount, _ in found], [value]))
    rows = [*found, ("value", value, show(data["value"]))]
    starts = [math.fsum(amount for _, amount, _ in found[:i]) for i in range(len(found))] + [0.0]
    ends = [start + amount for start, (_, amount, _) in zip(starts, rows, strict=True)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    room = (high - low) or 1.0
    colours = [paints.signed(amount) for _, amount, _ in found] + [QUIET]
    axes.barh(range(len(rows)), [amount for _, amount, _ in rows], 0.62, left=starts, color=colours)
    for i, (end, start) in enumerate(zip(ends, starts, strict=True)):
        axes.text(max(end, start) + 0.02 * room, i, rows[i][2], va="center", fontsize=8)
        if i + 1 < len(rows):
            axes.plot([end, end], [i - 0.31, i + 1.31], color=QUIET, linewidth=0.6)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows], fontsize=8)
    axes.get_yticklabels()[-1].set_fontweight("bold")
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlim=(low - 0.02 * room, high + 0.22 * room))
    axes.axvline(0, color=QUIET, linewidth=0.6)
    axes.set_xlabel("relevance", fontsize=8)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(QUIET)
    axes.tick_params(axis="x", labelsize=8, color=QUIET)
    axes.tick_params(axis="y", length=0)
