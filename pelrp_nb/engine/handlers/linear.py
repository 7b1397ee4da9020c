"""Linear maps and convolutions: z = W x + b."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, wraps

import torch
from torch import Tensor
from torch.nn import functional as F

from ... import rules
from ...rules import Rule
from ...verbs import scale
from ..account import Passed, keeper
from ..context import Context
from ..notes import carries, pick
from ..numerics import visible
from ..positions import detection
from ..projections import Choice
from . import forms, quantised
from .deferred import Later, deferred
from .passthrough import looked_up
from .sums import add


def linear(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """F.linear and convolutions: z = W x + b."""
    x, weight, bias = args if len(args) == 3 else (pick(args, kwargs, i, n) for i, n in enumerate(("input", "weight", "bias")))
    rest, more = args[3:], {k: v for k, v in kwargs.items() if k not in ("input", "weight", "bias")} if kwargs else kwargs
    if type(weight) not in quantised.PLAIN and func is F.linear and carries(x):
        special = quantised.linear_of(flow, func, x, weight, bias)
        if special is not None:
            return special
    if not carries(x) or carries(weight):
        out = func(x, weight, None, *rest, **more)
        out = scale(out, 1 / 2) if carries(x) else looked_up(flow, out, args, kwargs)
        return out if bias is None else add(flow, torch.add, (out, bias), {})

    def apply(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return func(x, w, b, *rest, **more)

    if func is F.linear:
        return weighted(flow, x, weight, bias, func, axis=-1)
    return weighted(flow, x, weight, bias, apply, axis=1 - weight.dim())


@dataclass(frozen=True)
class LinearMap:
    """z = apply(x, weight, bias); the bias goes along an axis of z, counted from its end. `name`: whose line in the ledger it has."""

    apply: Callable
    axis: int
    name: str

    def bend(self, rule: Rule, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """z under a rule that has no keepers of its own."""
        plain = rule == rules.epsilon
        return self.apply(x, weight, bias) if plain else rule.forward(x, weight=weight, bias=bias, apply=self.apply)

    def again(self, rule: Rule, x: Tensor, value: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The same on the way back, where the value of the map itself is known: it is not computed once more."""

        @wraps(F.linear)
        def known(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
            return _Known.apply(x, w, value) if w is weight else F.linear(x, w, b)

        return (self if self.apply is not F.linear else replace(self, apply=known)).bend(rule, x, weight, bias)

    def column(self, bias: Tensor) -> Tensor:
        """The bias in the shape of z."""
        return bias.reshape(-1, *[1] * (-1 - self.axis))


class _Known(torch.autograd.Function):
    """F.linear where its value is there already."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return value.detach()

    @staticmethod
    def backward(ctx, g: Tensor):
        (weight,) = ctx.saved_tensors
        return g @ weight.to(g.dtype), None, None


def weighted(flow: Context, x: Tensor, weight: Tensor, bias: Tensor | None, apply: Callable, axis: int) -> Tensor:
    """One linear map under the composite's rule for this place, and its keepers."""
    if bias is not None and carries(bias):
        return add(flow, torch.add, (weighted(flow, x, weight, None, apply, axis), bias), {})
    choice = flow.linear_rule(x, weight)
    rule = choice.rule
    choice.step = flow.used("linear", rule)
    if bias is None and choice.known and (rule is rules.epsilon or rule == rules.epsilon):  # nothing to bend, and nothing kept
        out = apply(detection.looped(flow, weight, x, "linear")[1], weight, None)
        if flow.projections.wanted:
            flow.projections.met(out, choice)
        return out
    name = flow.name_of(bias, "bias") if bias is not None else flow.name_of(weight, "weight")
    out = (bent if choice.known else bent_later)(flow, choice, x, LinearMap(apply, axis, name), weight, bias)
    flow.projections.met(out, choice)
    if bias is None:
        again = partial(biased, x, weight, apply, axis)
        forms.be(flow, out, forms.Form("map", dim=axis, again=again, beside=forms.held(x, weight)))
    return out


def biased(x: Tensor, weight: Tensor, apply: Callable, axis: int, flow: Context, bias: Tensor) -> Tensor:
    """The linear map once more, with a bias that was added to what it gave."""

    def both(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        z = apply(x, w, None)
        return z if b is None else z + b.reshape(-1, *[1] * (-1 - axis))

    return weighted(flow, x, weight, bias, both, axis)


def bent(flow: Context, choice: Choice, x: Tensor, z: LinearMap, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear map whose rule is known."""
    rule = choice.rule
    if rule == rules.epsilon:
        out = z.apply(detection.looped(flow, weight, x, "linear")[1], weight, bias)
        if bias is not None:
            flow.account.constant(out, z.column(bias), z.name, flow.depth)
        return out
    if rule == rules.zbox:
        return boxed(flow, rule, x, z, weight, bias)
    fresh = scale(x, 1)
    out = z.bend(rule, fresh, weight, bias)
    if rule.keeps:  # what a rule loses that says it keeps nothing is the ledger's gap
        flow.account.kept(keeper(bias), z.name, flow.depth, out, (fresh,))
    return out


def bent_later(flow: Context, choice: Choice, x: Tensor, z: LinearMap, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same, where its rule is chosen on the way back."""
    account, depth = flow.account, flow.depth

    def book(rule: Rule, out: Passed, into: Passed, weight: Tensor, bias: Tensor | None) -> None:
        if rule != rules.epsilon:
            if rule.keeps:
                account.between(keeper(bias), z.name, depth, out, into)
        elif bias is not None:
            account.add("constants", z.name, depth, account.sums(visible(z.column(bias), out[1])))

    with torch.no_grad():
        value = z.apply(x, weight, bias)
    return deferred(choice, x, value, Later(z.again, book if account.open else None), weight, bias)


def boxed(flow: Context, rule: Rule, x: Tensor, z: LinearMap, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The z-box rule: the pixel bounds are further inputs of the patch convolution; their share is the pixels'."""
    low, high = (flow.leaf(torch.zeros_like(x.detach()) + bound) for bound in torch.aminmax(x.detach()))
    flow.inputs.pixels += [low, high]
    fresh = scale(x, 1)
    bounds = (scale(low, 1), scale(high, 1))
    out = rule.forward(fresh, *bounds, weight=weight, bias=bias, apply=z.apply)
    flow.account.kept(keeper(bias), z.name, flow.depth, out, (fresh, *bounds))
    return out
