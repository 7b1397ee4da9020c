"""Place maps: of each element of a tensor, which place of an input's axis it belongs to.

Interned: two maps of equal cells are one object, so that what was found out once is found again by identity.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor
from torch._C import DisableTorchFunction

WEIGHT = ""  # the stream of axes that no input has: features, heads, distances
OWN = -1000  # places that a constant piece brings along count from here, downwards, piece by piece
FOREIGN = torch.iinfo(torch.int32).min  # cells that belong to nothing of the tensor
TOO_MANY = 50_000  # maps and steps kept before all are forgotten


def words(text: str) -> frozenset[str]:
    """Names of functions, written one after the other."""
    return frozenset(text.split())


class Axis(NamedTuple):
    """One axis of one input (`stream`, `axis`); of a weight (WEIGHT, 0), of a mix of places (WEIGHT, 1)."""

    stream: str
    axis: int

    @property
    def of_weight(self) -> bool:
        """Whether no input has this axis."""
        return self.stream == WEIGHT


class PlaceMap:
    """`cells` has as many axes as the tensor, and size 1 along those on which the place does not depend; `axes` are the others.

    Places that a constant brought along (CLS, padding) are negative.
    """

    __slots__ = ("axes", "cells", "key", "number")

    def __init__(self, key: Axis, cells: Tensor, number: int) -> None:
        self.key, self.cells, self.number = key, cells, number
        self.axes = tuple(a for a, n in enumerate(cells.shape) if n > 1)

    def __repr__(self) -> str:
        return f"PlaceMap({self.key.stream or 'weight'}[{self.key.axis}] on axes {self.axes} of {self.cells.dim()})"


_interned: dict[tuple, PlaceMap] = {}
_numbers = count()


def place_map(key: Axis, cells: Tensor) -> PlaceMap:
    """The map of these cells: axes along which nothing changes are narrowed to size 1."""
    with DisableTorchFunction():
        cells = compact(cells)
        name = (key, tuple(cells.shape), cells.numpy().tobytes())
        found = _interned.get(name)
        return found if found is not None else _interned.setdefault(name, PlaceMap(key, cells, next(_numbers)))


def compact(cells: Tensor) -> Tensor:
    """The same cells with size 1 along every axis on which they do not depend."""
    for axis, n in enumerate(cells.shape):
        if n > 1 and cells.stride(axis) == 0:
            cells = cells.narrow(axis, 0, 1)
    for axis, n in enumerate(cells.shape):
        if n > 1 and bool((cells == cells.narrow(axis, 0, 1)).all()):
            cells = cells.narrow(axis, 0, 1)
    return cells.to(torch.int32).contiguous()


def own_beside(cells: Tensor) -> Tensor:
    """Cells in which what is FOREIGN has places of its own, one after the other, along the axes on which it depends."""
    outside = cells == FOREIGN
    pattern = compact(outside)
    rank = pattern.flatten().cumsum(0, dtype=torch.int32).view_as(pattern) - 1
    return torch.where(outside, OWN - rank, cells)


def counting(key: Axis, n: int, axis: int, dims: int) -> PlaceMap:
    """0, 1, 2 ... along one axis of a tensor of `dims` axes."""
    with DisableTorchFunction():
        return place_map(key, torch.arange(n, dtype=torch.int32).reshape([n if a == axis else 1 for a in range(dims)]))


def padded(one: PlaceMap, dims: int) -> PlaceMap:
    """The map as seen from a tensor with more axes, on the left."""
    missing = dims - one.cells.dim()
    return one if missing <= 0 else behind(one, missing)


@lru_cache(maxsize=TOO_MANY)
def behind(one: PlaceMap, more: int) -> PlaceMap:
    """The map with so many axes in front of its own."""
    with DisableTorchFunction():
        return place_map(one.key, one.cells.reshape((1,) * more + tuple(one.cells.shape)))


def forget() -> None:
    """Drop all that is interned; maps in use stay what they are."""
    _interned.clear()
    behind.cache_clear()
