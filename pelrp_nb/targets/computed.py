"""Targets that are computed from the logits: a logprob, a probability, a loss, an entropy, a margin, an answer in a text.

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
from .given import whole
from .labels import label_names, label_number, token_text
from .places import Span, Spread, default_place, fills_masks
from .target import Chosen, Computed, logits_of, number_of, place, together

IGNORED = -100  # the label of a place that is not asked about, as in torch


class AtPlace(Computed):
    """What is asked at one place of a sequence, or at several and added up."""

    at: Any

    def chosen(self, output: Any, model: Any, processor: Any, tokens: Sequence[str]) -> Chosen:
        """The number at its place."""
        if isinstance(self.at, Spread):
            parts = [replace(self, at=i).chosen(output, model, processor, tokens) for i in self.at.places]  # type: ignore[type-var]
            return together(parts, self, self.at)
        row = logits_of(output)[0]
        at = default_place(row, model, processor, tokens) if self.at is None else self.at
        at, row = place(row, at, tokens)
        value, text = self.of(row, model, processor)
        return Chosen(value, text if at is None else f"{text} at {at}", (type(self).__name__, text, at))

    def of(self, row: Tensor, model: Any, processor: Any) -> tuple[Tensor, str]:
        """The number of these logits (classes,), and what it is called."""
        raise NotImplementedError


@dataclass(frozen=True)
class Logprob(AtPlace):
    """The log of a probability."""

    text: Any = None
    at: Any = None

    def of(self, row: Tensor, model: Any, processor: Any) -> tuple[Tensor, str]:
        number, text = number_of(self.text, row, model, processor)
        logs = F.logsigmoid(row) if apart(model, row) else torch.log_softmax(row, -1)
        return logs[number], f"log p({text})"


@dataclass(frozen=True)
class Probability(AtPlace):
    """A probability."""

    text: Any = None
    at: Any = None

    def of(self, row: Tensor, model: Any, processor: Any) -> tuple[Tensor, str]:
        number, text = number_of(self.text, row, model, processor)
        return (torch.sigmoid(row) if apart(model, row) else torch.softmax(row, -1))[number], f"p({text})"


@dataclass(frozen=True)
class Entropy(AtPlace):
    """How undecided the model is, in nats."""

    at: Any = None

    def of(self, row: Tensor, model: Any, processor: Any) -> tuple[Tensor, str]:
        if apart(model, row):
            name = type(model).__name__
            raise TargetError(f"Entropy needs probabilities that exclude each other; {name} has none. Type target.probability(0).")
        return -(torch.softmax(row, -1) * torch.log_softmax(row, -1)).sum(), "entropy"


@dataclass(frozen=True)
class Margin(AtPlace):
    """A logit less the highest of the others."""

    text: Any = None
    at: Any = None

    def of(self, row: Tensor, model: Any, processor: Any) -> tuple[Tensor, str]:
        if row.shape[-1] < 2:
            raise TargetError("A margin needs at least two answers; the model has one. Type target=None.")
        number, text = number_of(self.text, row, model, processor)
        other = int(row.detach().index_fill(0, torch.tensor([number], device=row.device), -torch.inf).argmax())
        names = names_of(model, row)
        return row[number] - row[other], f"{text} rather than {names[other] if names else token_text(other, processor)}, the next best"


@dataclass(frozen=True)
class Loss(Computed):
    """The loss that the model has with these labels: mean cross-entropy, or a squared error where it answers with a number."""

    labels: Any = None

    def chosen(self, output: Any, model: Any, processor: Any, tokens: Sequence[str]) -> Chosen:
        row = logits_of(output)[0]
        return Chosen(self.of_row(row, model, processor, tokens), "loss", ("loss", str(self.labels)))

    def of_row(self, row: Tensor, model: Any, processor: Any, tokens: Sequence[str]) -> Tensor:
        """The loss of logits (classes,) or (T, classes)."""
        kind = getattr(getattr(model, "config", None), "problem_type", None)
        if row.dim() == 1 and (kind == "regression" or (kind is None and len(row) == 1)):
            return F.mse_loss(row, numbers(self.labels, row))
        if row.dim() == 1 and kind == "multi_label_classification":
            return F.binary_cross_entropy_with_logits(row, numbers(self.labels, row))
        if row.dim() == 1:
            number, _ = number_of(needed(self.labels), row, model, processor)
            return F.cross_entropy(row[None], torch.tensor([number], device=row.device))
        wanted = self.by_place(row, model, processor, tokens)
        if shifts(model):
            row, wanted = row[:-1], wanted[1:]
        if all(n == IGNORED for n in wanted):
            raise TargetError(f"A loss needs a label that is not {IGNORED}. Type target.loss([...]) with the labels of all tokens.")
        return F.cross_entropy(row, torch.tensor(wanted, device=row.device), ignore_index=IGNORED)

    def by_place(self, row: Tensor, model: Any, processor: Any, tokens: Sequence[str]) -> list[int]:
        """A class for every place."""
        T, classes = row.shape
        if isinstance(self.labels, str | int) and not isinstance(self.labels, bool) and fills_masks(model, row):
            found = [IGNORED] * T
            found[int(default_place(row, model, processor, tokens) or 0)] = number_of(self.labels, row[0], model, processor)[0]
            return found
        given = needed(self.labels)
        given = given.tolist() if hasattr(given, "tolist") else given
        given = given[0] if isinstance(given, list) and len(given) == 1 and isinstance(given[0], list) else given
        if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != T:
            came = f"{len(given)}" if isinstance(given, Sequence) and not isinstance(given, str) else repr(given)
            raise TargetError(
                f"The loss needs a label for each of {T} tokens, {IGNORED} where none is asked; got {came}. Type target.loss([...])."
            )
        names = label_names(model, classes)
        found = [IGNORED if x is None else label_number(x, names) if isinstance(x, str) else int(whole(x)) for x in given]
        if any(not (n == IGNORED or 0 <= n < classes) for n in found):
            raise TargetError(f"Labels must lie between 0 and {classes - 1}, or be {IGNORED}; got {max(found)}. Type others.")
        return found


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
        row = logits_of(output)[0]
        logs = row if self.how == "logit" else torch.log_softmax(row, -1)
        value = sum((logs[at, number] for at, number in self.asked[1:]), logs[self.asked[0]])
        value = value.exp() if self.how == "probability" else value
        called = {"logit": f"{self.text!r}", "logprob": f"log p({self.text!r})", "probability": f"p({self.text!r})"}[self.how]
        return Chosen(value, f"{called} from {self.asked[0][0]}", (self, self.asked[0][0]))


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


def loss(labels: Any = None) -> Loss:
    """The loss of `model(..., labels=labels)`: cross-entropy of a class, or of the labels of all tokens (-100 where none is asked).

    None means the text itself for a model that writes: how badly its next tokens are predicted. A model that fills masks takes the
    word behind its one mask; one that answers with a number the number.
    """
    return Loss(labels)


def answer(text: str | None = None) -> Answer:
    """The start and end logits of the best answer of a question answering model, added up; `text` is another answer in the text."""
    return Answer(text)


# --- what is known of the model --------------------------------------------------------------------------------------


def apart(model: Any, row: Tensor) -> bool:
    """Whether each answer has a probability of its own: one logit, or several labels at once."""
    return row.shape[-1] == 1 or getattr(getattr(model, "config", None), "problem_type", None) == "multi_label_classification"


def shifts(model: Any) -> bool:
    """Whether place t predicts token t + 1: a model that writes, and reads nothing else."""
    config = getattr(model, "config", None)
    return bool(getattr(model, "can_generate", bool)()) and not getattr(config, "is_encoder_decoder", False)


def names_of(model: Any, row: Tensor) -> dict[int, str]:
    """The model's labels."""
    return label_names(model, row.shape[-1])


def needed(labels: Any) -> Any:
    """The labels; TargetError without any."""
    if labels is None:
        raise TargetError('This model cannot tell by itself what is right, so its loss needs labels. Type target.loss("positive").')
    return labels


def numbers(labels: Any, row: Tensor) -> Tensor:
    """Labels that are numbers, in the shape of the logits."""
    try:
        found = torch.as_tensor(needed(labels), dtype=row.dtype, device=row.device).reshape(-1)
    except (TypeError, ValueError) as error:
        many = f"{len(row)} numbers, got {labels!r}"
        raise TargetError(f"The loss of this model needs {many}. Type target.loss({[0.0] * len(row)}).") from error
    if len(found) != len(row):
        raise TargetError(f"The loss of this model needs {len(row)} numbers, got {len(found)}. Type target.loss({[0.0] * len(row)}).")
    return found
