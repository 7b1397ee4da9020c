"""Which of torch's functions does what to places, and the memory of it: each step is worked out once, and then looked up.

`Places.follow(func, args, kwargs, out)` writes the provenance of what an operation made.  What a step is depends on the function,
on the provenance and shapes of what went in, and on its other arguments alone; so it is kept for as long as the process lives, and
a second run of a model costs one look-up for each operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from . import maps, provenance
from .contractions import Contracted, Spelt, contract
from .maps import TOO_MANY, Axis, counting, words
from .provenance import Provenance

ATTRIBUTE = "_pelrp_provenance"


@dataclass(frozen=True)
class Step:
    """One operation.

    outs: the provenance of each result; notes: what was not understood
    beside: inputs whose places are the same here, since they are added
    summed, mixed: input axes summed away, with weights or otherwise; mixed, too, where all places meet all others
    weighed: inputs that have met weights in it
    """

    outs: tuple[Provenance | None, ...]
    summed: tuple[Axis, ...] = ()
    mixed: tuple[Axis, ...] = ()
    notes: tuple[str, ...] = ()
    weighed: frozenset[str] = frozenset()
    beside: tuple[tuple[str, str], ...] = ()

    @cached_property
    def tells(self) -> bool:
        """Whether it is more than what its results have of the inputs."""
        return bool(self.summed or self.mixed or self.notes or self.weighed or self.beside)


Found = Step | Sequence[Provenance | None]  # what a function of the table returns
_steps: dict[tuple | None, Step] = {}


def provenance_of(x: Any) -> Provenance | None:
    """What a tensor has of the inputs; None for a constant."""
    return x.__dict__.get(ATTRIBUTE) if isinstance(x, Tensor) else None


def write(x: Tensor, known: Provenance | None) -> Tensor:
    """Put its provenance on a tensor that an operation just made."""
    if known is not None:
        x.__dict__[ATTRIBUTE] = known
    return x


def copy_provenance(x: Tensor, out: Tensor) -> None:
    """What holds for x holds for another tensor of the same numbers."""
    write(out, provenance_of(x))


class Places:
    """What one forward pass has shown of its inputs' axes.

    inputs:   the shape of each input that is content
    table:    the name of a function -> what it does to places
    features: axes that hold features, found where they are first summed with weights
    mixed:    axes along which something was added up, so that they are no batch
    embedded: inputs that have met weights
    notes:    what could not be followed, in words, and where; reasons: operations at which places were lost
    """

    def __init__(self, table: Callable[[str], Callable[..., Found]]) -> None:
        self.table = table
        self.inputs: dict[str, tuple[int, ...]] = {}
        self.features: set[Axis] = set()
        self.mixed: set[Axis] = set()
        self.embedded: frozenset[str] = frozenset()
        self.notes: dict[str, dict[str, None]] = {}
        self.reasons: dict[str, None] = {}
        self.batches: dict[str, int | None] = {}
        self.questions: dict[str, str] = {}  # whole numbers used as numbers, whose role has to be asked for, and where
        self.cuts: dict[tuple[str, str], None] = {}  # (how, where) gradients were switched off
        self.left: dict[str, tuple[str, str]] = {}  # inputs whose values left torch: how, where
        self.aligned: set[tuple[str, str]] = set()  # inputs whose places have met, axis by axis
        self.heard: dict[int, Step] = {}  # what was heard already, by identity
        self.take_batches()

    def enter(self, stream: str, x: Tensor, role: str) -> Tensor:
        """An input: content has places along each axis; a mask is a mask; the rest are constants."""
        if role == "mask":
            return write(x, provenance.provenance(mask=True))
        if role == "constant":
            return write(x, provenance.provenance(fixed=True))
        if role != "content":
            return x
        self.inputs[stream] = tuple(x.shape)
        self.take_batches()
        found = [counting(Axis(stream, axis), n, axis, x.dim()) for axis, n in enumerate(x.shape)]
        if not x.is_floating_point():
            self.embedded, self.heard = self.embedded | {stream}, {}  # a table makes the features of ids
        return write(x, provenance.provenance(content=True, raw=not x.is_floating_point(), maps=found))

    # --- what is known of the axes ------------------------------------------------------------------------------------

    def mix(self, axes: Iterable[Axis]) -> None:
        """Along these something was added up, or every place met every other: none of them is a batch."""
        if not self.mixed.issuperset(axes):
            self.mixed.update(axes)
            self.settle()

    def settle(self) -> None:
        """Decide which axis of each input is its batch, as far as is known: the first along which nothing mixes."""
        for stream, shape in self.inputs.items():
            axes = [a for a in range(len(shape)) if Axis(stream, a) not in self.features]
            still = [a for a in axes if Axis(stream, a) not in self.mixed]
            if len(axes) < 2:
                self.batches[stream] = 0 if still == [0] and len(shape) > 1 else None
            else:
                self.batches[stream] = 0 if 0 in still or not still else still[0]
        self.take_batches()

    def take_batches(self) -> None:
        """What is taken for the batch of each input, as far as is known."""
        taken = (Axis(name, axis) for name in self.inputs if (axis := self.batch(name)) is not None)
        self.rows_along: frozenset[Axis] = frozenset(taken)
        self.signature: tuple = tuple((name, len(shape), self.batch(name)) for name, shape in self.inputs.items())

    def batch(self, stream: str) -> int | None:
        """The axis of an input that is its batch, as far as is known."""
        return self.batches.get(stream, 0 if len(self.inputs.get(stream, ())) > 1 else None)

    def is_batch(self, key: Axis, surely: bool = False) -> bool:
        """Whether rows of the batch lie along this axis; `surely`: something was mixed along another, before which that is not known."""
        return key in self.rows_along and not (surely and not any(o.stream == key.stream and o != key for o in self.mixed))

    def place_axes(self, stream: str) -> tuple[Axis, ...]:
        """The axes of an input that are places: neither its batch nor its features."""
        axes = (Axis(stream, a) for a in range(len(self.inputs[stream])))
        return tuple(axis for axis in axes if axis not in self.features and not self.is_batch(axis))

    def beside(self, streams: Iterable[str]) -> set[str]:
        """These inputs, and all whose places are theirs because they are added up."""
        found, more = set(streams), True
        while more:
            new = {one for pair in self.aligned if found & set(pair) for one in pair} - found
            found, more = found | new, bool(new)
        return found

    def length(self, axis: Axis) -> int:
        """How many places an axis of an input has."""
        return self.inputs[axis.stream][axis.axis]

    def rows(self, stream: str) -> int:
        """How many rows the batch has."""
        axis = self.batch(stream)
        return 1 if axis is None else self.inputs[stream][axis]

    def undecided(self, place: str, constant: Tensor) -> None:
        """A constant that may differ by place met a carrier whose places are lost."""
        if any(n > 1 and constant.stride(axis) for axis, n in enumerate(constant.shape[:-1])):
            why = f" ({', '.join(self.reasons)})" if self.reasons else ""
            self.note(f"whether a constant of shape {tuple(constant.shape)} is a position could not be told: places were lost{why}", place)

    def note(self, text: str, place: str) -> None:
        """Something that could have been read otherwise, and the module in which it was met."""
        self.notes.setdefault(text, {})[place] = None

    def noted(self) -> tuple[str, ...]:
        """All notes, each once, with the first places in which it was met."""
        return tuple(f"{text} (in {some(tuple(where))})" for text, where in self.notes.items())

    # --- operations ---------------------------------------------------------------------------------------------------

    def follow(self, func: Callable, name: str, args: tuple, kwargs: Mapping, out: Any, words: Sequence[Any] | None = None) -> None:
        """Write what `out` has of the inputs; `words` are the arguments as parts of a key."""
        one = isinstance(out, Tensor)
        outs = [out] if one else [o for o in out if isinstance(o, Tensor)] if isinstance(out, tuple | list) else []
        if not outs or name in SHAPE_ALONE or (name in SHAPE_OF_OTHER and provenance_of(args[0]) is None):
            return
        if args and outs[0] is args[0] and name in CASTS:  # the tensor itself
            return
        if ATTRIBUTE in outs[0].__dict__ and all(outs[0] is not x for x in args):  # it is fresh, and was made by calls of its own
            return
        key = self.key_of(name, args, outs, spelt(args, kwargs) if words is None else words)
        try:
            step = _steps.get(key)
        except TypeError:  # an argument that cannot be a part of a key
            key = step = None
        if step is None:
            step = self.work_out(func, name, args, dict(kwargs), outs)
            if key is not None:
                remember(key, step)
        if one or len(outs) == 1:
            (known,) = step.outs
            if known is not None:
                outs[0].__dict__[ATTRIBUTE] = known
        else:
            for o, known in zip(outs, step.outs, strict=True):
                write(o, known)
        if step.tells and id(step) not in self.heard:
            self.hear(step)

    def hear(self, step: Step) -> None:
        """What an operation says of the inputs' axes, once for as long as the same inputs have met weights."""
        self.heard[id(step)] = step
        for axis in step.summed:  # the first sum of an input with weights makes its features; a later one mixes places
            (self.mixed if axis.stream in self.embedded else self.features).add(axis)
        if not step.weighed <= self.embedded:
            self.embedded, self.heard = self.embedded | step.weighed, {}
        self.aligned.update(step.beside)
        self.mix(step.mixed)
        for text in step.notes:
            self.reasons[text] = None

    def key_of(self, name: str, args: tuple, outs: list[Tensor], words: Sequence[Any]) -> tuple | None:
        """What a step depends on; None where it depends on values."""
        if name in BY_VALUES or (name == "__getitem__" and not NO_TENSORS.issuperset(map(type, index_of(args)))):
            return None
        first, more = outs[0], self.embedded if name in CONTRACTING else None
        if name == "as_strided":
            words = [*words, args[0].stride(), args[0].storage_offset()]
        return (name, first.shape, first.dtype, len(outs), self.signature, more, *words)

    def work_out(self, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Step:
        """The step of an operation that was not met in this form before."""
        found = self.table(name)(self, func, name, args, kwargs, outs)
        return found if isinstance(found, Step) else Step(tuple(found))

    def step(self, found: Contracted, outs: list[Tensor]) -> Step:
        """A contraction as a step; every result has the same places."""
        return Step((found.found,) * len(outs), tuple(found.summed), tuple(found.mixed), weighed=frozenset(found.weighed))

    def contract(self, a: Spelt, b: Spelt, out: list[str], sizes: Any) -> Contracted:
        """A product of two, of which one at least is content."""
        return contract(a, b, out, tuple(sizes), self.embedded)


def spelt(args: tuple, kwargs: Mapping) -> list[Any]:
    """All arguments of a call as parts of a key."""
    return [*map(word, args), *map(word, kwargs.values()), *([tuple(kwargs)] if kwargs else [])]


def some(where: Sequence[str], most: int = 2) -> str:
    """The first of several places, and how many more."""
    return ", ".join(where[:most]) + (f" and {len(where) - most} more" if len(where) > most else "")


def word(x: Any) -> Any:
    """An argument as part of a key: a tensor by its provenance and shape."""
    if isinstance(x, Tensor):
        known = x.__dict__.get(ATTRIBUTE)
        return (None if known is None else known.number, x.shape)
    kind = type(x)
    if kind is tuple or kind is list:
        return tuple([y if type(y) is int else word(y) for y in x])
    if kind is slice:
        return ("slice", x.start, x.stop, x.step)
    return x


def index_of(args: tuple) -> tuple:
    """What stands between the brackets of x[...]."""
    index = args[1] if len(args) > 1 else ()
    return tuple(index) if isinstance(index, tuple | list) else (index,)


def remember(key: tuple, step: Step) -> None:
    """Keep a step; when there are too many, all begin anew."""
    if len(_steps) >= TOO_MANY:
        _steps.clear()
        maps.forget()
        provenance.forget()
    _steps[key] = step


NO_TENSORS = frozenset({int, slice, type(...), type(None), bool})  # types of an index that picks entries whatever their values are
# functions that use nothing of an input but its shape, type or device
SHAPE_ALONE = words("""zeros_like ones_like empty_like full_like rand_like randn_like randint_like new_zeros new_ones new_empty
new_full new_tensor size dim numel stride is_floating_point is_complex __len__ is_contiguous data_ptr broadcast_shapes get_device
element_size storage_offset""")
SHAPE_OF_OTHER = words("expand_as type_as to view_as reshape_as")  # use of the second tensor but its shape or type
CASTS = words("to contiguous float double half bfloat16 type type_as cpu cuda")  # may hand back what they were given
BY_VALUES = words("""gather index_select take_along_dim masked_select take index_add index_copy index_put scatter scatter_add
scatter_reduce masked_scatter __setitem__ index_add_ index_copy_ index_put_ scatter_ scatter_add_ scatter_reduce_
masked_scatter_""")  # which entries these pick depends on values
CONTRACTING = words("""linear matmul __matmul__ __rmatmul__ mm bmm mv dot inner outer einsum tensordot addmm baddbmm addmv addbmm
bilinear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d scaled_dot_product_attention multi_dot vecdot
chain_matmul grouped_mm_fallback _grouped_mm grouped_mm""")
