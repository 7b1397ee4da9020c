"""Lab 11: judging explanations."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from ..exercise import Case, Exercise, Mistake, normal


def _curves(rng: Generator) -> Iterator[Case]:
    yield "even steps", (torch.linspace(0, 1, 5).double(), *normal(rng, (5,)))
    yield "uneven steps", (torch.tensor([0, 0.1, 0.5, 0.6, 1.0]).double(), *normal(rng, (5,)))
    yield "two points", (torch.tensor([0.0, 1.0]).double(), *normal(rng, (2,)))


def _area(fractions: Tensor, values: Tensor) -> Tensor:
    return torch.trapezoid(values, fractions)


def _relevances(rng: Generator) -> Iterator[Case]:
    for n in (4, 1, 7):
        yield f"{n} tokens", tuple(normal(rng, (n,)))


def _pairs(rng: Generator) -> Iterator[Case]:
    yield "five texts", tuple(normal(rng, (5,), (5,)))
    a, b = normal(rng, (20,), (20,))
    yield "two methods that move together", (5 * a + b / 10, 5 * a)
    yield "one method better everywhere", (b + 1 + a / 10, b)


def _error(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).std() / len(a) ** 0.5


def _gains(rng: Generator) -> Iterator[Case]:
    for label in ("random curves", "others"):
        least, most = normal(rng, (5,), (5,))
        yield label, (torch.linspace(0, 1, 5).double(), least, most)


def _gain(f: Tensor, least: Tensor, most: Tensor) -> Tensor:
    return _area(f, least) - _area(f, most)


EXERCISES = (
    Exercise(
        "removal-order",
        "11",
        "removal_order",
        lambda R: R.argsort(),
        _relevances,
        (
            Mistake(
                "most relevant first",
                "This removes the most relevant first. Pruning begins with the least.",
                lambda R: R.argsort(descending=True),
            ),
            Mistake(
                "sizes",
                "You ordered by size. A token that speaks against the answer is the least relevant of all.",
                lambda R: R.abs().argsort(),
            ),
            Mistake(
                "ranks",
                "These are ranks, one for each token. Asked is which token goes first, second ...",
                lambda R: R.argsort().argsort(),
            ),
            Mistake("values", "These are the sorted amounts. Asked are the numbers of the tokens.", lambda R: R.sort().values),
        ),
        (
            "Which token first, which second? Numbers of tokens, not amounts.",
            "From the smallest to the largest: PyTorch gives the order instead of the sorted values.",
        ),
    ),
    Exercise(
        "area",
        "11",
        "area",
        _area,
        _curves,
        (
            Mistake(
                "mean",
                "This is the mean of the points; the first and the last count half, and steps may be uneven.",
                lambda f, v: v.mean(),
            ),
            Mistake(
                "left edges",
                "These are rectangles from the left edge. A trapezoid takes the mean of both edges.",
                lambda f, v: (v[:-1] * f.diff()).sum(),
            ),
            Mistake("steps forgotten", "The width of the steps is missing.", lambda f, v: ((v[1:] + v[:-1]) / 2).sum()),
            Mistake(
                "right edges",
                "These are rectangles from the right edge. A trapezoid takes the mean of both edges.",
                lambda f, v: (v[1:] * f.diff()).sum(),
            ),
        ),
        ("Width times mean height, step by step.", "Between two fractions lies a trapezium; PyTorch adds them up."),
    ),
    Exercise(
        "gain",
        "11",
        "gain",
        _gain,
        _gains,
        (
            Mistake(
                "sign",
                "The sign is the wrong way round: a good method loses little by least-first, much by most-first.",
                lambda f, least, most: -_gain(f, least, most),
            ),
            Mistake(
                "sum",
                "The areas were added. Their difference is the gain.",
                lambda f, least, most: _area(f, least) + _area(f, most),
            ),
            Mistake("one curve", "Only one curve was used.", lambda f, least, most: _area(f, least)),
        ),
        ("Two areas.", "The area when the least relevant go first, less the area when the most relevant do."),
    ),
    Exercise(
        "paired-error",
        "11",
        "paired_error",
        _error,
        _pairs,
        (
            Mistake(
                "not paired",
                "You treated the methods as if they had seen different texts. Take differences first.",
                lambda a, b: (a.var() / len(a) + b.var() / len(b)).sqrt(),
            ),
            Mistake(
                "number of texts forgotten",
                "This is the spread of single texts. The error of their mean is smaller by sqrt(n).",
                lambda a, b: (a - b).std(),
            ),
            Mistake("divided by n", "Divide by sqrt(n), not by n.", lambda a, b: (a - b).std() / len(a)),
            Mistake(
                "n instead of n - 1",
                "The standard deviation of a sample divides by n - 1.",
                lambda a, b: (a - b).std(correction=0) / len(a) ** 0.5,
            ),
        ),
        (
            "Differences, text by text; then the error of their mean.",
            "The spread of the differences, divided by the root of how many there are.",
        ),
    ),
)

QUIZ = (
    (
        "Method A scores 0.745, method B 0.743, standard error of the difference 0.01. What do you report?",
        ("No difference was seen", "The difference is a fifth of its error."),
        ("A is better", "It may be; these numbers do not show it."),
        ("Both are good", "Good compared with what? A random order belongs in the table."),
    ),
    (
        "Why a random order in every table?",
        ("It shows what no knowledge at all scores", "Without it a number has no zero."),
        ("It makes the table longer", "It makes it readable."),
        ("Random orders are the best baseline", "They are the weakest; a method that cannot beat them is useless."),
    ),
    (
        "Word sentiment hardly needs word order. What do you expect of positional relevance there?",
        ("Little gain in such a test", "Look for tasks whose answer depends on order, and report what comes out."),
        ("A large gain", "There is little to gain where order decides little."),
        ("It must be zero", "Half of the query-key path goes to rotary positions by construction."),
    ),
)
