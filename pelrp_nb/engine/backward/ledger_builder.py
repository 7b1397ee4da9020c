"""The ledger of each row of a batch, and the running gap at every layer boundary."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ...ledger import Ledger
from ..boundaries import Mark
from ..depth import Depth
from ..forward_pass import ForwardPass
from ..numerics import exact, sums
from .arrivals import Part
from .rounding import Precision
from .received import Received

Gradients = dict[int, Tensor]  # of leaves, by identity


@dataclass(frozen=True)
class Books:
    """Amounts of the whole batch, float64 on the CPU: a number per row each.

    entries:   (category, name) -> (B,)
    tokens, positions, scale, rounding: (B,)
    segments: segment of the walk back -> category -> (B,), see `Ledger.kept`
    gaps:      name of a layer boundary -> (B,), None where streams meet in a way that cannot be followed
    """

    starts: tuple[float, ...]
    entries: Mapping[tuple[str, str], Tensor]
    tokens: Tensor
    positions: Tensor
    scale: Tensor
    segments: Mapping[str, Mapping[str, Tensor]]
    gaps: Mapping[str, Tensor | None]
    audited: bool
    unknown: tuple[str, ...]
    precision: Precision
    rounding: Tensor
    written: bool

    @cached_property
    def rows(self) -> list[list[float]]:
        """Of each row all amounts, in the order in which `ledger` reads them; the sums over the rows stand behind."""
        kept = [amount for by in self.segments.values() for amount in by.values()]
        gaps = [gap for gap in self.gaps.values() if gap is not None]
        amounts = torch.stack([self.rounding, self.tokens, self.positions, self.scale, *self.entries.values(), *kept, *gaps])
        whole = amounts.sum(1)
        whole[0] = self.rounding.norm()
        return [*amounts.T.tolist(), whole.tolist()]

    @cached_property
    def softmax(self) -> list[str]:
        """The names of what each softmax kept, layer 2 before layer 10."""
        return sorted((name for category, name in self.entries if category == "softmax"), key=natural)

    def ledger(self, row: int | None) -> Ledger:
        """One row's ledger, or that of the whole batch (None)."""
        amounts = iter(self.rows[-1 if row is None else row])
        rounding, tokens, positions, scale = (next(amounts) for _ in range(4))
        by: dict[str, dict[str, float]] = {"constants": {}, "softmax": {}, "stabilisers": {}}
        for category, name in self.entries:
            by[category][name] = next(amounts)
        kept = {where: {what: next(amounts) for what in by} for where, by in self.segments.items()}
        return Ledger(
            value=sum(self.starts) if row is None else self.starts[row], tokens=tokens, positions=positions, scale=scale,
            constants=by["constants"], softmax={name: by["softmax"][name] for name in self.softmax},
            stabilisers=sum(by["stabilisers"].values()), tolerance=self.precision.tolerance, audited=self.audited, kept=kept,
            layers={name: next(amounts) for name, gap in self.gaps.items() if gap is not None}, unknown=self.unknown,
            rounding=rounding, precision=self.precision.name,
            written=self.written,
        )  # fmt: skip


def natural(name: str) -> tuple:
    """Layer 2 before layer 10."""
    return tuple(int(w) if w.isdigit() else -1 for w in name.split()), name


