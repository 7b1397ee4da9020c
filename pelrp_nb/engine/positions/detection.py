"""What handlers ask when a constant meets what carries: may it be a position?  Then it becomes a leaf, and is judged in the end.

Values are read in the end, too, but for what must be known at once: what is added to scores is looked at before the kernel is called,
since a mask has to reach it as it is; so is a product with a matrix for each place, which may only select.  `values.py` looks once at
each such tensor, however many layers it enters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from torch import Tensor

from ... import rules
from ...rules import PositionKind
from ..context import Context
from ..leaves import Leaf, Picked
from ..notes import Note, made_note, note_of, write
from ..places.follow import provenance_of
from ..places.meetings import Meeting, meeting
from ..places.provenance import Provenance, axes_seen, unified
from ..places.roles import CONTENT
from ..places.values import as_stored
from ..saved import by_graph
from . import sinks
from .constants import at_one_place, said


def added(flow: Context, constant: Any, carrier: Tensor, shape: Sequence[int], times: float) -> Tensor | None:
    """The constant as a leaf, if it may be a position where it is added, `times` a number; None if it cannot be one."""
    known = may_meet(flow, constant, carrier)
    if known is None or known.normed:
        return None
    if known.pair:
        return added_to_scores(flow, constant, unified([known], shape), shape, waits=True, times=times)
    leaf = entering(flow, constant, known, shape, "sum", "sum")
    return None if leaf is None else leaf.tensor


def multiplied(flow: Context, constant: Any, carrier: Tensor, shape: Sequence[int]) -> Leaf | None:
    """The leaf of a factor that may be a position: a rotation, another modulation, a decay of scores."""
    known = may_meet(flow, constant, carrier)
    if known is None or known.normed:
        return None
    leaf = entering(flow, constant, known, shape, "product", "product")
    if leaf is not None:
        shift = len(shape) - carrier.dim()
        leaf.widens = carrier.dim() > 2 and tuple(carrier.shape[:-1]) != tuple(shape[shift:-1])
    if leaf is not None and known.pair:
        leaf.part, leaf.kind = "decay", PositionKind.RELATIVE_EMBEDDING if carrier.shape[-1] == 1 < shape[-1] else None
    return leaf


def may_meet(flow: Context, constant: Any, carrier: Tensor) -> Provenance | None:
    """Provenance of the carrier, if the constant is one, and positions are told apart at all."""
    if not isinstance(constant, Tensor):
        return None
    if provenance_of(constant) is not None:
        ask(flow, constant)
        return None
    if flow.composite.positions != "sink" or said(flow, constant) == "constant":
        return None
    if not (constant.is_floating_point() or constant.is_complex()):
        return None
    known = provenance_of(carrier)
    return known if known is not None and known.content else None


def ask(flow: Context, constant: Tensor) -> None:
    """Content that does not carry meets a carrier: whole numbers whose role cannot be known, or what was cut from the stream."""
    known = provenance_of(constant)
    if known is None or not known.content:
        return
    if known.raw:
        for name in known.streams():
            if not name.endswith(CONTENT) and flow.role_of(name) is None:
                flow.places.questions.setdefault(name, flow.place)
    elif known.cut:
        flow.places.note(
            "what was cut from the stream (detach, no_grad) is a constant: nothing is handed on to what it was made of", flow.place
        )


def entering(flow: Context, constant: Tensor, known: Provenance, shape: Sequence[int], operation: str, part: str) -> Leaf | None:
    """A leaf for a constant that may be indexed by place; None if it cannot be."""
    if constant.dim() > len(shape) or not fits(constant, shape):
        return None
    factor = part == "product"
    found = meeting(constant, unified((known,), shape), shape, factor)
    if found is not None:
        if factor and flow.composite.product != rules.uniform and not flow.may_be_position(found):
            return None
        return made(flow, constant, known, shape, part, found)
    if known.lost:
        flow.places.undecided(flow.place, constant)
    picked = picked_out(flow, known, operation)
    if picked is None or (factor and flow.composite.product != rules.uniform):
        return None
    leaf = made(flow, constant, known, shape, part, None)
    leaf.picked = picked
    return leaf


def fits(constant: Tensor, shape: Sequence[int]) -> bool:
    """Whether the constant is spread over that shape."""
    return broadcasts(constant.shape, tuple(shape))


@lru_cache(maxsize=1000)
def broadcasts(own: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether each axis is as long as the one of the shape that stands as far from the end, or 1."""
    return all(n in (1, size) for n, size in zip(own, shape[len(shape) - len(own) :], strict=True))


