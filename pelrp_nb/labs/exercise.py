"""An exercise: what is asked, what is right, and the mistakes that people make, each with a name and an answer of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from ..verbs import input_times_gradient

Case = tuple[str, tuple[Any, ...]]
Answer = Callable[..., Any]
Settle = Callable[[tuple[Any, ...], Any], Any]


@dataclass(frozen=True)
class Mistake:
    """A wrong but plausible answer.

    name:   in a few words, "missing bias"
    says:   what the student reads
    answer: the wrong answer itself, a function like the right one
    """

    name: str
    says: str
    answer: Answer


@dataclass(frozen=True)
class Exercise:
    """One exercise of one lab.

    name:      as in `labs.check(name, answer)`; one of its kind in the whole course
    lab:       number of the tutorial, "01"
    answer:    what the function or the variable is called in the notebook
    reference: the right answer, a function of a case's inputs
    cases:     `cases(generator)` yields (what is special about it, inputs)
    mistakes:  wrong but plausible answers
    hints:     from vague to concrete
    kind:      "function"; "gradient", a forward pass of which the value and the relevance of the first input are
               looked at; "gradients", that of all inputs; "value", one answer for
               the numbers that `labs.given(name)` gives
    keeper:    who may keep a part of the relevance that is handed on, "nobody" where all of it must arrive; nothing where
               the answer is no relevance
    within:    how far a number may be from the right one, where few digits are asked for
    settled:   `settled(inputs, part)` makes equal, in a right answer's parts, what the exercise leaves open
    """

    name: str
    lab: str
    answer: str
    reference: Answer
    cases: Callable[[Generator], Iterable[Case]]
    mistakes: tuple[Mistake, ...]
    hints: tuple[str, ...]
    kind: Literal["function", "gradient", "gradients", "value"] = "function"
    keeper: str = ""
    points: int = field(default=1)
    within: float = 0.0
    settled: Settle | None = None

    def drawn(self, seed: int) -> list[Case]:
        """The cases of one seed; always the same for the same seed."""
        return list(self.cases(torch.Generator().manual_seed(seed)))

    def apply(self, answer: Answer, inputs: tuple[Any, ...]) -> Any:
        """What an answer makes of a case; for a forward pass its value and the relevance of its first input, or of all."""
        copies = tuple(x.clone() if isinstance(x, Tensor) else x for x in inputs)
        if not self.kind.startswith("gradient"):
            return answer(*copies)
        R, *given = copies
        many = len(given) if self.kind == "gradients" else 1
        xs, rest = given[:many], given[many:]
        y = answer(*(x.clone() for x in xs), *rest)
        if not isinstance(y, Tensor) or y.shape != R.shape:
            return y
        return y.detach(), *input_times_gradient(lambda *xs: answer(*xs, *rest), R, *xs)

    def open(self, inputs: tuple[Any, ...], found: list[Any]) -> list[Any]:
        """The parts of an answer to a case, with what the exercise leaves open made equal."""
        return found if self.settled is None else [self.settled(inputs, x) for x in found]


def normal(rng: Generator, *shapes: tuple[int, ...]) -> Iterator[Tensor]:
    """Normal numbers in float64, one tensor for each shape."""
    return (torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in shapes)


def whole(rng: Generator, *shapes: tuple[int, ...], low: int = 1, high: int = 6) -> Iterator[Tensor]:
    """Small whole numbers, for work by hand, in float64."""
    return (torch.randint(low, high, shape, generator=rng).double() for shape in shapes)
