"""One small case for every rule: what sliders set, and the tensors made of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from ..rules.absolute import sinusoids
from ..rules.identity import SLOPES

Values = Mapping[str, Any]
Built = tuple[tuple[Tensor, ...], dict[str, Any]]  # inputs, constants
Build = Callable[[Values], Built]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu, "gelu": F.gelu, "relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "exp": torch.exp,
}  # fmt: skip


@dataclass(frozen=True)
class Control:
    """One number to set, or one of `choices`.

    key:    its name, unique on the bench; shown as it is
    group:  "input", "weight", "option" or "output" (the relevance that is handed back)
    """

    key: str
    group: str
    value: Any
    low: float = -3.0
    high: float = 3.0
    step: float = 0.1
    choices: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """For the view."""
        return {
            "key": self.key, "group": self.group, "value": self.value, "low": self.low, "high": self.high, "step": self.step,
            "choices": list(self.choices),
        }  # fmt: skip

    def check(self, value: Any) -> Any:
        """The value, if it is one that can be set here; raises InputError."""
        if self.choices:
            if value not in self.choices:
                raise InputError(f"{self.key} must be one of {', '.join(self.choices)}; got {value!r}.")
            return value
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"{self.key} must be a finite number between {self.low:g} and {self.high:g}, got {value!r}.")
        return min(max(float(value), self.low), self.high)


@dataclass(frozen=True)
class Case:
    """A small case of a rule: what can be set, and the tensors made of it.

    controls: in the order in which they are shown
    inputs, outputs: names of the input tensors, and of each entry of the output
    build:    values -> (inputs, constants)
    """

    controls: tuple[Control, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    build: Build


def row(name: str, values: Sequence[float], group: str = "input", **more: Any) -> tuple[Control, ...]:
    """One control per entry: `x 1`, `x 2`, ...; a single one is called by the name alone."""
    names = [name] if len(values) == 1 else [f"{name} {i + 1}" for i in range(len(values))]
    return tuple(Control(key, group, value, **more) for key, value in zip(names, values, strict=True))


def vector(values: Values, name: str) -> Tensor:
    """The entries of `row(name, ...)`, in float64."""
    found = [float(value) for key, value in values.items() if key.rstrip("0123456789").strip() == name]
    return torch.tensor(found, dtype=torch.float64)


# --- the cases -------------------------------------------------------------------------------------------------------


def linear(*options: Control) -> Case:
    """Three inputs, one output, a bias."""
    controls = (*row("x", (1.0, -2.0, 1.5)), *row("W", (1.0, 0.5, -1.0), "weight"), *row("b", (0.5,), "weight"), *options)

    def build(v: Values) -> Built:
        set_ = {c.key: v[c.key] for c in options}
        return (vector(v, "x"),), {"weight": vector(v, "W")[None], "bias": vector(v, "b"), **set_}

    return Case(controls, ("x",), ("z",), build)


def box() -> Case:
    """Three pixels between two bounds."""
    controls = (
        *row("x", (0.5, -0.2, 0.8), low=-1.0, high=1.0, step=0.05),
        *row("W", (1.0, 0.5, -1.0), "weight"), *row("b", (0.0,), "weight"),
        Control("low", "option", -1.0, -2.0, -1.0), Control("high", "option", 1.0, 1.0, 2.0),
    )  # fmt: skip

    def build(v: Values) -> Built:
        x = vector(v, "x")
        bounds = (torch.full_like(x, v["low"]), torch.full_like(x, v["high"]))
        return (x, *bounds), {"weight": vector(v, "W")[None], "bias": vector(v, "b")}

    return Case(controls, ("x", "low", "high"), ("z",), build)


def pair(a: str, b: str, values: tuple[float, float], *options: Control) -> Case:
    """Two numbers that meet in one."""
    controls = (*row(a, values[:1]), *row(b, values[1:]), *options)
    build: Build = lambda v: ((vector(v, a), vector(v, b)), {c.key: v[c.key] for c in options})
    return Case(controls, (a, b), ("z",), build)


def product() -> Case:
    """A sum of two products."""
    build: Build = lambda v: ((vector(v, "a")[None], vector(v, "b")[None]), {"multiply": "ti,ti->t"})
    return Case((*row("a", (1.0, 2.0)), *row("b", (1.5, -0.5))), ("a", "b"), ("z",), build)


def activation() -> Case:
    """One number through a curve."""
    curve = Control("f", "option", "silu", choices=tuple(ACTIVATIONS))
    build: Build = lambda v: ((vector(v, "x"),), {"f": ACTIVATIONS[v["f"]], "slope": SLOPES[v["f"]]})
    return Case((*row("x", (1.0,)), curve), ("x",), ("y",), build)


def scores(results: tuple[str, ...] = ("s 1", "s 2", "s 3")) -> Case:
    """One row of scores."""
    return Case(row("x", (2.0, 0.5, -1.0)), ("x",), results, lambda v: ((vector(v, "x"),), {}))


def norm(bias: bool) -> Case:
    """Three coordinates, their weights and, for a layer norm, biases."""
    controls = (*row("x", (1.0, -2.0, 1.5)), *row("w", (1.0, 0.5, 1.5), "weight"))
    controls += row("b", (0.5, 0.0, -0.5), "weight") if bias else ()

    def build(v: Values) -> Built:
        return (vector(v, "x"),), {"weight": vector(v, "w"), **({"bias": vector(v, "b")} if bias else {})}

    return Case(controls, ("x",), ("y 1", "y 2", "y 3"), build)


def attention() -> Case:
    """Two tokens, one head of one dimension."""
    controls = (
        *row("q", (1.0, 2.0)), *row("k", (1.5, -0.5)), *row("v", (1.0, 2.0)),
        Control("weights", "option", "carry", choices=("carry", "constant")),
    )  # fmt: skip

    def build(v: Values) -> Built:
        inputs = tuple(vector(v, name).reshape(1, 1, 2, 1) for name in "qkv")
        return inputs, {"softmax_constant": v["weights"] == "constant"}

    return Case(controls, ("q", "k", "v"), ("o 1", "o 2"), build)


def weighing() -> Case:
    """One query that sees two keys: their scores, what positions add to them, and the values."""
    controls = (*row("s", (1.0, 0.5), "weight"), *row("bias", (0.0, -1.0), "weight"), *row("v", (2.0, -1.0)))

    def build(v: Values) -> Built:
        still, A = (x.softmax(-1) for x in (vector(v, "s")[None], (vector(v, "s") + vector(v, "bias"))[None]))
        return (vector(v, "v")[:, None], A - still), {"still": still}

    return Case(controls, ("v", "A - A0"), ("o",), build)


def sinusoid() -> Case:
    """A token of two coordinates at a position."""
    controls = (*row("E", (1.0, -0.5)), Control("position", "option", 1.0, 0.0, 20.0, 1.0))

    def build(v: Values) -> Built:
        at = int(v["position"])
        return (vector(v, "E"), sinusoids(at + 1, 2, dtype=torch.float64)[at]), {}

    return Case(controls, ("E", "P"), ("z 1", "z 2"), build)


def table() -> Case:
    """A token of two coordinates and the learnt vector of its position."""

    def build(v: Values) -> Built:
        return (vector(v, "E")[None], vector(v, "P")[None]), {"positions": torch.tensor([0])}

    return Case((*row("E", (1.0, -0.5)), *row("P", (0.3, 0.2))), ("E", "P"), ("z 1", "z 2"), build)


def turn() -> Case:
    """One pair of coordinates, turned by position times frequency."""
    controls = (
        *row("x", (1.0, 0.5)),
        Control("position", "option", 1.0, 0.0, 20.0, 1.0), Control("frequency", "option", 0.5, 0.0, 1.0, 0.05),
    )  # fmt: skip

    def build(v: Values) -> Built:
        angle = torch.full((1, 2), v["position"] * v["frequency"], dtype=torch.float64)
        return (vector(v, "x")[None], angle.cos(), angle.sin()), {}

    return Case(controls, ("x", "cos", "sin"), ("x~ 1", "x~ 2"), build)


def beside() -> Case:
    """One feature of a token, and one of its place beside it."""
    build: Build = lambda v: ((vector(v, "E"), vector(v, "P")), {})
    return Case((*row("E", (1.0,)), *row("P", (0.5,))), ("E", "P"), ("z 1", "z 2"), build)


def embedded() -> Case:
    """A query of two coordinates and the vector of one distance."""
    build: Build = lambda v: ((vector(v, "q")[None], vector(v, "r")[None]), {"rows": torch.zeros(1, 1, dtype=torch.long)})
    return Case((*row("q", (1.0, -0.5)), *row("r", (1.5, 0.5))), ("q", "r"), ("s",), build)


def fading() -> Case:
    """One score times what is left of it at its distance."""
    options = (Control("gamma", "option", 0.8, 0.0, 1.0, 0.05), Control("distance", "option", 3.0, 0.0, 20.0, 1.0))
    build: Build = lambda v: ((vector(v, "q.k"), torch.tensor([v["gamma"] ** v["distance"]], dtype=torch.float64)), {})
    return Case((*row("q.k", (2.0,)), *options), ("q.k", "decay"), ("z",), build)


def penalty() -> Case:
    """One score and the penalty of its distance."""
    options = (Control("slope", "option", 0.5, 0.0, 1.0, 0.05), Control("distance", "option", 3.0, 0.0, 20.0, 1.0))
    build: Build = lambda v: ((vector(v, "q.k"), torch.tensor([-v["slope"] * v["distance"]], dtype=torch.float64)), {})
    return Case((*row("q.k", (2.0,)), *options), ("q.k", "penalty"), ("s",), build)


EPS = Control("eps", "option", 0.0, 0.0, 2.0, 0.05)
CASES: dict[str, Case] = {
    "epsilon": linear(EPS),
    "gamma": linear(Control("gamma", "option", 0.25, 0.0, 10.0, 0.05), EPS),
    "alpha_beta": linear(Control("alpha", "option", 2.0, 1.0, 4.0, 0.1)),
    "zplus": linear(),
    "zbox": box(),
    "uniform": product(),
    "division": pair("a", "b", (2.0, 0.5)),
    "identity": activation(),
    "softmax": scores(),
    "logsumexp": scores(("y",)),
    "log_softmax": scores(("y 1", "y 2", "y 3")),
    "rms_norm": norm(bias=False),
    "layer_norm": norm(bias=True),
    "residual": pair("a", "b", (2.0, -1.5)),
    "reslrp": pair("a", "b", (2.0, -1.5), Control("gamma", "option", 1.0, 0.0, 10.0, 0.1)),
    "constant": Case(row("x", (1.0,)), ("x",), ("x",), lambda v: ((vector(v, "x"),), {})),
    "attention": attention(),
    "delta": weighing(),
    "absolute": sinusoid(),
    "learnable": table(),
    "rotary": turn(),
    "modulation": pair("x", "m", (2.0, -0.5)),
    "joined": beside(),
    "relative_bias": pair("q.k", "bias", (2.0, -0.5)),
    "alibi": penalty(),
    "relative_embedding": embedded(),
    "decay": fading(),
}  # fmt: skip
