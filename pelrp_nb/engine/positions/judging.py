"""When the forward pass has ended: which leaves are positions, of which input, of which kind; what is not is a constant by name.

Which axis of an input is its batch is known now (nothing ever mixes along it), and which hold features (they were summed with
weights first).  A loop over places met one constant at a time: those that met at the same step are compared.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ...rules import PositionKind
from ..context import Context
from ..leaves import Leaf, Picked
from ..places.maps import Axis, padded
from ..numerics import better
from ..places.values import storage_of
from . import labels
from .detection import one_token


Seen = dict[tuple, tuple[PositionKind, str]]  # the kind and the part of factors, by where they lie in memory
NAMED = (PositionKind.LEARNABLE, PositionKind.ABSOLUTE, PositionKind.JOINED)  # called by what they are made of


def judge(flow: Context) -> None:
    """Decide every leaf that is not decided yet."""
    open_ = [leaf for leaf in flow.inputs.sinks if leaf.taken is None]
    if not open_:
        return
    flow.places.settle()
    for leaf in open_:
        if leaf.beside is not None:  # no scores came
            leaf.beside, leaf.waits, leaf.part = None, False, "sum"
        if leaf.picked is None:
            told = keys_of(flow, leaf)
            leaf.keys, leaf.taken = told, bool(told) and not leaf.waits
    for group in loops(flow, open_):
        judge_loop(flow, group)
    for leaf in open_:
        if leaf.behind:
            leaf.taken = bool(leaf.keys) and any(entry.taken for entry in leaf.behind)
    taken = [leaf for leaf in open_ if leaf.taken]
    for leaf in open_:
        if not leaf.taken:
            withdraw(flow, leaf)
    order = list(flow.places.inputs)
    for leaf in taken:
        own = min((key.stream for key in leaf.keys), key=order.index)
        leaf.batch, leaf.keys = flow.places.batch(own), flow.places.place_axes(own)
        leaf.stream = flow.streams.of_input(min(flow.places.beside([own]), key=order.index))  # where inputs are added, the first
    seen: Seen = {}
    for leaf in taken:
        label(leaf, taken, seen)
        if leaf.kind == PositionKind.ROTARY and leaf.part == "matrix":
            flow.places.note("of a rotation written as matrices, cosine and sine are not told apart: relevance('absolute'), 'positive' and "
                             "'l2' take both as one", leaf.where)  # fmt: skip


def keys_of(flow: Context, leaf: Leaf) -> tuple[Axis, ...]:
    """Axes of an input on whose places the leaf depends."""
    if leaf.meeting is not None:
        return flow.keys_of(leaf.meeting)
    return tuple(m.key for m in leaf.known.moving() if not flow.places.is_batch(m.key) and m.key not in flow.places.features)


def place_of(flow: Context, picked: Picked) -> tuple[Axis, int] | None:
    """The axis of places along which one was picked out, and that place; None where it was a row of the batch."""
    return next(((axis, place) for axis, place in picked.places if not flow.places.is_batch(axis)), None)


def loops(flow: Context, leaves: Iterable[Leaf]) -> list[list[Leaf]]:
    """Leaves that met one place each, at the same step of the same operation."""
    groups: dict[tuple, list[Leaf]] = {}
    seen: dict[tuple, int] = {}
    for leaf in leaves:
        if leaf.picked is not None and (found := place_of(flow, leaf.picked)) is not None:
            axis, place = found
            key = leaf.picked.operation, leaf.part, axis, leaf.picked.step, leaf.layer, tuple(leaf.constant.shape)
            turn = seen[key, place] = seen.get((key, place), -1) + 1  # the cosine's turn, then the sine's
            groups.setdefault((*key, turn), []).append(leaf)
    return list(groups.values())


def judge_loop(flow: Context, group: list[Leaf]) -> None:
    """A position if the constants of different places differ; of a text of one token, if it was made for its place."""
    found = [(place_of(flow, leaf.picked), leaf) for leaf in group if leaf.picked is not None]
    by = {where[1]: leaf for where, leaf in found if where is not None}
    axis = next(where[0] for where, _ in found if where is not None)
    if len(by) > 1:
        first, *rest = by.values()
        differ = any(differs(first.constant, leaf.constant) for leaf in rest)
        mask = group[0].part == "product" and all(flow.values.selects(leaf.constant) for leaf in by.values())
        taken = differ and not mask
    else:
        taken = flow.places.length(axis) == 1 and any(one_token(flow, leaf) for leaf in group)
    whole = torch.stack([better(by[place].constant.detach()) for place in sorted(by)]) if len(by) > 1 and taken else None
    for leaf in group:
        leaf.taken, leaf.keys = taken, (axis,)
        leaf.constant = leaf.constant if whole is None else whole


def differs(a: Tensor, b: Tensor) -> bool:
    """Whether two constants of one shape differ beyond rounding."""
    size = torch.maximum(a.detach().abs().amax(), b.detach().abs().amax())
    return bool(((a.detach() - b.detach()).abs() > 1e-6 * size).any())


def dismiss(flow: Context) -> None:
    """Withdraw what stood for places of a text of one token along an axis that is known for the batch's now."""
    open_ = [(leaf.picked, leaf) for leaf in flow.inputs.sinks if leaf.taken is None]
    for picked, leaf in open_:
        if picked is not None and place_of(flow, picked) is None:
            withdraw(flow, leaf)


