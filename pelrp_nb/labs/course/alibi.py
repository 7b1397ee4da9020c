"""Lab 08: relative bias and ALiBi, positions that live on pairs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from ...rules import relative_bias
from ...rules.alibi import penalty
from ..exercise import Case, Exercise, Mistake, normal


def _sizes(rng: Generator) -> Iterator[Case]:
    for heads, tokens in ((2, 3), (1, 4), (8, 2), (4, 1)):
        yield f"{heads} heads, {tokens} tokens", (heads, tokens)


def _penalty(heads: int, tokens: int) -> Tensor:
    return penalty(heads, tokens, tokens, dtype=torch.float64)


def _slopes(heads: int, tokens: int, slope: Tensor) -> Tensor:
    i = torch.arange(tokens).double()
    return -slope[:, None, None] * (i[:, None] - i)


def _biased(rng: Generator) -> Iterator[Case]:
    for label, T in (("three tokens", 3), ("one token", 1), ("four tokens", 4)):
        yield label, tuple(normal(rng, (T, T), (T, T), (T, T)))
    R, scores, bias = normal(rng, (4, 4), (4, 4), (4, 4))
    seen = torch.ones(4, 4).tril().bool()
    yield "hidden entries of minus infinity", (R * seen, scores.masked_fill(~seen, -torch.inf), bias)


def _bias(R: Tensor, scores: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    return relative_bias.relevance(R, scores, bias)


def _infinite(R: Tensor, scores: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    s = scores + bias
    return scores / s * R, bias / s * R


def _matrices(rng: Generator) -> Iterator[Case]:
    for T in (3, 4, 1):
        yield f"{T} tokens, causal", (*normal(rng, (T, T)), torch.ones(T, T).tril().bool())
    yield "3 tokens, all visible", (*normal(rng, (3, 3)), torch.ones(3, 3).bool())


def _centred(bias: Tensor, seen: Tensor) -> Tensor:
    mean = (bias * seen).sum(-1, keepdim=True) / seen.sum(-1, keepdim=True)
    return (bias - mean) * seen


EXERCISES = (
    Exercise(
        "alibi",
        "08",
        "penalties",
        _penalty,
        _sizes,
        (
            Mistake("sign", "A penalty is negative for tokens further back; yours rewards distance.", lambda h, t: -_penalty(h, t)),
            Mistake(
                "heads counted from 0",
                "The slopes are 2^(-8h/H) with h = 1 ... H, not from 0.",
                lambda h, t: _slopes(h, t, 2.0 ** (-8 * torch.arange(h).double() / h)),
            ),
            Mistake(
                "one slope",
                "Every head has a slope of its own: 2^(-8h/H).",
                lambda h, t: _slopes(h, t, torch.full((h,), 2.0**-8, dtype=torch.float64)),
            ),
            Mistake(
                "not over H",
                "The exponent is -8h/H; yours does not depend on how many heads there are.",
                lambda h, t: _slopes(h, t, 2.0 ** -torch.arange(1, h + 1).double()),
            ),
        ),
        (
            "Distance is i - j, query minus key.",
            "The penalty grows with the distance i - j. Head h of H has the slope 2 to the power of -8 h / H, h from 1.",
        ),
    ),
    Exercise(
        "pair-bias",
        "08",
        "pair_bias",
        _bias,
        _biased,
        (
            Mistake(
                "minus infinity multiplied",
                "Hidden scores of minus infinity were divided by themselves. Give them 0 before anything else.",
                _infinite,
            ),
            Mistake(
                "half each",
                "Half each is the rule for products. Score and bias are added.",
                lambda R, s, b: (torch.where((s + b).isinf(), 0, R / 2), torch.where((s + b).isinf(), 0, R / 2)),
            ),
            Mistake(
                "bias forgotten",
                "All went to the score. The bias brought part of the sum.",
                lambda R, s, b: (torch.where(s.isinf(), 0, R), torch.zeros_like(R)),
            ),
            Mistake("swapped", "Score and bias have changed places.", lambda R, s, b: _bias(R, s, b)[::-1]),
        ),
        (
            "A sum at every pair, in proportion; hidden pairs get 0.",
            "R for each unit of score and bias together, where a key is seen at all; never multiply by minus infinity.",
        ),
        keeper="nobody",
        points=2,
    ),
    Exercise(
        "to-query",
        "08",
        "to_query",
        lambda pairs: pairs.sum(-1),
        lambda rng: ((f"{t} by {s}", tuple(normal(rng, (t, s)))) for t, s in ((3, 4), (2, 2), (1, 5))),
        (
            Mistake(
                "keys instead",
                "These are sums over queries, one for each key. A row is a query: sum over the keys.",
                lambda p: p.sum(0),
            ),
            Mistake("mean", "A mean conserves nothing: sum.", lambda p: p.mean(-1)),
            Mistake("diagonal", "Only the diagonal was taken: each token with itself.", lambda p: p.diagonal()),
            Mistake("one total", "This is one number for all. One for each query is asked.", lambda p: p.sum()),
        ),
        ("Rows are queries.", "A row belongs to one query: add it up."),
    ),
    Exercise(
        "centred",
        "08",
        "centred",
        _centred,
        _matrices,
        (
            Mistake(
                "hidden entries counted",
                "The mean ran over hidden entries too. Divide by how many are visible in the row.",
                lambda b, seen: (b - (b * seen).mean(-1, keepdim=True)) * seen,
            ),
            Mistake(
                "columns",
                "The mean ran over columns. The softmax works on rows.",
                lambda b, seen: (b - (b * seen).sum(0) / seen.sum(0)) * seen,
            ),
            Mistake(
                "one mean",
                "One mean for the whole matrix. Every row has its own.",
                lambda b, seen: (b - (b * seen).sum() / seen.sum()) * seen,
            ),
            Mistake(
                "hidden entries not zero",
                "Hidden entries must stay 0.",
                lambda b, seen: b - (b * seen).sum(-1, keepdim=True) / seen.sum(-1, keepdim=True),
            ),
        ),
        (
            "The mean of a row, over its visible entries.",
            "The mean of a row is over the keys that are seen: their sum divided by their number.",
        ),
    ),
)

QUIZ = (
    (
        "BLOOM adds slope * j, another model slope * (j - i). The outputs:",
        (
            "are the same, the credit per key is not",
            "The two differ by a constant per row, which the softmax ignores; the rule does not.",
        ),
        ("differ", "A constant per row cancels in the softmax."),
        ("and the relevance are the same", "The sum q.k + bias is shared in proportion, and the bias has changed."),
    ),
    (
        "Why keep a matrix for a relative bias?",
        ("It belongs to a pair of tokens", "A distance lies between two tokens; crediting one of them is a choice to be named."),
        ("Vectors are too small for it", "One could sum rows; then it must be said."),
        ("Because of the softmax", "The bias is paid before the softmax is reached, at the pair where it was added."),
    ),
    (
        "ALiBi has no parameters that are learnt. Does it receive?",
        (
            "Yes, where it was subtracted",
            "Slope and distance are constants; their product is the position, and it was added to the score.",
        ),
        ("No", "Then its part of every score would be lost."),
        ("Half", "Half each is for products of two carriers; this is a sum."),
    ),
)
