"""What the engine knows of a tensor, written on the tensor itself.

A constant remembers where it came from (a parameter's name, token ids, position ids, a rotation); a carrier remembers of which
tensor it is an elementwise function, and whether it is a block's stream.  Nothing is written on the user's own tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.weak import TensorWeakRef

from .numerics import exact

ATTRIBUTE = "_pelrp_note"
LONG = 100  # elementwise functions of one another


class Zero:
    """What an elementwise function makes of 0: f(0), and by autograd f'(0), worked out when somebody asks."""

    __slots__ = ("args", "func", "kwargs", "length", "made")

    def __init__(self, func: Callable[..., Tensor], args: tuple = (), kwargs: dict[str, Any] | None = None) -> None:
        self.func, self.args, self.kwargs = func, args, kwargs or {}
        self.made: Tensor | None = None
        self.length: int = 1
        for a in args:
            if isinstance(a, Zero) and a.length >= self.length:
                self.length = a.length + 1
        if self.length % LONG == 0:  # so that asking never goes too deep
            self.made = self.value

    @property
    def value(self) -> Tensor:
        """The function of the origin's own zero, without axes, in float64."""
        if self.made is None:
            given = [a.value if isinstance(a, Zero) else exact(a).reshape(()) if isinstance(a, Tensor) else a for a in self.args]
            with torch.enable_grad():
                self.made = self.func(*given, **self.kwargs)
        return self.made


def nothing() -> Tensor:
    """Zero, as what it is made of."""
    return torch.zeros((), dtype=torch.float64, device="cpu", requires_grad=True)


class Origin:
    """The input of a chain of elementwise functions; a weak reference, for the input has it, too."""

    __slots__ = ("ref", "zero")

    def __init__(self, x: Tensor) -> None:
        self.ref = TensorWeakRef(x)
        self.zero = Zero(nothing)


def version_of(x: Tensor) -> int:
    """How often a tensor was changed in place; 0 where torch does not count."""
    try:
        return x._version
    except RuntimeError:  # born in inference mode
        return 0


class Held:
    """A tensor as it was when it was noted: None once it was changed in place, or, held weakly, once it is gone."""

    __slots__ = ("ref", "version")

    def __init__(self, x: Tensor, weak: bool = False) -> None:
        self.ref: Callable[[], Tensor | None] = TensorWeakRef(x) if weak else lambda: x
        self.version = version_of(x)

    def __call__(self) -> Tensor | None:
        x = self.ref()
        return None if x is None or version_of(x) != self.version else x


@dataclass(slots=True)
class Note:
    """One tensor's past, as far as a rule needs it; what it has of the inputs is its provenance (`places/`).

    source: name of the parameter or buffer a constant was made from
    counts: a constant made of numbers of places (arange, position_ids); index: the whole numbers by which it was read from a table
    pixels: the input itself, before any weight
    origin: the carrier of which this is an elementwise function f
    zero:   the same function of `origin.zero`, a 0-dim leaf at 0; kept: the origin itself, which has to be there if more is made of this
    made:   "activation", "softmax" where the tensor is the direct output of one
    attends: whether that softmax was of attention scores
    weights: of constants that a softmax made, and of what is computed from them: the leaves of positions that entered its scores
    stream: the block whose skip connection this tensor is
    sinks:  leaves of factors that entered on the way here (they learn from it whether they turn queries or keys)
    awaiting: biases that were added to these scores, and are positions only if a softmax follows
    stacked: the leaf that was stacked beside a carrier: if they are added up, it was an added one
    form:   what this is in an operation that is written out in several (`handlers/idioms.py`)
    again:  (f, parts) where this is f(*parts) and the parts are saved tensors anyway: this can be rematerialised from them
    version: of the tensor when this was written; of one changed in place since, only what it still has is left
    """

    source: str | None = None
    counts: bool = False
    index: Tensor | None = None
    pixels: bool = False
    origin: Origin | None = None
    zero: Zero | None = None
    kept: Tensor | None = None
    made: str | None = None
    attends: bool = False
    weights: tuple = ()
    stream: Any = None
    sinks: tuple = ()
    awaiting: tuple = ()
    stacked: Any = None
    form: Any = None
    version: int = 0
    again: tuple[Any, tuple[Tensor, ...]] | None = None

    def changed(self) -> Note:
        """What is left of it once the tensor was changed in place: what entered, and whose stream it is."""
        return replace(self, origin=None, zero=None, kept=None, made=None, attends=False, stacked=None, form=None, again=None)

    def __setstate__(self, state: Any) -> None:
        """Pickles of version 0.1 hold notes with other fields, which nobody reads."""
        for part in state if isinstance(state, tuple) else (state,):
            for name, value in (part or {}).items():
                if name in self.__slots__:
                    setattr(self, name, value)