def withdraw(flow: Context, leaf: Leaf) -> None:
    """It is no position: what was added is a constant by name, a factor is a factor."""
    leaf.taken = False
    flow.inputs.sinks.remove(leaf)
    if leaf.tensor is not None and leaf.part in ("sum", "joined"):
        name = leaf.source or f"{leaf.place}: {'added' if leaf.part == 'sum' else 'joined'}"
        flow.inputs.constants.append((name, leaf.depth, leaf.tensor))


# --- words -----------------------------------------------------------------------------------------------------------


def label(leaf: Leaf, all_of: list[Leaf], seen: Seen) -> None:
    """The kind of a leaf, its part, and its name."""
    leaf.kind, leaf.part = kind_of(leaf, all_of, seen)
    where = f"{leaf.place if leaf.part == 'sum' else leaf.where} {leaf.kind}"
    leaf.name = leaf.source if leaf.source and leaf.kind in NAMED else where


def kind_of(leaf: Leaf, all_of: list[Leaf], seen: Seen) -> tuple[PositionKind, str]:
    """(kind, part) by how it met the carrier, and by its values."""
    constant = leaf.constant
    if leaf.behind:
        return next(entry.kind for entry in leaf.behind if entry.taken and entry.kind is not None), "weights"
    if leaf.kind is not None:
        return leaf.kind, "factor" if leaf.part == "decay" else leaf.part
    if leaf.part == "sum":
        absolute = not leaf.source or labels.sinusoidal(constant)
        return (PositionKind.ABSOLUTE if absolute else PositionKind.LEARNABLE), "sum"
    if leaf.part == "score":
        rows = constant if by_pairs(leaf) else constant.unsqueeze(-2)  # else one row, of one query
        straight = not leaf.learnt and labels.by_distance(rows)
        return (PositionKind.ALIBI if straight else PositionKind.RELATIVE_BIAS), "score"
    if leaf.part == "decay":
        return PositionKind.DECAY, "factor"
    if leaf.part == "matrix":
        return (PositionKind.ROTARY if labels.orthogonal(constant) else PositionKind.MODULATION), "matrix"
    if leaf.part == "relation":
        return PositionKind.RELATIVE_EMBEDDING, "matrix"
    if leaf.part == "joined":
        return PositionKind.JOINED, "joined"
    place = memory(constant)
    if place not in seen:  # every layer has the same table
        seen[place] = factor(leaf, all_of)
    return seen[place]


def by_pairs(leaf: Leaf) -> bool:
    """Whether a bias lies along the places of queries and of keys, and not of one of them, as in a loop over the others."""
    dims, batch = len(leaf.shape), (leaf.keys[0].stream, leaf.batch)
    moving = {a for m in leaf.known.moving() if m.key != batch for a in padded(m, dims).axes}
    return {dims - 1, dims - 2} <= moving


def memory(x: Tensor) -> tuple:
    """What tells one constant from another: where it lies, and in what order."""
    return storage_of(x), x.storage_offset(), tuple(x.shape), x.stride()


def factor(leaf: Leaf, all_of: list[Leaf]) -> tuple[PositionKind, str]:
    """(kind, part) of a factor: it turns if it lies on a circle, with a partner or as a complex number; else it modulates."""
    constant = leaf.constant
    if constant.is_complex():
        return (PositionKind.ROTARY, "rotary") if labels.turns(constant) else (PositionKind.MODULATION, "factor")
    if labels.orthogonal(constant):
        return PositionKind.ROTARY, "matrix"
    beside = (other for other in all_of if other is not leaf and other.part in ("product", "cos", "sin") and other.layer == leaf.layer)
    if any(labels.on_a_circle(constant, other.constant) for other in beside if other.constant is not constant):
        return PositionKind.ROTARY, labels.part_of(constant)
    return PositionKind.MODULATION, "factor"
