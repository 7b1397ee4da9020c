"""A neuron as a target: one hidden unit of a layer's MLP, at a place of the sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..engine.only import Condition
from ..errors import TargetError
from .given import whole
from .logits import Chosen, Part, at_place
from .places import Span, writes
from .target import Computed


@dataclass(frozen=True)
class Neuron(Computed):
    """What goes into the last linear map of a layer's MLP at one of its entries; `values` (1, T, N) are filled in by `explain`."""

    layer: str
    number: int
    at: Any = None
    values: Tensor | None = field(default=None, compare=False, repr=False)

    @property
    def condition(self) -> Condition:
        """The same as `Options.only` names it."""
        return Condition(self.layer, "neurons", (self.number,))

    def chosen(self, output: Any, model: Any, processor: Any, tokens: Sequence[str]) -> Chosen:
        """The neuron's value."""
        assert self.values is not None
        if self.values.dim() != 3 or self.values.shape[0] != 1:
            raise TargetError(
                f"The neurons of {self.layer} must be (1, T, N), got {tuple(self.values.shape)}. Type a function of the output."
            )
        if self.at is None and not writes(model):
            raise TargetError(
                f"A neuron has a value at every token, so it needs a place. Type target.neuron({self.layer!r}, {self.number}, at=0)."
            )
        return at_place(self.values[0], -1 if self.at is None else self.at, tokens, self.of)

    def of(self, row: Tensor) -> Part:
        """The neuron among those of one place (N,)."""
        if not 0 <= self.number < len(row):
            raise TargetError(f"Neurons of {self.layer} must lie between 0 and {len(row) - 1}, got {self.number}. Type another.")
        return row[self.number], f"neuron {self.number} of {self.layer}", ("neuron", self.layer, self.number)


def neuron(layer: str | int, number: int, at: int | str | Span | None = None) -> Neuron:
    """A hidden neuron of a layer's MLP, as `Options(only=...)` counts them, at a place; the last one of a model that writes.

        explain(model, "the quick brown fox", processor=tokenizer, target=target.neuron("layer 1", 5, at="fox"))

    R starts as the neuron's value, and comes from the layers below alone. Layers are called as in the ledger: "layer 3", or its number.
    """
    named = f"layer {layer}" if isinstance(layer, int) and not isinstance(layer, bool) else layer
    if not isinstance(named, str) or isinstance(number, bool) or not isinstance(whole(number), int):
        raise TargetError(f'A neuron is a layer and a number, got {layer!r} and {number!r}. Type target.neuron("layer 3", 5, at=-1).')
    return Neuron(named, whole(number), at)
