"""What a model wrote, token by token, against what it had before it: one heat map, content and position apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ..amounts import digits, largest
from ..errors import InputError
from .figure import QUIET, Picture, fits, is_size, short
from .look import look
from .maps import sheet as heat_maps
from .sheet import Sheet
from .table import PLAIN, RIGHT, cell, escaped, grid

PARTS = {"both": "content and position", "content": "content", "position": "position"}
MEANS = "Each row is one answer, each column a token that stood there before it. What an answer could not see is empty."
ROWS = 40  # of the table


def draw(
    parts: Mapping[str, np.ndarray], rows: Sequence[str], columns: Sequence[str], part: str | None, ax: Any, size: Any, colours: Any
) -> Figure:  # fmt: skip
    """Content and position side by side, in the same colours; or one of `PARTS` alone."""
    if part is not None and part not in PARTS:
        raise InputError(f"part must be one of {', '.join(PARTS)}, got {part!r}. Type figure('content').")
    paints, shown = look(colours), ["content", "position"] if part is None else [part]
    if ax is not None:
        fits("all" if part is None else part, ax, size, "content")
    elif size is not None and not is_size(size):
        raise InputError(f"size must be (width, height) in inches, got {size!r}. Type size=(6.5, 3).")
    wide = min(14.0, 1.6 + len(shown) * (0.8 + 0.3 * len(columns)))
    picture = ax.figure if ax is not None else Picture(
        figsize=size or (wide, min(12.0, 1.9 + 0.26 * len(rows))), layout="constrained", facecolor="white"
    )  # fmt: skip
    every = [ax] if ax is not None else list(np.atleast_1d(picture.subplots(1, len(shown), sharey=True)))
    most = max((np.nanmax(np.abs(parts[one]), initial=0.0) for one in shown), default=0.0) or 1.0
    step = max(1, -(-len(columns) // 64))
    for axes, one in zip(every, shown, strict=True):
        image = axes.imshow(
            np.ma.masked_invalid(parts[one]), cmap=paints.shades().with_extremes(bad="#eeece8"), norm=Normalize(-most, most),
            interpolation="nearest", aspect="auto",
        )  # fmt: skip
        axes.set_xticks(range(0, len(columns), step), [short(t) for t in columns[::step]], rotation=90, fontsize=8, parse_math=False)
        axes.set_yticks(range(len(rows)), [short(r, 28) for r in rows], fontsize=8, parse_math=False)
        axes.set_title(PARTS[one], fontsize=8.5, loc="left", color=QUIET)
        axes.tick_params(length=0)
    picture.colorbar(image, ax=every, shrink=0.8, pad=0.02).ax.tick_params(labelsize=7)
    return picture


def sheet(parts: Mapping[str, np.ndarray], rows: Sequence[str], columns: Sequence[str], title: str) -> Sheet:
    """The view that is not drawn yet: a map for each part, stepped through row by row."""
    maps = [{"name": PARTS[one], "rows": rows, "columns": columns, "amounts": parts[one]} for one in PARTS]
    line = f"Written({len(rows)} tokens against {len(columns)})"
    return heat_maps(maps, title, MEANS, line, table(parts, rows, columns, title), steps="token written")


def table(parts: Mapping[str, np.ndarray], rows: Sequence[str], columns: Sequence[str], title: str) -> str:
    """The same without scripts: for each written token the token that carried most of it."""
    head = "".join(cell(name, PLAIN) for name in ("written", "most of all by")) + cell("content", RIGHT) + cell("position", RIGHT)
    show, lines = digits(largest(np.nan_to_num(parts["both"]).ravel().tolist())), [head]
    for r in range(min(len(rows), ROWS)):
        most = int(np.nanargmax(np.abs(np.nan_to_num(parts["both"][r]))))
        told = cell(escaped(rows[r], 40), PLAIN) + cell(f"{escaped(columns[most], 40)} ({most})", PLAIN)
        lines.append(told + cell(show(parts["content"][r][most]), RIGHT) + cell(show(parts["position"][r][most]), RIGHT))
    about = f'<div style="font-size:16px">{escaped(title, 160)}</div><div style="font-size:13px">{MEANS}</div>'
    return f'<div style="max-width:100%;overflow-x:auto">{about}{grid(lines)}</div>'
