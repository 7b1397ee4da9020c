"""A linear map whose rule is chosen on the way back, where it is known what it feeds: the value of the map, the gradient of the rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..projections import Choice


@dataclass(frozen=True)
class Later:
    """What is done when the gradient g arrives.

    run:  `run(rule, x, value, *constants) -> y`, the map of x under that rule; `value` is what it gave
    book: `book(rule, (y, g), (x, g_x), *constants)`, what the rule keeps; None where nobody asked

    Neither may hold on to a tensor: constants are saved for them, so that a layer that is run again drops them.
    """

    run: Callable[..., Tensor]
    book: Callable[..., None] | None


class _Deferred(torch.autograd.Function):
    """Keeps x, the value and the constants, and bends the map on the way back."""

    @staticmethod
    def forward(ctx, x: Tensor, value: Tensor, choice: Choice, later: Later, *constants: Tensor | None) -> Tensor:
        ctx.choice, ctx.later = choice, later
        kind = x.device.type if torch.amp.is_autocast_available(x.device.type) else "cpu"
        ctx.autocast = kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
        ctx.save_for_backward(x, value, *constants)
        return value.detach()

    @staticmethod
    def backward(ctx, g: Tensor):
        x, value, *constants = ctx.saved_tensors
        rule, (kind, dtype, enabled) = ctx.choice.rule, ctx.autocast
        fresh = x.detach().requires_grad_()
        with torch.enable_grad(), torch.autocast(kind, dtype=dtype, enabled=enabled):
            y = ctx.later.run(rule, fresh, value, *constants)
        (g_x,) = torch.autograd.grad(y, fresh, g.to(y.dtype))
        if ctx.later.book is not None:
            ctx.later.book(rule, (y.detach(), g), (x.detach(), g_x), *constants)
        return g_x, None, None, None, *[None] * len(constants)


def deferred(choice: Choice, x: Tensor, value: Tensor, later: Later, *constants: Any) -> Tensor:
    """`value`, a linear map of x, with the gradient of the rule that is chosen by then."""
    return _Deferred.apply(x, value.detach(), choice, later, *constants)
