"""From the target back: one backward pass, leaves read at the end, rows told apart, the ledger of each closed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import InputError, ModelError
from . import heads, received, seed
from .account import better, dot
from .books import Books, keep_books, tolerance_of
from .notes import carries
from .sinks import Leaf
from .trace import Boundary, Sink, Trace
from .tracing import Mark, audit_graph
from .watched import watch_of

if TYPE_CHECKING:
    from .propagation import Flow

# the axes of tokens, from the end, in each kind of detail
AXES = {"heads": (-1,), "attention": (-1,), "query_key": (-1,), "frequencies": (-2,), "pairs": (-2, -1)}


@dataclass(frozen=True)
class Visible:
    """The places of one row in a padded batch that are the row's own: `at` (T,) of `length`."""

    length: int
    at: Tensor

    def __call__(self, x: Tensor, *axes: int) -> Tensor:
        """x at those places, along the axes that are as long as the batch."""
        for axis in axes:
            if x.shape[axis] == self.length and len(self.at) != self.length:
                x = x.index_select(axis, self.at.to(x.device))
        return x


@dataclass(frozen=True)
class Part:
    """What arrived in one stream, the whole batch together.

    tokens: (B, T, D), of pictures (B, C, H, W); columns: (B, S, T) per reduction
    """

    name: str
    tokens: Tensor
    sinks: tuple[Sink, ...]
    columns: Mapping[str, Tensor]
    marks: tuple[Mark, ...]
    detail: Mapping[str, Any]


def whole(flow: Flow, value: Tensor, keep: bool) -> Trace:
    """One backward pass from a scalar; a batch stays a batch."""
    parts, books = arrived(flow, [value], keep)
    return trace_of(parts, books, 0 if flow.account.rows == 1 else None, {})


def rows(flow: Flow, values: Sequence[Tensor | None], keep: bool, visible: Sequence[Mapping[str, Visible]]) -> list[Trace | None]:
    """One backward pass from a scalar per row; the rows apart, without their padding."""
    flow.visible = visible
    parts, books = arrived(flow, values, keep)
    cuts = visible or [{}] * len(values)
    return [None if v is None else trace_of(parts, books, row, cuts[row]) for row, v in enumerate(values)]


# --- back to the leaves ----------------------------------------------------------------------------------------------


def arrived(flow: Flow, values: Sequence[Tensor | None], keep: bool) -> tuple[list[Part], Books]:
    """What arrived in each stream, and the books."""
    targets = [v for v in values if v is not None]
    for value in targets:
        refuse_foreign(value)
    unknown = audit_graph(flow, targets)
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
        gradients = seed.walk(flow, targets, leaves, keep)
    for name, depth, leaf in inputs.constants:
        if id(leaf) in gradients:
            flow.account.add("constants", name, depth, flow.account.by_row(dot(leaf.detach(), gradients[id(leaf)])))
    parts = [part for name in flow.streams.names if (part := part_of(flow, name, gradients)) is not None]
    books = keep_books(flow, starts, {p.name: p for p in parts}, gradients, unknown, dtype)
    flow.recorder.values = ()                    # the graph may go
    return parts, books


def refuse_foreign(value: Tensor) -> None:
    """A target must be one finite number that depends on the input."""
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"The target must be one number of the model's output, got {shape}. Type out.logits[0, -1, 42].")
    if not torch.isfinite(value).all():
        raise ModelError(f"The explained number must be finite, got {float(value.detach())}; the model breaks here.")
    if not carries(value):
        raise InputError("The target depends on no input, so there is nothing to explain; take it from the model's output.")


# --- what arrived in each stream -------------------------------------------------------------------------------------


def part_of(flow: Flow, name: str, gradients: dict[int, Tensor]) -> Part | None:
    """One stream's tokens, sinks and boundaries; None where no input of it was seen."""
    inputs = flow.inputs

    def ours(x: Tensor) -> bool:
        return flow.stream_of.get(id(x), flow.streams.names[0]) == name

    looked_up, pixels = [x for x in inputs.tokens if ours(x)], [x for x in inputs.pixels if ours(x)]
    sinks = [s for s in inputs.sinks if s.stream == name]
    marks = tuple(m for m in flow.recorder.marks if m.stream == name)
    if not looked_up and not pixels:
        return None
    tokens = rows_first(gather(looked_up or pixels[:1], gradients), flow.account.rows)
    for bound in pixels[1:]:
        tokens = tokens + gather([bound], gradients)
    if looked_up and id(looked_up[0]) in flow.recorder.frames:
        tokens = framed(tokens, flow.recorder.frames[id(looked_up[0])], positions_in(sinks) or positions_of(marks))
    T = tokens.shape[1] if looked_up else places_of(flow, tokens, sinks)
    rows, wanted = flow.account.rows, flow.options.detail
    found, columns = received.summarise(sinks, gradients, rows, T)
    detail = received.detail(sinks, gradients, wanted, rows, T) if wanted else {}
    if "heads" in wanted:
        detail["attention"] = heads.detail([a for a in flow.attentions if a.stream == name])
    return Part(name, tokens.cpu(), found, {k: v.cpu() for k, v in columns.items()}, marks, detail)


def gather(leaves: list[Tensor], gradients: dict[int, Tensor]) -> Tensor:
    """x * g of the input leaves, further look-ups of the same tokens beside each other along the features."""
    parts = [dot(x.detach(), gradients[id(x)]) if id(x) in gradients else torch.zeros_like(better(x.detach())) for x in leaves]
    same = [p for p in parts if p.shape[:2] == parts[0].shape[:2]]
    return same[0] if len(same) == 1 else torch.cat([p.flatten(2) for p in same], -1)


def rows_first(R: Tensor, rows: int) -> Tensor:
    """(B, T, D), of models too that work on (T, B, D)."""
    return R.transpose(0, 1) if R.dim() == 3 and R.shape[0] != rows and R.shape[1] == rows else R


def framed(R: Tensor, time_last: bool, T: int) -> Tensor:
    """Relevance of sound (B, frames, D), several samples to a frame where the model has fewer places than the input, T."""
    R = R[..., None] if R.dim() == 2 else R.transpose(1, 2) if time_last else R
    n = R.shape[1]
    if not 0 < T < n:
        return R
    frame = torch.arange(n, device=R.device) * T // n
    return torch.zeros(R.shape[0], T, R.shape[2], dtype=R.dtype, device=R.device).index_add_(1, frame, R)


def positions_in(sinks: list[Leaf]) -> int:
    """The number of positions of the first sink; 0 without one."""
    return sinks[0].places if sinks else 0


def places_of(flow: Flow, pixels: Tensor, sinks: list[Leaf]) -> int:
    """How many places a picture has: those of the first sink with one for each patch, else the patches; 0 without a sink."""
    h, w = flow.patch or pixels.shape[-2:]
    patches = (pixels.shape[-2] // h) * (pixels.shape[-1] // w)
    return next((s.places for s in sinks if s.places >= patches), patches) if sinks else 0


def positions_of(marks: tuple[Mark, ...]) -> int:
    """The number of places at the first boundary that relevance has reached; 0 without one."""
    return next((m.relevance.shape[1] for m in marks if m.relevance is not None), 0)


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
