"""How the walk back begins, and how it stays inside the range of half precision.

float16 ends at 65,504 and its gradients vanish below 6e-8, so its walk begins with a power of two and every result is divided by
it: both are exact as long as nothing leaves the range.  A walk that does leave it is begun again with a smaller power.  Other
dtypes begin as they are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import ModelError
from .account import better

if TYPE_CHECKING:
    from .propagation import Flow

POWERS = (2.0**12, 2.0**6, 1.0, 2.0**-6, 2.0**-12, 2.0**-18)     # what the walk begins with, the largest that stays finite


def begin(flow: Flow, value: Tensor) -> tuple[float, Tensor]:
    """What the relevance starts with, and the gradient of the value that says so, in float32 or better."""
    if flow.composite.start == "value":
        return float(value.detach()), torch.ones_like(better(value.detach()))
    start = float(flow.composite.start)
    return start, start / better(value.detach())


def walk(flow: Flow, value: Tensor, leaves: list[Tensor], seed: Tensor, keep: bool) -> tuple[Tensor | None, ...]:
    """The gradients of the leaves, in float32 or better, with every amount and boundary booked on the way.

    Raises ModelError if float16 cannot hold them, whatever the walk begins with.
    """
    half = narrow(flow, value, leaves)
    for power in POWERS if half else (1.0,):
        flow.account.clear()
        flow.recorder.clear(live=not half)
        start = (seed * power).to(value.dtype)
        more = keep or (half and power != POWERS[-1])
        with torch.enable_grad():
            grads = torch.autograd.grad(value, leaves, start, retain_graph=more, allow_unused=True)
        divide(flow, power)
        grads = tuple(None if g is None else finer(g, power) for g in grads)
        if not half or finite(flow, grads):
            flow.recorder.tell()
            return grads
    raise ModelError(
        "The relevance leaves the range of float16, or is no number, whatever the walk back begins with. "
        "Load the model in bfloat16 or float32: model.to(torch.bfloat16)."
    )


def narrow(flow: Flow, value: Tensor, leaves: list[Tensor]) -> bool:
    """Whether float16 takes part."""
    return any(x.dtype == torch.float16 for x in (value, *leaves, *flow.model.parameters()))


def finer(g: Tensor, power: float) -> Tensor:
    """g / power in float32 or better."""
    g = g if g.is_complex() else better(g)
    return g if power == 1 else g / power


def divide(flow: Flow, power: float) -> None:
    """Take the power of two out of all that was booked."""
    if power == 1:
        return
    for key, amount in flow.account.amounts.items():
        flow.account.amounts[key] = amount / power
    for mark in flow.recorder.marks:
        mark.relevance = None if mark.relevance is None else mark.relevance / power


def finite(flow: Flow, grads: tuple[Tensor | None, ...]) -> bool:
    """Whether the walk stayed inside the range."""
    marks = (m.relevance for m in flow.recorder.marks)
    found = [x for x in (*grads, *flow.account.amounts.values(), *marks) if x is not None]
    return all(math.isfinite(float(x.abs().sum())) for x in found)