class Knows(Protocol):
    """What the engine knows of the model's own tensors: nothing is written on those.

    known: the note for each parameter and buffer, by identity; noted: the same by the tensor's name
    memory: the parameter that lies at an address
    names: path of each module, by identity; path: the modules that are running, outermost first
    brought: whether accelerate may bring weights
    """

    known: dict[int, Note]
    noted: dict[str, Note]
    memory: dict[int, str]
    names: dict[int, str]
    path: list[Any]
    brought: bool


def carries(x: Any) -> bool:
    """Whether relevance can flow back from x."""
    return isinstance(x, Tensor) and x.requires_grad


def pick(args: tuple, kwargs: dict, place: int, name: str, default: Any = None) -> Any:
    """An argument by place or by name."""
    return args[place] if len(args) > place else kwargs.get(name, default)


def note_of(flow: Knows, tensor: Tensor) -> Note | None:
    """The note on a tensor, or the one the engine keeps for a parameter or buffer."""
    found = tensor.__dict__.get(ATTRIBUTE)
    if found is not None:
        return found if found.version == version_of(tensor) else made_note(tensor)
    found = flow.known.get(id(tensor))
    return loaded(flow, tensor) if found is None and flow.brought else found


def made_note(x: Any) -> Note | None:
    """The note on a tensor that an operation made: what the engine keeps for the model's own tensors is their name alone."""
    found = x.__dict__.get(ATTRIBUTE) if isinstance(x, Tensor) else None
    if found is None or found.version == version_of(x):
        return found
    return write(x, found.changed()).__dict__[ATTRIBUTE]


def loaded(flow: Knows, tensor: Tensor) -> Note | None:
    """The note on a weight that accelerate has just brought to the module that is running."""
    if not flow.path or "_hf_hook" not in flow.path[-1].__dict__:
        return None
    module = flow.path[-1]
    for name, own in (*module._parameters.items(), *module._buffers.items()):
        if own is tensor:
            return flow.noted.get(f"{flow.names[id(module)]}.{name}".removeprefix("."))
    return None


def write(tensor: Tensor, note: Note) -> Tensor:
    """Put a note on a tensor that an operation just made; several tensors may have one note, but each has its own version."""
    version, origin = version_of(tensor), None if note.origin is None else note.origin.ref()
    note.kept = origin if origin is not tensor else None
    tensor.__dict__[ATTRIBUTE] = note if note.version == version else replace(note, version=version)
    return tensor


SHAPES = {"view", "reshape", "transpose", "permute", "contiguous", "flatten", "unflatten", "squeeze", "unsqueeze", "expand"}
SAME = SHAPES | {"to", "float", "type_as", "dropout", "half", "bfloat16", "double"}


def hand_on(flow: Knows, x: Any, out: Any, same: bool = False) -> None:
    """What holds for x holds for another form of it: factors and biases that entered."""
    note = made_note(x)
    if note is None or not (note.sinks or note.awaiting or (same and note.made == "softmax")):
        return
    for piece in out if isinstance(out, tuple | list) else (out,):
        if isinstance(piece, Tensor) and piece is not x:
            known = piece.__dict__.get(ATTRIBUTE) or Note()
            known.sinks, known.awaiting = note.sinks, note.awaiting
            if same and note.made == "softmax":
                known.made, known.attends = "softmax", note.attends
            write(piece, known)


def origin_of(flow: Knows, x: Tensor) -> object:
    """What identifies the tensor of which x is an elementwise function; x itself, if nothing else is known."""
    note = note_of(flow, x)
    return x if note is None or note.origin is None else note.origin


def chain(flow: Knows, x: Tensor) -> tuple[Origin, Zero]:
    """(origin, zero) of x; a tensor that is no function of another is the identity of itself."""
    note = note_of(flow, x)
    if note is None:
        note = Note()
        write(x, note)
    if note.origin is None or note.zero is None:
        note.origin = Origin(x)
        note.zero = note.origin.zero
    return note.origin, note.zero
