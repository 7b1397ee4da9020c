"""What positions are worth, for print: the matrix of pairs, each place, and the profile over distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from ..amounts import signed
from ..errors import InputError
from .figure import Picture, fits, is_size
from .look import drawable
from .overlay import COLOURS
from .text import visible
from .worth import PlainExchange

QUIET = "#5f5c57"
KINDS = ("all", "matrix", "places", "distance")
SIZES = {"all": (7.2, 4.4), "matrix": (4.2, 4.6)}
NAMED = 40  # up to here every place has its label
BLANK = "#eeece8"  # pairs that were not exchanged


def draw(data: PlainExchange, kind: str, ax: Axes | None = None, size: tuple[float, float] | None = None) -> Any:
    """The whole figure or one panel, by name; places that took no part are left out. InputError for what cannot be drawn so."""
    if kind not in KINDS:
        raise InputError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}. Type figure('matrix').")
    if ax is not None:
        fits(kind, ax, size, "matrix")
        _panel(ax, kind, data)
        return ax.figure
    if size is not None and not is_size(size):
        raise InputError(f"size must be (width, height) in inches, got {size!r}. Type size=(6.5, 3).")
    picture = Picture(figsize=size or SIZES.get(kind, (3.4, 2.6)), layout="constrained", facecolor="white")
    if kind != "all":
        _panel(picture.subplots(), kind, data)
        return picture
    grid = picture.add_gridspec(2, 2, width_ratios=[1.5, 1])
    for name, place in (("matrix", grid[:, 0]), ("places", grid[0, 1]), ("distance", grid[1, 1])):
        _panel(picture.add_subplot(place), name, data)
    picture.suptitle(f"{data['target']} {signed(data['value'])}, share of positions {data['share']:.0%}", fontsize=9, parse_math=False)
    return picture


def _panel(ax: Axes, kind: str, data: PlainExchange) -> None:
    """One panel by name."""
    names = [drawable(visible(token, 24)) for token in data["tokens"]]
    if kind == "matrix":
        _pairs(ax, np.asarray(data["matrix"], float).reshape(len(names), len(names)), names)
    elif kind == "places":
        _places(ax, np.asarray(data["signed"], float), names)
    else:
        _distances(ax, data["away"])


def _pairs(ax: Axes, amounts: np.ndarray, names: Sequence[str]) -> None:
    most = np.nanmax(np.abs(amounts)) if np.isfinite(amounts).any() else 0.0
    colours = COLOURS.with_extremes(bad=BLANK)
    shown = ax.imshow(np.ma.masked_invalid(amounts), cmap=colours, norm=Normalize(-(most or 1.0), most or 1.0))
    if len(names) <= NAMED:
        font = 8 if len(names) <= 16 else 6
        ax.set_xticks(range(len(names)), names, rotation=90, fontsize=font, parse_math=False)
        ax.set_yticks(range(len(names)), names, fontsize=font, parse_math=False)
    ax.set_title("worth of standing where they stand, by pair", fontsize=8)
    bar = ax.figure.colorbar(shown, ax=ax, location="bottom", shrink=0.8, pad=0.02)
    bar.ax.tick_params(labelsize=7)


def _places(ax: Axes, worth: np.ndarray, names: Sequence[str]) -> None:
    most = np.nanmax(np.abs(worth)) if np.isfinite(worth).any() else 0.0
    paint = COLOURS(Normalize(-(most or 1.0), most or 1.0)(np.nan_to_num(worth)))
    ax.bar(range(len(worth)), np.nan_to_num(worth), color=paint, edgecolor=QUIET, linewidth=0.4)
    ax.axhline(0, color=QUIET, linewidth=0.6)
    ax.set_xticks(range(len(names)), names if len(names) <= NAMED // 2 else [""] * len(names), rotation=90, fontsize=6, parse_math=False)
    ax.set_title("by place, mean over partners", fontsize=8)
    _plain(ax)


def _distances(ax: Axes, away: Mapping[str, Sequence[float]]) -> None:
    ax.axhline(0, color=QUIET, linewidth=0.6)
    ax.plot(away["distance"], away["size"], "o-", markersize=3, linewidth=1, color="#3c3a36", label="size")
    ax.plot(away["distance"], away["signed"], "o--", markersize=3, linewidth=1, color="#b35806", label="signed")
    ax.set_xlabel("distance in places", fontsize=7)
    ax.set_title("by distance", fontsize=8)
    ax.legend(fontsize=6, frameon=False)
    _plain(ax)


def _plain(ax: Axes) -> None:
    ax.tick_params(labelsize=6)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
