"""Quantised linear maps: the value is the model's own, relevance goes through the weight as it stands for numbers.

A weight that can say its numbers (torchao's tensors, bitsandbytes' 8 and 4 bit layers) is a constant like any other.  They are
asked for on the way back, one layer at a time, so that the model stays small.  What the layer's own arithmetic rounds away
(quantised activations) is booked as a constant of that layer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ... import rules
from ...errors import ModelError
from ...rules import Rule
from ...verbs import route, scale
from ..account import Passed, keeper
from ..context import Context
from ..notes import carries
from ..numerics import dot, visible
from ..projections import Choice
from ..saved import held
from .deferred import Later, deferred

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
        if getattr(state, "packing_format_for_cpu", False):  # packed for inference: what it makes of the unit vectors
            return lambda: functional.gemv_4bit(torch.eye(state.shape[1], dtype=state.dtype), weight.data, state=state).T
        return lambda: functional.dequantize_4bit(weight.data, state)
    if not isinstance(weight, layers.Int8Params):
        return None

    def numbers() -> Tensor:
        state = module.state  # the layer moves its weight there when it first runs
        if state.CB is not None:
            return functional.int8_vectorwise_dequant(state.CB, state.SCB)
        return functional.int8_vectorwise_dequant(weight.data if weight.CB is None else weight.CB, weight.SCB)

    return numbers


def linear(flow: Context, x: Tensor, value: Tensor, numbers: Numbers, bias: Tensor | None, name: str) -> Tensor:
    """The linear map under the composite's rule for this place; `value` is what the layer made of x."""
    choice = flow.linear_rule(x)
    choice.step = flow.used("quantised linear", choice.rule)
    out = (bent if choice.known else bent_later)(flow, choice, x, Quantised(numbers, name), value, bias)
    flow.projections.met(out, choice)
    return out


@dataclass(frozen=True)
class Quantised:
    """A quantised layer: how to ask for the numbers of its weight, and what it is called."""

    numbers: Numbers
    name: str

    def bend(self, rule: Rule, x: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        """The value, with the gradient of the rule."""
        if rule == rules.epsilon:
            return _Through.apply(x, value, self.numbers)
        return route(value, rule.forward(x, weight=self.numbers().to(x.dtype), bias=bias).to(value.dtype))

    @property
    def biased(self) -> str:
        """The bias in the ledger."""
        return self.name if self.name.endswith("bias") else f"{self.name}: bias"

    @property
    def rounded(self) -> str:
        """What the layer's own arithmetic adds to x W' + b, in the ledger."""
        return f"{self.name.removesuffix('.bias').removesuffix('.weight')}: rounded"

    def rounding(self, x: Tensor, out: Passed, bias: Tensor | None) -> Tensor:
        """That, in relevance."""
        value, g = out
        return dot(value - F.linear(x, self.numbers().to(x.dtype), bias), g)


def bent(flow: Context, choice: Choice, x: Tensor, z: Quantised, value: Tensor, bias: Tensor | None) -> Tensor:
    """A quantised map whose rule is known."""
    account, depth = flow.account, flow.depth
    if choice.rule != rules.epsilon:
        fresh = scale(x, 1)
        out = z.bend(choice.rule, fresh, value, bias)
        if choice.rule.keeps:
            account.kept(keeper(bias), z.name, depth, out, (fresh,))
        return out
    out = z.bend(choice.rule, x, value, bias)
    if bias is not None:
        account.constant(out, bias, z.biased, depth)
    if account.open:
        given, made, b = held(x), held(out), None if bias is None else bias.detach()
        out.register_hook(lambda g: account.add("constants", z.rounded, depth, account.sums(z.rounding(given(), (made(), g), b))))
    return out


def bent_later(flow: Context, choice: Choice, x: Tensor, z: Quantised, value: Tensor, bias: Tensor | None) -> Tensor:
    """The same, where its rule is chosen on the way back."""
    account, depth = flow.account, flow.depth

    def book(rule: Rule, out: Passed, into: Passed, bias: Tensor | None) -> None:
        if rule != rules.epsilon:
            if rule.keeps:
                account.between(keeper(bias), z.name, depth, out, into)
            return
        if bias is not None:
            account.add("constants", z.biased, depth, account.sums(visible(bias, out[1])))
        account.add("constants", z.rounded, depth, account.sums(z.rounding(into[0], out, bias)))

    return deferred(choice, x, value, Later(z.bend, book if account.open else None), bias)


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
        shape = x.new_zeros(()).expand(out.shape[-1], x.shape[-1])  # of the weight, whose numbers places do not need
        flow.places.follow(F.linear, "linear", (x, shape), {}, out)
    flow.cover(start, sequence())
    return out
