"""The rows of a batch apart: what arrived is reduced once for all of them, and each row's places are cut out of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...ledger import Ledger
from ..edges import of_row
from ..trace import Boundary, Role, Trace, Visible
from .arrivals import Part
from .ledger_builder import Books

# the axes of tokens, from the end, in each kind of detail
AXES = {"heads": (-1,), "attention": (-1,), "query_key": (-1,), "frequencies": (-2,), "pairs": (-2, -1)}


class Rows:
    """Traces of a batch; `roles` and `notes` are the same for all of its rows."""

    def __init__(self, parts: Sequence[Part], books: Books, roles: tuple[Role, ...], notes: tuple[str, ...]) -> None:
        self.streams = [Stream(part) for part in parts]
        self.books, self.roles, self.notes = books, roles, notes

    def trace(self, row: int | None, visible: Mapping[str, Visible]) -> Trace:
        """One row's Trace, or of the whole batch (None); further streams inside."""
        ledger, told = self.books.ledger(row), {"roles": self.roles, "notes": self.notes}
        if len(self.streams) == 1:
            return self.streams[0].trace(row, visible, ledger, told)
        traces = {one.part.name: one.trace(row, visible, ledger, {}) for one in self.streams}
        return replace(next(iter(traces.values())), streams=traces, **told)


class Stack:
    """Tensors (B, ..., T) in groups of one shape and type, so that a row of all is cut at once, into memory of its own."""

    def __init__(self, tensors: Mapping[Any, Tensor]) -> None:
        groups: dict[tuple, dict[Any, Tensor]] = {}
        for name, one in tensors.items():
            groups.setdefault((one.shape, one.dtype), {})[name] = one
        self.order = list(tensors)
        self.groups = [(list(members), torch.stack(list(members.values()), 1)) for members in groups.values()]

    def row(self, row: int | None, visible: Visible | None) -> dict[Any, Tensor]:
        """One row of each, (..., T) at its own places; of the whole batch (None) each as it was."""
        found: dict[Any, Tensor] = {}
        for names, whole in self.groups:
            one = whole.movedim(1, 0) if row is None else whole[row] if visible is None else visible(whole[row], -1)
            own = one.clone() if one._is_view() else one
            found |= zip(names, own.unbind(0), strict=True)
        return {name: found[name] for name in self.order}


class Stream:
    """What arrived in one stream, in every reduction."""

    def __init__(self, part: Part) -> None:
        self.part = part
        flat = part.tokens.flatten(-2) if part.tokens.dim() > 3 else part.tokens
        self.content = Stack({"semantic.positive": flat.clamp(min=0).sum(-1), "semantic.l2": flat.norm(dim=-1)})
        self.positional = Stack({f"positional.{name}": column for name, column in part.columns.items()})
        self.marks = [m for m in part.marks if m.relevance is not None]
        self.boundaries = Stack({i: m.relevance.cpu() for i, m in enumerate(self.marks) if m.relevance is not None})

    def trace(self, row: int | None, shown: Mapping[str, Visible], ledger: Ledger, told: Mapping[str, Any]) -> Trace:
        """One row; places that are padding left out, which `shown` says of each stream."""
        visible = shown.get(self.part.name)

        def cut(x: Tensor, *axes: int) -> Tensor:
            return x if row is None else x[row] if visible is None else visible(x[row], *axes)

        part = self.part
        tokens = cut(part.tokens, 0) if part.tokens.dim() == 3 else cut(part.tokens)
        positional = self.positional.row(row, visible)
        signed = positional.pop("positional.signed")
        found = self.boundaries.row(row, visible)
        boundaries = tuple([Boundary(m.name, m.kind, m.layer, found[i], ledger.layers.get(m.name)) for i, m in enumerate(self.marks)])
        detail = {k: routed(v, row, visible, shown) if k == "routes" else cut_detail(v, k, cut) for k, v in part.detail.items()}
        reductions = positional | self.content.row(row, visible if part.tokens.dim() == 3 else None)
        return Trace(tokens, part.sinks, signed, reductions, boundaries, ledger, detail, **told)


def routed(found: Mapping[str, Any], row: int | None, visible: Visible | None, shown: Mapping[str, Visible]) -> dict[str, Any]:
    """One row of routes: queries are cut like the stream's places, keys like those of the stream that they belong to."""
    attention = {name: of_row(one, row, visible, shown.get(one["of"])) for name, one in found["attention"].items()}
    nodes = {name: of_row(one, row, visible, None) for name, one in found["nodes"].items()}
    return {"attention": attention, "nodes": nodes}


def cut_detail(value: Any, kind: str, cut: Callable[..., Tensor]) -> Any:
    """One row of a mapping of tensors (B, ...), padding left out; a wavelength is no row's own."""
    if isinstance(value, Mapping):
        return {k: v if k == "wavelength" else cut_detail(v, kind, cut) for k, v in value.items()}
    if not isinstance(value, Tensor):
        return value
    found = cut(value, *AXES.get(kind, (-2,))).cpu()
    return float(found) if found.dim() == 0 else found
