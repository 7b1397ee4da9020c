"""What positions are worth, for print: the matrix of pairs, each place, and the profile over distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize

from .figure import Picture
from .overlay import COLOURS

QUIET = "#5f5c57"
NAMED = 40  # up to here every place has its label
BLANK = "#eeece8"  # pairs that were not exchanged


def draw(
    tokens: Sequence[str], matrix: Sequence[Sequence[float]], signed: Sequence[float], places: Sequence[int],
    away: Mapping[str, Sequence[float]], title: str, size: tuple[float, float] | None = None,
) -> Picture:  # fmt: skip
    """A figure of three panels; places that took no part are left out.

    matrix: (T, T), nan where two places were not exchanged; signed: (T,); away: columns distance, signed, size
    """
    order = sorted(places)
    names, amounts = [tokens[i] for i in order], np.asarray(matrix, float)[np.ix_(order, order)]
    worth = np.asarray(signed, float)[order]
    picture = Picture(figsize=size or (7.2, 4.4), layout="constrained", facecolor="white")
    grid = picture.add_gridspec(2, 2, width_ratios=[1.5, 1])
    _pairs(picture, picture.add_subplot(grid[:, 0]), amounts, names)
    _places(picture.add_subplot(grid[0, 1]), worth, names)
    _distances(picture.add_subplot(grid[1, 1]), away)
    picture.suptitle(title, fontsize=9)
    return picture


def _pairs(picture: Picture, ax: Any, amounts: np.ndarray, names: Sequence[str]) -> None:
    most = np.nanmax(np.abs(amounts)) if np.isfinite(amounts).any() else 0.0
    colours = COLOURS.with_extremes(bad=BLANK)
    shown = ax.imshow(np.ma.masked_invalid(amounts), cmap=colours, norm=Normalize(-(most or 1.0), most or 1.0))
    if len(names) <= NAMED:
        font = 8 if len(names) <= 16 else 6
        ax.set_xticks(range(len(names)), names, rotation=90, fontsize=font)
        ax.set_yticks(range(len(names)), names, fontsize=font)
    ax.set_title("worth of standing where they stand, by pair", fontsize=8)
    bar = picture.colorbar(shown, ax=ax, location="bottom", shrink=0.8, pad=0.02)
    bar.ax.tick_params(labelsize=7)


def _places(ax: Any, worth: np.ndarray, names: Sequence[str]) -> None:
    most = np.nanmax(np.abs(worth)) if np.isfinite(worth).any() else 0.0
    paint = COLOURS(Normalize(-(most or 1.0), most or 1.0)(np.nan_to_num(worth)))
    ax.bar(range(len(worth)), np.nan_to_num(worth), color=paint, edgecolor=QUIET, linewidth=0.4)
    ax.axhline(0, color=QUIET, linewidth=0.6)
    ax.set_xticks(range(len(names)), names if len(names) <= NAMED // 2 else [""] * len(names), rotation=90, fontsize=6)
    ax.set_title("by place, mean over partners", fontsize=8)
    _plain(ax)


def _distances(ax: Any, away: Mapping[str, Sequence[float]]) -> None:
    ax.axhline(0, color=QUIET, linewidth=0.6)
    ax.plot(away["distance"], away["size"], "o-", markersize=3, linewidth=1, color="#3c3a36", label="size")
    ax.plot(away["distance"], away["signed"], "o--", markersize=3, linewidth=1, color="#b35806", label="signed")
    ax.set_xlabel("distance in places", fontsize=7)
    ax.set_title("by distance", fontsize=8)
    ax.legend(fontsize=6, frameon=False)
    _plain(ax)


def _plain(ax: Any) -> None:
    ax.tick_params(labelsize=6)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
