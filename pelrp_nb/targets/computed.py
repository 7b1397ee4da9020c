"""Targets that are computed from the logits: a logprob, a probability, an entropy, a margin, an answer in a text.

Each starts with R(number) = number.  What is linear in logits (a margin, an answer, a word of several tokens) closes as a logit does.
What goes through a softmax keeps its share there, by the rules `log_softmax`, `softmax` and `uniform`: the ledger's line "softmax" is
large, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import TargetError
from ..inputs.arguments import of_transformers
from .labels import problem_type, token_text
from .logits import Chosen, Names, Part, found_at, index_of, matches, row_of
from .places import Span, Spread
from .target import Computed, Token, number_of


class AtPlace(Computed):
    """What is asked at one place of a sequence, or at several and added up."""

    def chosen(self, output: Any, model: Any, processor: Any, tokens: Sequence[str]) -> Chosen:
        """The number at its place."""
        if matches(output) and not hasattr(model, "logit_bias"):  # with a bias, as of SigLIP, each match has a probability of its own
            raise TargetError(
                f"{type(model).__name__} compares matches of several texts, and here each is a question of its own, so the match of one "
                f"has no {type(self).__name__.lower()}. Type target=None for the match."
            )
        return found_at(self, output, model, processor, tokens, self.of)

    def of(self, row: Tensor, names: Names, model: Any, processor: Any) -> Part:
        """The number of these logits (classes,), and what it is called."""
        raise NotImplementedError


@dataclass(frozen=True)
class Chance(AtPlace):
    """The probability of one answer, or what is made of it."""

    text: Any = None
    at: Any = None

    def of(self, row: Tensor, names: Names, model: Any, processor: Any) -> Part:
        refuse_numbers(model, row)
        number, text = number_of(self.text, row, names, processor)
        value, called = self.among(row, number, apart(model, row))
        return value, f"{called}({text})", (type(self).__name__, number)

    def among(self, row: Tensor, number: int, apart: bool) -> tuple[Tensor, str]:
        """The value, and what it is of; `apart`: each answer has a probability of its own."""
        raise NotImplementedError

    def instead(self, text: Any, at: int | Spread | None) -> Chance:
        return replace(self, text=text, at=at)


class Logprob(Chance):
    """The log of a probability."""

    def among(self, row: Tensor, number: int, apart: bool) -> tuple[Tensor, str]:
        return (F.logsigmoid(row) if apart else torch.log_softmax(row, -1))[number], "log p"


class Probability(Chance):
    """A probability."""

    def among(self, row: Tensor, number: int, apart: bool) -> tuple[Tensor, str]:
        return (torch.sigmoid(row) if apart else torch.softmax(row, -1))[number], "p"


@dataclass(frozen=True)
class Entropy(AtPlace):
    """How undecided the model is, in nats."""

    at: Any = None

    def of(self, row: Tensor, names: Names, model: Any, processor: Any) -> Part:
        refuse_numbers(model, row)
        if apart(model, row):
            name = type(model).__name__
            raise TargetError(f"Entropy needs probabilities that exclude each other; {name} has none. Type target.probability(0).")
        return -(torch.softmax(row, -1) * torch.log_softmax(row, -1)).sum(), "entropy", "entropy"


@dataclass(frozen=True)
class Margin(AtPlace):
    """A logit less the highest of the others."""

    text: Any = None
    at: Any = None

    def of(self, row: Tensor, names: Names, model: Any, processor: Any) -> Part:
        if row.shape[-1] < 2:
            raise TargetError("A margin needs at least two answers; the model has one. Type target=None.")
        number, text = number_of(self.text, row, names, processor)
        other = int(row.detach().index_fill(0, torch.tensor([number], device=row.device), -torch.inf).argmax())
        called = names[other] if names else token_text(other, processor)
        return row[number] - row[other], f"{text} rather than {called}, the next best", ("margin", number)


@dataclass(frozen=True)
class Answer(Computed):
    """Where an answer starts and where it ends, in the text that was asked about; `places` are those of that text."""

    text: Any = None
    places: tuple[int, ...] = ()

    def chosen(self, output: Any, model: Any, processor: Any, tokens: Sequence[str]) -> Chosen:
        start, end = getattr(output, "start_logits", None), getattr(output, "end_logits", None)
        if start is None or end is None:
            raise TargetError(f"target.answer() is for a model with start and end logits, not {type(model).__name__}. Type target=None.")
        if isinstance(self.text, Spread):
            i, j = self.text.places[0], self.text.places[-1]
        else:
            allowed = torch.tensor(self.places or range(start.shape[-1]), device=start.device)
            sums = start[0].detach()[allowed][:, None] + end[0].detach()[allowed]
            best = int(sums.masked_fill(torch.ones_like(sums).tril(-1).bool(), -torch.inf).argmax())
            i, j = int(allowed[best // len(allowed)]), int(allowed[best % len(allowed)])
        said = " ".join(tokens[i : j + 1]) or "answer"
        return Chosen(start[0, i] + end[0, j], f"answer {said!r} ({i} to {j})", ("answer", i, j))


@dataclass(frozen=True)
class Word(Computed):
    """Tokens of a text, each where a model predicts it: `asked` are pairs (place, id)."""

    asked: tuple[tuple[int, int], ...]
    text: str
    how: str = "logit"

    def chosen(self, output: Any, model: Any, processor: Any, tokens: Sequence[str]) -> Chosen:
        row = row_of(output, model)
        logs = row if self.how == "logit" else torch.log_softmax(row, -1)
        first, *others = [logs[index_of(output, at), number] for at, number in self.asked]
        value = sum(others, first)
        value = value.exp() if self.how == "probability" else value
        called = {"logit": f"{self.text!r}", "logprob": f"log p({self.text!r})", "probability": f"p({self.text!r})"}[self.how]
        return Chosen(value, f"{called} from {self.asked[0][0]}", self, self.asked[0][0])

    def instead(self, text: Any, at: int | Spread | None) -> Token | Chance:
        return {"logit": Token, "logprob": Logprob, "probability": Probability}[self.how](text, at)


# --- what is typed ---------------------------------------------------------------------------------------------------


def logprob(x: Any = None, at: int | str | Span | None = None) -> Logprob:
    """The log-probability of a token, a label or a word of several tokens; None is the likeliest.

    A word of several tokens is written behind the text, and each of its tokens explained where it is predicted after those before.
    R starts as the value; what the softmax keeps is minus the entropy times the number of tokens (rule `log_softmax`).
    """
    return Logprob(x, at)


def probability(x: Any = None, at: int | str | Span | None = None) -> Probability:
    """The probability of a token, a label or a word of several tokens; None is the likeliest. Most of it stays with the softmax."""
    return Probability(x, at)


def entropy(at: int | str | Span | None = None) -> Entropy:
    """The entropy of the answer, in nats: why the model is undecided."""
    return Entropy(at)


def margin(x: Any = None, at: int | str | Span | None = None) -> Margin:
    """A logit less the highest other one, found in the output; None is the highest. Linear in logits: it closes as they do."""
    return Margin(x, at)


def answer(text: str | None = None) -> Answer:
    """The start and end logits of the best answer of a question answering model, added up; `text` is another answer in the text."""
    return Answer(text)


# --- what is known of the model --------------------------------------------------------------------------------------


def apart(model: Any, row: Tensor) -> bool:
    """Whether each answer has a probability of its own: one logit, or several labels at once."""
    return problem_type(model, row.shape[-1]) in ("regression", "multi_label_classification")


def refuse_numbers(model: Any, row: Tensor) -> None:
    """Refuse probabilities of a head that answers with numbers; one logit of a module of one's own may be that of a probability."""
    number = problem_type(model, row.shape[-1]) == "regression"
    if number and of_transformers(model) and not hasattr(model, "logit_bias"):
        raise TargetError(f"{type(model).__name__} answers with a number, which has no probability. Type target=0 for the number.")
