"""Deliberately wrong variants: put one in force, and the ledger shows where it fails.

    explain(model, text, processor=tokenizer, composite=broken.NO_BIAS_SHARE).ledger.opened

Each is one mistake that people make.  A mistake in a rule is a wrong `Rule` in the composite; a mistake in what is booked, or in
how an operation is read, is a `Propagation` of its own.  The engine knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import rules
from ..composites import PA_LRP, Composite
from ..engine.handlers import torch_table
from ..engine.account import Account
from ..engine.arguments import look
from ..engine.depth import Depth
from ..engine.notes import Note, carries, note_of, write
from ..engine.propagation import Propagation, sequence
from ..engine.layers import is_norm
from ..engine.leaves import Leaf
from ..engine.saved import flows
from ..errors import InputError
from ..ledger import Ledger
from ..rules.identity import SLOPES
from ..verbs import route, scale

Variant = Literal["no-bias-share", "weights-as-factors", "gelu-by-operations", "no-position-sink", "plain-norms"]


# --- what is forgotten -----------------------------------------------------------------------------------------------


class ForgetsBiases(Account):
    """A bias takes its share, and nobody books it."""

    def add(self, category: Any, name: str, depth: Depth, amounts: Tensor) -> None:
        """Book all but the share of a parameter called bias."""
        if category != "constants" or not name.endswith("bias"):
            super().add(category, name, depth, amounts)


class ForgetsActivations(Account):
    """Inside an activation written out, the 1 of `1 + tanh(...)` takes its share, and nobody books it."""

    def constant(self, out: Tensor, constant: Tensor | float, name: str, depth: Depth, sign: float = 1.0) -> None:
        """Book all but what an activation adds to its own argument."""
        if not in_activation(flows()[-1]):
            super().constant(out, constant, name, depth, sign)


# --- flows that misread ----------------------------------------------------------------------------------------------


class NoBiasShare(Propagation):
    """Biases are left out of the account."""

    books = ForgetsBiases

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.account = self.books()
        self.account.open = self.options.ledger


class WeightsAsFactors(Propagation):
    """A weight counts as a factor of a product: half of the relevance goes to it, and ends there."""

    PRODUCTS = {"addmm", "layer_norm", "rms_norm", *" ".join((torch_table.LINEAR, torch_table.MULTIPLY, torch_table.PRODUCT)).split()}

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """As ever, but what a weight takes part in is halved on the way back."""
        out = super().__torch_function__(func, types, args, kwargs)
        if getattr(func, "__name__", "") not in self.PRODUCTS or not carries(out):
            return out
        weights = [x for x in (*args, *(kwargs or {}).values()) if isinstance(x, nn.Parameter)]
        return noted(self, out, lambda: scale(out, 1 / 2)) if weights else out


class GeluByOperations(Propagation):
    """x * f(x) is taken for a product of two factors, each with its half."""

    books = ForgetsActivations

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.account = self.books()
        self.account.open = self.options.ledger

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """As ever, but inside an activation nobody remembers that two factors are functions of the same x."""
        out = super().__torch_function__(func, types, args, kwargs)
        note = note_of(self, out) if isinstance(out, Tensor) and in_activation(self) else None
        if note is not None:
            note.origin = note.zero = None
        return out


class ForgetsAdded(list):
    """A list of sinks that does not keep those of added positions."""

    def append(self, leaf: Leaf) -> None:
        """Keep rotations alone."""
        if leaf.part not in ("sum", "score"):
            super().append(leaf)


class NoPositionSink(Propagation):
    """Where positions are added, to tokens or to scores, nothing receives, and nothing is booked."""

    books = ForgetsAdded

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.inputs.sinks = self.books()


class PlainNorms(Propagation):
    """A norm written out by its operations gets the gradient that autograd gives it."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """As ever, but nothing is bent inside a module that is a norm."""
        if not self.path or not is_norm(self.path[-1]):
            return super().__torch_function__(func, types, args, kwargs)
        given = look(self, args, kwargs or {})  # the model's own parameters are constants
        args, kwargs = given.args, given.kwargs
        return covered(self, lambda: func(*args, **kwargs))


def in_activation(flow: Propagation) -> bool:
    """Whether the module that runs is an activation: it has neither weights nor parts."""
    return bool(flow.path) and not (flow.path[-1]._parameters or flow.path[-1]._buffers or flow.path[-1]._modules)


def covered(flow: Propagation, make: Callable[[], Any]) -> Any:
    """What `make` makes, its graph accepted as if a handler had made it."""
    start = sequence()
    out = make()
    flow.cover(start, sequence())
    return out


def noted(flow: Propagation, like: Tensor, make: Callable[[], Tensor]) -> Tensor:
    """The same, with what the engine knows of `like`."""
    return write(covered(flow, make), note_of(flow, like) or Note())


# --- rules that are wrong --------------------------------------------------------------------------------------------


def _gelu_by_operations(x: Tensor, *, f: Callable, slope: Callable | None = None) -> Tensor:
    """x g(x) as a product: half to x, half to g, of which g(0) = 1/2 keeps its share."""
    gated = slope in (SLOPES["gelu"], SLOPES["gelu_tanh"], SLOPES["silu"])
    if slope is None or not gated:
        return rules.identity.forward(x, f=f, slope=slope)
    with torch.no_grad():
        value, factor = f(x), slope(x) - 1 / 4  # g / 2 + (g - 1/2) / 2
    return route(value, scale(x, factor))


def _plain_layer_norm(x: Tensor, *, weight=None, bias=None, eps: float = 1e-5, normalized_shape=None) -> Tensor:
    """The gradient through mean and standard deviation."""
    weight, bias = _as_wide(x, weight, bias)
    return F.layer_norm(x, tuple(normalized_shape or weight.shape), weight, bias, eps)


def _plain_rms_norm(x: Tensor, *, weight=None, bias=None, eps: float = 1e-6, normalized_shape=None) -> Tensor:
    """The gradient through the root mean square."""
    weight, bias = _as_wide(x, weight, bias)
    y = F.rms_norm(x, tuple(normalized_shape or weight.shape), weight, eps)
    return y if bias is None else y + bias


def _as_wide(x: Tensor, *parameters: Tensor | None) -> list[Tensor | None]:
    """The parameters of a norm in the dtype of x: in half precision the rules of norms work in single."""
    return [None if p is None else p.to(x.dtype) for p in parameters]


# --- the variants ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Broken(Composite):
    """A composite with one mistake.

    label:   how it is called
    mistake: what it gets wrong, in one sentence
    needs:   what a model must have for it to show
    flow:    the flow that gets it wrong
    """

    label: str = ""
    mistake: str = ""
    needs: str = ""
    flow: type[Propagation] = Propagation

    @property
    def name(self) -> str:
        """The variant's name as one types it: `broken.variant(name)`."""
        return self.label.removeprefix("broken: ")

    def __repr__(self) -> str:
        return f"broken.variant({self.name!r})"


