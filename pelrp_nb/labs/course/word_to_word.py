"""Lab 14: from word to word; what heads hand on, what patching changes, what a circuit keeps."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from ..exercise import Case, Exercise, Mistake, normal


def _attentions(rng: Generator) -> Iterator[Case]:
    for label, places, size in (("three words", 3, 2), ("seven words", 7, 4)):
        scores, v, g = normal(rng, (places, places), (places, size), (places, size))
        yield label, (scores.softmax(-1), v, g)
    scores, v, g = normal(rng, (5, 5), (5, 3), (5, 3))
    yield "a causal attention", (scores.masked_fill(torch.ones(5, 5, dtype=torch.bool).triu(1), -torch.inf).softmax(-1), v, g)


def _handed(A: Tensor, v: Tensor, g: Tensor) -> Tensor:
    return A * (g @ v.T)


def _matrices(rng: Generator) -> Iterator[Case]:
    for label, places in (("four words", 4), ("nine words", 9)):
        (M,) = normal(rng, (places, places))
        yield label, (M,)
    yield "all of it on the word before", (torch.diag(torch.arange(1.0, 6.0, dtype=torch.float64), -1),)
    (M,) = normal(rng, (6, 6))
    yield "nobody looks back", (M.triu(),)


def _back(M: Tensor) -> Tensor:
    return M.diagonal(-1).abs().sum() / M.abs().sum()


def _runs(rng: Generator) -> Iterator[Case]:
    for label, shape in (("one place", (1, 4)), ("six places", (6, 3))):
        yield label, tuple(normal(rng, shape, shape, shape))
    clean, g = normal(rng, (4, 3), (4, 3))
    yield "the same in both runs", (clean, clean.clone(), g)


def _estimate(clean: Tensor, corrupt: Tensor, g: Tensor) -> Tensor:
    return ((corrupt - clean) * g).sum()


def _values(rng: Generator) -> Iterator[Case]:
    a, b, c = (float(x) for x in next(normal(rng, (3,))))
    yield "any three numbers", (a, b, c)
    yield "all is kept", (18.0, 18.0, -6.0)
    yield "nothing is kept", (-6.0, 18.0, -6.0)
    yield "more than all", (20.0, 18.0, -6.0)
    yield "half of it", (6.0, 18.0, -6.0)
    yield "worse than corrupted", (-12.0, 18.0, -6.0)


def _kept(value: float, clean: float, corrupt: float) -> float:
    return (value - corrupt) / (clean - corrupt)


EXERCISES = (
    Exercise(
        "handed",
        "14",
        "handed",
        _handed,
        _attentions,
        (
            Mistake("weights alone", "This is attention: where a head looks, not what its look was worth.", lambda A, v, g: A),
            Mistake("no weights", "How much of v_j place i took is missing: A_ij.", lambda A, v, g: g @ v.T),
            Mistake(
                "wrong gradient", "You took the gradient of the place that gives. What counts is what the taker's output was worth, g_i.",
                lambda A, v, g: A * (g * v).sum(-1),
            ),
            Mistake("turned round", "Rows and columns are exchanged: row i takes from column j.", lambda A, v, g: _handed(A, v, g).T),
            Mistake("summed", "These are sums over all words. A number for each pair is asked.", lambda A, v, g: (A @ v * g).sum(-1)),
        ),
        (
            "Place i took A_ij of the vector v_j; its output is worth g_i for each number in it.",
            "One product of A with the matrix of all g_i times v_j, entry by entry.",
        ),
        keeper="nobody",
        points=2,
    ),
    Exercise(
        "looks-back",
        "14",
        "looks_back",
        _back,
        _matrices,
        (
            Mistake("signed", "Amounts for and against cancel. Take sizes.", lambda M: M.diagonal(-1).sum() / M.sum()),
            Mistake("to itself", "This is what each word keeps to itself. The word before is one column to the left.",
                    lambda M: M.diagonal().abs().sum() / M.abs().sum()),
            Mistake("the next word", "This is the word after: one column too far to the right.",
                    lambda M: M.diagonal(1).abs().sum() / M.abs().sum()),
            Mistake("not a part", "This is an amount. The part of all sizes is asked.", lambda M: M.diagonal(-1).abs().sum()),
            Mistake("all before", "This counts every earlier word, not the one before alone.",
                    lambda M: M.tril(-1).abs().sum() / M.abs().sum()),
        ),
        (
            "Row i, column i - 1.",
            "The sizes one step below the diagonal, added up, over all sizes.",
        ),
    ),
    Exercise(
        "estimate",
        "14",
        "estimate",
        _estimate,
        _runs,
        (
            Mistake("sign", "The other way round: how would the number change if the clean one were replaced?",
                    lambda a, b, g: _estimate(b, a, g)),
            Mistake("no difference", "This is the corrupted activation alone. A difference is asked.", lambda a, b, g: (b * g).sum()),
            Mistake("sizes", "Changes up and down may cancel, and do so in the truth: no sizes here.",
                    lambda a, b, g: ((b - a) * g).abs().sum()),
            Mistake("mean", "A sum: each number of the vector changes the answer by its own part.", lambda a, b, g: ((b - a) * g).mean()),
        ),
        ("A difference, times what each unit of it is worth.", "What is new less what was there, times g, all of it added up."),
    ),
    Exercise(
        "kept",
        "14",
        "kept",
        _kept,
        _values,
        (
            Mistake("from zero", "Nothing kept is the corrupted number, not 0: measure from there.", lambda v, a, b: v / a),
            Mistake("what is lost", "This is the part that is lost.", lambda v, a, b: (a - v) / (a - b)),
            Mistake("no scale", "This is an amount; the part of the whole difference is asked.", lambda v, a, b: v - b),
            Mistake("capped", "A circuit may keep more than all: what works against it is outside. No limits here.",
                    lambda v, a, b: max(0.0, min(1.0, _kept(v, a, b)))),
        ),
        ("0 where it is as corrupted, 1 where it is as clean.", "How far above the corrupted number, over how far the clean one is."),
    ),
)  # fmt: skip

QUIZ = (
    (
        "A head has its largest weight on a word. Did it hand that word much relevance?",
        ("Not for sure: it depends on what the word's vector was worth", "Weight times value times what the output was worth."),
        ("Yes, weight is relevance", "Lab 04: attention says where one looks, not what the look was worth."),
        ("Only in the last layer", "The formula is the same in every layer."),
    ),
    (
        "Why is a second text needed for patching?",
        ("It says against what a part is compared", "What a part does for an answer is what changes with another one in its place."),
        ("To make it faster", "It costs one more run."),
        ("Because models take pairs", "Both texts run alone."),
    ),
    (
        "Estimates of all heads come from one walk back. Why measure any?",
        ("An estimate takes a bend for a line", "The largest are run again with the part replaced: that is the truth."),
        ("To train the model", "Nothing is trained here."),
        ("Estimates have no sign", "They have one."),
    ),
    (
        "Two edges keep the answer when all else is corrupted. What is shown?",
        ("They suffice, for this line and this comparison", "Another line, or another comparison, may need others."),
        ("The other heads do nothing", "They may do what this comparison does not ask about."),
        ("The model knows grammar", "Nothing of that was asked."),
    ),
)
