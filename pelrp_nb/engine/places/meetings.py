"""A constant meets a carrier: is it a position?

It is if it is indexed by place there: it differs along an axis that holds an input's places, or it has, as a parameter or as what was
read from a table, an entry of its own for each place.  Which axes hold features or rows of the batch is known only when the forward
pass has ended; so each meeting is remembered, and judged then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor

from .follow import Places
from .maps import Axis, PlaceMap, padded
from .provenance import Provenance, axes_seen
from .values import Values, narrowed


@dataclass(eq=False)
class Meeting:
    """One constant and the carrier it met.

    shape:  of the carrier, or of what both make; `known` is its provenance
    axes:   of that shape, along which the constant may differ from place to place
    factor: it is multiplied; times: by what number it is multiplied before it is added, -1 where it is taken away
    """

    constant: Tensor
    known: Provenance
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    factor: bool = False
    times: float = 1

    def at(self, axis: int) -> int:
        """The constant's own axis there."""
        return axis - (len(self.shape) - self.constant.dim())

    def keys(self, places: Places, values: Values, own: Callable[[Tensor, int], bool]) -> tuple[Axis, ...]:
        """Input axes on whose places the constant depends; none: it is no position.

        `own` tells whether it has an entry of its own for each place along one of its axes, whatever the values are.
        """

        def foreign(key: Axis) -> bool:
            return key.of_weight or key in places.features or places.is_batch(key)

        def owns() -> bool:
            return any(own(self.constant, self.at(axis)) for axis in self.axes)

        found: dict[Axis, None] = {}
        for axis in self.axes:
            on = [m for m in self.known.maps if axis in padded(m, len(self.shape)).axes]
            if all(foreign(m.key) for m in on):
                continue
            differs = (not self.factor and owns()) or values.differs(
                self.constant, self.at(axis), self.factor, self.times
            )  # tables are not read
            if differs or (self.factor and owns()):
                found |= dict.fromkeys(self.among(on, axis, values))
        return tuple(k for k in found if not foreign(k))

    def among(self, on: Sequence[PlaceMap], axis: int, values: Values) -> list[Axis]:
        """Several input axes merged in this one (rows of the batch and tokens, rows and columns): on which does it depend?"""
        if len(on) < 2:
            return [m.key for m in on]
        own, dims = self.at(axis), len(self.shape)
        return values.kept(self.constant, (own, axis, dims, *(m.number for m in on)), partial(merged, own=own, on=on, axis=axis, dims=dims))


def merged(constant: Tensor, own: int, on: Sequence[PlaceMap], axis: int, dims: int) -> list[Axis]:
    """On which of several input axes, merged in axis `axis` of `dims`, a constant depends along its axis `own`."""
    x = narrowed(constant.detach()).movedim(own, 0).cpu()
    x = torch.view_as_real(x) if x.is_complex() else x
    x = x.reshape(x.shape[0], -1)
    cells = []
    for one in on:
        one = padded(one, dims)
        cells.append(one.cells.movedim(axis, 0).reshape(one.cells.shape[axis], -1)[:, 0])
    found = []
    for i, one in enumerate(on):
        others = torch.stack([c for j, c in enumerate(cells) if j != i], 1)
        _, group = torch.unique(others, dim=0, return_inverse=True)
        order = torch.argsort(group, stable=True)
        together = group[order][1:] == group[order][:-1]
        if bool((together & (x[order][1:] != x[order][:-1]).any(1)).any()):
            found.append(one.key)
    return found or [m.key for m in on]


def meeting(
    constant: Tensor, known: Provenance, shape: Sequence[int], factor: bool = False, times: float = 1
) -> Meeting | None:  # fmt: skip
    """A constant that may be a position where it meets this carrier; None if it cannot be one."""
    shape = tuple(shape)
    if constant.dim() > len(shape) or not (constant.is_floating_point() or constant.is_complex()):
        return None
    axes = met_along(known, len(shape), constant.shape, constant.stride())
    return Meeting(constant, known, shape, axes, factor, times) if axes else None


@lru_cache(maxsize=10_000)
def met_along(known: Provenance, dims: int, sizes: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of a carrier with `dims` axes along which places differ, and a constant of these sizes and strides may."""
    shift = dims - len(sizes)
    return tuple(a for a in sorted(axes_seen(known, dims)) if a >= shift and sizes[a - shift] > 1 and strides[a - shift] != 0)