def keep_books(
    flow: ForwardPass,
    starts: Sequence[float],
    parts: Mapping[str, Part],
    received: Sequence[Received],
    unknown: tuple[str, ...],
    precision: Precision,
) -> Books:
    """Everything that was measured, put together."""
    B = flow.account.rows
    starts = tuple(starts) if len(starts) == B else (sum(starts) / B,) * B
    amounts = {key: exact(v) for key, v in flow.account.amounts.items()}
    entries: dict[tuple[str, str], Tensor] = {}
    for (category, name, _), amount in amounts.items():
        entries[category, name] = entries.get((category, name), torch.zeros(B, dtype=torch.float64)) + amount
    zero = torch.zeros(B, dtype=torch.float64)
    tokens = sum((sums(exact(p.tokens), B) for p in parts.values()), zero)
    places = sum((sums(exact(p.columns["signed"]), B) for p in parts.values()), zero)
    scale = sum((sums(exact(x).abs(), B) for p in parts.values() for x in (p.tokens, p.columns["signed"])), zero)
    if flow.conditions:  # a part of the relevance, of which rounding took its share when it was whole
        scale = sum((v.abs() for (_, name), v in entries.items() if name.startswith("not kept")), scale)
    began, rounding = torch.tensor(starts, dtype=torch.float64), precision.bound(flow)
    gaps = running(flow, began, kept(flow, amounts, parts, received)) if flow.options.ledger else {}
    if not flow.streams.several:
        allowed = torch.maximum(precision.tolerance * scale, rounding)
        known = {name: gap for name, gap in gaps.items() if gap is not None}
        wide = (torch.stack([*known.values(), zero]).abs() > allowed).any(1).tolist()
        gaps |= {name: None for name, apart in zip(known, wide, strict=False) if apart and passed_by(flow, name)}
    segments = by_segment(flow, amounts, received)
    return Books(starts, entries, tokens, places, scale, segments, gaps, flow.audited, unknown, precision, rounding, flow.options.ledger)


def by_segment(flow: ForwardPass, amounts: Mapping[Any, Tensor], received: Sequence[Received]) -> dict[str, dict[str, Tensor]]:
    """What each segment between two layer boundaries kept, by category."""
    found: dict[str, dict[str, Tensor]] = {}
    entries = [(category, depth, amount) for (category, _, depth), amount in amounts.items()]
    entries += [("positions", one.leaf.depth, one.totals) for one in received]
    for category, depth, amount in entries:
        by = found.setdefault(segment(flow, depth), {})
        by[category] = by[category] + amount if category in by else amount
    return found


def segment(flow: ForwardPass, depth: Depth) -> str:
    """The segment of the walk back that a depth lies in: "head", "layer 3", "embeddings", behind the stream's name."""
    name, layer = flow.streams.names[depth.stream], depth.segment
    where = "embeddings" if layer < 0 else "head" if layer >= flow.streams.calls[name] else f"layer {layer}"
    return f"{name} {where}" if flow.streams.several else where


def kept(flow: ForwardPass, amounts: Mapping[Any, Tensor], parts: Mapping[str, Part], received: Sequence[Received]) -> Kept:
    """Everything that keeps relevance, tokens at the depth at which their stream begins."""
    B = flow.account.rows
    found = [(depth, amount) for (_, _, depth), amount in amounts.items()]
    found += [(one.leaf.depth, one.totals) for one in received]
    found += [(flow.streams.start(name), sums(exact(part.tokens), B)) for name, part in parts.items()]
    return Kept(found, B)


def running(flow: ForwardPass, starts: Tensor, kept: Kept) -> dict[str, Tensor | None]:
    """At each layer boundary, from the value back: start - R(boundary) - all that was kept behind it."""
    meet = meetings(flow) if flow.streams.several else {}
    marks = [m for m in reversed(flow.recorder.marks) if m.kind in ("layer", "embeddings") and m.relevance is not None]
    return {mark.name: gap_at(flow, mark, starts, kept, meet) for mark in marks}


def passed_by(flow: ForwardPass, name: str) -> bool:
    """Whether relevance can reach the inputs around a boundary (a layer inside a branch), which then has no account of its own."""
    barrier = next(m.number for m in flow.recorder.marks if m.name == name)
    ends = {id(leaf) for leaf in (*flow.inputs.tokens, *flow.inputs.pixels)}
    return barrier is not None and any(reaches(value.grad_fn, ends, barrier) for value in flow.recorder.values)


