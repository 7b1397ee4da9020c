"""Relative embeddings: products of queries, keys or weights with a table of distances; half is the table's.

What was multiplied is known for what it is when it ends along the pair of places: where it is added to scores, where a softmax takes
it, where it is picked out by distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from torch import Tensor

from ... import rules
from ...rules import PositionKind
from ..context import Context
from ..leaves import Leaf
from ..notes import Note, note_of, write
from ..places.follow import provenance_of
from ..places.maps import padded
from ..places.meetings import meeting
from ..places.provenance import Provenance, axes_seen, unified
from ..taped import relates
from . import detection, sinks
from .detection import sinks_of
from .judging import dismiss
from .labels import orthogonal


def relative(flow: Context, a: Tensor, b: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Two carriers are added; one that is a product of queries or keys with relative embeddings has its half given to a sink."""
    if flow.composite.positions != "sink":
        return a, b
    one, two = provenance_of(a), provenance_of(b)
    if one is None or two is None or one is two:
        return a, b
    shape = tuple(shape)
    if one.pair != two.pair:  # what a loop over places made of queries, in the order of pairs
        looped(flow, b if one.pair else a, unified([one, two], shape), shape)
    here, there = by_pairs(one, two, shape), by_pairs(two, one, shape)
    if not (here or there):
        return a, b
    both = unified([one, two], shape)
    if here and (one.pair or there):
        b = related(flow, b, both, shape)
    if there and (two.pair or here):
        a = related(flow, a, both, shape)
    return a, b


def looped(flow: Context, x: Tensor, known: Provenance, shape: tuple[int, ...]) -> None:
    """Scores that a loop over pairs has put together of products with relative embeddings; what it met before those was a rotation."""
    if any(leaf.picked is None and met(leaf) for leaf in sinks_of(flow, x)):
        return
    leaves = tuple(leaf for leaf in sinks_of(flow, x) if leaf.picked is not None and leaf.part in ("product", "matrix"))
    for leaf in leaves:
        leaf.part = "relation"
    if leaves and tuple(x.shape) == shape and not by_pairs(known, provenance_of(x), shape):
        relates(x, leaves[0])
        sinks.by_pairs(flow, leaves, x, known)


def relative_to(flow: Context, scores: Provenance, x: Tensor, shape: Sequence[int]) -> Tensor:
    """A carrier that a fused kernel adds to its scores: if it is a product with relative embeddings, half is theirs."""
    known = provenance_of(x)
    if flow.composite.positions != "sink" or known is None or not by_pairs(scores, known, tuple(shape)):
        return x
    return related(flow, x, unified([scores, known], shape), shape)


def added(flow: Context, constant: Any, carrier: Tensor, shape: Sequence[int], times: float) -> tuple[Tensor | None, Tensor]:
    """(the constant as a leaf if it may be a position where it is added, `times` a number, the carrier): as `detection.added`.

    Beside what may be a product with relative embeddings it is a bias of the same scores, if they turn out to be some; until then
    the two are told apart, so that half of the product and nothing of the bias goes to the embeddings.
    """
    known = detection.may_meet(flow, constant, carrier)
    if known is None or known.pair or known.normed or constant.dim() > len(shape) or not detection.fits(constant, shape):
        return detection.added(flow, constant, carrier, shape, times), carrier
    before = [leaf for leaf in sinks_of(flow, carrier) if leaf.taken is None]
    apart = any(leaf.part == "gathered" or met(leaf) for leaf in before)
    found = meeting(constant, unified((known,), shape), shape, times=times) if apart or by_distance(known, carrier, -1) else None
    if found is None or tuple(carrier.shape) != tuple(shape) or not flow.may_be_position(found):
        return detection.added(flow, constant, carrier, shape, times), carrier
    carrier = carrier if apart else by_itself(flow, carrier, known)
    leaf, value = sinks.bias_sink(flow, constant.expand(tuple(shape)), known, found, True)
    sinks.named(flow, leaf, constant).beside = carrier
    return write(value, Note(awaiting=(leaf,))), carrier


@lru_cache(maxsize=1000)
def by_pairs(scores: Provenance, other: Provenance, shape: tuple[int, ...]) -> bool:
    """Whether `other` has distances, an axis of a weight, where `scores` have places."""
    n = len(shape)
    places, mine = axes_seen(scores, n), axes_seen(other, n)
    distances = {axis for m in other.maps if m.key.of_weight and m.key.axis == 0 for axis in padded(m, n).axes}
    return bool(mine) and bool((places & distances) - mine)


