"""What is asked of each input: targets and contrasts spread over inputs, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..errors import TargetError
from ..inputs.model_input import Encoded
from . import target as targets
from .generation import steps
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
        return not any(callable(x) and not isinstance(x, targets.Token | targets.Label) for x in (self.target, self.foil))


@dataclass(frozen=True)
class Asked:
    """All that is asked of one input, and whether the answer is a list."""

    row: Encoded
    questions: tuple[Question, ...]
    several: bool


def ask(model: nn.Module, rows: Sequence[Encoded], target: Any, contrast: Any, several: bool, processor: Any) -> list[Asked]:
    """The questions of every input, in order.

    Raises TargetError if there are more or fewer targets than inputs, or than contrasts.
    """
    known: dict[targets.Similar, Any] = {}

    def named(t: Any) -> Any:
        if isinstance(t, targets.Similar):
            known[t] = known.get(t) or similarity(model, t, processor)
            return known[t]
        if isinstance(t, targets.Each | targets.Every | targets.Generated | targets.Read):
            raise TargetError(f"target.{type(t).__name__.lower()} cannot stand inside another target. Type the targets themselves.")
        return t

    found = []
    for i, row in enumerate(rows):
        t, c = of_input(target, i, len(rows), several, "target.each"), of_input(contrast, i, len(rows), several, "contrast")
        if isinstance(t, targets.Generated | targets.Read):
            row, following = steps(model, row, t, processor)
            questions = tuple(Question(token, named(c), upto) for token, upto in following)
        else:
            wanted = t.targets if isinstance(t, targets.Every) else (t,)
            foils = c.targets if isinstance(c, targets.Every) else (c,) * len(wanted)
            if len(foils) != len(wanted):
                many = f"got {len(foils)} for {len(wanted)}"
                raise TargetError(f"There must be as many contrasts as targets; {many}. Type one for each.")
            questions = tuple(Question(named(a), named(b)) for a, b in zip(wanted, foils, strict=True))
        found.append(Asked(row, questions, isinstance(t, targets.Every | targets.Generated | targets.Read)))
    return found


def of_input(x: Any, i: int, inputs: int, several: bool, what: str) -> Any:
    """The target of one input."""
    if not isinstance(x, targets.Each):
        return x
    if not several:
        raise TargetError("target.each gives one target per input, but there is one input. Type target=... itself.")
    if len(x.targets) != inputs:
        raise TargetError(f"{what}: there must be one per input; got {len(x.targets)} for {inputs} inputs. Type one for each.")
    return x.targets[i]


def answer(question: Question, output: Any, model: nn.Module, processor: Any, tokens: Sequence[str]) -> tuple[Tensor, str]:
    """The scalar and its name; with a contrast, the difference of two."""
    first = targets.choose(question.target, output, model, processor, tokens)
    if question.foil is None:
        return first.value, first.text
    foil = question.foil
    if question.upto is not None and isinstance(foil, int | str):  # at the place of the token it stands against
        foil = targets.Token(foil, question.upto[1] - 1)
    second = targets.choose(foil, output, model, processor, tokens)
    if second.key == first.key:
        raise TargetError(f"Target and contrast are the same, {first.text}; their difference is zero. Type another contrast.")
    return first.value - second.value, f"{first.text} rather than {second.text}"
