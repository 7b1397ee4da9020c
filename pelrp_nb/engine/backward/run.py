"""From the target back: one backward pass, leaves read at the end, rows told apart, the ledger of each closed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch._C import DisableTorchFunction

from ...errors import InputError, ModelError
from ..forward_pass import ForwardPass
from ..numerics import dot
from ..notes import carries
from ..trace import Boundary, Trace, Visible
from . import loss_scaling
from .arrivals import Part, part_of
from .graph_audit import audit_graph
from .ledger_builder import Books, keep_books, tolerance_of
from .running_gap import watch_of
from .sink_totals import receive

# the axes of tokens, from the end, in each kind of detail
AXES = {"heads": (-1,), "attention": (-1,), "query_key": (-1,), "frequencies": (-2,), "pairs": (-2, -1)}


def whole(flow: ForwardPass, value: Tensor, keep: bool) -> Trace:
    """One backward pass from a scalar; a batch stays a batch."""
    parts, books = arrived(flow, [value], keep)
    with DisableTorchFunction():
        return told(flow, trace_of(parts, books, 0 if flow.account.rows == 1 else None, {}))


def rows(flow: ForwardPass, values: Sequence[Tensor | None], keep: bool, visible: Sequence[Mapping[str, Visible]]) -> list[Trace | None]:
    """One backward pass from a scalar per row; the rows apart, without their padding."""
    flow.recorder.visible = visible
    parts, books = arrived(flow, values, keep)
    cuts = visible or [{}] * len(values)
    with DisableTorchFunction():
        return [None if v is None else told(flow, trace_of(parts, books, row, cuts[row])) for row, v in enumerate(values)]


def told(flow: ForwardPass, trace: Trace) -> Trace:
    """The trace with what was taken for what, and what could have been read otherwise."""
    return replace(trace, roles=flow.told(), notes=tuple(flow.places.notes))


# --- back to the leaves ----------------------------------------------------------------------------------------------


def arrived(flow: ForwardPass, values: Sequence[Tensor | None], keep: bool) -> tuple[list[Part], Books]:
    """What arrived in each stream, and the books."""
    targets = [v for v in values if v is not None]
    for value in targets:
        refuse_foreign(flow, value)
    unknown = audit_graph(flow, targets)
    flow.settle()
    inputs = flow.inputs
    leaves = inputs.leaves()
    if not leaves:
        raise InputError("No input was seen inside the `with`; call the model there, with input_ids, pixel_values or vectors.")
    starts = [0.0 if v is None else float(v.detach()) if flow.composite.start == "value" else float(flow.composite.start)
              for v in values]  # fmt: skip
    B = flow.account.rows
    flow.starts = torch.tensor(starts if len(starts) == B else [sum(starts) / B] * B, dtype=torch.float64)
    dtype = str(targets[0].dtype).removeprefix("torch.")
    flow.recorder.values = targets
    watch = flow.recorder.watch = watch_of(flow, tolerance_of(dtype))
    with nullcontext() if watch is None else watch.listening():
        gradients = loss_scaling.walk(flow, targets, leaves, keep)
    with DisableTorchFunction():  # what follows is ours, and none of the model's operations
        for name, depth, leaf in inputs.constants:
            if id(leaf) in gradients:
                flow.account.add("constants", name, depth, flow.account.by_row(dot(leaf.detach(), gradients[id(leaf)])))
        received = receive(inputs.sinks, gradients, B)
        parts = [part for name in flow.streams.names if (part := part_of(flow, name, gradients, received)) is not None]
        books = keep_books(flow, starts, {p.name: p for p in parts}, received, unknown, dtype)
    flow.recorder.values = ()  # the graph may go
    return parts, books


def refuse_foreign(flow: ForwardPass, value: Tensor) -> None:
    """A target must be one finite number that depends on the input."""
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"The target must be one number of the model's output, got {shape}. Type out.logits[0, -1, 42].")
    if not torch.isfinite(value).all():
        raise ModelError(f"The explained number must be finite, got {float(value.detach())}; the model breaks here.")
    if not carries(value):
        why = flow.why_lost()
        raise InputError(f"The target depends on no input, so there is nothing to explain; take it from the model's output.{why}")


# --- rows ------------------------------------------------------------------------------------------------------------


def trace_of(parts: list[Part], books: Books, row: int | None, visible: Mapping[str, Visible]) -> Trace:
    """One row's Trace, or of the whole batch (None); further streams inside."""
    ledger = books.ledger(row)
    traces = {p.name: stream_of(p, books, row, visible.get(p.name)) for p in parts}
    for name, trace in traces.items():
        traces[name] = replace(trace, ledger=ledger)
    first = next(iter(traces.values()))
    return replace(first, streams=traces) if len(traces) > 1 else first


def stream_of(part: Part, books: Books, row: int | None, visible: Visible | None) -> Trace:
    """One stream of one row; places that are padding left out."""

    def cut(x: Tensor, *axes: int) -> Tensor:
        if row is None:
            return x
        x = x[row]
        return x if visible is None else visible(x, *axes)

    tokens = cut(part.tokens, 0) if part.tokens.dim() == 3 else cut(part.tokens)
    flat = tokens.flatten(-2) if part.tokens.dim() > 3 else tokens
    columns = {k: cut(v, 1) for k, v in part.columns.items()}
    reductions = {f"positional.{k}": v for k, v in columns.items() if k != "signed"}
    reductions["semantic.positive"] = flat.clamp(min=0).sum(-1)
    reductions["semantic.l2"] = flat.norm(dim=-1)
    boundaries = tuple(
        Boundary(m.name, m.kind, m.layer, cut(by_row(m.relevance.cpu(), len(books.starts)), 0), books.gap(m.name, row))
        for m in part.marks
        if m.relevance is not None
    )
    detail = {k: cut_detail(v, k, cut) for k, v in part.detail.items()}
    return Trace(tokens, part.sinks, columns["signed"], reductions, boundaries, books.ledger(row), detail)


def by_row(R: Tensor, rows: int) -> Tensor:
    """(B, T) where a layer saw a row as several (windows)."""
    return R if R.shape[0] == rows or R.shape[0] % rows else R.reshape(rows, -1)


def cut_detail(value: Any, kind: str, cut: Callable[..., Tensor]) -> Any:
    """One row of a mapping of tensors (B, ...), padding left out; a wavelength is no row's own."""
    if isinstance(value, Mapping):
        return {k: v if k == "wavelength" else cut_detail(v, kind, cut) for k, v in value.items()}
    if not isinstance(value, Tensor):
        return value
    found = cut(value, *AXES.get(kind, (-2,))).cpu()
    return float(found) if found.dim() == 0 else found
