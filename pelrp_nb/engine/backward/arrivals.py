"""What arrived in each stream: x * g of its inputs, its sinks summed, its boundaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from .. import heads, routes
from ..boundaries import Mark
from ..forward_pass import ForwardPass
from ..numerics import better, dot
from ..places import credit
from ..places.follow import provenance_of
from ..places.maps import padded
from ..places.provenance import Provenance
from ..trace import Sink
from . import sink_totals
from .received import Received


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


def part_of(flow: ForwardPass, name: str, gradients: dict[int, Tensor], received: list[Received]) -> Part | None:
    """One stream's tokens, sinks and boundaries; None where no input of it was seen."""
    inputs = flow.inputs

    def ours(x: Tensor) -> bool:
        return flow.stream_of.get(id(x), flow.streams.names[0]) == name

    looked_up, pixels = [x for x in inputs.tokens if ours(x) or has_stream(flow, x, name)], [x for x in inputs.pixels if ours(x)]
    sinks = [one for one in received if one.leaf.stream == name]
    marks = tuple(m for m in flow.recorder.marks if m.stream == name)
    if not looked_up and not pixels:
        return None
    rows, wanted = flow.account.rows, flow.options.detail
    each = {id(one.places): one.places for one in sinks}.values()  # most have the same
    told = list(dict.fromkeys(chain.from_iterable(each)))
    if looked_up and id(looked_up[0]) in flow.recorder.frames:
        tokens = gather(looked_up, gradients)
        places = len(told) or positions_of(marks)
        tokens = framed(tokens, flow.recorder.frames[id(looked_up[0])], places)
        order = credit.in_order(told) if len(told) == tokens.shape[1] else [(i,) for i in range(tokens.shape[1])]
    elif looked_up:
        tokens, order = tokens_of(flow, name, looked_up, gradients, told)
    else:
        tokens = gather(pixels[:1], gradients)
        for bound in pixels[1:]:
            tokens = tokens + gather([bound], gradients)
        order = credit.in_order(told)
    found, columns = sink_totals.summarise(sinks, rows, order)
    detail = sink_totals.detail(sinks, gradients, wanted, order) if wanted else {}
    if "heads" in wanted:
        detail["attention"] = heads.detail([a for a in flow.attentions if a.stream == name])
    if "routes" in wanted:
        detail["routes"] = routes.detail(flow, name)
    return Part(name, tokens.cpu(), found, {k: v.cpu() for k, v in columns.items()}, marks, detail)


def has_stream(flow: ForwardPass, leaf: Tensor, name: str) -> bool:
    """Whether places of that stream are among those of a leaf: two texts looked up at once."""
    known = provenance_of(leaf)
    return known is not None and any(flow.streams.of_input(stream) == name for stream in known.streams())


def tokens_of(
    flow: ForwardPass, name: str, leaves: list[Tensor], gradients: dict[int, Tensor], told: list[credit.Place]
) -> tuple[Tensor, list[credit.Place]]:
    """Relevance of token vectors (rows, T, D), and their places; further look-ups of the same tokens stand beside each other in D.

    Places that constants brought along (CLS, registers), if a position was added there, come first, and hold no content.
    """
    found: list[tuple[Tensor, list[credit.Place] | None]] = []
    for leaf in leaves:
        known = provenance_of(leaf)
        R = dot(leaf.detach(), gradients[id(leaf)]) if id(leaf) in gradients else torch.zeros_like(better(leaf.detach()))
        if known is None:
            found.append((R.reshape(flow.account.rows, -1, R.shape[-1]), None))
            continue
        streams = [s for s in flow.places.inputs if s in known.streams()]
        stream = next((s for s in streams if flow.streams.of_input(s) == name), streams[0])
        if len(streams) > 1:
            R = R * belongs(known, stream, streams[0] == stream, R.shape).to(R)
        layout = credit.layout_of(known, R.dim(), stream, flow.places.place_axes(stream), flow.places.batch(stream))
        axes = layout.axes
        rest = [a for a in range(R.dim()) if a not in axes]
        R, places = credit.summed(R.permute([*axes, *rest]).flatten(len(axes)), layout.first(R.dim()), flow.account.rows, -1)
        if len(streams) > 1:
            mine = [i for i, p in enumerate(places) if all(c is None or c >= 0 for c in p)]
            R, places = R[:, mine], tuple(places[i] for i in mine)
        found.append((R, list(places)))
    order = credit.united([places for _, places in found if places]) or [(i,) for i in range(found[0][0].shape[1])]
    there = set(order)
    own = credit.in_order([p for p in told if p not in there and None not in p])
    each = [R if places is None or places == order else credit.aligned(R, places, order) for R, places in found]
    tokens = each[0] if len(each) == 1 else torch.cat([R for R in each if R.shape[:2] == each[0].shape[:2]], -1)
    if own:
        tokens = torch.cat([tokens.new_zeros(tokens.shape[0], len(own), tokens.shape[2]), tokens], 1)
    return tokens, [*own, *order]


def belongs(known: Provenance, stream: str, first: bool, shape: Sequence[int]) -> Tensor:
    """Which entries of a tensor are places of one of its streams; what is of none belongs to the first."""
    none = torch.ones(tuple(shape), dtype=torch.bool)
    mine = torch.zeros(tuple(shape), dtype=torch.bool)
    for one in known.moving():
        there = (padded(one, len(shape)).cells >= 0).expand(tuple(shape))
        none = none & ~there
        mine = mine | (there if one.key.stream == stream else mine)
    return mine | none if first else mine


def gather(leaves: list[Tensor], gradients: dict[int, Tensor]) -> Tensor:
    """x * g of the input leaves, further look-ups of the same tokens beside each other along the features."""
    parts = [dot(x.detach(), gradients[id(x)]) if id(x) in gradients else torch.zeros_like(better(x.detach())) for x in leaves]
    same = [p for p in parts if p.shape[:2] == parts[0].shape[:2]]
    return same[0] if len(same) == 1 else torch.cat([p.flatten(2) for p in same], -1)


def framed(R: Tensor, time_last: bool, T: int) -> Tensor:
    """Relevance of sound (B, frames, D), several samples to a frame where the model has fewer places than the input, T."""
    R = R[..., None] if R.dim() == 2 else R.transpose(1, 2) if time_last else R
    n = R.shape[1]
    if not 0 < T < n:
        return R
    frame = torch.arange(n, device=R.device) * T // n
    return torch.zeros(R.shape[0], T, R.shape[2], dtype=R.dtype, device=R.device).index_add_(1, frame, R)


def positions_of(marks: tuple[Mark, ...]) -> int:
    """The number of places at the first boundary that relevance has reached; 0 without one."""
    return next((m.relevance.shape[1] for m in marks if m.relevance is not None), 0)
