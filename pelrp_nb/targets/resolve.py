"""What is asked of each input: targets and contrasts spread over inputs, one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.only import Condition
from ..errors import TargetError
from ..inputs.model_input import Encoded, Labels
from . import target as targets
from .computed import Answer, Logprob, Probability, Word
from .neurons import Neuron
from .generation import continued, steps
from .labels import several_tokens
from .logits import Chosen, index_of, logits_of, matches, row_of
from .loss import Loss
from .places import Span, Spread, refuse_own_place, spread, writes
from .similarity import similarity


@dataclass(frozen=True)
class Question:
    """One number of one input's output.

    upto: (stream, how many of its places the answer covers); None for all
    """

    target: Any
    foil: Any = None
    upto: tuple[str, int] | None = None

    @property
    def picks(self) -> bool:
        """Whether the number stands in the output as it is; a function of the output may compute it."""
        return not (self.handed or any(isinstance(x, targets.Computed) for x in (self.target, self.foil)))

    @property
    def handed(self) -> bool:
        """Whether a function of the user's is handed the output, which then has the form that was asked for."""
        return any(callable(x) and not isinstance(x, (*LOGITS, targets.Computed)) for x in (self.target, self.foil))

    @property
    def inside(self) -> tuple[Condition, ...]:
        """The parts of layers that are asked about."""
        return tuple(x.condition for x in (self.target, self.foil) if isinstance(x, Neuron))


LOGITS = (targets.Token, targets.Label)


@dataclass(frozen=True)
class Asked:
    """All that is asked of one input, and whether the answer is a list."""

    row: Encoded
    questions: tuple[Question, ...]
    several: bool


def spoken(asked: Asked) -> tuple[str, ...]:
    """The tokens that logits belong to: the decoder's where there is one."""
    labels = asked.row.labels.get("decoder") or next(iter(asked.row.labels.values()), None)
    return labels.tokens if labels is not None else ()


def ask(model: nn.Module, rows: Sequence[Encoded], target: Any, contrast: Any, several: bool, processor: Any) -> list[Asked]:
    """The questions of every input, in order.

    Raises TargetError if there are more or fewer targets than inputs, or than contrasts.
    """
    known: dict[targets.Similar, Any] = {}

    def named(t: Any, row: Encoded) -> Any:
        if isinstance(t, targets.Similar):
            known[t] = known.get(t) or similarity(model, t, processor)
            return known[t]
        if isinstance(t, targets.Each | targets.Every | targets.Generated | targets.Read):
            raise TargetError(f"target.{type(t).__name__.lower()} cannot stand inside another target. Type the targets themselves.")
        return meant(model, t, row, processor)

    found = []
    for i, row in enumerate(rows):
        t, c = of_input(target, i, len(rows), several, "target.each"), of_input(contrast, i, len(rows), several, "contrast")
        if isinstance(t, targets.Generated | targets.Read):
            row, following = steps(model, row, t, processor)
            questions = tuple(Question(token, named(c, row), upto) for token, upto in following)
        else:
            wanted = t.targets if isinstance(t, targets.Every) else (t,)
            foils = c.targets if isinstance(c, targets.Every) else (c,) * len(wanted)
            if len(foils) != len(wanted):
                many = f"got {len(foils)} for {len(wanted)}"
                raise TargetError(f"There must be as many contrasts as targets; {many}. Type one for each.")
            if len(wanted) == 1:
                row, wanted = of_several_tokens(model, row, wanted[0], processor)
            questions = tuple(Question(named(a, row), named(b, row)) for a, b in zip(wanted, foils, strict=True))
        found.append(Asked(row, questions, isinstance(t, targets.Every | targets.Generated | targets.Read)))
    return found


def meant(model: nn.Module, t: Any, row: Encoded, processor: Any) -> Any:
    """A target whose places in the text, and labels of the text itself, are looked up there; a loss as the model computes it."""
    labels, name = (row.labels.get("decoder"), "decoder_input_ids") if "decoder_input_ids" in row.tensors else (None, "input_ids")
    labels = labels or next(iter(row.labels.values()), None)
    if isinstance(t, Span):
        return spoken_at(model, spread(t, labels), row, name)
    if isinstance(getattr(t, "at", None), Span):
        return replace(t, at=spread(t.at, labels))
    if isinstance(t, Answer):
        among = asked_about(labels)
        wanted = t.text if t.text is None else spread(t.text if isinstance(t.text, Span) else Span(t.text), labels, among)
        return replace(t, text=wanted, places=among)
    if isinstance(t, Loss):
        own = row.without_padding().tensors.get(name) if t.labels is None and writes(model) else None
        said = t if own is None else replace(t, labels=tuple(own[0].tolist()))
        return said.as_of(model, row, processor, labels.tokens if labels is not None else ())
    return t


