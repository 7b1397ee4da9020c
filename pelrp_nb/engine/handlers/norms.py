"""Norms that torch computes in one call: their statistics are frozen, their biases booked."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ... import rules
from ...errors import ModelError
from ...verbs import route
from ..context import Context
from ..notes import carries, pick


def layer_norm(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """F.layer_norm: the standard deviation frozen, the mean not, the bias booked."""
    x, shape, weight, bias = (pick(args, kwargs, i, n) for i, n in enumerate(("input", "normalized_shape", "weight", "bias")))
    eps = pick(args, kwargs, 4, "eps", 1e-5)
    rule = flow.composite.layer_norm
    flow.used("layer_norm", rule)
    alike = all(p is None or (p.dtype == x.dtype and not carries(p)) for p in (weight, bias))
    if rule == rules.layer_norm and alike and x.dtype in (torch.float32, torch.float64):
        out = _LayerNorm.apply(x, tuple(shape), weight, bias, eps)
    else:
        with torch.no_grad():
            value = func(x.detach(), shape, weight, bias, eps)
        out = route(value, rule.forward(wide(x), weight=weight, bias=bias, eps=eps, normalized_shape=tuple(shape)).to(value.dtype))
    if bias is not None:
        flow.account.constant(out, bias, flow.name_of(bias, "bias"), flow.depth)
    return flow.normed(x, out)


class _LayerNorm(torch.autograd.Function):
    """The page's `forward` with the statistics that torch's own kernel has computed: 1 / std and the weight are all that is saved."""

    @staticmethod
    def forward(ctx, x: Tensor, shape: tuple[int, ...], weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
        out, _, inverse = torch.native_layer_norm(x, shape, weight, bias, eps)
        ctx.save_for_backward(inverse, *(() if weight is None else (weight,)))
        ctx.axes = tuple(range(-len(shape), 0))
        return out

    @staticmethod
    def backward(ctx, g: Tensor):
        inverse, *weight = ctx.saved_tensors
        g = g * weight[0] if weight else g
        return (g - g.mean(ctx.axes, keepdim=True)).mul_(inverse), None, None, None, None


def rms_norm(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """F.rms_norm: the root mean square frozen, weight included."""
    x, shape, weight = (pick(args, kwargs, i, n) for i, n in enumerate(("input", "normalized_shape", "weight")))
    eps = pick(args, kwargs, 3, "eps")
    rule = flow.composite.rms_norm
    flow.used("rms_norm", rule)
    with torch.no_grad():
        value = func(x.detach(), shape, weight, eps)
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    bent = rule.forward(wide(x), weight=weight, eps=eps, normalized_shape=tuple(shape))
    return flow.normed(x, route(value, bent.to(value.dtype)))


def group_norm(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """F.group_norm: a layer norm over each group of channels."""
    x, groups, weight, bias = (pick(args, kwargs, i, n) for i, n in enumerate(("input", "num_groups", "weight", "bias")))
    eps = pick(args, kwargs, 4, "eps", 1e-5)
    rule = flow.composite.layer_norm
    flow.used("layer_norm", rule)
    with torch.no_grad():
        value = func(x.detach(), groups, weight, bias, eps)
    parts = x.reshape(x.shape[0], groups, -1)
    y = rule.forward(parts, eps=eps, normalized_shape=parts.shape[-1:]).reshape(x.shape)
    column = [1, -1, *[1] * (x.dim() - 2)]
    out = route(value, y if weight is None else y * weight.reshape(column))
    if bias is not None:
        flow.account.constant(out, bias.reshape(column), flow.name_of(bias, "bias"), flow.depth)
    return out


def batch_norm(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """F.batch_norm with frozen statistics: a linear map and a constant."""
    if pick(args, kwargs, 5, "training", False):
        raise ModelError(f"The batch norm in {flow.place} must use its frozen statistics; it is in training mode. Type model.eval().")
    x, rest = pick(args, kwargs, 0, "input"), args[1:]
    more = {k: v for k, v in kwargs.items() if k != "input"}
    ends = torch.zeros(2, x.shape[1], *[1] * (x.dim() - 2), dtype=x.dtype, device=x.device)
    ends[1] = 1
    with torch.no_grad():
        value, (constant, at_one) = func(x.detach(), *rest, **more), func(ends, *rest, **more)
    out = route(value, x * (at_one - constant))  # torch's own gradient is wrong where g is not contiguous
    flow.account.constant(out, constant, flow.name_of(pick(args, kwargs, 4, "bias"), "bias"), flow.depth)
    return out


def wide(x: Tensor) -> Tensor:
    """Half precision widened, as torch's own norms compute."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
