"""Lab 13: a rule of one's own, defined, made fast, and proved."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Generator, Tensor
from torch.nn.functional import linear

from ...verbs import freeze, route, scale, stabilise
from ..exercise import Case, Exercise, Mistake, normal


def _maps(rng: Generator) -> Iterator[Case]:
    for label, batch in (("one vector", (1,)), ("three vectors", (3,)), ("sentences", (2, 3))):
        yield label, tuple(normal(rng, (*batch, 2), (*batch, 4), (2, 4)))
    R, x, weight = normal(rng, (1, 2), (1, 3), (2, 3))
    yield "inputs of zeros", (R, x * 0, weight)


def _forwards(rng: Generator) -> Iterator[Case]:
    return (case for case in _maps(rng) if case[0] != "inputs of zeros")


def _square(R: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    share = weight.square() / weight.square().sum(-1, keepdim=True)
    return R @ share


def _shares(R: Tensor, share: Tensor) -> Tensor:
    return R @ share


def _bent(x: Tensor, weight: Tensor) -> Tensor:
    z = linear(x, weight)
    share = weight.square() / weight.square().sum(-1, keepdim=True)
    flat = linear(x / freeze(stabilise(x)), share)  # value 1 where shares add up to 1
    return route(z, scale(flat, freeze(z)))


def _paid(rng: Generator) -> Iterator[Case]:
    R, paid = normal(rng, (3, 2), (3, 4))
    yield "random numbers", (R, paid)
    yield "all of it paid", (R, R.flip(0))
    yield "half of it paid", (R, R / 2)
    yield "more paid than came in", (R.abs(), 1.5 * R.abs())
    yield "a negative sum, half of it paid", (-R.abs(), -R.abs() / 2)
    yield "a negative sum, too much paid", (-R.abs(), -2 * R.abs())


def _part(R: Tensor, paid: Tensor) -> Tensor:
    return (R.sum() - paid.sum()) / R.sum()


EXERCISES = (
    Exercise(
        "own-rule",
        "13",
        "square_rule",
        _square,
        _maps,
        (
            Mistake(
                "not squared",
                "The weights were not squared; shares of signed weights can be negative or huge.",
                lambda R, x, W: _shares(R, W / W.sum(-1, keepdim=True)),
            ),
            Mistake(
                "sizes instead of squares",
                "You took sizes |W|. This rule takes squares.",
                lambda R, x, W: _shares(R, W.abs() / W.abs().sum(-1, keepdim=True)),
            ),
            Mistake(
                "wrong total",
                "The totals ran over outputs. An output's shares add up to 1 over its inputs.",
                lambda R, x, W: _shares(R, W.square() / W.square().sum(0)),
            ),
            Mistake(
                "inputs used",
                "x appears in your shares. In this rule the input does not matter, only the weights.",
                lambda R, x, W: (
                    x[..., None, :] * W.square() / stabilise((x[..., None, :] * W.square()).sum(-1, keepdim=True)) * R[..., None]
                ).sum(-2),
            ),
        ),
        (
            "Shares W^2 over their total, output by output.",
            "Square the weights, divide each by the total of its output, and let R go through these shares.",
        ),
        keeper="nobody",
    ),
    Exercise(
        "own-forward",
        "13",
        "square_forward",
        _bent,
        _forwards,
        (
            Mistake(
                "not bent",
                "The value is right, the gradient is the plain one, which is the epsilon rule.",
                lambda x, W: linear(x, W),
            ),
            Mistake("halved", "Half is lost: nothing here is a product of two carriers.", lambda x, W: scale(_bent(x, W), 0.5)),
            Mistake(
                "value changed",
                "The gradient may be right, but the value is not that of the layer. Use `route(value, through)`.",
                lambda x, W: _bent(x, W) * 1 - freeze(linear(x, W)) + 1,
            ),
            Mistake("sign", "The relevance has the wrong sign.", lambda x, W: scale(_bent(x, W), -1.0)),
        ),
        (
            "`through` must be z times a sum of shares, written so that x times its gradient is the share.",
            "Divided by its own frozen value, x is 1 and still carries: send that through the shares, times the frozen z, by `route`.",
        ),
        kind="gradient",
        points=2,
    ),
    Exercise(
        "lost-part",
        "13",
        "lost_part",
        _part,
        _paid,
        (
            Mistake("sign", "The sign is the wrong way round: what is missing counts as positive.", lambda R, p: -_part(R, p)),
            Mistake("not divided", "This is an amount. The part of what came in is asked.", lambda R, p: R.sum() - p.sum()),
            Mistake("what was paid", "This is the part that was paid. Lost is the rest.", lambda R, p: p.sum() / R.sum()),
        ),
        ("In, out, and the part of what came in.", "What came in less what was paid, divided by what came in."),
    ),
)

QUIZ = (
    (
        "When are two forms of a rule the same rule?",
        ("When they agree for any R and any input", "So draw R at random, and include special cases."),
        ("When they agree on one model", "One model may never meet the case in which they differ."),
        ("When both ledgers close", "A wrong rule can conserve as well."),
    ),
    (
        "A rule conserves. Is it a good rule?",
        ("That alone does not say", "Paying everything to the first input conserves too."),
        ("Yes", "Conservation is a check of the accounts, not of the meaning."),
        ("Only if it is fast", "Speed says nothing about meaning either."),
    ),
    (
        "Why must R be random in the test, and not y itself?",
        ("With R = y many mistakes look right", "A gradient that starts with ones passes then; random R tells them apart."),
        ("To save time", "It costs the same."),
        ("Because y may be negative", "R may be negative too."),
    ),
)
