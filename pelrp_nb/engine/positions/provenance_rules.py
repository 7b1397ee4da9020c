"""How provenance spreads through constants: what the result of an operation still knows of positions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..context import Context
from ..provenance import SAME, Note, note_of, write
from .structure import TURNS, counts, on_the_circle

LOOKED_UP = {"gather", "index_select", "take", "take_along_dim", "__getitem__"}
COMPARISONS = {"eq", "ne", "lt", "gt", "le", "ge", "__eq__", "__ne__", "argmax", "argmin", "nonzero", "sum", "long", "int"}


def known_tensors(model: nn.Module) -> dict[int, Note]:
    """A note for each parameter and buffer, by identity: nothing is written on the model."""
    known: dict[int, Note] = {}
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        known.setdefault(id(parameter), Note(source=name, kind="rows" if id(parameter) in tables else None))
    for path, module in model.named_modules():
        own = {n: b for n, b in module._buffers.items() if b is not None}
        circle = on_the_circle(list(own.values()))
        for name, buffer in own.items():
            kind = "index" if counts(buffer) else circle.get(id(buffer))
            known.setdefault(id(buffer), Note(source=f"{path}.{name}" if path else name, kind=kind))
    return known


def inherit(flow: Context, name: str, notes: list[Note], args: tuple, out: Any) -> None:
    """The note of a constant made from constants: whose it is, and whether it still says where something stands."""
    if name == "__setitem__" and len(args) > 2 and isinstance(args[2], Tensor) and id(args[0]) not in flow.known:
        given = note_of(flow, args[2])
        if given is not None and given.kind != "ids":            # a table written into a larger one
            write(args[0], Note(source=given.source, kind=given.kind))
        return
    if not isinstance(out, Tensor):
        if isinstance(out, tuple | list):
            for piece in out:
                inherit(flow, name, notes, args, piece)
        return
    if id(out) in flow.known:                                    # the model's own tensor stays clean
        return
    first = note_of(flow, args[0]) if args and isinstance(args[0], Tensor) else None
    if name == "embedding":
        weight = note_of(flow, args[1]) if len(args) > 1 and isinstance(args[1], Tensor) else None
        by_position = first is not None and first.kind == "index"
        write(out, Note(source=weight.source if weight else None, kind="table" if by_position else "looked up"))
        return
    if first is not None and first.made and name in SAME:
        write(out, first)
        return
    if name.endswith("_like") or name.startswith("new_"):        # the shape of another tensor, not its past
        return
    source = next((n.source for n in notes if n.source), None)
    kind = kind_of(name, first, notes, out)
    if kind or source:
        write(out, Note(source=source, kind=kind))


def kind_of(name: str, first: Note | None, notes: list[Note], out: Tensor) -> str | None:
    """What a function of constants still knows of positions."""
    kinds = {n.kind for n in notes}
    real = out.is_floating_point() or out.is_complex()
    if name in ("cos", "sin", "polar"):
        return "rotary" if name == "polar" else name
    if out.dtype == torch.bool:
        return None
    if name in ("arange", "cumsum", "linspace"):
        return "index"
    if name in LOOKED_UP and first is not None:                  # numbers looked up by position are not positions
        by = {n.kind for n in notes if n is not first}
        if not real:
            return first.kind if first.kind in ("index", "ids") and (first.kind != "ids" or name not in COMPARISONS) else None
        if first.kind in (None, "rows") and first.source and by & {"index", "ids"}:
            return "table" if "index" in by else "looked up"
    if not real:
        return "ids" if "ids" in kinds and name not in COMPARISONS else "index" if "index" in kinds else None
    turns = kinds & set(TURNS)
    if turns:
        return "rotary" if len(turns) > 1 or out.is_complex() else turns.pop()
    return next((k for k in ("table", "looked up", "index", "rows") if k in kinds), None)