def _broken(name: str, mistake: str, needs: str, flow: type[Propagation], **wrong: Any) -> Broken:
    right = {f.name: getattr(PA_LRP, f.name) for f in fields(PA_LRP)}
    return Broken(**{**right, **wrong}, label=f"broken: {name}", mistake=mistake, needs=needs, flow=flow)


def _wrong(rule: rules.Rule, forward: Callable[..., Tensor]) -> rules.Rule:
    return replace(rule, name=f"{rule.name}, wrong", forward=forward)


NO_BIAS_SHARE = _broken("no-bias-share", "Biases take their share of every sum, and nobody writes it down.", "biases", NoBiasShare)
WEIGHTS_AS_FACTORS = _broken(
    "weights-as-factors",
    "A weight counts as a second input of its product, so half of the relevance ends in it.",
    "weights",
    WeightsAsFactors,
)
GELU_BY_OPERATIONS = _broken(
    "gelu-by-operations", "An activation x g(x) is taken for a product: half goes to g, and its constant part keeps its share.",
    "a GELU or SiLU", GeluByOperations, activation=_wrong(rules.identity, _gelu_by_operations),
)  # fmt: skip
NO_POSITION_SINK = _broken(
    "no-position-sink", "Positions that are added take their share, but they are no input.", "added positions", NoPositionSink
)
PLAIN_NORMS = _broken(
    "plain-norms", "Norms get their plain gradient: what the standard deviation takes is paid to nobody.", "norms", PlainNorms,
    layer_norm=_wrong(rules.layer_norm, _plain_layer_norm), rms_norm=_wrong(rules.rms_norm, _plain_rms_norm),
)  # fmt: skip
ALL: tuple[Broken, ...] = (NO_BIAS_SHARE, WEIGHTS_AS_FACTORS, GELU_BY_OPERATIONS, NO_POSITION_SINK, PLAIN_NORMS)


def variant(name: Variant) -> Broken:
    """The wrong variant of that name; raises InputError if there is none."""
    known = {broken.name: broken for broken in ALL}
    if name not in known:
        raise InputError(f"A wrong variant must be one of {', '.join(known)}; got {name!r}. Type broken.variant('no-bias-share').")
    return known[name]


def leak(ledger: Ledger) -> tuple[str, str] | None:
    """Between which two boundaries, walking back, the account opens: ("the answer", "layer 3"); None if it is closed."""
    if ledger.opened is None:
        return None
    order = ["the answer", *ledger.layers, "input"]
    return order[order.index(ledger.opened) - 1], ledger.opened
