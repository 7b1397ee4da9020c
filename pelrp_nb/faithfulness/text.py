"""Texts: tokens replaced or inserted in the order of their relevance (after Ali et al. 2022; Bakish et al. 2025)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import InputError
from .attribution import Attribution
from .read import ordinary, without
from .scores import area, score
from .settings import Text
from .subject import Case, Inquiry, Subject


def ascending(case: Case, R: Tensor, settings: Text) -> list[int]:
    """Places of the tokens that may be replaced, the least relevant first."""
    places = ordinary(case, settings.special)
    if not places:
        raise InputError("The text has no token that may be replaced: only special ones.")
    values = R[places].abs() if settings.sign == "absolute" else R[places]
    tie = torch.arange(len(places))
    if settings.ties == "random":
        tie = torch.randperm(len(places), generator=case.random("ties"))
    order = tie[values[tie].argsort(stable=True)]
    return [places[i] for i in order.tolist()]


def counted(fraction: float, N: int, rounding: str) -> int:
    """How many of N tokens a fraction is; 0.3 of 10 is 3, whatever binary fractions say."""
    exact = round(fraction * N, 9)
    return {"up": math.ceil(exact), "down": math.floor(exact), "nearest": math.floor(exact + 0.5)}[rounding]


def pruning(subject: Subject, case: Case, given: Attribution) -> Inquiry:
    """Replace the least relevant tokens first: a good explanation leaves the answer alone as long as possible.

    pruning-au-ac:  area under the probability of the explained class; higher is better
    pruning-au-mse: area under the squared change of the logits; lower is better
    """
    settings = subject.configuration.text
    order, token = ascending(case, given.relevance, settings), subject.replacement()
    counts = [counted(f, len(order), settings.rounding) for f in settings.fractions]
    answers = yield [without(case.row, order[:n], token) for n in counts]
    return measured("pruning", case, answers, settings)


def generation(subject: Subject, case: Case, given: Attribution) -> Inquiry:
    """Start with all tokens replaced and put the most relevant back first: the answer should return soon.

    generation-au-ac:  area under the probability of the explained class; higher is better
    generation-au-mse: area under the squared difference of the logits to those of the whole text; lower is better
    generation-merf:   area under the logit of the explained class; higher is better
    generation-lerf:   area under the probability with the least relevant put back first; lower is better
    """
    settings = subject.configuration.text
    order, token = ascending(case, given.relevance, settings), subject.replacement()
    counts = [counted(f, len(order), settings.rounding) for f in settings.fractions]
    N = len(order)
    most = [without(case.row, order[: N - n], token) for n in counts]
    least = [without(case.row, order[n:], token) for n in counts]
    answers = yield most + least
    first, second = answers[: len(counts)], answers[len(counts) :]
    found = measured("generation", case, first, settings)
    logits = [score(answer, case.target, "logit") for answer in first]
    chances = [score(answer, case.target, "probability") for answer in second]
    found["values"]["generation-merf"] = area(settings.fractions, logits)
    found["values"]["generation-lerf"] = area(settings.fractions, chances)
    found["curves"]["generation logit"] = logits
    found["curves"]["generation probability, least first"] = chances
    return found


def gain(subject: Subject, case: Case, given: Attribution) -> Inquiry:
    """Replace least and most relevant first; the area between the two curves.

    symmetric-relevance-gain: area of the score, least relevant first, minus most relevant first; higher is better
    """
    settings = subject.configuration.text
    order, token = ascending(case, given.relevance, settings), subject.replacement()
    counts = [counted(f, len(order), settings.rounding) for f in settings.fractions]
    rows = [without(case.row, some[:n], token) for some in (order, order[::-1]) for n in counts]
    answers = yield rows
    scores = [score(answer, case.target, settings.score) for answer in answers]
    least, most = scores[: len(counts)], scores[len(counts) :]
    return {
        "values": {"symmetric-relevance-gain": area(settings.fractions, least) - area(settings.fractions, most)},
        "curves": {"least relevant first": least, "most relevant first": most},
    }


def measured(name: str, case: Case, answers: Sequence[Tensor], settings: Text) -> dict:
    """Areas under the probability of the explained class and under the squared change of the logits."""
    chances = [score(answer, case.target, "probability") for answer in answers]
    change = [(answer - case.answer) ** 2 for answer in answers]
    squares = [float(c.mean() if settings.error == "all" else c[case.target]) for c in change]
    return {
        "values": {f"{name}-au-ac": area(settings.fractions, chances), f"{name}-au-mse": area(settings.fractions, squares)},
        "curves": {f"{name} probability": chances, f"{name} squared change": squares},
    }
