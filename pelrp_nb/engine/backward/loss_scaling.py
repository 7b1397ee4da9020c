"""Loss scaling: how the walk back begins, and how it stays inside the range of half precision.

float16 ends at 65,504 and its gradients vanish below 6e-8, so its walk begins with a power of two and every result is divided by
it: both are exact as long as nothing leaves the range.  A walk that does leave it is begun again with a smaller power.  Other
dtypes begin as they are.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor
from torch._C import DisableTorchFunction
from torch.utils.checkpoint import CheckpointError

from ...errors import ModelError
from ..attach import walking
from ..forward_pass import ForwardPass
from ..memory import check_detail
from ..numerics import better, finer
from .gates import through
from .in_place import WORDS, changed_in_place

POWERS = (2.0**12, 2.0**6, 1.0, 2.0**-6, 2.0**-12, 2.0**-18)  # what the walk begins with, the largest that stays finite


def walk(flow: ForwardPass, targets: list[Tensor], leaves: list[Tensor], keep: bool) -> dict[int, Tensor]:
    """The gradient of every leaf by identity, in float32 or better; amounts and boundaries are booked on the way.

    Raises ModelError if float16 cannot hold them whatever the walk begins with, InputError if the detail asked for does not fit.
    """
    with DisableTorchFunction():
        check_detail(flow)
        half = narrow(flow, [*targets, *leaves])
    for power in POWERS if half else (1.0,):
        flow.account.clear()
        flow.recorder.clear(live=not half)
        for leaf in flow.inputs.sinks:
            leaf.forget()
        for attention in flow.attentions:
            attention.forget()
        if flow.routes is not None:
            flow.routes.forget()
        flow.power = power
        more = keep or (half and power != POWERS[-1])
        with DisableTorchFunction():
            seeds = [(first(flow, v) * power).to(v.dtype).reshape(v.shape) for v in targets]
        back = partial(through, walk=gradients) if flow.conditions else gradients
        grads = back(flow, targets, leaves, seeds, more)
        with DisableTorchFunction():
            divide(flow, power)
            found = {id(leaf): finer(g, power) for leaf, g in zip(leaves, grads, strict=True) if g is not None}
            done = not half or finite(flow, found)
        if done:
            flow.recorder.tell_held()
            return found
    raise ModelError(
        "The relevance leaves the range of float16, or is no number, whatever the walk back begins with. "
        "Load the model in bfloat16 or float32: model.to(torch.bfloat16)."
    )


def gradients(flow: ForwardPass, targets: list[Tensor], leaves: list[Tensor], seeds: list[Tensor], keep: bool) -> tuple:
    """One backward pass; layers that run again find their hooks in place."""
    with walking(flow):
        try:
            return torch.autograd.grad(targets, leaves, seeds, retain_graph=keep, allow_unused=True)
        except CheckpointError as error:
            raise ModelError(
                f"{type(flow.model).__name__} calls torch.utils.checkpoint itself, and no rule is in force when that runs a part "
                "of it again. Turn that off in the model, and type Options(checkpoint=True) for the memory."
            ) from error
        except RuntimeError as error:
            if WORDS in str(error):
                raise changed_in_place(flow, targets) from error
            raise


def first(flow: ForwardPass, value: Tensor) -> Tensor:
    """The gradient of a target, in float32 or better: R(value) = value, or the number that the composite starts with."""
    number = better(value.detach())
    return torch.ones_like(number) if flow.composite.start == "value" else float(flow.composite.start) / number


def narrow(flow: ForwardPass, tensors: list[Tensor]) -> bool:
    """Whether float16 takes part, whose range asks for a loss scale."""
    return (flow.half and flow.wide is None) or any(x.dtype == torch.float16 for x in tensors)


def divide(flow: ForwardPass, power: float) -> None:
    """Unscale what was booked: every amount and boundary without the loss scale."""
    if power == 1:
        return
    for key, amount in flow.account.amounts.items():
        flow.account.amounts[key] = amount / power
    for mark in flow.recorder.marks:
        mark.relevance = None if mark.relevance is None else mark.relevance / power
        mark.squares = None if mark.squares is None else mark.squares / power**2


def finite(flow: ForwardPass, gradients: dict[int, Tensor]) -> bool:
    """Whether no gradient overflowed at this loss scale."""
    marks = (m.relevance for m in flow.recorder.marks if m.relevance is not None)
    heard = (column for sink in flow.inputs.sinks for column in sink.columns.values())
    found = (*gradients.values(), *flow.account.amounts.values(), *marks, *heard)
    return all(math.isfinite(float(x.abs().sum())) for x in found)
