"""Finds what can be patched in a model: which calls of torch are attention, which sums are residual, where layers end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any

from torch import Tensor

from .context import Context
from .notes import carries, note_of
from .visits import FUSED, OUT, PRODUCTS, SOFTMAX, WEIGHTS, Counting, Slot, first_vectors, given


@dataclass
class Found:
    """The slots of a model, in the order in which they are met.

    hidden: attentions whose queries and keys cannot be told; bytes: of all that passes in one run, scores in float64
    """

    slots: list[Slot] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    bytes: int = 0

    def of(self, kind: str) -> list[Slot]:
        """Those of one kind."""
        return [slot for slot in self.slots if slot.kind == kind]


class Finder(Counting):
    """Finds slots; runs inside `propagate`, whose notes say what a call is."""

    def __init__(self, flow: Context) -> None:
        super().__init__(flow.model)
        self.flow, self.found = flow, Found()
        self.made: dict[int, tuple[int, str]] = {}  # products by the number of their node: their call, and its name
        self.softmaxes: list[tuple[int, tuple[int, str] | None]] = []  # of scores: their call, and the product behind them
        self.names: list[str] = []
        self.taken: set[tuple[str, str]] = set()

    def name(self, kind: str, name: str) -> str:
        """A name that no other slot of that kind has."""
        tries = chain((name, f"{name} {self.flow.place}"), (f"{name} {self.flow.place} ({n})" for n in count(2)))
        found = next(one for one in tries if (kind, one) not in self.taken)
        self.taken.add((kind, found))
        return found

    def add(self, numbers: int, kind: str, name: str, call: int, part: int | str = OUT, turned: bool = False) -> None:
        """One more slot, at which so many numbers pass."""
        self.found.slots.append(Slot(kind, name, call, part, turned))
        self.found.bytes += 8 * numbers

    def called(self, func: Callable, name: str, args: tuple, kwargs: dict) -> Any:
        number, flow = self.calls.torch, self.flow
        attends = bool(flow.blocks) and flow.blocks[-1].attention
        out = func(*args, **kwargs)
        if name in FUSED:
            called = self.name("heads", flow.where_am_i())
            q, k, v = (given(name, args, kwargs, i) for i in range(3))
            for i, (kind, x) in enumerate((("queries", q), ("keys", k), ("values", v))):
                self.add(x.numel(), kind, called, number, i)
            self.add(q.shape[:-1].numel() * k.shape[-2], "scores", called, number, WEIGHTS)
            self.add(out.numel(), "heads", called, number)
        elif name in SOFTMAX:
            self.softmax(number, args, kwargs, out)
        elif name in PRODUCTS:
            self.product(number, name, args, kwargs, out)
        elif all(map(carries, args)):
            self.sum(number, args, out, "attention" if attends else "mlp")
        return out

    def softmax(self, number: int, args: tuple, kwargs: dict, out: Tensor) -> None:
        """A softmax of scores."""
        x, note = given("softmax", args, kwargs, 0), note_of(self.flow, out)
        if note is None or not note.attends:
            return
        behind = [self.made.get(n) for n in self.flow.projections.scores_behind(x, self.flow.began)]
        known = len(behind) == 1 and given("softmax", args, kwargs, 1) in (-1, x.dim() - 1)  # of several products each has a part
        self.softmaxes.append((number, behind[0] if known else None))

    def product(self, number: int, name: str, args: tuple, kwargs: dict, out: Tensor) -> None:
        """A product: of queries and keys, as far as is known now; or of weights and values."""
        weights, values = (given(name, args, kwargs, i) for i in PRODUCTS[name])
        note = note_of(self.flow, weights)
        if note is None or note.made != "softmax" or not self.softmaxes:
            if out.grad_fn is not None and out.dim() > 2:
                self.made[out.grad_fn._sequence_nr()] = (number, name)
            return
        called = self.name("heads", self.flow.where_am_i())
        softmax, behind = self.softmaxes[-1]
        if behind is None:
            self.found.hidden.append(called)
        else:
            a, b = PRODUCTS[behind[1]]
            self.add(out.numel(), "queries", called, behind[0], a)
            self.add(values.numel(), "keys", called, behind[0], b, True)
        self.add(weights.numel(), "scores", called, softmax, 0)
        self.add(values.numel(), "values", called, number, PRODUCTS[name][1])
        self.add(out.numel(), "heads", called, number)

    def sum(self, number: int, args: tuple, out: Tensor, kind: str) -> None:
        """A sum of a block's stream and a branch."""
        block = self.flow.blocks[-1] if self.flow.blocks else None
        streams = [block is not None and (note := note_of(self.flow, x)) is not None and note.stream is block for x in args]
        made = note_of(self.flow, out)
        if any(streams) and made is not None and made.stream is block:
            self.add(out.numel(), kind, self.name(kind, self.flow.where_am_i()), number, 1 if streams[0] else 0)

    def layer(self, args: tuple, kwargs: dict) -> None:
        self.names.append(self.flow.where_am_i())
        x = first_vectors((*args, *kwargs.values()))
        if self.calls.layers == 0 and x is not None:
            self.add(x.numel(), "residual", self.name("residual", "embeddings"), 0)
        self.calls.layers += 1

    def left(self, output: Any) -> None:
        x, name = first_vectors(output if isinstance(output, tuple | list) else (output,)), self.names.pop()
        if x is not None:
            self.add(x.numel(), "residual", self.name("residual", name), self.calls.layers)
