"""Lab 04: attention, two paths and what the softmax keeps."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from ...rules import softmax, uniform
from ...rules.attention import factors
from ..exercise import Case, Exercise, Mistake, normal

SUM = "ts,sd->td"


def _mixed(rng: Generator) -> Iterator[Case]:
    for label, (T, S, d) in {"three queries, four keys": (3, 4, 2), "one query": (1, 3, 4), "a square": (4, 4, 4)}.items():
        R, scores, v = normal(rng, (T, d), (T, S), (S, d))
        yield label, (R, scores.softmax(-1), v)


def _paths(R: Tensor, A: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    return uniform.relevance(R, A, v, multiply=SUM)


def _scores(rng: Generator) -> Iterator[Case]:
    yield "one row", tuple(normal(rng, (1, 4), (1, 4)))
    yield "three rows", tuple(normal(rng, (3, 5), (3, 5)))
    R, s = normal(rng, (2, 3), (2, 3))
    yield "equal scores", (R, torch.ones_like(s))
    yield "a saturated row", (R, s * 40)
    yield "one visible entry", tuple(normal(rng, (2, 1), (2, 1)))


def _softmax(R: Tensor, s: Tensor) -> Tensor:
    return softmax.relevance(R, s)[0]


def _kept(R: Tensor, s: Tensor) -> Tensor:
    return R.sum(-1) - _softmax(R, s).sum(-1)


def _who(rng: Generator) -> Iterator[Case]:
    for q in (True, False):
        for k in (True, False):
            for v in (True, False):
                said = ", ".join(f"{name} {'carries' if c else 'constant'}" for name, c in zip("qkv", (q, k, v)))
                yield said, (q, k, v)


def _factors(q: bool, k: bool, v: bool) -> tuple[float, float, float]:
    due = factors(q, k, v, False)
    return due.q * q, due.k * k, due.v * v


def _once(q: bool, k: bool, v: bool) -> tuple[float, float, float]:
    return (0.5 if v else 1.0) * q, (0.5 if v else 1.0) * k, (0.5 if q or k else 1.0) * v


EXERCISES = (
    Exercise(
        "two-paths",
        "04",
        "two_paths",
        _paths,
        _mixed,
        (
            Mistake(
                "forgotten half",
                "Each side got everything, so the sum has doubled. A product of two: half each.",
                lambda R, A, v: tuple(2 * part for part in _paths(R, A, v)),
            ),
            Mistake(
                "all to the values",
                "All went to the values. That is CP-LRP, which takes the weights A as given.",
                lambda R, A, v: (torch.zeros_like(A), 2 * _paths(R, A, v)[1]),
            ),
            Mistake(
                "sign",
                "The half of A has the wrong sign: both halves add up to R.",
                lambda R, A, v: (-_paths(R, A, v)[0], _paths(R, A, v)[1]),
            ),
            Mistake(
                "not divided by the output",
                "R was not divided by o = A v: shares of an output add up to 1.",
                lambda R, A, v: (0.5 * A * (R @ v.T), 0.5 * v * (A.T @ R)),
            ),
        ),
        (
            "o = A v. First R / o, then back along both factors.",
            "Divide R by the output. Each factor gets half of itself times what comes back through the other one.",
        ),
        keeper="nobody",
        points=2,
    ),
    Exercise(
        "softmax",
        "04",
        "softmax_rule",
        _softmax,
        _scores,
        (
            Mistake(
                "scores forgotten",
                "This is the bracket alone. Multiply by the score s_i: relevance is input times slope.",
                lambda R, s: R - s.softmax(-1) * R.sum(-1, keepdim=True),
            ),
            Mistake(
                "identity",
                "Everything was handed on. The softmax has a rule of its own; scores do not simply keep R.",
                lambda R, s: R,
            ),
            Mistake(
                "row total forgotten",
                "The second term is missing: every weight lives at the expense of its whole row.",
                lambda R, s: s * R,
            ),
            Mistake(
                "R taken for a gradient",
                "You multiplied by A, as if R were a gradient. R already holds that factor: R = A g.",
                lambda R, s: s * s.softmax(-1) * (R - (R * s.softmax(-1)).sum(-1, keepdim=True)),
            ),
            Mistake(
                "total of all rows",
                "The total was taken over all rows. Each row is a softmax of its own.",
                lambda R, s: s * (R - s.softmax(-1) * R.sum()),
            ),
        ),
        (
            "R(s_i) = s_i (R_i - A_i times the row's total of R).",
            "Share the total of the row out by the softmax weights, take that from R, and let the scores multiply what is left.",
        ),
        keeper="the softmax",
        points=2,
    ),
    Exercise(
        "softmax-keeps",
        "04",
        "softmax_keeps",
        _kept,
        _scores,
        (
            Mistake("sign", "The sign is the wrong way round: what went in, less what came out.", lambda R, s: -_kept(R, s)),
            Mistake("everything", "This is all that went in. Part of it is handed on to the scores.", lambda R, s: R.sum(-1)),
            Mistake("one total", "One number for all rows. Ask row by row: `sum(-1)`.", lambda R, s: _kept(R, s).sum()),
            Mistake("what came out", "This is what came out. Kept is what did not.", lambda R, s: _softmax(R, s).sum(-1)),
        ),
        ("What went into a row, less what came out of it.", "What came in less what your rule hands to the scores, row by row."),
    ),
    Exercise(
        "factors",
        "04",
        "factors",
        _factors,
        _who,
        (
            Mistake(
                "always the same",
                "These are the factors when all three carry. A half is due only where both sides of a product carry.",
                lambda q, k, v: (q * 0.25, k * 0.25, v * 0.5),
            ),
            Mistake(
                "forgotten half",
                "Queries and keys meet in a product of their own, so a second half is due where both carry.",
                _once,
            ),
            Mistake(
                "CP-LRP",
                "All to the values: that is CP-LRP. Here the softmax passes relevance on.",
                lambda q, k, v: (0.0, 0.0, 1.0 * v),
            ),
        ),
        (
            "Two products: A v first, then q k. Ask at each: do both sides carry?",
            "q: (1/2 if v carries) times (1/2 if k carries); what does not carry gets 0.",
        ),
    ),
)

QUIZ = (
    (
        "Where do 1/4, 1/4 and 1/2 come from?",
        ("Half at A v, half of that half at q k", "Two products in a row; the values stand in the first one only."),
        ("Three inputs, weighed by size", "The rule for products does not look at size."),
        ("They were fitted to data", "They follow from one sentence: every factor of a product gets the same part."),
    ),
    (
        "The first token of a causal model sees only itself. What does its softmax keep?",
        ("All that reached its weight", "A single weight is always 1, whatever the score: the score has no influence."),
        ("Nothing", "The rule pays s (R - 1 R) = 0 to the score, so all of it stays."),
        ("Half", "Half of the layer goes through the values; of the other half the softmax keeps all here."),
    ),
    (
        "Add 5 to all scores of a row. What changes?",
        ("The relevance of scores, not the output", "Softmax ignores a constant, but the rule multiplies by the score."),
        ("Nothing at all", "The output stays the same, R(s) = s ( ... ) does not."),
        ("The attention weights", "A constant cancels in the softmax."),
    ),
)
