"""What was done from the places where positions enter to the softmax, done again with something else.

Chain    the calls behind some tensors (`taped.py`), back to where positions enter; what came before is an input of the chain
run      does them again: constants of positions, terms or inputs may be other ones
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch._C import DisableTorchFunction

from .leaves import Leaf
from .places.arguments import tensors, writes
from .places.follow import CONTRACTING, provenance_of
from .places.provenance import Provenance
from .places.values import as_stored, storage_of
from .saved import held
from .taped import Call, enters, made_by, maps, numbers


@dataclass(frozen=True)
class Slot:
    """The number of a tensor in a chain."""

    number: int


@dataclass(eq=False)
class Step:
    """One call of a chain: arguments with slots for tensors; which of its results has which number; the number of the call."""

    func: Callable
    name: str
    args: tuple
    kwargs: dict
    outs: dict[int | None, int] = field(default_factory=dict)
    call: int = field(default_factory=numbers.__next__)


class Chain:
    """The calls behind `results`, back to where positions enter.

    inputs:    number -> what depends on an input and came before positions; provenance: of those
    constants: number -> what depends on none; positions: number -> (the leaf, ...) those constants that are positions
    terms:     number -> the leaf, where what was made is a product with relative embeddings
    entries:   all leaves of positions in it; strange: those that are no argument of a call, and so cannot be exchanged
    """

    def __init__(self, results: Sequence[Tensor]) -> None:
        self.inputs: dict[int, Callable[[], Tensor]] = {}
        self.provenance: dict[int, Provenance] = {}
        self.constants: dict[int, Tensor] = {}
        self.positions: dict[int, Leaf] = {}
        self.terms: dict[int, Leaf] = {}
        self.entries: list[Leaf] = []
        self.strange: list[Leaf] = []
        self.steps: list[Step] = []
        self._found: dict[tuple, list[Step]] = {}  # what runs needed so far
        self._numbers: dict[int, int] = {}
        self._made: dict[int, Step] = {}
        self._entered: dict[int, bool] = {}
        self._kept: list[Tensor] = []  # while numbers are given by identity
        self.results = [self._number(x, False) for x in results]
        del self._numbers, self._made, self._entered, self._kept

    def _number(self, x: Tensor, inside: bool) -> int:
        """The number of a tensor; `inside` a product with relative embeddings, which is followed back to its factors."""
        found = self._numbers.get(id(x))
        if found is not None:
            return found
        made = made_by(x)
        if made is not None and ((inside and not maps(made[0])) or enters(made[0], self._entered)):
            number = self._step(made[0], inside).outs.setdefault(made[1], len(self._numbers))
        else:
            number = len(self._numbers)
            known = provenance_of(x)
            if known is not None and known.content:
                self.inputs[number], self.provenance[number] = held(x), known
            else:
                self.constants[number] = x.detach()
        self._numbers[id(x)] = number
        self._kept.append(x)
        if made is not None and made[0].relation is not None:
            self.terms[number] = made[0].relation
            self.entries.append(made[0].relation)
        return number

    def _step(self, call: Call, inside: bool) -> Step:
        """The step of a call, after those of its arguments."""
        step = self._made.get(id(call))
        if step is None:
            follow = (inside or call.relation is not None) and call.name not in CONTRACTING
            args, kwargs = self._slotted(call.args, follow), {k: self._slotted(v, follow) for k, v in call.kwargs.items()}
            step = self._made[id(call)] = Step(call.func, call.name, args, kwargs, call=call.number)
            self.steps.append(step)
            self._positions(call)
        return step

    def _slotted(self, x: Any, inside: bool) -> Any:
        """An argument with slots for its tensors."""
        if isinstance(x, Tensor):
            return Slot(self._number(x, inside))
        return type(x)(self._slotted(one, inside) for one in x) if type(x) in (tuple, list) else x

    def _positions(self, call: Call) -> None:
        """Which arguments of a call are positions."""
        given = [x for x in tensors(call.args, call.kwargs) if provenance_of(x) is None]
        for leaf in call.entries:
            if leaf in self.entries or leaf.constant is None or leaf.taken is False:
                continue
            self.entries.append(leaf)
            stored = as_stored(leaf.constant)
            same_storage = [x for x in given if storage_of(as_stored(x)) == storage_of(stored)]
            mine = next((x for x in given if as_stored(x) is stored), same_storage[0] if same_storage else None)
            if mine is None:
                self.strange.append(leaf)
                continue
            self.positions[self._numbers[id(mine)]] = leaf

    def taken(self) -> dict[int, Tensor]:
        """The inputs by number; what was dropped is made again, so they are taken once for several runs."""
        return {number: get() for number, get in self.inputs.items()}

    def then(self, func: Callable, name: str, **kwargs: Any) -> int:
        """One more call, of all results: the number of what it makes."""
        number = 1 + max([*self.inputs, *self.constants, *(n for step in self.steps for n in step.outs.values())])
        self.steps.append(Step(func, name, tuple(map(Slot, self.results)), kwargs, {None: number}))
        self._found.clear()
        return number

    def softmax(self) -> tuple[int, int, int] | None:
        """The numbers of the scores that the last softmax along the last axis took, of the weights that it made, and of its call."""
        for step in reversed(self.steps):
            if step.name == "softmax" and None in step.outs:
                dim = step.kwargs.get("dim", step.args[1] if len(step.args) > 1 else None)
                known = dim in (-1, 3) and isinstance(step.args[0], Slot)
                return (step.args[0].number, step.outs[None], step.call) if known else None
        return None

    def run(
        self, swapped: Mapping[int, Tensor] = {}, term: Callable[[int, Tensor], Tensor] | None = None,
        call: Callable[[Step, tuple, dict], Any] | None = None, wanted: Sequence[int] | None = None,
    ) -> list[Tensor]:  # fmt: skip
        """The results once more, or what else is `wanted`.

        swapped: number -> what stands in place of any tensor, or the inputs as they were `taken`
        term: what stands in place of a product with relative embeddings, (number, product) -> product
        call: does a step's call in place of torch, (step, args, kwargs) -> what it makes
        """
        wanted = self.results if wanted is None else wanted
        values = {**self.constants, **{n: get() for n, get in self.inputs.items() if n not in swapped}, **swapped}
        with DisableTorchFunction():
            for step in self._needed(tuple(wanted), frozenset(swapped)):
                args, kwargs = filled(step.args, values), {k: filled(v, values) for k, v in step.kwargs.items()}
                out = again(step, args, kwargs) if call is None else call(step, args, kwargs)
                for i, number in step.outs.items():
                    if number not in swapped:
                        made = out if i is None else out[i]
                        values[number] = term(number, made) if term is not None and number in self.terms else made
            return [values[number] for number in wanted]

    def depends(self, made: int, given: int) -> bool:
        """Whether one tensor of the chain is made with another."""
        steps = self._needed((made,), frozenset())
        return made == given or any(slot.number == given for step in steps for slot in slots((step.args, step.kwargs)))

    def _needed(self, wanted: tuple[int, ...], given: frozenset[int]) -> list[Step]:
        """The steps that make what is wanted out of what is given, in their order."""
        if (found := self._found.get((wanted, given))) is None:
            todo, found = set(wanted) - given, []
            for step in reversed(self.steps):
                if todo & set(step.outs.values()):
                    found.insert(0, step)
                    todo |= {slot.number for slot in slots((step.args, step.kwargs))} - given
            self._found[wanted, given] = found
        return found


def filled(x: Any, values: Mapping[int, Tensor]) -> Any:
    """An argument with tensors for its slots (a function inside `run` that calls itself would hold all of them until it is collected)."""
    if type(x) is Slot:
        return values[x.number]
    return type(x)([filled(one, values) for one in x]) if type(x) in (tuple, list) else x


def slots(x: Any) -> list[Slot]:
    """Every slot among arguments."""
    inner = x.values() if isinstance(x, dict) else x if isinstance(x, tuple | list) else ()
    return [x] if isinstance(x, Slot) else [slot for one in inner for slot in slots(one)]


def again(step: Step, args: tuple, kwargs: dict) -> Any:
    """One call once more; what it writes into is a copy."""
    if not writes(step.name):
        return step.func(*args, **kwargs)
    step.func(target := args[0].clone(), *args[1:], **kwargs)
    return target
