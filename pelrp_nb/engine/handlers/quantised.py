"""Quantised linear maps: the value is the model's own, relevance goes through the weight as it stands for numbers.

A weight that can say its numbers (torchao's tensors, bitsandbytes' 8 and 4 bit layers) is a constant like any other.  They are
asked for on the way back, one layer at a time, so that the model stays small.  What the layer's own arithmetic rounds away
(quantised activations) is booked as a constant of that layer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ... import rules
from ...errors import ModelError
from ...verbs import route, scale
from ..context import Context
from ..numerics import dot
from ..provenance import carries
from ..saved import held

Numbers = Callable[[], Tensor]
sequence = torch._C._autograd._get_sequence_nr
PLAIN = (Tensor, nn.Parameter, nn.Buffer)


class _Through(torch.autograd.Function):
    """The value given; the gradient of x @ W', W asked for on the way back."""

    @staticmethod
    def forward(ctx, x: Tensor, value: Tensor, numbers: Numbers) -> Tensor:
        ctx.numbers, ctx.dtype = numbers, x.dtype
        return value.detach()

    @staticmethod
    def backward(ctx, g: Tensor):
        return (g @ ctx.numbers().to(g.dtype)).to(ctx.dtype), None, None


def numbers_of(weight: Tensor) -> Numbers | None:
    """How to ask a quantised weight for its numbers; None where it cannot say them."""
    return weight.detach().dequantize if type(weight).dequantize is not Tensor.dequantize else None


def of_bitsandbytes(module: nn.Module) -> bool:
    """Whether a module is a layer of bitsandbytes, or made like one."""
    return "bitsandbytes" in sys.modules and any(base.__module__.startswith("bitsandbytes.") for base in type(module).__mro__)


def numbers_of_layer(module: nn.Module) -> Numbers | None:
    """How to ask a layer of bitsandbytes for the numbers of its weight; None for any other layer."""
    if not of_bitsandbytes(module):
        return None
    from bitsandbytes import functional, nn as layers

    weight = getattr(module, "weight", None)
    if isinstance(weight, layers.Params4bit):
        state = weight.quant_state
        if getattr(state, "packing_format_for_cpu", False):      # packed for inference: what it makes of the unit vectors
            return lambda: functional.gemv_4bit(torch.eye(state.shape[1], dtype=state.dtype), weight.data, state=state).T
        return lambda: functional.dequantize_4bit(weight.data, state)
    if not isinstance(weight, layers.Int8Params):
        return None

    def numbers() -> Tensor:
        state = module.state                     # the layer moves its weight there when it first runs
        if state.CB is not None:
            return functional.int8_vectorwise_dequant(state.CB, state.SCB)
        return functional.int8_vectorwise_dequant(weight.data if weight.CB is None else weight.CB, weight.SCB)

    return numbers


def linear(flow: Context, x: Tensor, value: Tensor, numbers: Numbers, bias: Tensor | None, name: str) -> Tensor:
    """The linear map under the composite's rule for this place; `value` is what the layer made of x."""
    rule = flow.linear_rule(x)
    flow.used("quantised linear", rule)
    if rule != rules.epsilon:
        fresh = scale(x, 1)
        out = route(value, rule.forward(fresh, weight=numbers().to(x.dtype), bias=bias).to(value.dtype))
        flow.account.kept("constants" if bias is not None else "stabilisers", name, flow.depth, out, (fresh,))
        return out
    out = _Through.apply(x, value, numbers)
    if bias is not None:
        flow.account.constant(out, bias, name if name.endswith("bias") else f"{name}: bias", flow.depth)
    if flow.account.open:
        rounding(flow, out, x, numbers, bias, f"{name.removesuffix('.bias').removesuffix('.weight')}: rounded")
    return out


def rounding(flow: Context, out: Tensor, x: Tensor, numbers: Numbers, bias: Tensor | None, name: str) -> None:
    """Book what the layer's own arithmetic adds to x W' + b."""
    given, value, depth = held(x), held(out), flow.depth
    b = None if bias is None else bias.detach()

    def keep(g: Tensor) -> None:
        x = given()
        difference = value() - F.linear(x, numbers().to(x.dtype), b)
        flow.account.add("constants", name, depth, flow.account.by_row(dot(difference, g)))

    out.register_hook(keep)


def linear_of(flow: Context, func: Callable, x: Tensor, weight: Any, bias: Tensor | None) -> Tensor | None:
    """F.linear with a quantised weight; None for a plain one, or one that torch can walk back through by itself.

    Raises ModelError where neither the layer is differentiable nor its weight can say its numbers.
    """
    if type(weight) in PLAIN or not isinstance(weight, Tensor):
        return None
    numbers = numbers_of(weight)
    if numbers is None:
        if carries(func(x, weight, bias)):
            return None
        raise ModelError(
            f"`{flow.place}` is a quantised layer ({type(weight).__name__}) whose backward pass is not differentiable, and whose "
            "weight cannot say its numbers (dequantize). Load the model unquantised, or in bfloat16."
        )
    with torch.no_grad():
        value = func(x.detach(), weight, bias)
    return linear(flow, x, value, numbers, bias, flow.name_of(weight if bias is None else bias, "weight"))


def before(flow: Context, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
    """A layer of bitsandbytes begins: what carries is set aside, and the layer computes as it does without us.

    It is given a tensor that needs a gradient, else it would pack its weight for inference, for good.
    """
    if not of_bitsandbytes(module) or not (args and carries(args[0])):
        return None
    flow.aside.append((module, args[0]))
    return (args[0].detach().requires_grad_(), *args[1:]), kwargs


def after(flow: Context, module: nn.Module, output: Any) -> Tensor | None:
    """The output of a layer of bitsandbytes under the rules; None of any other layer.

    Raises ModelError where its weight cannot say its numbers.
    """
    if not flow.aside or flow.aside[-1][0] is not module:
        return None
    x = flow.aside.pop()[1]
    numbers = numbers_of_layer(module)
    if numbers is None or not isinstance(output, Tensor):
        kind = type(module).__name__
        raise ModelError(f"`{flow.place}` is a quantised layer ({kind}) without a rule. Load the model unquantised.")
    name, bias = flow.names.get(id(module), type(module).__name__), getattr(module, "bias", None)
    start, flow.function = sequence(), F.linear
    with torch._C.DisableTorchFunction():
        if bias is None:
            out = linear(flow, x, output.detach(), numbers, None, f"{name}.weight")
        else:
            out = linear(flow, x, output.detach(), numbers, bias.detach().to(output.dtype), f"{name}.bias")
    flow.cover(start, sequence())
    return out
