"""Looking at a constant's values: once for each tensor and each way in which it is met, the answers kept.

On a device a look waits for all that was computed before.  So whatever may be asked of a constant is worked out together, without a
branch that would need a value, and comes back in one piece.

A constant differs along an axis if two of its entries there are more than 1e-6 of its largest one apart.  Entries that hide count as
nothing: -inf, and values at or below -30 where -100 or less occurs (-1e9, -1e4, -100, a dtype's minimum), all times what they are
multiplied by where they are added (-1 where they are taken away); as a factor, 0 and 1 alone are a mask.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C import DisableTorchFunction

SMALL, HIDES, SURELY, ALONE = 1e-6, -30.0, -100.0, -1e4
STORED = "_pelrp_stored"


class Look(NamedTuple):
    """along: for each axis, whether entries along it differ; hides: whether an added constant is 0 wherever it does not hide."""

    along: tuple[bool, ...]
    hides: bool


class Values:
    """What was seen of the constants of one forward pass."""

    def __init__(self) -> None:
        self.answers: dict[tuple, Any] = {}
        self.held: list[torch.UntypedStorage] = []  # so that no other tensor takes their memory meanwhile

    def kept(self, x: Tensor, question: Any, look: Callable[[Tensor], Any]) -> Any:
        """What `look` says of a tensor: asked once, whichever view of the same memory it is asked of."""
        x = as_stored(x)
        key = (storage_of(x), x.storage_offset(), tuple(x.shape), x.stride(), x._version, x.dtype, question)
        if key not in self.answers:
            self.held.append(x.untyped_storage())
            with torch.no_grad(), DisableTorchFunction():
                self.answers[key] = look(x)
        return self.answers[key]

    def differs(self, x: Tensor, axis: int, factor: bool = False, times: float = 1) -> bool:
        """Whether entries along one axis differ; `factor`: it is multiplied; else it is added, `times` a number."""
        how = None if factor else float(times)
        return self.kept(x, how, partial(looked_at, times=how)).along[axis]

    def hides(self, x: Tensor) -> bool:
        """Whether an added score only hides: 0 for every pair that it leaves visible."""
        return self.kept(x, 1.0, looked_at).hides

    def anything(self, x: Tensor) -> bool:
        """Whether any entry is not 0."""
        return self.kept(x, "anything", lambda x: bool(x.any()))

    def selects(self, x: Tensor) -> bool:
        """Whether all entries are 0 or 1."""
        return self.kept(x, "selects", lambda x: bool(((x == 0) | (x == 1)).all()))


def as_stored(x: Tensor) -> Tensor:
    """The tensor as the model holds it, of which x may be a copy in another precision."""
    return getattr(x, STORED, x)


def storage_of(x: Tensor) -> int:
    """What tells the memory of one tensor from that of another: views share it, and weights that a quantiser wraps have one as well."""
    return x.untyped_storage()._cdata


def looked_at(x: Tensor, times: float | None = 1.0) -> Look:
    """Along which axes the entries of x differ, and whether it only hides: one answer of the device.

    It is added, `times` a number; None: it is a factor itself.
    """
    axes = [axis for axis, n in enumerate(x.shape) if n > 1 and x.stride(axis)] if x.numel() else []
    if x.is_meta:  # without values what may differ is taken to differ
        return Look(tuple(axis in axes for axis in range(x.dim())), False)
    x = narrowed(x.detach())
    x = torch.view_as_real(x) if x.is_complex() else x
    if not x.is_floating_point():
        x = x.to(torch.float32 if x.device.type == "mps" else torch.float64)
    if not x.numel():
        return Look((False,) * x.dim(), True)
    if times is None:
        high = low = shown = x
        apart, hides = ~((x == 0) | (x == 1)).all(), x.new_zeros((), dtype=torch.bool)
    else:
        x = x if times == 1 else x * times
        hidden = hiding(x)
        high, low, shown = x.masked_fill(hidden, -math.inf), x.masked_fill(hidden, math.inf), x.masked_fill(hidden, 0)
        apart, hides = x.new_ones((), dtype=torch.bool), ~((x > HIDES) & (x != 0)).any()
    least = SMALL * shown.abs().amax()
    flags = [apart & (high.amax(axis) - low.amin(axis) > least).any() for axis in axes]
    *found, hides = torch.stack([*flags, hides]).tolist()
    along = dict(zip(axes, found, strict=True))
    return Look(tuple(along.get(axis, False) for axis in range(x.dim())), hides)


def hiding(x: Tensor) -> Tensor:
    """Which entries of an added constant hide; none where nothing does so surely, or where all would and none is beyond doubt."""
    least, hidden = x.amin(), x <= HIDES
    return hidden & (least <= SURELY) & (~hidden.all() | (least <= ALONE))


def narrowed(x: Tensor) -> Tensor:
    """x without the copies that expanding made."""
    for axis, n in enumerate(x.shape):
        if n > 1 and x.stride(axis) == 0:
            x = x.narrow(axis, 0, 1)
    return x
