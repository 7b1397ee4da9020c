"""Lab 10: images, pixels, patches, first tokens, masks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor

from ...verbs import stabilise
from ..exercise import Case, Exercise, Mistake, normal


def _maps(rng: Generator) -> Iterator[Case]:
    for h, w, size in ((4, 4, 2), (4, 6, 2), (3, 6, 3), (2, 2, 2)):
        yield f"{h} by {w} pixels, patches of {size}", (*normal(rng, (h, w)), size)


def _grid(R: Tensor, size: int) -> Tensor:
    return R.unflatten(0, (-1, size)).unflatten(2, (-1, size))  # (rows, size, columns, size)


def _patches(R: Tensor, size: int) -> Tensor:
    return _grid(R, size).sum((1, 3))


def _rows(rng: Generator) -> Iterator[Case]:
    for label, first, rows, columns in (("one first token", 1, 2, 3), ("three first tokens", 3, 3, 4), ("two, and a square", 2, 4, 4)):
        yield label, (*normal(rng, (first + rows * columns,)), first, columns)


def _apart(R: Tensor, first: int, columns: int) -> tuple[Tensor, Tensor]:
    return R[first:].reshape(-1, columns), R[:first].sum()


def _pixels(rng: Generator) -> Iterator[Case]:
    for label, batch in (("one image", (1,)), ("three images", (3,))):
        R, x, weight = normal(rng, (*batch, 2), (*batch, 5), (2, 5))
        yield label, (R, x.sigmoid(), weight, 0.0, 1.0)
    yield "bounds -1 and 2", (R, x.sigmoid(), weight, -1.0, 2.0)


def _pay(c: Tensor, R: Tensor) -> Tensor:
    return (c / stabilise(c.sum(-1, keepdim=True)) * R[..., None]).sum(-2)


def _contribution(x: Tensor, weight: Tensor, low: float, high: float) -> Tensor:
    return x[..., None, :] * weight - low * weight.clamp(min=0) - high * weight.clamp(max=0)


def _box(R: Tensor, x: Tensor, weight: Tensor, low: float, high: float) -> Tensor:
    return _pay(_contribution(x, weight, low, high), R)


def _masks(rng: Generator) -> Iterator[Case]:
    for label, shape in (("a small picture", (3, 4)), ("a larger one", (6, 5))):
        R, m = normal(rng, shape, shape)
        yield label, (R, m > 0)
    yield "relevance of one sign", (R.abs(), m > 0.5)
    yield "an empty mask", (R, m > 9)


def _inside(R: Tensor, mask: Tensor) -> Tensor:
    R = R.clamp(min=0)
    return (R * mask).sum() / R.sum()


def _mass(change: Any) -> Any:
    return lambda R, mask: (change(R) * mask).sum() / change(R).sum()


EXERCISES = (
    Exercise(
        "patches",
        "10",
        "patches",
        _patches,
        _maps,
        (
            Mistake("mean", "A mean divides by the number of pixels and conserves nothing: sum.", lambda R, n: _grid(R, n).mean((1, 3))),
            Mistake("largest pixel", "Only the largest pixel was taken: sum them all.", lambda R, n: _grid(R, n).amax((1, 3))),
            Mistake("transposed", "Rows and columns have changed places.", lambda R, n: _patches(R, n).T),
            Mistake("sizes", "Signs were dropped before summing.", lambda R, n: _patches(R.abs(), n)),
        ),
        (
            "Cut the map into (rows, size, columns, size) and sum over the two sizes.",
            "Split height and width into patches and what lies inside each, and add up what lies inside.",
        ),
        keeper="nobody",
    ),
    Exercise(
        "first-tokens",
        "10",
        "apart",
        _apart,
        _rows,
        (
            Mistake(
                "cut at the end",
                "The first tokens stand before the patches; you cut the last ones off.",
                lambda R, first, columns: (R[:-first].reshape(-1, columns), R[-first:].sum()),
            ),
            Mistake(
                "only [CLS]",
                "Only [CLS] was counted among the first tokens. Registers stand there as well.",
                lambda R, first, columns: (R[first:].reshape(-1, columns), R[:1].sum()),
            ),
            Mistake(
                "column by column",
                "Patches are counted row by row, and yours are laid out column by column.",
                lambda R, first, columns: (R[first:].reshape(columns, -1).T, R[:first].sum()),
            ),
            Mistake(
                "thrown away",
                "What the first tokens got was thrown away: it has an account as well, or the total is not what it was.",
                lambda R, first, columns: (R[first:].reshape(-1, columns), torch.zeros(())),
            ),
            Mistake(
                "mean",
                "The mean of the first tokens is not what they got in all: sum.",
                lambda R, first, columns: (R[first:].reshape(-1, columns), R[:first].mean()),
            ),
        ),
        (
            "Slice twice: what stands before `first`, and what comes after it. `reshape` fills row by row.",
            "What comes first is added up; the rest becomes rows of that many columns.",
        ),
        keeper="nobody",
    ),
    Exercise(
        "pixels",
        "10",
        "pixels",
        _box,
        _pixels,
        (
            Mistake(
                "bounds forgotten",
                "This is the epsilon rule: a pixel whose number is 0 gets nothing. Compare with the bounds.",
                lambda R, x, W, low, high: _pay(x[..., None, :] * W, R),
            ),
            Mistake(
                "bounds swapped",
                "Low goes with positive weights, high with negative ones; yours are swapped.",
                lambda R, x, W, low, high: _box(R, x, W, high, low),
            ),
            Mistake(
                "high forgotten",
                "The bright bound is missing: minus high times the negative weights.",
                lambda R, x, W, low, high: _pay(x[..., None, :] * W - low * W.clamp(min=0), R),
            ),
            Mistake(
                "sign",
                "The bounds were added. They are subtracted: what the pixel did beyond its bound.",
                lambda R, x, W, low, high: _box(R, x, W, -low, -high),
            ),
        ),
        (
            "Contribution: x w - low w+ - high w-. Then shares, as always.",
            "From each contribution take what the lowest pixel brings with positive weights, the highest with negative; then shares.",
        ),
        keeper="nobody",
        points=2,
    ),
    Exercise(
        "inside",
        "10",
        "inside",
        _inside,
        _masks,
        (
            Mistake(
                "signed",
                "Negative relevance was counted too, and can make this more than 1. Positive parts only.",
                _mass(lambda R: R),
            ),
            Mistake("sizes", "Sizes were counted: pixels that speak against the answer are not evidence for it.", _mass(torch.abs)),
            Mistake("area", "This is the area of the mask; relevance does not appear in it.", lambda R, mask: mask.double().mean()),
            Mistake("not divided", "Divide by all positive relevance.", lambda R, mask: (R.clamp(min=0) * mask).sum()),
        ),
        (
            "Positive relevance inside, over all positive relevance.",
            "Negative relevance counts as none; then what lies inside, divided by all.",
        ),
    ),
)

QUIZ = (
    (
        "Why a rule of its own for pixels?",
        ("A pixel whose number is 0 can matter", "x times anything is 0; compared with the values it might have had, it is not."),
        ("Pixels are not differentiable", "They are; the first layer is a linear map like others."),
        ("To make maps smoother", "That may be a side effect, it is not the reason."),
    ),
    (
        "A map puts 70 % of its positive mass into the object, whose mask covers 70 % of the picture. Is it good?",
        ("It is no better than chance", "An even map has as much mass inside as the mask has area."),
        ("Yes, 70 % is a lot", "Compare with chance first."),
        ("It cannot be said", "It can: the area of the mask is the number for an even map."),
    ),
    (
        "What does the position table of `scenes-learnable` receive?",
        ("A part per patch, where it was added", "As in BERT: position vectors are added to patch vectors."),
        ("Nothing, images have no order", "Patches have places; the swapped picture got another answer."),
        ("Half of each patch", "Half is for products; this is a sum."),
    ),
    (
        "Registers keep a part of the answer. What does it tell you about the picture?",
        ("Nothing: they are the same for every picture", "They are learnt constants, and are booked like a bias."),
        ("Its background was important", "The background has patches and pixels of its own; registers have none."),
        ("The explanation has a leak", "What they keep has a line in the ledger, so the account closes."),
    ),
)
