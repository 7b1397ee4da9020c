"""Lab 06: positions that are added, and what is lost without them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from ...rules import absolute
from ...rules.absolute import sinusoids
from ..exercise import Case, Exercise, Mistake, normal


def _tokens(rng: Generator) -> Iterator[Case]:
    for label, shape in (("three tokens", (3, 4)), ("one token", (1, 6)), ("five tokens", (5, 2))):
        yield label, tuple(normal(rng, shape, shape, shape))
    R, E, P = normal(rng, (3, 4), (3, 4), (3, 4))
    yield "positions of zeros", (R, E, P * 0)


def _per_token(R: Tensor, E: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
    R_E, R_P = absolute.relevance(R, E, P)
    return R_E.sum(-1), R_P.sum(-1)


def _segments(rng: Generator) -> Iterator[Case]:
    for label, (tokens, width) in (("three tokens", (3, 4)), ("one token", (1, 6)), ("five tokens", (5, 2))):
        yield label, tuple(normal(rng, *[(tokens, width)] * 3, (width,)))


def _three(R: Tensor, E: Tensor, P: Tensor, S: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    per_unit = R / (E + P + S)
    return (E * per_unit).sum(-1), (P * per_unit).sum(-1), (S * per_unit).sum()


def _tables(rng: Generator) -> Iterator[Case]:
    for tokens, width in ((4, 6), (1, 2), (7, 8)):
        yield f"{tokens} tokens, width {width}", (tokens, width)


def _table(tokens: int, width: int) -> Tensor:
    return sinusoids(tokens, width, dtype=torch.float64)


def _angles(tokens: int, width: int, start: int = 0, base: float = 10000.0, step: int = 1) -> Tensor:
    t = torch.arange(start, tokens + start).double()[:, None]
    return t / base ** (torch.arange(0, width, 2).double() * step / width)


def _in_turn(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack((a, b), -1).flatten(-2)


def _waves(**how: int) -> Mistake:
    says = {
        "start": "Positions start at 0, not at 1.",
        "step": "The exponent is twice too large: coordinate 2i has 2i / width, and 2i already counts both of a pair.",
    }
    (what,) = how
    return Mistake(
        {"start": "counted from one", "step": "wrong exponent"}[what],
        says[what],
        lambda tokens, width: _in_turn(*(f(_angles(tokens, width, **how)) for f in (torch.sin, torch.cos))),
    )


def _lost(R: Tensor, E: Tensor, P: Tensor) -> Tensor:
    return _per_token(R, E, P)[1].sum()


EXERCISES = (
    Exercise(
        "added-positions",
        "06",
        "added",
        _three,
        _segments,
        (
            Mistake(
                "positions forgotten",
                "The places got nothing, the words theirs as well. A place brought part of the sum: P / (E + P + S).",
                lambda R, E, P, S: ((_three(R, E, P, S)[0] + _three(R, E, P, S)[1]), torch.zeros_like(R.sum(-1)), _three(R, E, P, S)[2]),
            ),
            Mistake(
                "S left out of the sum",
                "The sum that was paid for is E + P + S. Without S in it words and places get too much.",
                lambda R, E, P, S: (*_per_token(R, E, P), _three(R, E, P, S)[2]),
            ),
            Mistake(
                "equal parts",
                "Equal parts are the rule for products. Here vectors are added: in proportion.",
                lambda R, E, P, S: (R.sum(-1) / 3, R.sum(-1) / 3, R.sum() / 3),
            ),
            Mistake(
                "swapped",
                "Word and place have changed places.",
                lambda R, E, P, S: (_three(R, E, P, S)[1], _three(R, E, P, S)[0], _three(R, E, P, S)[2]),
            ),
            Mistake(
                "shared after summing",
                "You summed over the width first. Share coordinate by coordinate, then sum.",
                lambda R, E, P, S: (
                    *(R.sum(-1) * x.sum(-1) / (E + P + S).sum(-1) for x in (E, P)),
                    (R.sum(-1) * S.sum() / (E + P + S).sum(-1)).sum(),
                ),
            ),
        ),
        (
            "z = E + P + S is a residual sum, coordinate by coordinate.",
            "R for each unit of the sum, times each of the three; S is one vector for all words, so its part is one number.",
        ),
        keeper="nobody",
    ),
    Exercise(
        "sinusoids",
        "06",
        "table",
        _table,
        _tables,
        (
            Mistake(
                "cosine first",
                "Sine and cosine have changed places: even coordinates are sines.",
                lambda tokens, width: _in_turn(_angles(tokens, width).cos(), _angles(tokens, width).sin()),
            ),
            Mistake(
                "halves",
                "All sines stand first, all cosines after them. In this table they take turns.",
                lambda tokens, width: torch.cat((_angles(tokens, width).sin(), _angles(tokens, width).cos()), -1),
            ),
            _waves(start=1),
            _waves(step=2),
        ),
        (
            "One angle for each pair: t / 10000^(2i / width).",
            "Sine and cosine of one angle stand side by side: stack them in a new last dimension, then flatten.",
        ),
    ),
    Exercise(
        "lost",
        "06",
        "lost",
        _lost,
        _tokens,
        (
            Mistake(
                "sign",
                "The sign is the wrong way round: count what the positions would have received.",
                lambda R, E, P: -_lost(R, E, P),
            ),
            Mistake(
                "what stays",
                "This is what the tokens keep. Lost is what the positions would have received.",
                lambda R, E, P: R.sum() - _lost(R, E, P),
            ),
            Mistake("sizes", "Sizes were added. An account keeps signs.", lambda R, E, P: _per_token(R, E, P)[1].abs().sum()),
        ),
        ("Who has no account if positions are left out?", "The places' part of `E + P`, all in one number."),
    ),
)

QUIZ = (
    (
        "BERT is explained without position sinks. Where does the positions' part go?",
        (
            "Nowhere: the accounts do not add up",
            "A position was added, so it brought part of the sum; without an account it is lost.",
        ),
        ("To the tokens", "Each token keeps only what its own vector brought."),
        ("To the softmax", "The softmax has an entry of its own; this part is lost before the first layer."),
    ),
    (
        "A sinusoidal table has no parameters. May it receive relevance?",
        ("Yes, it is part of the input", "The input is a set of pairs (token, position); fixed or learnt makes no difference."),
        ("No, it is the same for all inputs", "Which row is added depends on where the token stands."),
        ("Only after training", "The rule asks what was brought, not what was learnt."),
    ),
    (
        "A position has negative relevance for `positive`. It means:",
        ("Standing there spoke against the answer", "Signs are read as for tokens."),
        ("The sink is broken", "Signed parts are normal; only totals must balance."),
        ("The token should be removed", "Token and position have separate numbers."),
    ),
)
