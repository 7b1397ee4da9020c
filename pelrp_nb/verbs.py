"""Five verbs from which every rule is built: the value of one expression, the gradient of another.

    freeze(x)             x,  no gradient
    scale(x, factor)      x,  gradient times factor
    share(a, b, part)     a b,  both gradients times part
    route(value, through) value,  gradient of `through`, or of that times a factor
    stabilise(z, eps)     z + eps sign(z),  with sign(0) = 1

At every tensor R(x) = x * g(x), where g is the gradient bent by these verbs.  (Arras et al. 2025, input x gradient form)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from .errors import InputError


class Later:
    """A number that is known on the way back alone: `ask` is called there."""

    __slots__ = ("ask",)

    def __init__(self, ask: Callable[[], float]) -> None:
        self.ask = ask

    def __float__(self) -> float:
        return self.ask()


class _Verb(torch.autograd.Function):
    """A node of the graph; outside of transforms of torch.func it is made without what torch does for those alone."""

    @classmethod
    def apply(cls, *given):
        at_once: Any = super() if torch._C._are_functorch_transforms_active() else super(torch.autograd.Function, cls)
        return at_once.apply(*given)


class _Scale(_Verb):
    @staticmethod
    def forward(ctx, x: Tensor, factor, value: Tensor | None = None) -> Tensor:
        ctx.factor = factor
        if isinstance(factor, Tensor):
            ctx.save_for_backward(factor)
            ctx.factor = None
        elif callable(factor):
            ctx.save_for_backward(x)
        return (x if value is None else value).detach()

    @staticmethod
    def backward(ctx, g: Tensor):
        if callable(ctx.factor):
            (x,) = ctx.saved_tensors
            factor = ctx.factor(x)
            own = factor.data_ptr() != x.data_ptr() and factor.shape == g.shape and factor.dtype == g.dtype
            return factor.mul_(g) if own else (g * factor).to(g.dtype), None, None  # in place: no new memory
        factor = ctx.saved_tensors[0] if ctx.factor is None else float(ctx.factor)
        return (g * factor).to(g.dtype), None, None


class _Share(_Verb):
    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor, part: float | Later, again, *parts: Tensor) -> Tensor:
        ctx.save_for_backward(b, *(parts if again else (a,)))
        ctx.part, ctx.again, ctx.parts = part, again, len(parts)
        return a * b

    @staticmethod
    def backward(ctx, g: Tensor):
        b, *rest = ctx.saved_tensors
        a = ctx.again(*rest) if ctx.again else rest[0]
        (to_a, to_b, *_), part = ctx.needs_input_grad, float(ctx.part)
        own = ctx.again is not None and a.shape == g.shape and a.dtype == g.dtype and not any(_shared(a, x) for x in rest)
        into_a = into_b = None
        if own:  # in place, as far as the memory is ours: new memory costs more than the products
            part_of_g = g * part if part != 1 else g
            into_b = a.mul_(part_of_g) if to_b else None
            into_a = (part_of_g * b if part_of_g is g else part_of_g.mul_(b)) if to_a else None
        else:
            g = g * part
            into_a, into_b = g * b if to_a else None, g.mul_(a) if to_b else None
        into = [None if x is None else _reduce(x, like) for x, like in ((into_a, a), (into_b, b))]
        return *into, None, None, *[None] * ctx.parts


def _shared(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _reduce(g: Tensor, like: Tensor) -> Tensor:
    g = g if g.shape == like.shape else g.sum_to_size(like.shape)
    return g.to(like.dtype)


class _Route(_Verb):
    @staticmethod
    def forward(ctx, value: Tensor, through: Tensor) -> Tensor:
        ctx.dtype = through.dtype
        return value.detach()

    @staticmethod
    def backward(ctx, g: Tensor):
        return None, g.to(ctx.dtype)


def freeze(x: Inexact[Tensor, "*shape"]) -> Inexact[Tensor, "*shape"]:
    """The value of `x`, and no way back."""
    return x.detach()


def scale(
    x: Inexact[Tensor, "*shape"], factor: float | Later | Inexact[Tensor, "*#shape"] | Callable[[Tensor], Tensor]
) -> Inexact[Tensor, "*shape"]:
    """The value of `x`, to the bit; its gradient times `factor`: a number, a tensor of x's shape, or a function of x.

    A number is read on the way back; a function is called there, which saves memory, and must return a tensor of its own.
    """
    return _Scale.apply(x, factor)


def share(
    a: Float[Tensor, "*#shape"], b: Float[Tensor, "*#shape"], part: float | Later,
    again: tuple[Callable[..., Tensor], tuple[Tensor, ...]] | None = None,
) -> Float[Tensor, "*#shape"]:  # fmt: skip
    """The value of `a * b`, to the bit; the gradients of both times `part`. Shapes broadcast; real tensors.

    `again = (f, parts)` with `a = f(*parts)` saves the parts, which others save anyway, and rematerialises a from them.
    """
    f, parts = again or (None, ())
    return _Share.apply(a, b, part, f, *(x.detach() for x in parts))


def route(
    value: Inexact[Tensor, "*shape"], through: Inexact[Tensor, "..."],
    factor: float | Inexact[Tensor, "..."] | Callable[[Tensor], Tensor] | None = None,
) -> Inexact[Tensor, "*shape"]:  # fmt: skip
    """The value of `value`, to the bit; the gradient of `through`, which has the same shape, times a `factor` as that of `scale`."""
    if value.shape != through.shape:
        raise InputError(f"route needs two tensors of one shape, got {tuple(value.shape)} and {tuple(through.shape)}")
    return _Route.apply(value.detach(), through) if factor is None else _Scale.apply(through, factor, value.detach())


def stabilise(z: Float[Tensor, "*shape"], eps: float = 0.0) -> Float[Tensor, "*shape"]:
    """`z` moved away from zero by `eps`, on its own side; zero counts as positive.

    With `eps = 0` exact zeros alone move, to the smallest normal number of the dtype, so that 0/0 is 0.
    """
    if not eps:
        return z.masked_fill(z == 0, torch.finfo(z.dtype).tiny)
    return z + torch.where(z < 0, -torch.ones_like(z), torch.ones_like(z)) * eps


def input_times_gradient(
    forward: Callable[..., Tensor], R: Float[Tensor, "*out"], *inputs: Inexact[Tensor, "..."]
) -> tuple[Float[Tensor, "..."], ...]:
    """Relevance of each input by the bent gradient: `x * g(x)` with `g(y) = R / y` at the output `y`.

    Args: `forward` a fast form; `R` relevance of its output, same shape; `inputs` real or complex tensors.
    Inputs that the output does not depend on get zeros. A complex input gets `Re(conj(x) g)`.
    """
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    with torch.enable_grad():
        y = forward(*leaves)
        if not y.requires_grad:
            return tuple(_times(x, None) for x in inputs)
        g = R / stabilise(y.detach())
        grads = torch.autograd.grad(y, leaves, g, allow_unused=True)
    return tuple(_times(x, g) for x, g in zip(inputs, grads, strict=True))


def _times(x: Tensor, g: Tensor | None) -> Tensor:
    if g is None:
        return torch.zeros_like(x.real if x.is_complex() else x)
    product = (x.conj() * g).real if x.is_complex() else x.detach() * g
    return torch.where(g == 0, torch.zeros_like(product), product)  # a masked -inf has no gradient: nothing
