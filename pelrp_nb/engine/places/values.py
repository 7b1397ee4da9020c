"""Looking at a constant's values: once for each tensor, the answers kept.

A constant differs along an axis if two of its entries there are more than 1e-6 of its largest one apart.  Entries that hide count as
nothing: -inf, and values at or below -30 where -100 or less occurs (-1e9, -1e4, -100, a dtype's minimum); as a factor, 0 and 1 alone
are a mask.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch._C import DisableTorchFunction

SMALL, HIDES, SURELY = 1e-6, -30.0, -100.0
STORED = "_pelrp_stored"


class Values:
    """What was seen of the constants of one forward pass."""

    def __init__(self) -> None:
        self.answers: dict[tuple, bool] = {}
        self.held: list[Tensor] = []  # so that no other tensor takes their memory meanwhile

    def differs(self, x: Tensor, axis: int, factor: bool = False) -> bool:
        """Whether entries along one axis differ; `factor`: it is multiplied, not added."""
        x = as_stored(x)
        key = (storage_of(x), x.storage_offset(), tuple(x.shape), x.stride(), x._version, x.dtype, axis, factor)
        found = self.answers.get(key)
        if found is None:
            self.held.append(x)
            with torch.no_grad(), DisableTorchFunction():
                found = self.answers[key] = differs(x, axis, factor)
        return found


def as_stored(x: Tensor) -> Tensor:
    """The tensor as the model holds it, of which x may be a copy in another precision."""
    return getattr(x, STORED, x)


def storage_of(x: Tensor) -> int:
    """What tells the memory of one tensor from that of another: views share it, and weights that a quantiser wraps have one as well."""
    return x.untyped_storage()._cdata


def differs(x: Tensor, axis: int, factor: bool) -> bool:
    """Whether entries of x along one axis differ."""
    if x.shape[axis] < 2 or x.stride(axis) == 0 or not x.numel():
        return False
    if x.is_meta:  # without values what may differ is taken to differ
        return True
    x = narrowed(x.detach())
    x = torch.view_as_real(x) if x.is_complex() else x
    if not x.is_floating_point():
        x = x.to(torch.float32 if x.device.type == "mps" else torch.float64)
    if factor and bool(((x == 0) | (x == 1)).all()):
        return False
    hidden = None if factor else hiding(x)
    high, low = (x, x) if hidden is None else (x.masked_fill(hidden, -math.inf), x.masked_fill(hidden, math.inf))
    scale = (x if hidden is None else x.masked_fill(hidden, 0)).abs().amax()
    return bool((high.amax(axis) - low.amin(axis) > SMALL * scale).any())


def hiding(x: Tensor) -> Tensor | None:
    """Which entries of an added constant hide; None if none does."""
    low = float(x.amin())
    if low > SURELY:
        return None
    hidden = x <= HIDES
    return None if bool(hidden.all()) and low > -1e4 else hidden


def narrowed(x: Tensor) -> Tensor:
    """x without the copies that expanding made."""
    for axis, n in enumerate(x.shape):
        if n > 1 and x.stride(axis) == 0:
            x = x.narrow(axis, 0, 1)
    return x
