"""Elementwise functions of one tensor: activations, powers, the logarithm at the end of a chain."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ...errors import RuleError
from ...rules import Rule, identity
from ...rules.identity import SLOPES
from ...verbs import scale
from ..context import REFUSED, Context
from ..numerics import times
from ..notes import carries, note_of, pick
from . import forms, idioms, passthrough
from .chains import activated, elementwise, elementwise_note, one_activation
from .division import frozen


def activation(
    flow: Context, func: Callable, args: tuple, kwargs: dict, slope: str | None = None, rule: Rule | None = None
) -> Tensor:  # fmt: skip
    """y = f(x): identity or another rule, and f(0) booked as a constant."""
    x, rest = args[0] if args else kwargs["input"], args[1:]
    more = {k: v for k, v in kwargs.items() if k not in ("input", "inplace")}
    if any(map(carries, rest)):
        return REFUSED
    whole = idioms.exponential(flow, x) if slope == "exp" and rule is None else None
    if whole is not None:
        return whole

    def f(x: Tensor) -> Tensor:
        return func(x, *rest, **more)

    if slope == "gelu" and more.get("approximate", "none") == "tanh":
        slope = "gelu_tanh"
    rule = rule or flow.composite.activation
    flow.used("activation", rule)
    closed = None if slope is None else Slope(SLOPES[slope]) if slope in GATES and rule == identity else SLOPES[slope]
    out = rule.forward(x, f=f, slope=closed)
    if not rule.page:
        check_shape(rule, x, out)
    out = elementwise_note(flow, func, (x, *rest), more, out, made="activation")
    if closed is not None:
        note_of(flow, out).again = (closed.times if isinstance(closed, Slope) else f, (x.detach(),))
    at_zero = own_start(func, rest, more)
    if at_zero:
        flow.account.start(out, x, at_zero, f"{flow.place}: {flow.function_name(func)}(0)", flow.depth)
    return idioms.raised(flow, x, out) if slope == "exp" else idioms.bounded(flow, func, x, rest, more, out)


GATES = {"silu", "gelu", "gelu_tanh", "mish"}  # slopes that stand in gates, of functions with f(0) = 0


class Slope:
    """f(x) / x in closed form, and f(x) made of it: a gate asks for f(x) on the way back, and its activation then for the slope."""

    __slots__ = ("made", "slope")

    def __init__(self, slope: Callable[[Tensor], Tensor]) -> None:
        self.slope = slope
        self.made: Tensor | None = None

    def times(self, x: Tensor) -> Tensor:
        """f(x); the slope is kept for the one who comes next."""
        self.made = made = self.slope(x)
        return made * x

    def __call__(self, x: Tensor) -> Tensor:
        """The slope, a tensor of its own."""
        made, self.made = self.made, None
        return self.slope(x) if made is None or made.shape != x.shape else made


def homogeneous(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """f(a x) = a f(x) for a > 0: under the identity rule x * gradient is y * gradient already; under another it is as any activation."""
    if flow.composite.activation is identity or flow.composite.activation == identity:
        return activated(flow, passthrough.plain(flow, func, args, kwargs))
    return activation(flow, func, args, kwargs)


def check_shape(rule: Rule, x: Tensor, out: Any) -> None:
    """Refuse what a rule of one's own returns in another shape: it would be spread over all places, silently."""
    came = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
    if came != tuple(x.shape):
        raise RuleError(
            f"The `forward` of {rule} must return f(x) in the shape of x, {tuple(x.shape)}; got {came}. "
            "Write def forward(x, *, f, slope): return f(x) with the gradient of your rule."
        )


def own_start(func: Callable, rest: tuple, more: dict) -> float:
    """f(0) of this function alone."""
    given = (*rest, *more.values())
    own = f"{getattr(func, '__module__', None) or 'torch'}.".startswith("torch.")
    known = own and all(type(x) in (int, float, str, bool) for x in given)
    return start_of(func, rest, tuple(more.items())) if known else at_zero(func, rest, more)


def at_zero(func: Callable, rest: tuple, more: dict) -> float:
    """Worked out."""
    return float(func(torch.zeros((), dtype=torch.float64, device="cpu"), *rest, **more))


@lru_cache(maxsize=1000)
def start_of(func: Callable, rest: tuple, more: tuple) -> float:
    """Of torch's own functions, worked out once."""
    return at_zero(func, rest, dict(more))


def logarithm(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """log has no value at 0, so it has a rule only as the end of a chain that has: log(1 + exp x), log(sigmoid x)."""
    whole = idioms.logarithm(flow, args[0]) if getattr(func, "__name__", "") == "log" else None
    if whole is not None:
        return whole
    merged = elementwise(flow, func, args, kwargs)
    if merged is None or not bool(torch.isfinite(merged[1].value)):
        return REFUSED
    bent = one_activation(flow, func, args, merged)
    return REFUSED if bent is None else bent


def log_of_more(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """log1p is an activation; log1p exp x is another, of x."""
    exponential = forms.form_of(flow, args[0], "exp") is not None
    return (logarithm if exponential else activation)(flow, func, args, kwargs)


def power(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """x ** p is homogeneous: 1 / p of the gradient conserves; a negative p is a denominator."""
    x, p = pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, "exponent")
    if func in (torch.sqrt, Tensor.sqrt):
        p = 0.5
    if func in (torch.square, Tensor.square):
        p = 2
    if isinstance(x, int | float) and carries(p):
        return exponential(flow, Tensor.__rpow__, (p, x), {})
    if not isinstance(p, int | float) or not carries(x):
        return REFUSED
    if p <= 0:
        return frozen(flow, func, args, kwargs)
    flow.used("activation", flow.composite.activation)
    out = times(func(*args, **kwargs), 1 / p)
    return elementwise_note(flow, func, args, kwargs, out)


def exponential(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """b ** x, a number to the power of a carrier: an activation with f(0) = 1."""
    return activation(flow, func, args, kwargs) if isinstance(args[1], int | float) else REFUSED


def variance(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Any:
    """var is homogeneous of degree two, std and the mean beside it of degree one."""
    out = func(*args, **kwargs)
    if isinstance(out, Tensor):
        return scale(out, 1 / 2)
    return out if getattr(func, "__name__", "") == "std_mean" else (scale(out[0], 1 / 2), out[1])
