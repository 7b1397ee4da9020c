"""Lab 00: read an explanation. No rule is needed yet."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Generator, Tensor

from ..exercise import Case, Exercise, Mistake, normal

EXAMPLE = "Deliciously mean spirited and wryly observant."  # a held-out sentence
QUESTION = "previous river mark sun fish tree mark bird"


@cache
def explained() -> Any:
    """The explanation that the lab looks at."""
    from ... import zoo
    from ...explain import Options, explain

    model, tokenizer = zoo.load("reviews-rotary")
    return explain(model, EXAMPLE, processor=tokenizer, options=Options(audit=True))


@cache
def exchanged() -> Any:
    """What the places of the lab's question are worth."""
    from ... import zoo
    from ...exchange import exchange

    model, tokenizer = zoo.load("tasks-rotary")
    return exchange(model, QUESTION, processor=tokenizer, partners=None)


def _at(amounts: Tensor, most: float) -> str:
    """The token whose amount is largest (most 1) or smallest (-1); those that took no part are nan."""
    return exchanged().tokens[int((most * amounts).nan_to_num(-torch.inf).argmax())]


def _once(rng: Generator) -> Iterator[Case]:
    yield "the sentence of this lab", ()


def _ledgers(rng: Generator) -> Iterator[Case]:
    for label in ("a ledger", "another ledger"):
        value, tokens, positions, constants, softmax = next(normal(rng, (5,)))
        yield label, (value, tokens, positions, constants, softmax)
    zero = value * 0
    yield "a ledger with a negative gap", (tokens, tokens, zero + 0.25, zero, zero + 0.5)
    yield "a model without positions", (value, tokens, zero, constants, softmax)


def _gap(value: Tensor, tokens: Tensor, positions: Tensor, constants: Tensor, softmax: Tensor) -> Tensor:
    return value - tokens - positions - constants - softmax


EXERCISES = (
    Exercise(
        "position-word",
        "00",
        "word",
        lambda: _at(exchanged().signed.abs(), 1),
        _once,
        (
            Mistake(
                "content instead of place",
                "This word's content carries most. Asked is the worth of its place: `before.signed`.",
                lambda: _at(exchanged().semantic, 1),
            ),
            Mistake("smallest", "This is the word whose place is worth least.", lambda: _at(exchanged().signed, -1)),
            Mistake(
                "a number",
                "This is the number of the token. Write the word that stands there: `before.tokens[...]`.",
                lambda: int(exchanged().signed.nan_to_num(0.0).argmax()),
            ),
        ),
        (
            "`before.signed` has an amount for each of `before.tokens`.",
            "The largest in size, of either sign; places without relevance are NaN, which must not win.",
        ),
        kind="value",
    ),
    Exercise(
        "position-part",
        "00",
        "part",
        lambda: explained().ledger.positions / explained().value,
        _once,
        (
            Mistake(
                "not divided",
                "This is the amount that went to positions. Divide it by the value that was explained.",
                lambda: explained().ledger.positions,
            ),
            Mistake(
                "tokens instead",
                "This is the part of the tokens; the part of the positions is asked.",
                lambda: explained().ledger.tokens / explained().value,
            ),
            Mistake(
                "per cent",
                "This is in per cent. Write a part of 1, like 0.25.",
                lambda: 100 * explained().ledger.positions / explained().value,
            ),
            Mistake(
                "sizes instead of the account",
                "This is `positional_share`, which compares sizes without signs. Here the account is asked: positions over value.",
                lambda: explained().positional_share,
            ),
        ),
        (
            "Both numbers stand in the ledger.",
            "The ledger of the result has an entry for positions. Divide it by the value that was explained.",
        ),
        kind="value",
        within=0.005,
    ),
    Exercise(
        "account",
        "00",
        "account",
        _gap,
        _ledgers,
        (
            Mistake("constants forgotten", "The constants are missing: they keep a part too.", lambda v, t, p, c, s: v - t - p - s),
            Mistake("softmax forgotten", "What the softmax keeps is missing.", lambda v, t, p, c, s: v - t - p - c),
            Mistake(
                "sign",
                "The sign is the wrong way round: the gap is the value less everything that was accounted for.",
                lambda v, t, p, c, s: t + p + c + s - v,
            ),
            Mistake("positions forgotten", "The positions are missing.", lambda v, t, p, c, s: v - t - c - s),
        ),
        ("The gap is what is left of the value.", "`return value - tokens - positions - ...`, until nothing is left out"),
    ),
)

QUIZ = (
    (
        "A ledger is closed. What do you know?",
        ("Every unit of the answer has been accounted for", "The gap is no more than rounding. That is a check of the accounts."),
        ("The words shown are the true reasons", "Accounts can balance for a poor method too. Lab 11 judges methods."),
        ("The model is right", "The ledger is about where the number went, not about whether the number is right."),
    ),
    (
        "A word has relevance -0.4 in an explanation of `positive`. What does it do?",
        ("It speaks against `positive`", "The sign is about the answer that is explained."),
        ("It does not matter", "That would be 0; -0.4 may well be one of the largest amounts."),
        (
            "It is a negative word in the dictionary",
            "Often, but not always: `not` may turn it round, and the model may be mistaken.",
        ),
    ),
    (
        "CP-LRP gives a rotary position exactly zero. Why?",
        ("The method takes attention weights as given", "Nothing can then flow to what made the weights, positions included."),
        ("The model ignores positions", "The same model gets positional relevance by another method."),
        ("The ledger was not audited", "An audit measures; it changes no relevance."),
    ),
)