def spoken_at(model: nn.Module, at: Spread, row: Encoded, name: str) -> Word:
    """The tokens at these places as a target: each where it is predicted."""
    if not writes(model) or at.places[0] < 1:
        why = "it has none before it" if writes(model) else f"{type(model).__name__} predicts no next token"
        raise TargetError(
            f"A span as a target is what a model predicts there; {why}. Type target.token(None, at=target.span({at.text!r}))."
        )
    refuse_own_place(model, name, row.tensors[name])
    ids = row.tensors[name][0].tolist()
    return Word(tuple((i - 1, ids[i]) for i in at.places), at.text)


def asked_about(labels: Labels | None) -> tuple[int, ...]:
    """The places of the last text of an input: no special token, and not the question before it."""
    found: list[int] = []
    for i, special in enumerate(labels.special if labels is not None else ()):
        if not special:
            found = [*found, i] if found and found[-1] == i - 1 else [i]
    return tuple(found)


def of_several_tokens(model: Any, row: Encoded, t: Any, processor: Any) -> tuple[Encoded, tuple[Any, ...]]:
    """The input with a word of several tokens written behind it, and the word as a target; anything else as it is."""
    how = {targets.Token: "logit", Logprob: "logprob", Probability: "probability"}.get(type(t), "logit" if isinstance(t, str) else "")
    wanted = t if isinstance(t, str) else getattr(t, "text", None)
    ids = several_tokens(wanted, processor) if how and getattr(model, "can_generate", bool)() else ()
    if not ids:
        return row, (t,)
    if getattr(t, "at", None) not in (None, -1):
        raise TargetError(
            f"{wanted!r} is {len(ids)} tokens, which are written behind the text; at={t.at!r} names a place in it. Type it without at."
        )
    row, first = continued(model, row, ids, processor)
    return row, (Word(tuple((first + i, n) for i, n in enumerate(ids)), str(wanted), how),)


def beside(foil: Any, target: Any, first: Chosen) -> Any:
    """A contrast that is typed alone is asked as its target is; any stands at its target's place, if it names none itself."""
    if isinstance(foil, int | str) or hasattr(foil, "item"):
        return targets.alike(target, foil, first.at)
    return replace(foil, at=first.at) if first.at is not None and getattr(foil, "at", 0) is None else foil


def of_input(x: Any, i: int, inputs: int, several: bool, what: str) -> Any:
    """The target of one input."""
    if not isinstance(x, targets.Each):
        return x
    if not several:
        raise TargetError("target.each gives one target per input, but there is one input. Type target=... itself.")
    if len(x.targets) != inputs:
        raise TargetError(f"{what}: there must be one per input; got {len(x.targets)} for {inputs} inputs. Type one for each.")
    return x.targets[i]


def preferred(question: Question, output: Any, first: Chosen, model: nn.Module) -> bool:
    """Whether what is explained is what the model itself prefers among several classes or tokens."""
    if question.upto is not None and isinstance(first.at, int):  # a token that the model wrote or that stands there already
        with torch._C.DisableTorchFunction():  # asked of the numbers, not of the model
            return bool(first.value >= row_of(output, model)[index_of(output, first.at)].max())
    asked = question.target is None or (isinstance(question.target, LOGITS) and question.target.text is None)
    return asked and not matches(output) and logits_of(output).shape[-1:].numel() > 1


def answer(
    question: Question, output: Any, model: nn.Module, processor: Any, tokens: Sequence[str], inside: Mapping[Condition, Tensor] = {}
) -> tuple[Tensor, str, bool]:  # fmt: skip
    """The scalar, its name, and whether the model itself prefers it; with a contrast, the difference of two.

    inside: the parts of layers that are asked about
    """

    def heard(x: Any) -> Any:
        return replace(x, values=inside[x.condition]) if isinstance(x, Neuron) else x

    first = targets.choose(heard(question.target), output, model, processor, tokens)
    own = preferred(question, output, first, model)
    if question.foil is None:
        return first.value, first.text, own
    foil = heard(beside(question.foil, question.target, first))
    second = targets.choose(foil, output, model, processor, tokens)
    if second.key == first.key:
        raise TargetError(f"Target and contrast are the same, {first.text}; their difference is zero. Type another contrast.")
    return first.value - second.value, f"{first.text} rather than {second.text}", own
