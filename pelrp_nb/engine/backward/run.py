"""From the target back: one backward pass, leaves read at the end, rows told apart, the ledger of each closed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor
from torch._C import DisableTorchFunction

from ...errors import InputError, ModelError
from .. import routes
from ..forward_pass import ForwardPass
from ..notes import carries
from ..numerics import visible as unmasked
from ..trace import Trace, Visible
from . import loss_scaling
from .arrivals import Part, part_of
from .graph_audit import audit_graph
from .ledger_builder import Books, keep_books
from .rounding import precision_of
from .rows import Rows
from .running_gap import watch_of
from .received import receive
from .sink_totals import lacking


def whole(flow: ForwardPass, value: Tensor, keep: bool) -> Trace:
    """One backward pass from a scalar; a batch stays a batch."""
    found = apart(flow, [value], keep)
    with DisableTorchFunction():
        return found.trace(0 if flow.account.rows == 1 else None, {})


def rows(flow: ForwardPass, values: Sequence[Tensor | None], keep: bool, visible: Sequence[Mapping[str, Visible]]) -> list[Trace | None]:
    """One backward pass from a scalar per row; the rows apart, without their padding."""
    flow.recorder.visible = visible
    found, cuts = apart(flow, values, keep), visible or [{}] * len(values)
    with DisableTorchFunction():
        return [None if v is None else found.trace(row, cuts[row]) for row, v in enumerate(values)]


def apart(flow: ForwardPass, values: Sequence[Tensor | None], keep: bool) -> Rows:
    """One backward pass; its rows, with what was taken for what, and what could have been read otherwise."""
    parts, books = arrived(flow, values, keep)
    with DisableTorchFunction():
        empty = lacking([part.detail for part in parts], flow.options.detail)
        short = () if flow.room is None else flow.room.told
        return Rows(parts, books, flow.told(), (*flow.places.noted(), *short, *empty))


# --- back to the leaves ----------------------------------------------------------------------------------------------


def arrived(flow: ForwardPass, values: Sequence[Tensor | None], keep: bool) -> tuple[list[Part], Books]:
    """What arrived in each stream, and the books."""
    targets, inputs = [v for v in values if v is not None], flow.inputs
    with DisableTorchFunction():  # what is looked at is ours, and none of the model's operations
        amounts = refuse_foreign(flow, targets)
        unknown = audit_graph(flow, targets)
        flow.settle()
        refuse_rows_behind(flow, len(values))
        leaves = inputs.leaves()
        if not leaves:
            raise InputError("No input was seen inside the `with`; call the model there, with input_ids, pixel_values or vectors.")
        said = iter(amounts if flow.composite.start == "value" else [float(flow.composite.start)] * len(amounts))
        starts = [0.0 if v is None else next(said) for v in values]
        B = flow.account.rows
        flow.starts = torch.tensor(starts if len(starts) == B else [sum(starts) / B] * B, dtype=torch.float64)
        routes.check(flow)
        precision = precision_of(flow, targets)
        flow.recorder.values, flow.recorder.measures = targets, bool(precision.eps)
        watch = flow.recorder.watch = watch_of(flow, precision)
    with nullcontext() if watch is None else watch.listening():
        gradients = loss_scaling.walk(flow, targets, leaves, keep)
    with DisableTorchFunction():  # what follows is ours, and none of the model's operations
        for name, depth, leaf in inputs.constants:
            if id(leaf) in gradients:
                flow.account.add("constants", name, depth, flow.account.sums(unmasked(leaf, gradients[id(leaf)])))
        received = receive(inputs.sinks, gradients, B)
        parts = [part for name in flow.streams.names if (part := part_of(flow, name, gradients, received)) is not None]
        books = keep_books(flow, starts, {p.name: p for p in parts}, received, unknown, precision)
    flow.recorder.values = ()  # the graph may go
    return parts, books


def refuse_rows_behind(flow: ForwardPass, rows: int) -> None:
    """Rows are told apart along the first axis, by which the ledger keeps its amounts; a single one may lie anywhere."""
    places = flow.places
    behind = next((name for name in places.inputs if rows > 1 and places.batch(name) and places.rows(name) > 1), None)
    if behind is not None:
        raise InputError(
            f"Rows that are explained apart must lie along the first axis of `{behind}`; here nothing mixes along axis "
            f"{places.batch(behind)}, and places come first. Call the model with one row at a time, and trace the one number of it."
        )


def refuse_foreign(flow: ForwardPass, targets: Sequence[Tensor]) -> list[float]:
    """Targets must be finite numbers, one each, that depend on the input; the numbers."""
    for value in targets:
        if not isinstance(value, Tensor) or value.numel() != 1:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"The target must be one number of the model's output, got {shape}. Type out.logits[0, -1, 42].")
    alike = len({(x.device, x.dtype) for x in targets}) == 1  # then they are read at once
    flat = [x.detach().reshape(()) for x in targets]
    amounts = torch.stack(flat).tolist() if alike else [x.item() for x in flat]
    for value, amount in zip(targets, amounts, strict=True):
        if not math.isfinite(amount):
            raise ModelError(f"The explained number must be finite, got {amount}; the model breaks here.")
        if not carries(value):
            why = flow.why_lost()
            raise InputError(f"The target depends on no input, so there is nothing to explain; take it from the model's output.{why}")
    return amounts
