"""Lab 03: activations, norms, gates."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor
from torch.nn.functional import silu

from ...rules import rms_norm
from ...verbs import freeze, scale
from ..exercise import Case, Exercise, Mistake, normal


def _points(rng: Generator) -> Iterator[Case]:
    yield "random numbers", tuple(normal(rng, (5,)))
    yield "a matrix", tuple(normal(rng, (2, 3)))
    yield "zeros among them", (torch.tensor([0.0, -1.0, 0.0, 2.0], dtype=torch.float64),)
    yield "large numbers", (torch.tensor([-30.0, 30.0], dtype=torch.float64),)


def _tangent(x: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    return s + x * s * (1 - s)


def _vectors(rng: Generator) -> Iterator[Case]:
    for label, shape in (("one token", (1, 4)), ("three tokens", (3, 5)), ("a batch", (2, 3, 6))):
        yield label, (*normal(rng, shape, shape), next(normal(rng, shape[-1:])), 1e-6)
    R, x, weight = normal(rng, (2, 3), (2, 3), (3,))
    yield "a large eps", (R, x, weight, 0.5)


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return rms_norm.forward(x, weight=weight, eps=eps)


def _moving(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def _centred(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    x = x - x.mean(-1, keepdim=True)
    return _norm(x, weight, eps)


def _gates(rng: Generator) -> Iterator[Case]:
    for label, shape in (("one token", (4,)), ("three tokens", (3, 4))):
        yield label, tuple(normal(rng, shape, shape, shape))
    R, g, u = normal(rng, (3,), (3,), (3,))
    yield "a closed gate", (R * 0, g * 0, u)


def _gate(g: Tensor, u: Tensor) -> Tensor:
    return scale(_silu(g) * u, 0.5)


def _silu(g: Tensor) -> Tensor:
    """SiLU with the slope of the line from the origin."""
    return g * freeze(torch.sigmoid(g))


EXERCISES = (
    Exercise(
        "slope",
        "03",
        "slope",
        lambda x: torch.sigmoid(x),
        _points,
        (
            Mistake(
                "tangent",
                "This is the tangent, the ordinary derivative. The slope wanted is that of the line from the origin: f(x) / x.",
                _tangent,
            ),
            Mistake("0/0", "At 0 the quotient f(x) / x is 0/0. For SiLU it can be written without dividing.", lambda x: silu(x) / x),
            Mistake("not divided", "This is f(x) itself. Divide by x, so that slope times x is f(x).", silu),
            Mistake(
                "zero at zero",
                "At 0 the line from the origin becomes the tangent: its slope there is f'(0), not 0.",
                lambda x: torch.where(x == 0, 0.0, torch.sigmoid(x)),
            ),
        ),
        ("silu(x) = x times something. What?", "silu(x) = x * sigmoid(x), so silu(x) / x is ..."),
    ),
    Exercise(
        "frozen-norm",
        "03",
        "frozen_norm",
        _norm,
        _vectors,
        (
            Mistake(
                "unfrozen norm",
                "The root mean square still moves: it pays part of the relevance back. Freeze it: `freeze(...)`.",
                _moving,
            ),
            Mistake(
                "everything frozen",
                "Now nothing can go back: freeze the root mean square only, not x.",
                lambda x, w, eps: freeze(_moving(x, w, eps)),
            ),
            Mistake("weight forgotten", "The weight is missing.", lambda x, w, eps: _norm(x, torch.ones_like(w), eps)),
            Mistake("mean subtracted", "The mean was subtracted. That is what a LayerNorm does; an RMSNorm does not.", _centred),
            Mistake(
                "halved",
                "Half is lost: a frozen number takes nothing, so no half is due.",
                lambda x, w, eps: scale(_norm(x, w, eps), 0.5),
            ),
        ),
        (
            "rms = sqrt(mean of x^2 + eps) over the last dimension, as a constant.",
            "The denominator is the root of mean square plus eps. Freeze that alone; x and the weight stay as they are.",
        ),
        kind="gradient",
    ),
    Exercise(
        "gate",
        "03",
        "my_gate",
        _gate,
        _gates,
        (
            Mistake(
                "forgotten half",
                "Each factor got everything, so relevance has doubled. Two factors: half each.",
                lambda g, u: _silu(g) * u,
            ),
            Mistake(
                "tangent",
                "The product is halved, but the SiLU still has its own slope, so g gets another part than half. Bend it as in exercise 1.",
                lambda g, u: scale(silu(g) * u, 0.5),
            ),
            Mistake("not bent", "The value is right, the slopes are the plain ones: nothing is bent.", lambda g, u: silu(g) * u),
            Mistake(
                "all to one",
                "All went to u. That is CP-LRP, which takes the gate as a constant; here both carry.",
                lambda g, u: freeze(silu(g)) * u,
            ),
            Mistake(
                "halved twice",
                "g got a quarter: the half is due once, at the product; the activation hands on all it receives.",
                lambda g, u: scale(scale(_silu(g), 0.5) * u, 0.5),
            ),
            Mistake(
                "value halved",
                "The value was halved as well. `scale(x, 0.5)` halves the slope and leaves the value.",
                lambda g, u: _silu(g) * u / 2,
            ),
            Mistake(
                "0/0",
                "At g = 0 the quotient silu(g) / g is 0/0. Exercise 1 wrote it without dividing.",
                lambda g, u: scale(g * freeze(silu(g) / g) * u, 0.5),
            ),
        ),
        (
            "Two bends in one line: one for the activation, one for the product.",
            "The SiLU is g times a factor: freeze the factor, as in exercise 1. Then times u, and the slope of the whole halved.",
        ),
        kind="gradients",
    ),
)

QUIZ = (
    (
        "Why does an activation hand on all it receives?",
        ("One input, one output: nobody else could be paid", "With f(0) = 0 there is no constant part either."),
        ("Its derivative is 1", "SiLU's derivative is not 1. The rule uses f(x) / x, not the derivative."),
        ("It has no weights", "A softmax has none either, and does not conserve."),
    ),
    (
        "What happens if the root mean square of a norm is not frozen?",
        ("Almost everything cancels", "y does not change when x is scaled, so x times its gradient adds up to about 0."),
        ("Nothing, the value is the same", "The value is; the relevance is not."),
        ("The relevance doubles", "It cancels: two paths with opposite signs."),
    ),
    (
        "SiLU(g) * u: how is R shared?",
        ("Half to g, half to u", "A product of two carriers: 1/2 each; the activation is passed unchanged."),
        ("In proportion to SiLU(g) and u", "That is the rule for sums."),
        ("All to u", "That is CP-LRP, where gates count as constants."),
    ),
)
