"""Lab 05: residual sums, cancellation, and a rule with a bound."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from ... import rules
from ...verbs import stabilise
from ..exercise import Case, Exercise, Mistake, normal


def _sums(rng: Generator) -> Iterator[Case]:
    for label, shape in (("one token", (4,)), ("three tokens", (3, 4))):
        yield label, tuple(normal(rng, shape, shape, shape))
    R, a, b = normal(rng, (3,), (3,), (3,))
    yield "branches that nearly cancel", (R, a, -0.9 * a)
    yield "an empty branch", (R, a, b * 0)


def _residual(R: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    return rules.residual.relevance(R, a, b)


def _several(rng: Generator) -> Iterator[Case]:
    for label, n in (("two branches", 2), ("three branches", 3), ("one branch", 1)):
        yield label, tuple(normal(rng, (2, 3), (n, 2, 3)))
    R, branches = normal(rng, (2, 3), (2, 2, 3))
    branches[1, 0] = -branches[0, 0]
    yield "branches that cancel exactly", (R, branches)


def _shared(R: Tensor, branches: Tensor) -> Tensor:
    total = branches.sum(0)
    return torch.where(total == 0, 0.0, branches * R / total)


def _branches(rng: Generator) -> Iterator[Case]:
    for label, (_, a, b) in _sums(rng):
        yield label, (a, b)


def _blow_up(a: Tensor, b: Tensor) -> Tensor:
    return (a.abs() + b.abs()) / (a + b).abs()


def _weighed(rng: Generator) -> Iterator[Case]:
    for (label, inputs), gamma in zip(_sums(rng), (1.0, 0.5, 1.0, 3.0)):
        yield f"{label}, gamma = {gamma:g}", (*inputs, gamma)


def _reslrp(R: Tensor, a: Tensor, b: Tensor, gamma: float) -> tuple[Tensor, ...]:
    return rules.reslrp.relevance(R, a, b, gamma=gamma)


def _favour(R: Tensor, a: Tensor, b: Tensor, agree: float, disagree: float) -> tuple[Tensor, Tensor]:
    c = a + b
    x, y = (torch.where(branch.sign() == c.sign(), agree, disagree) * branch for branch in (a, b))
    return x * R / stabilise(x + y), y * R / stabilise(x + y)


def _not_shared_again(R: Tensor, a: Tensor, b: Tensor, gamma: float) -> tuple[Tensor, ...]:
    c = a + b
    return tuple(torch.where(x.sign() == c.sign(), 1 + gamma, 1.0) * x / stabilise(c) * R for x in (a, b))


EXERCISES = (
    Exercise(
        "residual",
        "05",
        "my_residual",
        _shared,
        _several,
        (
            Mistake(
                "equal parts",
                "Equal parts are the rule for products. In a sum each branch is paid what it brought.",
                lambda R, branches: (R / len(branches)).expand_as(branches),
            ),
            Mistake(
                "sign",
                "The sizes lost their signs. A branch that pulls the other way gets the opposite sign.",
                lambda R, branches: branches.abs() * R / branches.abs().sum(0),
            ),
            Mistake("0/0", "Where the branches cancel exactly this is 0/0 or R/0. Give 0 there.", lambda R, b: b * R / b.sum(0)),
            Mistake(
                "all to the stream",
                "All went to the first branch, as if the others were constants.",
                lambda R, branches: torch.cat((R[None], torch.zeros_like(branches[1:]))),
            ),
            Mistake(
                "one total",
                "The total ran over tokens or width as well. Each number is a sum of its own: add over the branches alone.",
                lambda R, branches: branches * R / branches.sum(),
            ),
        ),
        (
            "In proportion: each branch over the sum of all, `branches.sum(0)`.",
            "Each branch gets R in proportion to its part of the total. Where the total is 0, nothing is paid.",
        ),
        keeper="nobody",
    ),
    Exercise(
        "blow-up",
        "05",
        "blow_up",
        _blow_up,
        _branches,
        (
            Mistake(
                "signs kept",
                "With signs the parts always add up to R, so this is 1 everywhere. Take sizes before adding.",
                lambda a, b: (a + b) / (a + b),
            ),
            Mistake("upside down", "This is upside down: sizes of the parts over the size of R.", lambda a, b: 1 / _blow_up(a, b)),
            Mistake("one branch", "One branch is missing: add the sizes of both.", lambda a, b: a.abs() / (a + b).abs()),
        ),
        ("|R(a)| + |R(b)| for R = 1.", "Sizes are added above the line; below it stands the size of the signed sum."),
    ),
    Exercise(
        "reslrp",
        "05",
        "my_reslrp",
        _reslrp,
        _weighed,
        (
            Mistake(
                "the wrong branch",
                "You favoured the branch that the sum disagrees with; amounts grow instead of shrinking.",
                lambda R, a, b, gamma: _favour(R, a, b, 1.0, 1 + gamma),
            ),
            Mistake(
                "not shared again",
                "The weighted parts were divided by a + b. Divide by the weighted sum, or relevance is made.",
                _not_shared_again,
            ),
            Mistake(
                "gamma instead of 1 + gamma",
                "The agreeing branch was weighted by gamma; it is 1 + gamma, so that gamma = 0 is the plain rule.",
                lambda R, a, b, gamma: _favour(R, a, b, gamma, 1.0),
            ),
            Mistake("unweighted", "This is the plain residual; the weights are missing.", lambda R, a, b, gamma: _residual(R, a, b)),
        ),
        (
            "Weigh each branch: 1 + gamma where its sign is that of the sum, 1 elsewhere. Then share as in a residual.",
            "Raise a branch by 1 + gamma where its sign is that of the sum, the other branch likewise, and share R by the raised ones.",
        ),
        keeper="nobody",
        points=2,
    ),
)

QUIZ = (
    (
        "a = 10, b = -9, R = 1. What do the branches get?",
        ("10 and -9", "a / (a + b) = 10. The total is kept, the sizes are not."),
        ("1 and 0", "Both made the sum, so both are paid."),
        ("10/19 and 9/19", "Signs were dropped: b pulled the other way, and its part is negative."),
    ),
    (
        "A map has huge amounts of both signs, and its ledger is closed. What happened?",
        ("Branches cancelled in some residual sums", "Each sum may amplify sizes while it keeps the total."),
        ("The ledger is wrong", "Totals are kept; the ledger is about totals."),
        ("The model overflowed", "The forward pass is the user's own and unchanged."),
    ),
    (
        "What does ResLRP give up?",
        ("Exact proportion to what each branch brought", "It favours the branch that agrees, and in return sizes stay bounded."),
        ("Conservation", "Its parts add up to R."),
        ("The model's value", "No rule changes the forward pass."),
    ),
)
