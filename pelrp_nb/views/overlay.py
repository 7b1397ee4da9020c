"""A picture and where its relevance lies: content and position apart, over the picture, and patch by patch with signed numbers.

Everything here takes plain lists or arrays: a picture (H, W, 3) of bytes, maps (H, W), a grid of patches (rows, columns).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize

from ..amounts import digits, signed
from ..errors import InputError
from .colour import diverging, palette, share
from .figure import Picture

COLOURS = LinearSegmentedColormap.from_list("relevance", [paint.back for paint in palette()])
DIM = 0.35  # how much of the picture's own grey shows through a map
LABELLED = 100  # patches; beyond, their numbers would not be read


def overlay(picture: Any, maps: Mapping[str, Any], title: str = "") -> Picture:
    """The picture, then each map over its grey shadow, all on one scale symmetric about zero.

    picture: (H, W, 3) bytes; maps: name -> (H, W) signed amounts, each of which is drawn with its sum
    """
    picture, fields = np.asarray(picture), {name: np.asarray(one, float) for name, one in maps.items()}
    for name, one in fields.items():
        if one.shape != picture.shape[:2]:
            raise InputError(f"The map {name!r} must have the picture's size, {picture.shape[:2]}, but has {one.shape}.")
    scale = _scale(fields.values())
    figure = Picture(figsize=(2.3 * (1 + len(fields)) + 0.6, 2.9), layout="constrained", facecolor="white")
    axes = figure.subplots(1, 1 + len(fields), squeeze=False)[0]
    axes[0].imshow(picture)
    _named(axes[0], "picture")
    grey = picture[..., :3].mean(-1, keepdims=True) / 255
    for place, (name, one) in zip(axes[1:], fields.items(), strict=True):
        painted = COLOURS(Normalize(-scale, scale)(one))[..., :3]
        place.imshow(painted * (1 - DIM + DIM * grey))
        _named(place, f"{name} {signed(one.sum(), 3)}")
    _bar(figure, axes, scale)
    figure.suptitle(title, x=0.01, ha="left", fontsize=9.5)
    return figure


def patches(grid: Any, title: str = "", picture: Any = None) -> Picture:
    """Signed relevance per patch (rows, columns) with its numbers, beside the picture if there is one."""
    grid = np.asarray(grid, float)
    rows, columns = grid.shape
    scale = _scale([grid])
    width = max(3.0, 0.5 * columns)
    sides = 1 if picture is None else 2
    figure = Picture(figsize=(sides * width + 0.6, max(2.6, 0.45 * rows) + 0.5), layout="constrained", facecolor="white")
    axes = figure.subplots(1, sides, squeeze=False)[0]
    if picture is not None:
        axes[0].imshow(np.asarray(picture))
        _named(axes[0], "picture")
    axes[-1].imshow(grid, cmap=COLOURS, vmin=-scale, vmax=scale)
    _named(axes[-1], f"patches {signed(grid.sum(), 3)}")
    shown = digits(scale, 2)
    for (r, c), amount in np.ndenumerate(grid):
        if grid.size <= LABELLED:
            ink = diverging(share(amount, scale)).text
            axes[-1].text(c, r, shown(amount), ha="center", va="center", fontsize=6, color=ink)
    _bar(figure, axes[-1:], scale)
    figure.suptitle(title, x=0.01, ha="left", fontsize=9.5)
    return figure


def table(grid: Any, caption: str = "relevance per patch") -> str:
    """The same grid as an HTML table of signed numbers on their colours: it needs no script and is read aloud row by row."""
    grid = np.asarray(grid, float)
    scale = _scale([grid])
    shown = digits(scale, 2)

    def cell(amount: float) -> str:
        paint = diverging(share(amount, scale))
        return f'<td style="background:{paint.back};color:{paint.text};text-align:right;padding:2px 4px">{shown(amount)}</td>'

    lines = [f"<tr>{''.join(map(cell, row))}</tr>" for row in grid.tolist()]
    style = "border-collapse:collapse;font:11px monospace"
    return f'<table style="{style}"><caption>{escape(caption)}</caption>{"".join(lines)}</table>'


def _scale(fields: Any) -> float:
    """The largest amount, so that zero stays in the middle; 1 where all is zero."""
    most = max((float(np.nanmax(np.abs(one))) for one in fields if np.size(one)), default=0.0)
    return most if most > 0 else 1.0


def _named(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=8.5, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])


def _bar(figure: Picture, axes: Sequence[Axes], scale: float) -> None:
    """The colours with their numbers."""
    from matplotlib.cm import ScalarMappable

    bar = figure.colorbar(ScalarMappable(Normalize(-scale, scale), COLOURS), ax=list(axes), fraction=0.03, pad=0.02)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
