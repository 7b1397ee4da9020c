"""Relevance of a tensor summed to the places of an input: (rows, places, features), by the maps, whatever the order of axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor
from torch._C import DisableTorchFunction

from .maps import Axis, PlaceMap, padded, place_map
from .provenance import Provenance

Place = tuple[int | None, ...]  # a cell for each of the stream's place axes; None where it is not told apart


@dataclass(frozen=True)
class Layout:
    """Where the rows of the batch and the places of one stream are in a tensor.

    rows: the map of the batch axis, if several rows are told apart; maps: one for each of the stream's place axes, or None
    """

    rows: PlaceMap | None
    maps: tuple[PlaceMap | None, ...]

    @cached_property
    def axes(self) -> tuple[int, ...]:
        """All axes that tell rows or places apart."""
        return tuple(sorted({a for m in (self.rows, *self.maps) if m is not None for a in m.axes}))

    def first(self, dims: int) -> Layout:
        """The same for a tensor whose axes of rows and places have been moved to the front, and the others merged into one."""
        axes = self.axes

        def moved(one: PlaceMap | None) -> PlaceMap | None:
            if one is None:
                return None
            rest = [a for a in range(dims) if a not in axes]
            cells = one.cells.permute([*axes, *rest])
            return place_map(one.key, cells.reshape(*cells.shape[: len(axes)], 1))

        with DisableTorchFunction():
            return Layout(moved(self.rows), tuple(map(moved, self.maps)))


@lru_cache(maxsize=1000)
def layout_of(
    known: Provenance, dims: int, stream: str, keys: tuple[Axis, ...], batch: int | None, axis: int | None = None, other: bool = False
) -> Layout:
    """The layout of a tensor with `dims` axes; `keys` are the stream's place axes; of scores a side (`axis` -1, -2), or the `other`."""
    seen = [padded(m, dims) for m in known.maps if m.key.stream == stream]

    def of(key: Axis) -> PlaceMap | None:
        found = [m for m in seen if m.key == key]
        if axis is not None:
            here, there = dims + axis, dims - 3 - axis
            near = [m for m in found if here in m.axes or there not in m.axes] or found
            found = near if not other else [m for m in found if m is not near[0]] or near
        return found[0] if found else None

    rows = None if batch is None else next((m for m in seen if m.key == Axis(stream, batch) and m.axes), None)
    return Layout(rows, tuple(of(key) for key in keys))


def summed(
    R: Tensor, layout: Layout, rows: int, features: int | None = None, several: bool = False
) -> tuple[Tensor, tuple[Place, ...]]:  # fmt: skip
    """((rows, places, F), the places in their order of first appearance): all that is no row, place or feature is added up.

    several: the last axis holds several of the same shape, which are told apart as features are
    """
    with DisableTorchFunction():
        axes = layout.axes
        kept = [*axes, *([features % R.dim()] if features is not None and features % R.dim() not in axes else [])]
        kept += [R.dim() - 1] if several else []
        others = [a for a in range(R.dim()) if a not in kept]
        R = R.sum(others, keepdim=True) if others else R
        own = kept[len(axes) :]
        flat = R.permute([*axes, *own, *others]).reshape(*(R.shape[a] for a in axes), -1)
        sizes = tuple(flat.shape[:-1])
        at, places = index_of(layout, axes, sizes)
        flat = flat.reshape(-1, flat.shape[-1])
        n = len(places)
        if at is None and len(flat) == rows * n:
            return flat.reshape(rows, n, -1), places
        at = torch.arange(len(flat)) if at is None else at
        found = flat.new_zeros(rows * n, flat.shape[-1])
        if layout.rows is None and rows > 1:  # all rows share it
            shared = flat.new_zeros(n, flat.shape[-1]).index_add_(0, at.to(flat.device), flat)
            return (shared / rows).expand(rows, *shared.shape), places
        found.index_add_(0, at.to(flat.device), flat)
        return found.reshape(rows, n, -1), places


_indices: dict[tuple, tuple[Tensor | None, tuple[Place, ...]]] = {}


def index_of(layout: Layout, axes: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[Tensor | None, tuple[Place, ...]]:
    """For each entry of the axes: row * places + place (None: they are in that order already), and the places."""
    key = (*(None if m is None else m.number for m in (layout.rows, *layout.maps)), axes, sizes)
    found = _indices.get(key)
    if found is None:
        if len(_indices) > 1000:
            _indices.clear()
        found = _indices[key] = make_index(layout, axes, sizes)
    return found


def make_index(layout: Layout, axes: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[Tensor | None, tuple[Place, ...]]:
    """Worked out once for each layout."""

    def spread(one: PlaceMap | None) -> Tensor:
        if one is None:
            return torch.zeros(sizes, dtype=torch.int64)
        cells = one.cells.permute([*axes, *(a for a in range(one.cells.dim()) if a not in axes)])
        return cells.reshape(cells.shape[: len(axes)]).expand(sizes).to(torch.int64)

    told = torch.stack([spread(m).reshape(-1) for m in layout.maps], 1) if layout.maps else torch.zeros(1, 0, dtype=torch.int64)
    unique, at = torch.unique(told, dim=0, return_inverse=True)
    places = tuple(tuple(None if m is None else int(c) for m, c in zip(layout.maps, row, strict=True)) for row in unique.tolist())
    at = spread(layout.rows).clamp(min=0).reshape(-1) * len(places) + at  # what is of no row is the first one's
    return (None if torch.equal(at, torch.arange(len(at))) else at), places


def in_order(places: Sequence[Place]) -> list[Place]:
    """Places that constants brought along first (CLS, registers), in the order in which they were joined; then row by row."""
    own = [p for p in places if any(c is not None and c < 0 for c in p)]
    return [*sorted(dict.fromkeys(own), key=lambda p: [-(c or 0) for c in p]), *of_input(places)]


def of_input(places: Sequence[Place]) -> list[Place]:
    """The places that an input itself has, row by row: without those that constants brought along."""
    return sorted({p for p in places if all(c is not None and c >= 0 for c in p)})


def united(given: Sequence[Sequence[Place]]) -> list[Place]:
    """The places of several tensors: those of the first in their order, and among them those that only others have."""
    found = list(dict.fromkeys(place for places in given for place in places))
    return list(given[0]) if given and (len(found) == len(given[0]) or any(None in p for p in found)) else in_order(found)


def aligned(found: Tensor, places: Sequence[Place], order: Sequence[Place]) -> Tensor:
    """(rows, places, F) put at the stream's places; what is not told apart along an axis is spread over the places it may be."""
    if tuple(places) == tuple(order):
        return found
    at = {place: i for i, place in enumerate(order)}
    result = found.new_zeros(found.shape[0], len(order), found.shape[2])
    known = [i for i, p in enumerate(places) if p in at]
    if known:
        to = torch.tensor([at[places[i]] for i in known], device=found.device)
        result.index_add_(1, to, found if len(known) == len(places) else found[:, known])
    for i in sorted(set(range(len(places))) - set(known)):
        maybe = [j for j, p in enumerate(order) if all(c is None or c == d for c, d in zip(places[i], p, strict=True))]
        where = maybe or list(range(len(order)))
        result[:, where] += found[:, i : i + 1] / max(len(where), 1)
    return result