class Kept:
    """What keeps relevance, (depth, amount per row) each: the amounts of a stream added up once, from the value back."""

    def __init__(self, entries: Iterable[tuple[Depth, Tensor]], rows: int) -> None:
        self.none = torch.zeros(rows, dtype=torch.float64)
        by: dict[int, list[tuple[Depth, Tensor]]] = {}
        for depth, amount in entries:
            by.setdefault(depth.stream, []).append((depth, amount))
        self.depths: dict[int, list[tuple[int, int]]] = {}
        self.sums: dict[int, Tensor] = {}
        for stream, own in by.items():
            own.sort(key=lambda one: backwards(one[0]))
            self.depths[stream] = [backwards(depth) for depth, _ in own]
            self.sums[stream] = torch.stack([self.none, *(amount for _, amount in own)]).cumsum(0)

    def behind(self, stream: int, depth: Depth | None = None) -> Tensor:
        """What one stream keeps later than a depth; all that it keeps (None)."""
        if stream not in self.sums:
            return self.none
        return self.sums[stream][-1 if depth is None else bisect_left(self.depths[stream], backwards(depth))]


def backwards(depth: Depth) -> tuple[int, int]:
    """Places of one stream in the order of the walk back."""
    return -depth.layer, -depth.phase


def gap_at(flow: ForwardPass, mark: Mark, starts: Tensor, kept: Kept, meet: Mapping[tuple[str, str], str]) -> Tensor | None:
    """The gap at one boundary, per row; None where streams meet in a way that cannot be followed."""
    behind = kept.behind(flow.streams.names.index(mark.stream), mark.depth)
    for name in flow.streams.names:
        if name != mark.stream:
            aside = beside(flow, mark, name, meet[mark.stream, name], kept, len(starts))
            if aside is None:
                return None
            behind = behind + aside
    return starts - sums(exact(mark.relevance), len(starts)) - behind


def beside(flow: ForwardPass, mark: Mark, other: str, how: str, kept: Kept, B: int) -> Tensor | None:
    """What another stream has drawn of the relevance on the way back to `mark`; None where that was not seen."""
    zero = torch.zeros(B, dtype=torch.float64)
    if how == "before":  # it entered ahead of this boundary, and its relevance is still in it
        return zero
    if how == "apart":
        return kept.behind(flow.streams.names.index(other))
    drawn = [m for m in flow.recorder.marks if m.kind == "cross" and m.stream == other]
    drawn = [m for m in drawn if m.depth.stream == flow.streams.names.index(mark.stream)]
    got = [m for m in drawn if m.relevance is not None]
    if not drawn or (not got and any(m.relevance is not None for m in flow.recorder.marks if m.stream == other)):
        return None
    return sum((sums(exact(m.relevance), B) for m in got if m.depth > mark.depth), zero)


def meetings(flow: ForwardPass) -> dict[tuple[str, str], str]:
    """Where each stream reads each other one: "before" its first layer, in its "layers" (cross-attention), or never ("apart")."""
    found: dict[tuple[str, str], str] = {}
    nodes = {node._sequence_nr(): node for node in behind(value.grad_fn for value in flow.recorder.values)}
    for name in flow.streams.names:
        own = [m.number for m in flow.recorder.marks if m.stream == name and m.kind in ("layer", "embeddings") and m.number in nodes]
        for other in flow.streams.names:
            begun = [m.number for m in flow.recorder.marks if m.stream == other and m.kind == "embeddings"]
            theirs = {id(nodes[n]) for n in begun if n in nodes}
            theirs = theirs if begun else {i for i, stream in flow.stream_of.items() if stream == other}
            if own and reaches(nodes[own[0]], theirs):
                found[name, other] = "before"
            elif own and reaches(nodes[own[-1]], theirs):
                found[name, other] = "layers"
            else:
                found[name, other] = "apart"
    return found


def reaches(node: Any, ends: set[int], barrier: int | None = None) -> bool:
    """Whether the graph behind a node holds one of `ends`, nodes or leaves, on a way around the node with the barrier's number."""
    return any(id(here) in ends or id(getattr(here, "variable", None)) in ends for here in behind([node], barrier))


def behind(nodes: Iterable[Any], barrier: int | None = None) -> Iterator[Any]:
    """These nodes of the graph and all behind them, each once, but the one with the barrier's number and what is behind that alone."""
    seen, todo = set(), [*nodes]
    while todo:
        here = todo.pop()
        if here is None or here in seen or here._sequence_nr() == barrier:
            continue
        yield here
        seen.add(here)
        todo += [n for n, _ in here.next_functions]
