"""Quotients, of which what divides is a scale and gets nothing; products of all entries along an axis."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ... import rules
from ...verbs import freeze, route, scale
from ..context import REFUSED, Context
from ..notes import Note, carries, pick, write
from ..numerics import spread
from ..places.follow import provenance_of
from ..positions import detection
from . import forms, idioms
from .chains import elementwise, elementwise_note, one_activation
from .rotations import turned


def divide(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """a / b: all to a."""
    a, b = pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, "other")
    if func is Tensor.__rdiv__ or func is Tensor.__rtruediv__:
        return frozen(flow, func, (a, b), {})
    more = {k: v for k, v in kwargs.items() if k not in ("input", "other")}
    whole = idioms.quotient(flow, func, a, b) if carries(a) and carries(b) and not more else None
    if whole is not None:
        return whole
    if carries(a) and carries(b):
        merged = elementwise(flow, func, (a, b), more)
        one = one_activation(flow, partial(func, **more), (a, b), merged) if merged is not None else None
        if one is not None:
            return one
    flow.used("division", flow.composite.division)
    if carries(b):
        return func(a, freeze(b), **more) if not carries(a) else flow.composite.division.forward(a, freeze(b))
    scale = isinstance(b, Tensor) and b.numel() > 1 and provenance_of(b) is None and not more
    leaf = detection.multiplied(flow, 1 / b, a, spread(a, b)) if scale else None
    if leaf is not None:  # divided by a number for each place: times its inverse
        with torch.no_grad():
            value = func(a, b)
        return write(route(value, turned(flow, a, leaf)), Note(sinks=(*detection.sinks_of(flow, a), leaf)))
    out = func(a, b, **more)
    return elementwise_note(flow, func, (a, b), more, out)


def solve(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """A^-1 B, a division written as a system: all to B."""
    flow.used("division", flow.composite.division)
    return func(freeze(args[0]), *args[1:], **kwargs)


def normalize(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """F.normalize: x / |x|, the norm frozen."""
    x, p, dim, eps = (pick(args, kwargs, i, n, d) for i, (n, d) in enumerate((("input", None), ("p", 2.0), ("dim", 1), ("eps", 1e-12))))
    part = forms.form_of(flow, x, "exp")
    if part is not None and p == 1 and not part.then:
        with torch.no_grad():
            value = func(x, p, dim, eps)
        whole = idioms.normalised(flow, part, dim, value)
        if whole is not None:
            return whole
    flow.used("division", flow.composite.division)
    length = freeze(x).norm(p, dim, keepdim=True).clamp_min(eps)
    return route(func(freeze(x), p, dim, eps), x / length)


def frozen(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """1 / x and 1 / sqrt(x): a denominator, which gets nothing; but 1 / (1 + exp x) is an activation of x."""
    x = args[0]
    merged = None if forms.form_of(flow, x, "logistic") is None else elementwise(flow, func, args, kwargs)
    one = None if merged is None else one_activation(flow, partial(func, **kwargs), args, merged)
    if one is not None:
        return one
    flow.used("division", flow.composite.division)
    out = func(freeze(x), *args[1:], **kwargs)
    return idioms.inverted(flow, x, out) if func in INVERSES or args[1:] in ((1,), (-1,)) else out


INVERSES = {torch.reciprocal, Tensor.reciprocal}  # beside 1 / x and x ** -1


def powers(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """prod: 1/n to each of n factors; cumprod: the k-th product has k."""
    x, dim = pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, "dim")
    rule = flow.composite.product
    flow.used("product", rule)
    if "cum" not in getattr(func, "__name__", ""):
        return rule.forward(multiply=partial(func, *args, **kwargs), n=x.numel() if dim is None else x.shape[dim])
    if rule != rules.uniform:
        return REFUSED
    counts = torch.arange(1, x.shape[dim] + 1, dtype=x.dtype, device=x.device)
    out = func(*args, **kwargs)
    return scale(out, (1 / counts).reshape(-1, *[1] * (x.dim() - 1 - dim % x.dim())).expand(out.shape))