def related(flow: Context, x: Tensor, known: Provenance, shape: Sequence[int]) -> Tensor:
    """Scores of relative embeddings: half to the sink, if that was not given before."""
    if biases := [leaf for leaf in detection.awaiting(flow, x) if leaf.beside is not None]:
        return related_beside(flow, x, known, biases)
    for leaf in sinks_of(flow, x):
        if leaf.part == "gathered" and leaf in flow.inputs.sinks:  # told better where it is added
            leaf.taken = False
            flow.inputs.sinks.remove(leaf)
    dismiss(flow)
    before = tuple(leaf for leaf in sinks_of(flow, x) if leaf.taken is None and met(leaf))
    for leaf in before:
        leaf.part = "relation"
    if before:
        relates(x, before[0])
        sinks.by_pairs(flow, before, x, known)
        return x
    leaf = sinks.sink(flow, None, "score", known.but(pair=True), tuple(shape), None)
    leaf.pairs, leaf.kind = x.numel(), PositionKind.RELATIVE_EMBEDDING
    relates(x, leaf)
    note = note_of(flow, x)
    out = sinks.half_of(flow, leaf, x, pairs=True)
    return write(out, note) if note is not None else out


def related_beside(flow: Context, x: Tensor, known: Provenance, biases: list[Leaf]) -> Tensor:
    """The same where biases were added to the product meanwhile: each is a bias of these scores, and half of the product is told apart."""
    product, known = biases[0].beside, known.but(pair=True)
    assert product is not None
    for leaf in biases:
        leaf.known, leaf.beside = known, None
    dismiss(flow)
    before = tuple(leaf for leaf in sinks_of(flow, product) if leaf.taken is None)
    whole = [leaf for leaf in before if leaf.part == "gathered"]
    for leaf in whole:
        leaf.known, leaf.part = known, "score"
    if not whole and (before := tuple(leaf for leaf in before if met(leaf))):
        for leaf in before:
            leaf.part = "relation"
        sinks.by_pairs(flow, before, product, known)
    relates(product, (whole or before)[0])
    return x


def met(leaf: Leaf) -> bool:
    """Whether a leaf may be what relative embeddings were multiplied by; a rotation that is written as matrices is not."""
    return (
        leaf.widens or leaf.part == "relation" or (leaf.part == "matrix" and not (leaf.constant is not None and orthogonal(leaf.constant)))
    )


def relative_scores(flow: Context, scores: Tensor, axis: int) -> Tensor:
    """Scores that have no other part: distances in place of keys, before a softmax."""
    known = provenance_of(scores)
    if known is None or flow.composite.positions != "sink" or not by_distance(known, scores, axis):
        return scores
    return related(flow, scores, known, scores.shape)


def by_distance(known: Provenance, scores: Tensor, axis: int) -> bool:
    """Whether distances, an axis of a weight, have been laid out along an axis, another way for each place."""
    if scores.dim() < 3:
        return False
    last, places = axis % scores.dim(), known.place_axes()
    return last not in places and any(m.key.of_weight and m.key.axis == 0 and last in m.axes and places & set(m.axes) for m in known.maps)


def gathered(flow: Context, out: Tensor) -> Tensor:
    """A product with relative embeddings picked out by distance; if it is added to scores later, it is told there."""
    known = provenance_of(out)
    if known is None or flow.composite.positions != "sink" or not by_distance(known, out, -1):
        return out
    return by_itself(flow, out, known)


def by_itself(flow: Context, x: Tensor, known: Provenance) -> Tensor:
    """What may be a product with relative embeddings, half of it given to a sink before it meets scores."""
    leaf = sinks.sink(flow, None, "gathered", known.but(pair=True), tuple(x.shape), None)
    leaf.pairs, leaf.kind = x.numel(), PositionKind.RELATIVE_EMBEDDING
    before = sinks_of(flow, x)
    return write(sinks.half_of(flow, leaf, x, pairs=True), Note(sinks=(*before, leaf)))


def relative_values(flow: Context, carrier: Tensor) -> Tensor:
    """Attention weights, by distance, that a table of distances is summed with: half is the table's."""
    known = provenance_of(carrier)
    if known is None or not known.pair or flow.composite.positions != "sink" or flow.composite.product != rules.uniform:
        return carrier
    last = carrier.dim() - 1
    if not any(last in m.axes and len(m.axes) > 1 for m in known.moving() if not flow.places.is_batch(m.key)):
        return carrier
    leaf = sinks.sink(flow, None, "matrix", known, tuple(carrier.shape), None)
    leaf.kind = PositionKind.RELATIVE_EMBEDDING
    return sinks.half_of(flow, leaf, carrier, pairs=True)
