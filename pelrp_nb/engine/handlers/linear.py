"""Linear maps and convolutions: z = W x + b."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ... import rules
from ...verbs import scale
from ..context import Context
from ..provenance import carries, pick
from . import quantised
from .sums import add


def linear(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """F.linear and convolutions: z = W x + b."""
    x, weight = pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, "weight")
    bias = pick(args, kwargs, 2, "bias")
    rest, more = args[3:], {k: v for k, v in kwargs.items() if k not in ("input", "weight", "bias")}
    special = quantised.linear_of(flow, func, x, weight, bias) if func is F.linear and carries(x) else None
    if special is not None:
        return special
    if not carries(x) or carries(weight):
        out = func(x, weight, None, *rest, **more)
        out = scale(out, 1 / 2) if carries(x) else out
        return out if bias is None else add(flow, torch.add, (out, bias), {})

    def apply(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return func(x, w, b, *rest, **more)

    return weighted(flow, x, weight, bias, apply, axis=1 - weight.dim() if func is not F.linear else -1)


def weighted(flow: Context, x: Tensor, weight: Tensor, bias: Tensor | None, apply: Callable, axis: int) -> Tensor:
    """One linear map under the composite's rule for this place, and its keepers."""
    rule = flow.linear_rule(x, weight)
    if bias is not None and carries(bias):
        return add(flow, torch.add, (weighted(flow, x, weight, None, apply, axis), bias), {})
    name = flow.name_of(bias, "bias") if bias is not None else flow.name_of(weight, "weight")
    flow.used("linear", rule)
    if rule == rules.epsilon:
        out = apply(x, weight, bias)
        if bias is not None:
            flow.account.constant(out, bias.reshape(-1, *[1] * (-1 - axis)), name, flow.depth)
        return out
    if rule == rules.zbox:
        return boxed(flow, rule, x, weight, bias, apply, name)
    fresh = scale(x, 1)
    out = rule.forward(fresh, weight=weight, bias=bias, apply=apply)
    flow.account.kept("stabilisers" if bias is None else "constants", name, flow.depth, out, (fresh,))
    return out


def boxed(flow: Context, rule: Any, x: Tensor, weight: Tensor, bias: Tensor | None, apply: Any, name: str) -> Tensor:
    """The z-box rule: the pixel bounds are further inputs of the patch convolution; their share is the pixels'."""
    low, high = (flow.leaf(torch.full_like(x.detach(), float(bound))) for bound in (x.detach().min(), x.detach().max()))
    flow.inputs.pixels += [low, high]
    fresh = scale(x, 1)
    out = rule.forward(fresh, low, high, weight=weight, bias=bias, apply=apply)
    bounds = (scale(low, 1), scale(high, 1))
    out = rule.forward(fresh, *bounds, weight=weight, bias=bias, apply=apply)
    flow.account.kept("constants" if bias is not None else "stabilisers", name, flow.depth, out, (fresh, *bounds))
    return out
