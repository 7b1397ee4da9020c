"""Lab 02: conservation as accounting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear, relu

from ...verbs import stabilise
from ..exercise import Case, Exercise, Mistake, normal


def _books(rng: Generator) -> Iterator[Case]:
    for label, gap in (("a small gap", 1e-6), ("a negative gap", -0.5), ("a large gap", 0.3), ("a tiny negative gap", -1e-9)):
        entries = next(normal(rng, (6,)))
        yield label, (torch.tensor(gap), entries, 1e-3)
    for label, sign, of_allowed in (("nearly too much", 1, 0.9), ("a little too much", 1, 1.1), ("a little too much, negative", -1, 1.1)):
        entries = next(normal(rng, (7,)))
        yield label, (sign * of_allowed * 1e-3 * entries.abs().sum(), entries, 1e-3)
    yield "small amounts", (torch.tensor(5e-4), torch.tensor([0.01, -0.02]), 1e-3)
    yield "entries that cancel", (torch.tensor(0.002), torch.tensor([5.0, -5.0, 0.1]), 1e-3)


def _closed(gap: Tensor, entries: Tensor, tolerance: float) -> Tensor:
    return gap.abs() <= tolerance * entries.abs().sum()


def _gaps(rng: Generator) -> Iterator[Case]:
    yield "one leak", (torch.tensor([0.0, 0.0, 0.4, 0.4]), 0.01)
    yield "a negative leak", (torch.tensor([0.001, -0.3, -0.3]), 0.01)
    yield "no leak", (torch.tensor([0.001, -0.002]), 0.01)
    yield "two leaks that cancel later", (torch.tensor([0.0, 0.2, 0.2, 0.0]), 0.01)
    yield "a leak at once, and another", (torch.tensor([0.5, 0.5, 0.9]), 0.01)


def _opened(gaps: Tensor, allowed: float) -> int:
    return next((i for i, gap in enumerate(gaps) if abs(gap) > allowed), -1)


def _networks(rng: Generator) -> Iterator[Case]:
    for label, batch in (("one sentence", (1,)), ("three sentences", (3,))):
        R, x = normal(rng, (*batch, 2), (*batch, 4))
        yield label, (R, x, *normal(rng, (5, 4), (5,), (2, 5), (2,)))
    R, x, W1, b1, W2, b2 = normal(rng, (1, 2), (1, 4), (5, 4), (5,), (2, 5), (2,))
    yield "the first bias is zero", (R, x, W1, b1 * 0, W2, b2)


def _booked(R: Tensor, x: Tensor, W1: Tensor, b1: Tensor, W2: Tensor, b2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """tokens, first bias, second bias."""
    z1 = linear(x, W1, b1)
    h = relu(z1)
    z2 = linear(h, W2, b2)
    R_h = h * ((R / stabilise(z2)) @ W2)
    per_unit = R_h / stabilise(z1)
    return (x * (per_unit @ W1)).sum(), (b1 * per_unit).sum(), (b2 * R / stabilise(z2)).sum()


def _slip(change: Any) -> Any:
    return lambda *inputs: change(*_booked(*inputs))


def _no_second_bias(R: Tensor, x: Tensor, W1: Tensor, b1: Tensor, W2: Tensor, b2: Tensor) -> tuple[Tensor, ...]:
    tokens, first, second = _booked(R, x, W1, b1, W2, b2 * 0)
    return tokens, first, second


EXERCISES = (
    Exercise(
        "closed",
        "02",
        "closed",
        _closed,
        _books,
        (
            Mistake(
                "sign",
                "A negative gap passes whatever its size. Compare its size: `abs`.",
                lambda gap, e, tol: gap <= tol * e.abs().sum(),
            ),
            Mistake(
                "compared with the sum",
                "Entries of both signs cancel in the sum. The scale is the sum of their sizes.",
                lambda gap, e, tol: gap.abs() <= tol * e.sum().abs(),
            ),
            Mistake(
                "without a scale",
                "The tolerance is a part of the scale, not an amount: multiply it by the sum of sizes.",
                lambda gap, e, tol: gap.abs() <= tol,
            ),
        ),
        (
            "Three sizes: the gap's, the entries', the tolerance.",
            "Compare the size of the gap with the tolerance times the sum of the sizes of all entries.",
        ),
    ),
    Exercise(
        "find-leak",
        "02",
        "opened",
        _opened,
        _gaps,
        (
            Mistake(
                "sign",
                "Negative leaks pass. Compare the size of each gap.",
                lambda gaps, allowed: next((i for i, gap in enumerate(gaps) if gap > allowed), -1),
            ),
            Mistake(
                "the last one",
                "This is the last place with a gap. A leak is carried on to all that follow: the first one made it.",
                lambda gaps, allowed: max((i for i, gap in enumerate(gaps) if abs(gap) > allowed), default=-1),
            ),
            Mistake(
                "the largest one",
                "This is the largest gap. The leak is where a gap appears first.",
                lambda gaps, allowed: int(gaps.abs().argmax()) if gaps.abs().max() > allowed else -1,
            ),
        ),
        (
            "Walk along the list and stop at the first gap that is too large.",
            "Go through the gaps in order: the first whose size is above what is allowed; -1 if there is none.",
        ),
    ),
    Exercise(
        "book-keeping",
        "02",
        "book",
        _booked,
        _networks,
        (
            Mistake(
                "missing bias",
                "The second bias is missing in its output's total, so it keeps nothing and the rest gets too much.",
                _no_second_bias,
            ),
            Mistake("biases swapped", "The two biases have changed places.", _slip(lambda t, first, second: (t, second, first))),
            Mistake(
                "sign",
                "What the biases keep has the wrong sign: tokens plus biases must give the sum of R.",
                _slip(lambda t, first, second: (t, -first, -second)),
            ),
            Mistake(
                "biases given to the tokens",
                "The tokens got what the biases keep.",
                _slip(lambda t, first, second: (t + first + second, first, second)),
            ),
        ),
        (
            "Go back one layer at a time: first R of h, then R of x, and book each bias when you pass it.",
            "The second layer pays h by shares of z2, and its bias keeps its share; the ReLU hands on as it is; then the first layer.",
        ),
        keeper="nobody",
        points=2,
    ),
)

QUIZ = (
    (
        "Sum in 1.00, sum out 0.93, and the bias keeps 0.07. Is relevance lost?",
        ("No, it is booked", "0.93 + 0.07 is all of it. Lost is only what nobody can name."),
        ("Yes, 0.07", "It did not reach the inputs, but the account says where it stayed."),
        (
            "Yes, rules must pay everything to the inputs",
            "A bias made part of the output; paying its part to the inputs would be a story.",
        ),
    ),
    (
        "Why compare the gap with the sum of sizes, not with the value?",
        (
            "The value can be near 0 while large amounts flow",
            "Large positive and negative amounts can cancel; rounding follows their size.",
        ),
        ("The value is not known", "It is what we started from."),
        ("It makes every ledger close", "A true leak is far larger than a thousandth of what flows."),
    ),
    (
        "A rule is halved by mistake, and what it lost is booked under `softmax` as the difference. What does the ledger show?",
        ("It closes", "An entry taken as a difference balances by construction. That is why an audit measures every softmax."),
        ("A gap at that layer", "Only if the entry is measured on its own, as in an audit."),
        ("A negative value", "The value is the model's; no rule changes it."),
    ),
)
