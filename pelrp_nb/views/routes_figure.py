"""Routes for print: tokens along one axis, layers along the other, the edges that carry most between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ..errors import InputError
from .figure import QUIET, Picture, fits, is_size, short
from .look import look

CARRY, MOST = 0.8, 200  # the part of all that was handed on that is drawn, and how many edges at most
WIDE = 5.0  # points of the largest edge


def drawn(
    tokens: Sequence[str], levels: Sequence[Mapping[str, Any]], title: str, ax: Any, size: Any, colours: Mapping[str, Any] | None
) -> Figure:  # fmt: skip
    """levels: in call order, each with its "name", "amounts" (T, T) and "skip" (T,), empty where it has no residual sum."""
    paints = look(colours)
    if ax is not None:
        fits("routes", ax, size, "routes")
    elif size is not None and not is_size(size):
        raise InputError(f"size must be (width, height) in inches, got {size!r}. Type size=(6.5, 3).")
    wide, tall = min(13.0, max(5.0, 1.6 + 0.34 * len(tokens))), min(12.0, 1.8 + 0.7 * len(levels))
    picture = ax.figure if ax is not None else Picture(figsize=size or (wide, tall), layout="constrained", facecolor="white")
    axes = ax if ax is not None else picture.add_subplot()
    amounts = np.array([level["amounts"] for level in levels], dtype=float)
    layers, rows, columns, part = largest_edges(amounts)
    skips = np.array([level["skip"] or [0.0] * len(tokens) for level in levels], dtype=float)
    most = max(np.abs(amounts[layers, rows, columns]).max(initial=0.0), 1e-30)
    _skipped(axes, skips, most)
    lines = [((i, level + 1), (j, level)) for level, i, j in zip(layers, rows, columns, strict=True)]
    found = amounts[layers, rows, columns]
    axes.add_collection(
        LineCollection(
            lines, linewidths=np.abs(found) / most * WIDE, colors=[paints.signed(x) for x in found], alpha=0.75, capstyle="round"
        )
    )
    _frame(axes, tokens, [str(level["name"]) for level in levels])
    said = f"{len(found)} edges carry {part:.0%} of what heads handed on;\ngrey: what was skipped on"
    axes.set_title("\n".join([short(title, 60), said]), fontsize=8.5, loc="left", color=QUIET, parse_math=False)
    return picture


def largest_edges(amounts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """(layer, row, column) of as many of the largest as carry `CARRY` of all sizes, `MOST` at most; and what part they do carry."""
    sizes = np.abs(np.nan_to_num(amounts)).ravel()
    order = np.argsort(-sizes, kind="stable")
    carried = np.cumsum(sizes[order])
    whole = carried[-1] if len(carried) else 0.0
    if whole <= 0:
        return (*np.zeros((3, 0), dtype=int), 0.0)
    n = min(int(np.searchsorted(carried, CARRY * whole)) + 1, MOST)
    layers, rows, columns = np.unravel_index(order[:n][::-1], amounts.shape)  # the largest drawn last
    return layers, rows, columns, float(carried[n - 1] / whole)


def _skipped(axes: Axes, skips: np.ndarray, most: float) -> None:
    """What stays at its place, behind the edges, in grey."""
    lines = [((t, level + 1), (t, level)) for level in range(len(skips)) for t in range(skips.shape[1])]
    widths = np.minimum(np.abs(skips).ravel() / most, 2.0) * WIDE
    axes.add_collection(LineCollection(lines, linewidths=widths, colors="#c9c5bd", alpha=0.5, zorder=0))


def _frame(axes: Axes, tokens: Sequence[str], names: Sequence[str]) -> None:
    """Names of tokens below, of layers beside."""
    axes.set_xlim(-0.5, len(tokens) - 0.5)
    axes.set_ylim(-0.15, len(names) + 0.15)
    step = max(1, -(-len(tokens) // 64))
    axes.set_xticks(range(0, len(tokens), step), [short(t) for t in tokens[::step]], rotation=90, fontsize=8, parse_math=False)
    axes.set_yticks([i + 0.5 for i in range(len(names))], [short(n, 28) for n in names], fontsize=8, parse_math=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)


def thumbnails(heads: Sequence[Mapping[str, Any]], title: str, size: Any, colours: Mapping[str, Any] | None) -> Figure:
    """A small matrix for each head, with its "name": rows hand on, columns receive; the colours of each go to its own largest."""
    paints = look(colours)
    if size is not None and not is_size(size):
        raise InputError(f"size must be (width, height) in inches, got {size!r}. Type size=(6.5, 3).")
    columns = min(4, len(heads))
    rows = -(-len(heads) // columns)
    picture = Picture(figsize=size or (2.2 * columns, 2.1 * rows + 0.5), layout="constrained", facecolor="white")
    for i, head in enumerate(heads):
        axes = picture.add_subplot(rows, columns, i + 1)
        amounts = np.array(head["amounts"], dtype=float)
        most = np.abs(amounts).max(initial=0.0) or 1.0
        axes.imshow(amounts, cmap=paints.shades(), norm=Normalize(-most, most), interpolation="nearest", aspect="equal")
        axes.set_title("\n".join(short(part, 30) for part in str(head["name"]).split(", ")), fontsize=7.5, loc="left", parse_math=False)
        axes.set_xticks([])
        axes.set_yticks([])
    picture.suptitle(short(title, 60), fontsize=9, color=QUIET, x=0.01, ha="left", parse_math=False)
    return picture
