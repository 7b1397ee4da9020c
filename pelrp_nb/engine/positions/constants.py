"""What is remembered of constants: the parameter that one was made from, and whether it has an entry of its own for each place.

None of it decides whether a constant that differs from place to place is a position: that is seen in its values.  It is needed for
names, and for what does not differ: a table still all zeros, a text of one token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..context import Context
from ..model_tree import ModelTree, once
from ..notes import Note, note_of, write
from ..places.values import as_stored, storage_of

COUNTERS = {torch.arange, torch.cumsum, Tensor.cumsum, torch.linspace}  # functions that make numbers of places
READING = ("gather", "index_select", "take", "take_along_dim", "__getitem__", "embedding")


def known_tensors(tree: ModelTree) -> dict[int, Note]:
    """A note for each parameter and buffer, by identity: nothing is written on the model."""
    known: dict[int, Note] = {}
    for name, parameter in tree.parameters:
        known.setdefault(id(parameter), Note(source=name))
    for name, buffer in tree.buffers:
        known.setdefault(id(buffer), Note(source=name, counts=counts(buffer)))
    return known


def counts(x: Tensor) -> bool:
    """Whether integers go up one by one along the last axis."""
    if x.dtype not in (torch.int64, torch.int32) or x.dim() == 0 or x.shape[-1] < 2 or x.is_meta:
        return False
    return bool((x[..., 1:] - x[..., :-1] == 1).all())


def memory_of(tree: ModelTree) -> dict[int, str]:
    """Where each parameter lies in memory: a view of it is told by that, whenever it was made."""
    return {storage_of(p): name for name, p in once(tree.parameters) if not p.is_meta and p.numel()}


def inherit(flow: Context, func: Any, name: str, notes: Sequence[Note], args: tuple, out: Any) -> None:
    """The note of a constant made from constants."""
    if name == "__setitem__" and len(args) > 2 and isinstance(args[2], Tensor) and id(args[0]) not in flow.known:
        given = note_of(flow, args[2])
        if given is not None:  # a table written into a larger one
            write(args[0], Note(source=given.source, counts=given.counts))
        return
    if not isinstance(out, Tensor):
        for piece in out if isinstance(out, tuple | list) else ():
            inherit(flow, func, name, notes, args, piece)
        return
    if id(out) in flow.known or out.dtype == torch.bool:  # the model's own tensor stays clean
        return
    if name.endswith("_like") or name.startswith("new_"):  # the shape of another tensor, not its past
        return
    source = next((n.source for n in notes if n.source), None)
    index = next((n.index for n in notes if n.index is not None), None)
    if name in READING:
        table = note_of(flow, args[1 if name == "embedding" and len(args) > 1 else 0])
        source, index = (table.source if table is not None else None), read_by(name, args, index)
    made = Note(source=source, counts=func in COUNTERS or any(n.counts for n in notes), index=index)
    if source or made.counts or index is not None:
        write(out, made)


def read_by(name: str, args: tuple, before: Tensor | None) -> Tensor | None:
    """The whole numbers by which a table was read."""
    if name == "embedding":
        return args[0] if isinstance(args[0], Tensor) else before
    given = args[1] if len(args) > 1 else None
    parts = given if isinstance(given, tuple | list) else (given, *args[2:3])
    found = next((x for x in parts if isinstance(x, Tensor) and x.dtype != torch.bool), None)
    return found if found is not None else before


def own_entries(flow: Context, constant: Tensor, axis: int) -> bool:
    """Whether it has an entry of its own for each place along one of its axes: a view of a parameter, or read by place."""
    if said(flow, constant) == "positions":
        return True
    if constant.shape[axis] > 1 and constant.stride(axis) and storage_of(as_stored(constant)) in flow.memory:
        return True
    note = note_of(flow, constant)
    if note is None or note.index is None or not (note.source and note.source in flow.parameters):
        return False
    index = note.index
    return index.dim() > 0 and index.shape[-1] > 1 and flow.values.kept(index, "moves", moves)


def moves(index: Tensor) -> bool:
    """Whether numbers differ from one to the next along the last axis."""
    return bool((index[..., 1:] != index[..., :-1]).any())


def at_one_place(flow: Context, constant: Tensor) -> bool:
    """Whether a constant that meets a text of one token was made for its place: from numbers of places, or read by them."""
    note = note_of(flow, constant)
    if note is None:
        return sliced(constant)
    return note.counts or note.index is not None or sliced(constant)


def sliced(constant: Tensor) -> bool:
    """Whether it is one entry of a longer table: a view in which an axis of the table is cut down to a single entry."""
    constant = as_stored(constant)
    base = constant._base
    while base is not None and base._base is not None:
        base = base._base
    if base is None:
        return False
    kept = {stride for n, stride in zip(constant.shape, constant.stride(), strict=True) if n > 1}
    return any(n > 1 and stride not in kept for n, stride in zip(base.shape, base.stride(), strict=True))


def said(flow: Context, constant: Tensor) -> str | None:
    """What the user says of the parameter or buffer that a constant was made from."""
    return flow.role_of(source_of(flow, constant) or "") if flow.options.roles else None


def source_of(flow: Context, constant: Tensor) -> str | None:
    """The parameter or buffer that a constant was made from, or lies in."""
    note = note_of(flow, constant)
    if note is not None and note.source:
        return note.source
    return flow.memory.get(storage_of(as_stored(constant))) if not constant.is_meta else None
