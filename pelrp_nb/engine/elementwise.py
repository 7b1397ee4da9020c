"""Elementwise functions of one tensor: activations, chains written out, powers.

x * f(x) written as a product is ONE activation of x: each tensor remembers of which tensor it is an elementwise function,
and what that function makes of zero, so that a product of two functions of the same tensor is recognised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..rules.identity import SLOPES
from ..verbs import freeze, route, scale
from .account import FILLER, exact
from .notes import REFUSED, Note, Origin, carries, chain, hand_on, note_of, origin_of, pick, write

if TYPE_CHECKING:
    from .propagation import Flow


def activation(flow: Flow, func: Callable, args: tuple, kwargs: dict, slope: str | None = None) -> Tensor:
    """y = f(x): identity, and f(0) booked as a constant."""
    x, rest = args[0] if args else kwargs["input"], args[1:]
    more = {k: v for k, v in kwargs.items() if k not in ("input", "inplace")}
    if any(map(carries, rest)):
        return REFUSED

    def f(x: Tensor) -> Tensor:
        return func(x, *rest, **more)

    if slope == "gelu" and more.get("approximate", "none") == "tanh":
        slope = "gelu_tanh"
    rule = flow.composite.activation
    flow.used("activation", rule)
    out = rule.forward(x, f=f, slope=SLOPES[slope] if slope else None)
    out = elementwise_note(flow, func, (x, *rest), more, out, made="activation")
    if slope:
        note_of(flow, out).again = (f, (x.detach(),))
    start = own_start(func, rest, more)
    if start:
        hidden = x.detach() < -FILLER                            # a masked place: f is 0 there, and nothing is f(0)
        start = torch.where(hidden, 0.0, start).to(out.dtype) if bool(hidden.any()) else start
        flow.account.constant(out, start, f"{flow.place}: {flow.function_name(func)}(0)", flow.depth)
    return out


def own_start(func: Callable, rest: tuple, more: dict) -> float:
    """f(0) of this function alone."""
    return float(func(torch.zeros((), dtype=torch.float64, device="cpu"), *rest, **more))


def elementwise(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> tuple[Origin, Tensor] | None:
    """(origin, zero) if `func` here is an elementwise function of one tensor; None if several take part."""
    origin = None
    for a in args:
        if carries(a):
            if origin is None:
                origin = origin_of(flow, a)
            elif origin_of(flow, a) is not origin:
                return None
        elif isinstance(a, Tensor) and a.numel() != 1:
            return None
    values = [chain(flow, a)[1] if carries(a) else exact(a).reshape(()) if isinstance(a, Tensor) else a
              for a in args]
    first = next((a for a in args if carries(a)), None)
    if first is None:
        return None
    with torch.enable_grad():
        zero = func(*values, **kwargs)
    return chain(flow, first)[0], zero


def elementwise_note(
    flow: Flow, func: Callable, args: tuple, kwargs: dict, out: Tensor, made: str | None = None
) -> Tensor:
    """Remember of which tensor `out` is an elementwise function."""
    found = elementwise(flow, func, args, kwargs)
    if found is not None or made:
        origin, zero = found or (None, None)
        write(out, Note(origin=origin, zero=zero, made=made))
    hand_on(flow, next((a for a in args if carries(a)), None), out)
    return out


def one_activation(flow: Flow, func: Callable, args: tuple, merged: tuple[Origin, Tensor]) -> Tensor | None:
    """x * f(x) written out: one activation of x, not a product; None if x is gone."""
    origin, zero = merged
    x = origin.ref()
    if x is None:
        return None
    flow.used("activation", flow.composite.activation)
    with torch.no_grad():
        value = func(*args)
        (limit,) = torch.autograd.grad(zero, origin.start, retain_graph=True, allow_unused=True)
        start, at_zero = float(zero), 0.0 if limit is None else float(limit)
        slope = torch.where(x == 0, torch.full_like(value, at_zero), (value - start) / torch.where(x == 0, 1, x))
    out = route(value, scale(x, slope))
    if start:
        flow.account.constant(out, start, f"{flow.place}: f(0)", flow.depth)
    return write(out, Note(origin=origin, zero=zero, made="activation"))


def logarithm(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """log has no value at 0, so it has a rule only as the end of a chain that has: log(1 + exp x), log(sigmoid x)."""
    merged = elementwise(flow, func, args, kwargs)
    if merged is None or not bool(torch.isfinite(merged[1])):
        return REFUSED
    bent = one_activation(flow, func, args, merged)
    return REFUSED if bent is None else bent


def frozen(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """1 / x and 1 / sqrt(x): a denominator, which gets nothing."""
    flow.used("division", flow.composite.division)
    return func(freeze(args[0]), *args[1:], **kwargs)


def power(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """x ** p is homogeneous: 1 / p of the gradient conserves; a negative p is a denominator."""
    x, p = pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, "exponent")
    if func in (torch.sqrt, Tensor.sqrt):
        p = 0.5
    if func in (torch.square, Tensor.square):
        p = 2
    if not isinstance(p, int | float) or not carries(x):
        return REFUSED
    if p <= 0:
        return frozen(flow, func, args, kwargs)
    flow.used("activation", flow.composite.activation)
    out = scale(func(*args, **kwargs), 1 / p)
    return elementwise_note(flow, func, args, kwargs, out)


def variance(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Any:
    """var is homogeneous of degree two."""
    out = func(*args, **kwargs)
    return scale(out, 1 / 2) if isinstance(out, Tensor) else tuple(scale(o, 1 / 2) for o in out)