def picked_out(flow: Context, known: Provenance, operation: str) -> Picked | None:
    """What an operation meets of a carrier in which one place is left: a loop over places, or a text of one token."""
    if not (known.pair or known.along <= flow.places.rows_along):
        return None
    here = [m for m in known.maps if not m.axes and not m.key.of_weight and not flow.places.is_batch(m.key, surely=True)]
    here = [m for m in here if m.cells.numel() and int(m.cells.reshape(-1)[0]) >= 0 and m.key not in flow.places.features]
    return Picked(operation, known.step, tuple((m.key, int(m.cells.reshape(-1)[0])) for m in here)) if here else None


def one_place_left(flow: Context, carrier: Tensor) -> bool:
    """Whether a carrier is one place of several, as in a loop."""
    known = provenance_of(carrier)
    picked = None if known is None or flow.composite.positions != "sink" else picked_out(flow, known, "product")
    return picked is not None and any(flow.places.length(axis) > 1 for axis, _ in picked.places)


def made(flow: Context, constant: Tensor, known: Provenance, shape: Sequence[int], part: str, found: Meeting | None) -> Leaf:
    """The leaf: expanded along rows and places, so that each has a gradient of its own; memory is shared."""
    seen = unified((known,), shape)
    own = set(axes_seen(seen, len(shape)))
    if "heads" in flow.options.detail and len(shape) == 4 and part == "product":
        own |= {1, 2}
    given = tuple(constant.shape)
    aligned = zip(shape, (1,) * (len(shape) - len(given)) + given, strict=True)
    sizes = tuple([n if axis in own else size for axis, (n, size) in enumerate(aligned)])
    leaf = sinks.named(flow, sinks.sink(flow, None, part, seen, tuple(shape), found), constant)
    spread = constant if sizes == given else constant.expand(sizes)
    leaf.tensor = flow.leaf(spread if flow.permuted is None else flow.permuted.constant(flow, leaf, spread))
    return leaf


# --- scores ----------------------------------------------------------------------------------------------------------


def added_to_scores(
    flow: Context, constant: Tensor, known: Provenance, shape: Sequence[int], waits: bool, times: float = 1
) -> Tensor | None:  # fmt: skip
    """A bias of attention scores as a sink; None for masks and what has no position in it."""
    if flow.composite.positions != "sink" or provenance_of(constant) is not None or not constant.is_floating_point():
        return None
    if said(flow, constant) == "constant":
        return None
    found = meeting(constant, known, shape, times=times)
    if found is None:
        return bias_of_one_token(flow, constant, known, shape)
    if not flow.is_position(found):  # a mask must reach the kernel as it is
        return None
    leaf, value = sinks.bias_sink(flow, constant.expand(tuple(shape)), known, found, waits)
    sinks.named(flow, leaf, constant)
    return write(value, Note(awaiting=(leaf,))) if waits else value


def bias_of_one_token(flow: Context, constant: Tensor, known: Provenance, shape: Sequence[int]) -> Tensor | None:
    """The bias of a text of one token, if it was made for its place."""
    picked = picked_out(flow, known, "scores")
    if picked is None or any(flow.places.length(axis) != 1 for axis, _ in picked.places) or not at_one_place(flow, constant):
        return None
    leaf, value = sinks.bias_sink(flow, constant.expand(tuple(shape)), known.but(pair=True), None, False)
    sinks.named(flow, leaf, constant).picked = picked
    return value


def awaiting(flow: Context, *values: Any) -> tuple[Leaf, ...]:
    """Biases that entered scores and are positions only if a softmax follows."""
    found: tuple[Leaf, ...] = ()
    for x in values:
        note = made_note(x)
        if note is not None and note.awaiting:
            found = tuple(dict.fromkeys((*found, *note.awaiting)))
    return found


def softmax_follows(flow: Context, scores: Tensor, axis: int) -> None:
    """What was added to these scores is a bias of attention."""
    for leaf in awaiting(flow, scores):
        leaf.waits, leaf.keys_axis = False, axis % scores.dim() - scores.dim()


def of_biases(flow: Context, scores: Tensor, weights: Callable[[], Tensor]) -> None:
    """Where the biases that were added to these scores find the attention weights of what they were added to.

    A loop over queries, keys or heads adds one to each: which query or key that was is known by its places, which head by its turn.
    """
    known, turns = provenance_of(scores), dict[tuple, list[Leaf]]()
    for leaf in awaiting(flow, scores):
        cells = {} if known is None else one_of_each(leaf.known, known)
        turns.setdefault(tuple(sorted(cells.items())), []).append(leaf)
        if leaf.keys_axis % scores.dim() in cells:
            flow.places.note("a bias is added to scores key by key, so that it cannot be centred over the keys: its total is right, what "
                             "single tokens get of it depends on constants that a softmax does not see", flow.where_am_i())  # fmt: skip
    moving = set() if known is None else {a for m in known.moving() if m.key not in flow.places.rows_along for a in m.axes}
    for at, leaves in turns.items():
        for turn, leaf in enumerate(leaves):
            leaf.weights = by_graph(scores, partial(weights_at, weights, dict(at), moving, leaf.shape, (turn, len(leaves))))


