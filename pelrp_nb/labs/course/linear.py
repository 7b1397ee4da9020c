"""Lab 01: one linear layer by hand, the epsilon rule."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from ... import rules
from ...verbs import stabilise
from ..exercise import Case, Exercise, Mistake, normal, whole


def _by_hand(rng: Generator) -> Iterator[Case]:
    x, weight, R = whole(rng, (3,), (2, 3), (2,))
    yield "the numbers of this lab", (x, weight, R)


def _hand(x: Tensor, weight: Tensor, R: Tensor) -> Tensor:
    return rules.epsilon.relevance(R, x, weight=weight)[0]


def _maps(rng: Generator) -> Iterator[Case]:
    for label, (n, m) in {"3 inputs, 2 outputs": (3, 2), "one input": (1, 4), "one output": (5, 1), "a square": (4, 4)}.items():
        yield label, tuple(normal(rng, (n,), (m, n)))


def _shares(x: Tensor, weight: Tensor) -> Tensor:
    return x * weight / linear(x, weight)[:, None]


def _rows(rng: Generator) -> Iterator[Case]:
    for label, batch, eps in (
        ("a batch of two", (2,), 0.0),
        ("no batch", (), 0.0),
        ("eps = 0.3", (3,), 0.3),
        ("eps = 2", (4,), 2.0),
    ):
        R, x, weight, bias = normal(rng, (*batch, 3), (*batch, 4), (3, 4), (3,))
        yield label, (R, x, weight, bias, eps)
    yield "an input of zeros", (R, x * 0, weight, bias, 0.1)
    even = torch.tensor([[1.0, -1.0, 2.0, -2.0]] * 3, dtype=torch.float64)
    yield "outputs of exactly 0", (R[:1], torch.ones(1, 4, dtype=torch.float64), even, bias * 0, 0.5)


def _epsilon(R: Tensor, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return rules.epsilon.relevance(R, x, weight=weight, bias=bias, eps=eps)[0]


def _pay(R: Tensor, x: Tensor, weight: Tensor, z: Tensor) -> Tensor:
    return ((x[..., None, :] * weight / z[..., None]) * R[..., None]).sum(-2)


def _biases(rng: Generator) -> Iterator[Case]:
    for label, batch in (("no batch", ()), ("a batch of three", (3,))):
        yield label, tuple(normal(rng, (*batch, 2), (*batch, 3), (2, 3), (2,)))
    R, x, weight, bias = normal(rng, (2,), (3,), (2, 3), (2,))
    yield "a bias of zeros", (R, x, weight, bias * 0)


def _kept(R: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return (bias / linear(x, weight, bias) * R).sum()


EXERCISES = (
    Exercise(
        "by-hand",
        "01",
        "by_hand",
        _hand,
        _by_hand,
        (
            Mistake(
                "not multiplied by x",
                "These shares come from the weights alone. A contribution is input times weight.",
                lambda x, W, R: (W / W.sum(1, keepdim=True) * R[:, None]).sum(0),
            ),
            Mistake(
                "wrong total",
                "Each contribution was divided by the total of its input. Divide by the total of its output.",
                lambda x, W, R: (x * W / (x * W).sum(0) * R[:, None]).sum(0),
            ),
            Mistake(
                "relevance of the first output alone",
                "Only the first output has paid. Add what the second one pays.",
                lambda x, W, R: (x * W / linear(x, W)[:, None] * R[:, None])[0],
            ),
        ),
        ("For each output: contributions x_i W_ji, their total, the shares.", "R_i is share_1i R_1 + share_2i R_2; three numbers."),
        kind="value",
    ),
    Exercise(
        "shares",
        "01",
        "shares",
        _shares,
        _maps,
        (
            Mistake(
                "not divided",
                "These are the contributions x_i W_ji. A share is a contribution divided by the total of its output.",
                lambda x, W: x * W,
            ),
            Mistake(
                "wrong total",
                "You divided by totals over outputs. A row's shares must add up to 1: total over inputs.",
                lambda x, W: x * W / (x * W).sum(0),
            ),
            Mistake(
                "weights alone",
                "The input is missing: an input of 0 contributes nothing, however large its weight.",
                lambda x, W: W / W.sum(1, keepdim=True),
            ),
            Mistake(
                "transposed",
                "The shape is (inputs, outputs); the weight is (outputs, inputs), keep it that way.",
                lambda x, W: _shares(x, W).T,
            ),
        ),
        (
            "Multiply the weights by the inputs, then look at the rows.",
            "A row is one output. Add up its contributions, keep the dimension, and divide the row by that total.",
        ),
    ),
    Exercise(
        "epsilon",
        "01",
        "my_epsilon",
        _epsilon,
        _rows,
        (
            Mistake(
                "missing bias",
                "The bias is missing in z: an output is also made of its bias, which keeps its share.",
                lambda R, x, W, b, eps: _pay(R, x, W, stabilise(linear(x, W), eps)),
            ),
            Mistake(
                "eps without its sign",
                "eps was added as it is. Where z is negative it must be subtracted, or it moves z towards 0.",
                lambda R, x, W, b, eps: _pay(R, x, W, linear(x, W, b) + eps),
            ),
            Mistake(
                "eps forgotten",
                "eps is missing in the denominator.",
                lambda R, x, W, b, eps: _pay(R, x, W, stabilise(linear(x, W, b))),
            ),
            Mistake(
                "sign",
                "The denominator lost its sign: no absolute values in z.",
                lambda R, x, W, b, eps: _pay(R, x, W, stabilise(linear(x, W, b), eps).abs()),
            ),
            Mistake(
                "input forgotten",
                "This is the gradient part alone. Multiply by the input x.",
                lambda R, x, W, b, eps: (R / stabilise(linear(x, W, b), eps)) @ W,
            ),
        ),
        (
            "z is x W^T + b, and eps goes away from zero: z + eps sign(z).",
            "Divide R by the stabilised z first, take it back through the weights, multiply by x last.",
        ),
        keeper="the bias or eps",
        points=2,
    ),
    Exercise(
        "bias-keeps",
        "01",
        "kept",
        _kept,
        _biases,
        (
            Mistake(
                "sign",
                "The sign is the wrong way round: a bias that helps an output keeps a positive part.",
                lambda R, x, W, b: -_kept(R, x, W, b),
            ),
            Mistake("the bias itself", "This is the sum of the biases. What they keep is their share of R.", lambda R, x, W, b: b.sum()),
            Mistake(
                "the rest",
                "This is what the inputs get. The bias keeps what is left of R.",
                lambda R, x, W, b: R.sum() - _kept(R, x, W, b),
            ),
            Mistake("missing bias", "The total of an output includes the bias itself.", lambda R, x, W, b: (b / linear(x, W) * R).sum()),
        ),
        ("A bias is one more contribution to z.", "Its share of output j is b_j / z_j; pay it R_j, and add up."),
    ),
)

QUIZ = (
    (
        "Two inputs contribute 3 and 1 to an output of relevance 8. What do they get?",
        ("6 and 2", "Three quarters and one quarter of 8."),
        ("4 and 4", "That would be equal parts. The rule pays in proportion to what was contributed."),
        ("24 and 8", "That multiplies without dividing by the total: 8 has become 32."),
    ),
    (
        "Contributions are 5 and -4, so z = 1, and R = 1. What happens?",
        ("They get 5 and -4", "The total is kept, but single amounts are large: a small z makes large shares."),
        ("They get 5/9 and 4/9", "That divides by sizes without signs, and the negative contribution would seem to help."),
        ("The rule cannot be used", "It can, only z = 0 exactly is a problem; eps makes such cases calm."),
    ),
    (
        "What does a larger eps do?",
        (
            "The layer keeps more, the inputs get less",
            "The denominator grows away from zero, and the shares add up to less than 1.",
        ),
        ("The inputs get more", "The denominator grows, so every share shrinks."),
        ("It changes the model's output", "A rule never changes the forward pass."),
    ),
)
