"""What was done from the places where positions enter to the softmax, kept so that it can be done again with something else.

    record   each torch call on what depends on an input leaves a `Call` on what it made: the function and its arguments, among
             them tensors that have calls of their own
    Chain    the calls behind some tensors, back to where positions enter; what came before is an input of the chain
    run      does them again: constants of positions, terms or inputs may be other ones

Linear maps, however written, look-ups, attention and residual sums are not followed: a chain begins with what they make.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from torch import Tensor
from torch._C import DisableTorchFunction

from .leaves import Leaf
from .notes import ATTRIBUTE as NOTE
from .places.arguments import tensors, writes
from .places.follow import CONTRACTING, copy_provenance, provenance_of
from .places.maps import words
from .places.products import is_map
from .places.provenance import Provenance
from .places.values import as_stored, storage_of
from .saved import held

ATTRIBUTE = "_pelrp_call"
_numbers = count()
CUTS = words("""linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d addmm embedding bilinear
scaled_dot_product_attention multi_head_attention_forward grouped_mm_fallback _grouped_mm grouped_mm""")


@dataclass(eq=False, slots=True)
class Call:
    """One call of torch.

    entries: places where positions entered in it; relation: the leaf, if what it made is a product with relative embeddings
    number: no other call has it
    """

    func: Callable
    name: str
    args: tuple
    kwargs: dict
    entries: tuple[Leaf, ...]
    relation: Leaf | None = None
    number: int = field(default_factory=_numbers.__next__)


def made_by(x: Any) -> tuple[Call, int | None] | None:
    """The call that made a tensor, and which of its results that is."""
    return x.__dict__.get(ATTRIBUTE) if isinstance(x, Tensor) else None


def relates(x: Tensor, leaf: Leaf) -> None:
    """Note that x is a product with relative embeddings."""
    if (made := made_by(x)) is not None:
        made[0].relation = leaf


def before(name: str, args: tuple) -> tuple:
    """The arguments as they are to be remembered: what is about to be written into as it is now."""
    if not (args and isinstance(args[0], Tensor) and writes(name)):
        return args
    copy_provenance(args[0], old := args[0].detach().clone())
    return (same(args[0], old), *args[1:])


def same(x: Tensor, copy: Tensor) -> Tensor:
    """A copy of x, made by the same call."""
    if (made := made_by(x)) is not None:
        copy.__dict__[ATTRIBUTE] = made
    return copy


def record(func: Callable, name: str, args: tuple, kwargs: dict, target: Any, entries: Sequence[Leaf], carrying: bool) -> None:
    """Leave the call on what it made (`target`), if that depends on an input and the call is one that is followed."""
    pieces = target if isinstance(target, tuple | list) else (target,)
    fresh = [x for x in pieces if isinstance(x, Tensor) and (x.is_floating_point() or x.is_complex())]
    if not fresh or not (carrying or entries or any(made_by(x) for x in tensors(args, kwargs))):
        return
    if name in CUTS or (name in CONTRACTING and any(made_softmax(x) for x in tensors(args, kwargs))):
        forget(args, kwargs)
        return
    if any(getattr(getattr(x, NOTE, None), "stream", None) is not None for x in fresh):
        return
    call = Call(func, name, args, kwargs, tuple(entries), next((leaf for leaf in entries if leaf.part == "gathered"), None))
    for i, x in enumerate(pieces):
        if isinstance(x, Tensor) and (writes(name) or not any(x is a for a in args)):
            x.__dict__[ATTRIBUTE] = (call, None if x is target else i)


def forget(args: tuple, kwargs: Mapping[str, Any]) -> None:
    """Drop the calls behind what ends here, if no position entered them: else they keep what nobody else needs on the way back."""
    for x in tensors(args, kwargs):
        if (made := made_by(x)) is not None and not enters(made[0], {}):
            del x.__dict__[ATTRIBUTE]


def enters(call: Call, known: dict[int, bool]) -> bool:
    """Whether positions enter in a call or behind it; known: what was found before, by identity."""
    found = known.get(id(call))
    if found is None:
        behind = () if maps(call) else filter(None, map(made_by, tensors(call.args, call.kwargs)))
        here = call.relation is not None or any(leaf.taken is not False for leaf in call.entries)
        found = known[id(call)] = here or any(enters(made[0], known) for made in behind)
    return found


def maps(call: Call) -> bool:
    """Whether a call is a linear map of features by weights: a chain begins with what it made."""
    return is_map(call.name, call.args, tensors(call.args, call.kwargs))


def made_softmax(x: Tensor) -> bool:
    """Whether x holds the weights that a softmax has made."""
    return getattr(getattr(x, NOTE, None), "made", None) == "softmax"


# --- the chain -------------------------------------------------------------------------------------------------------


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
    call: int = field(default_factory=_numbers.__next__)


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
        needed = self._needed(wanted, swapped)
        values = {**self.constants, **{n: get() for n, get in self.inputs.items() if n not in swapped}, **swapped}
        with DisableTorchFunction():
            for step in (step for step in self.steps if id(step) in needed):
                args, kwargs = filled(step.args, values), {k: filled(v, values) for k, v in step.kwargs.items()}
                out = again(step, args, kwargs) if call is None else call(step, args, kwargs)
                for i, number in step.outs.items():
                    if number not in swapped:
                        made = out if i is None else out[i]
                        values[number] = term(number, made) if term is not None and number in self.terms else made
            return [values[number] for number in wanted]

    def _needed(self, wanted: Sequence[int], given: Mapping[int, Tensor]) -> set[int]:
        """The steps, by identity, that make what is wanted out of what is given."""
        todo, found = set(wanted) - set(given), set()
        for step in reversed(self.steps):
            if todo & set(step.outs.values()):
                found.add(id(step))
                todo |= {slot.number for slot in slots((step.args, step.kwargs))} - set(given)
        return found


def filled(x: Any, values: Mapping[int, Tensor]) -> Any:
    """An argument with tensors for its slots (a function inside `run` that calls itself would hold all of them until it is collected)."""
    if isinstance(x, Slot):
        return values[x.number]
    return type(x)(filled(one, values) for one in x) if type(x) in (tuple, list) else x


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
