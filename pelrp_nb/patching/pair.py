"""Two inputs of one length and one question, through one model: what passes at each slot, and the number that is asked about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from ..batches import named_parts, spoken
from ..engine.memory import free, said
from ..engine.slot_finder import Found
from ..engine.trace import Visible
from ..engine.visits import Slot, Visitor
from ..errors import InputError, ModelError
from ..inputs.arguments import call
from ..inputs.model_input import Encoded
from ..inputs.outputs import of_row
from ..inputs.padding import Batch, Padding, fill_of, padded
from ..targets.logits import answers_each
from ..targets.resolve import Asked, answer, ask
from ..targets.target import choose

Visit = Callable[[Slot, Tensor], Tensor | None]
TIMES = 6  # how many copies of what passes are held at once: of two runs, two with replaced scores, a gradient, what is made of them
SAME_LENGTH = "Write one of them with other words, so that each token of one stands where one of the other stands."


@dataclass
class Pair:
    """The two inputs, each with its question; slots that were found."""

    model: nn.Module
    processor: Any
    clean: Asked
    corrupt: Asked
    found: Found
    name: str = ""  # of the number that is asked about

    def batch(self, asked: Asked, rows: int = 1) -> Batch:
        """One input as a batch of copies."""
        return padded(self.model, [asked.row] * rows, Padding("right", False, fill_of(self.model, self.processor)))

    def own(self, output: Any, row: int, rows: int, visible: Mapping[str, Visible]) -> Any:
        """The output of one row, without padding."""
        return of_row(output, row, rows, visible, each=answers_each(output, self.model, visible))

    def values(self, asked: Asked, output: Any, batch: Batch) -> list[Tensor]:
        """What the question asks of each row."""
        rows = len(batch.visible)
        found = [
            answer(asked.questions[0], self.own(output, i, rows, v), self.model, self.processor, spoken(asked))
            for i, v in enumerate(batch.visible)
        ]
        self.name = found[0][1]
        return [one[0] for one in found]

    @torch.no_grad()
    def settle(self) -> None:
        """What the model itself prefers is what it prefers on the clean input, in every run."""
        question = self.clean.questions[0]
        if question.target is not None and getattr(question.target, "text", "") is not None:
            return
        batch = self.batch(self.clean)
        own = self.own(call(self.model, named_parts(batch.arguments, [self.clean])), 0, 1, batch.visible[0])
        (number, *more), _ = choose(question.target, own, self.model, self.processor, spoken(self.clean)).key
        if not more:
            target = number if question.target is None else replace(question.target, text=number)
            asked = (replace(question, target=target),)
            self.clean, self.corrupt = replace(self.clean, questions=asked), replace(self.corrupt, questions=asked)

    @torch.no_grad()
    def run(self, asked: Asked, slots: Sequence[Slot], visit: Visit, rows: int = 1) -> list[float]:
        """The numbers of a plain forward pass in which these slots are visited."""
        batch = self.batch(asked, rows)
        visitor = Visitor(self.model, slots, visit, rows)
        with visitor.running():
            output = call(self.model, named_parts(batch.arguments, [asked]))
        missed = next((slot for slot in slots if slot not in visitor.met), None)
        if missed is not None:
            raise ModelError(f"The {missed.kind} of {missed.name} did not come by again: the model computes something else each time.")
        return [float(value) for value in self.values(asked, output, batch)]

    def read(self, asked: Asked) -> tuple[float, dict[Slot, Tensor]]:
        """The number, and what passes at every slot."""
        kept: dict[Slot, Tensor] = {}
        (value,) = self.run(asked, self.found.slots, partial(keep, kept))
        return value, kept

    @cached_property
    def both(self) -> tuple[float, float, dict[Slot, Tensor], dict[Slot, Tensor]]:
        """The numbers of the clean and the corrupted run, and what passes in each."""
        (clean, first), (corrupt, second) = self.read(self.clean), self.read(self.corrupt)
        return clean, corrupt, first, second

    def scores(self, kind: str) -> dict[str, Tensor]:
        """By attention the scores of the clean run in which all its queries, or keys, are those of the corrupted one."""
        _, _, clean, corrupt = self.both
        hidden = self.found.hidden
        found: dict[str, Tensor] = {}

        def visit(slot: Slot, x: Tensor) -> Tensor | None:
            if slot.kind == "scores":
                found[slot.name] = x.double()
                return None
            return (corrupt if slot.kind == kind else clean)[slot]

        slots = [slot for slot in self.found.slots if slot.kind in (kind, "scores", "heads") and slot.name not in hidden]
        self.run(self.clean, slots, visit)
        return found

    def of(self, kind: str) -> dict[str, Slot]:
        """Slots of one kind by the name of their layer or attention."""
        return {slot.name: slot for slot in self.found.of(kind)}


def keep(kept: dict[Slot, Tensor], slot: Slot, x: Tensor) -> None:
    """Remember what passes."""
    kept[slot] = x.clone()


# --- two inputs ---------------------------------------------------------------------------------------------------------


def asked_of(model: nn.Module, processor: Any, row: Encoded, metric: Any) -> Asked:
    """An input with its question. Raises InputError where it is more than one number, or one inside of the model."""
    target, contrast = metric if isinstance(metric, tuple) and len(metric) == 2 else (metric, None)
    (found,) = ask(model, [row.without_padding()], target, contrast, False, processor)
    if len(found.questions) != 1:
        raise InputError(f'The metric must be one number of the output, got {len(found.questions)}. Type metric=("moon", "sun").')
    if found.questions[0].inside:
        raise InputError("The metric must be a number of the output, and a neuron is inside of the model. Type metric=target.token(...).")
    return found


def alike(clean: Encoded, corrupt: Encoded) -> None:
    """Raise InputError where the two have another length, or are the same."""
    shapes = {name: (tuple(x.shape), tuple(corrupt.tensors[name].shape)) for name, x in clean.tensors.items() if name in corrupt.tensors}
    if set(clean.tensors) != set(corrupt.tensors):
        raise InputError(f"Both inputs must hold the same; got {', '.join(clean.tensors)} and {', '.join(corrupt.tensors)}.")
    unlike = next(((name, one, two) for name, (one, two) in shapes.items() if one != two), None)
    if unlike is not None:
        name, one, two = unlike
        words = [labels.tokens for row in (clean, corrupt) for labels in list(row.labels.values())[:1]]
        shown = "".join(f"\n  {' | '.join(tokens)}" for tokens in words)
        raise InputError(f"Both inputs must have the same length, but `{name}` is {one} and {two}. {SAME_LENGTH}{shown}")
    if all(torch.equal(x, corrupt.tensors[name]) for name, x in clean.tensors.items()):
        raise InputError("The two inputs are the same, so putting one into the other changes nothing. Type another text as corrupt=.")


def room(found: Found, device: torch.device) -> None:
    """Raise InputError where what passes at all slots is more than there is memory for."""
    need, there = TIMES * found.bytes, free(device)
    if there is not None and need > there:
        raise InputError(
            f"What passes at {len(found.slots)} places of the model, of two runs, needs about {said(need)}; {said(there)} are free on "
            f"{device}. Shorten the texts."
        )