def one_of_each(part: Provenance, whole: Provenance) -> dict[int, int]:
    """Of scores: along which axes a part of them is one entry alone, and which. Maps of queries stand before those of keys."""
    found: dict[int, int] = {}
    for key in {m.key for m in part.maps if not m.key.of_weight}:
        pairs = zip(*([m for m in known.maps if m.key == key] for known in (part, whole)), strict=False)
        for mine, theirs in pairs:
            if not mine.axes and len(theirs.axes) == 1 and mine.cells.numel():
                here = (theirs.cells.reshape(-1) == mine.cells.reshape(-1)[0]).nonzero().flatten().tolist()
                found |= {theirs.axes[0]: here[0]} if here else {}
    return found


def weights_at(
    weights: Callable[[], Tensor], cells: dict[int, int], moving: set[int], shape: tuple[int, ...], turn: tuple[int, int]
) -> Tensor:  # fmt: skip
    """The attention weights of a part of the scores: of its `cells` by axis, and of one head, if it has an axis less than those left."""
    A = weights()
    rest = [a for a in range(A.dim()) if a not in cells]
    heads = [a for a in rest if a not in moving and A.shape[a] == turn[1] > 1] if len(rest) == len(shape) + 1 else []
    return A[tuple(cells[a] if a in cells else turn[0] if a in heads[-1:] else slice(None) for a in range(A.dim()))]


def per_place(flow: Context, constant: Tensor, shared: Meeting, summed: list[int], carrier: Tensor) -> tuple[Leaf, Tensor] | None:
    """The carrier of a product with a matrix (or a vector) for each place: half of what comes back to it is the sink's.

    summed: the axes of the constant that the product sums away; of a matrix that turns one axis into another it stands before that one.
    """
    if not flow.may_be_position(shared):  # what only selects (a matrix of zeros and ones) is none
        return None
    known = provenance_of(carrier)
    turns = len(summed) == 1 and constant.dim() == carrier.dim() + 1
    matrix = constant.movedim(summed[0], -2) if turns else constant
    leaf = sinks.named(flow, sinks.sink(flow, None, "matrix", known, tuple(carrier.shape), shared), matrix)
    if known.pair:
        leaf.kind = PositionKind.RELATIVE_EMBEDDING if summed else PositionKind.DECAY
    return leaf, sinks.half_of(flow, leaf, carrier, pairs=known.pair)


def looped(flow: Context, constant: Tensor, carrier: Tensor, operation: str) -> tuple[Leaf | None, Tensor]:
    """The carrier of a product with weights where one place is left of it: if others meet other weights, half is the sink's."""
    if provenance_of(constant) is not None:
        ask(flow, constant)
        return None, carrier
    known = provenance_of(carrier)
    picked = None if known is None else picked_out(flow, known, operation)
    if picked is None or flow.composite.product != rules.uniform or may_meet(flow, constant, carrier) is None:
        return None, carrier
    leaf = sinks.named(flow, sinks.sink(flow, None, "matrix", known, tuple(carrier.shape), None), as_stored(constant))
    leaf.picked = picked
    if known.pair:
        leaf.kind = PositionKind.RELATIVE_EMBEDDING
    note = note_of(flow, carrier)
    out = sinks.half_of(flow, leaf, carrier, pairs=known.pair)
    return leaf, (out if note is None else write(out, note))


# --- what stands beside ----------------------------------------------------------------------------------------------


def joined(flow: Context, constant: Tensor, known: Provenance, shape: Sequence[int]) -> Tensor:
    """A constant piece beside carriers: features of places are positions; CLS and registers are constants by name."""
    if flow.composite.positions == "sink" and provenance_of(constant) is None:
        leaf = entering(flow, constant, known, shape, "join", "joined")
        if leaf is not None:
            return write(leaf.tensor, Note(stacked=leaf))
    plain = flow.leaf(constant)
    flow.inputs.constants.append((flow.name_of(constant, "joined"), flow.depth, plain))
    return plain


def sinks_of(flow: Context, x: Any) -> tuple[Leaf, ...]:
    """The leaves of factors that entered x."""
    return () if (note := made_note(x)) is None else note.sinks


def take_roles(flow: Context, operands: list[Tensor], roles: tuple[str, ...] = ("query", "key")) -> None:
    """The first operand of a product of two rotated tensors is the query, the second the key; behind a softmax stand values."""
    found = [sinks_of(flow, x) for x in operands]
    if all(found):
        for leaves, role in zip(found, roles, strict=True):
            for leaf in leaves:
                leaf.role = leaf.role or role


def one_token(flow: Context, leaf: Leaf) -> bool:
    """Whether a leaf that met a text of one token was made for its place."""
    return leaf.constant is not None and at_one_place(flow, leaf.constant)
