"""What arrived in each stream: x * g of its inputs, its sinks summed, its boundaries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import heads
from ..boundaries import Mark
from ..forward_pass import ForwardPass
from ..leaves import Leaf
from ..numerics import better, dot
from ..trace import Sink
from . import sink_totals


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


def part_of(flow: ForwardPass, name: str, gradients: dict[int, Tensor]) -> Part | None:
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
    found, columns = sink_totals.summarise(sinks, gradients, rows, T)
    detail = sink_totals.detail(sinks, gradients, wanted, rows, T) if wanted else {}
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


def places_of(flow: ForwardPass, pixels: Tensor, sinks: list[Leaf]) -> int:
    """How many places a picture has: those of the first sink with one for each patch, else the patches; 0 without a sink."""
    h, w = flow.patch or pixels.shape[-2:]
    patches = (pixels.shape[-2] // h) * (pixels.shape[-1] // w)
    return next((s.places for s in sinks if s.places >= patches), patches) if sinks else 0


def positions_of(marks: tuple[Mark, ...]) -> int:
    """The number of places at the first boundary that relevance has reached; 0 without one."""
    return next((m.relevance.shape[1] for m in marks if m.relevance is not None), 0)
