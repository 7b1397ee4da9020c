"""What one attention hands from place to place: whole matrices of short texts, the largest edges of each node of longer ones.

Sums over what a node gives and over what a key gets are kept of all edges, so that what was left out is one further edge on either side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .places.provenance import Provenance

WHOLE = 128  # keys up to which every edge is kept, where `Options.routes_top` says nothing
LARGEST = 64  # edges of a node that are kept beyond that
PARTS = ("values", "scores")


@dataclass(eq=False)
class Edges:
    """Relevance that each head at each place hands on, as it arrives on the way back; rows of the batch first, float32 or better.

    top:      edges kept of each node, over all heads; None: `WHOLE` and `LARGEST` decide
    scored:   whether something comes through scores, so that values wait for it
    feeds:    whether the softmax is one of products of queries and keys; used: whether its weights met values
    key, query: the part of what goes through scores that is the key's, and the query's
    keys:     the stream whose places the keys are; axis: of the weights, along which they lie
    known:    where rows and places of a kernel's scores lie
    pairs: how many pairs of all heads and rows its weights have; many: how many keys
    out, through, kept: (B, H, Tq) at the output; at the softmax's input; what the softmax keeps
    paid:     (B, H, Tq) what positions are paid for the weights that they changed
    """

    top: int | None = None
    scored: bool = False
    feeds: bool = False
    used: bool = False
    key: float = 0.0
    query: float = 0.0
    keys: str = ""
    axis: int = -1
    known: Provenance | None = None
    pairs: int = 0
    many: int = 0
    out: Tensor | None = None
    through: Tensor | None = None
    kept: Tensor | None = None
    paid: Tensor | None = None
    waiting: Tensor | None = None
    chunks: list[dict[str, Tensor]] = field(default_factory=list)
    received: dict[str, Tensor] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes that its edges take at most."""
        most = self.top if self.top is not None else self.many if self.many <= WHOLE else LARGEST
        return self.pairs // max(self.many, 1) * min(most * 12, self.many * 8)  # two amounts and a number, or two amounts

    def forget(self) -> None:
        """What was heard belongs to the last target."""
        self.out = self.through = self.kept = self.paid = self.waiting = None
        self.chunks, self.received = [], {}

    def through_values(self, R: Tensor) -> None:
        """(B, H, Tq, Tk) all that goes through values; what goes through scores comes later, if anything does."""
        if self.scored:
            self.waiting = R if self.waiting is None else self.waiting + R  # weights may meet several values
        elif self.chunks:
            self.further("values", R)
        else:
            self.take({"values": R})

    def through_scores(self, R: Tensor) -> None:
        """(B, H, Tq, Tk) all that goes through scores."""
        values, self.waiting = self.waiting, None
        if values is None and self.chunks:
            self.further("scores", R)
        else:
            self.take({"values": torch.zeros_like(R) if values is None else values, "scores": R})

    def further(self, name: str, R: Tensor) -> None:
        """What comes through a second product of the same kind. Raises InputError where not all of the first was kept."""
        (before,) = self.chunks
        if "at" in before:
            raise InputError(
                "An attention here is made of several products, whose edges can only be kept whole. Type "
                f'Options(detail={{"routes"}}, routes_top={R.shape[1] * R.shape[3]}).'
            )
        self.chunks = []
        self.take({**before, name: before[name] + R if name in before else R})

    def take(self, parts: Mapping[str, Tensor]) -> None:
        """Edges (B, H, q, Tk) of some queries, those that follow the ones before."""
        B, H, q, T = next(iter(parts.values())).shape
        for name, R in parts.items():
            got = R.sum(-2)
            self.received[name] = self.received[name] + got if name in self.received and self.chunks else got
        most = self.top if self.top is not None else H * T if T <= WHOLE else LARGEST
        if most >= H * T:
            self.chunks.append(dict(parts))
            return
        flat = {name: R.transpose(1, 2).reshape(B, q, H * T) for name, R in parts.items()}
        sizes = sum(R.abs() for R in flat.values())
        assert isinstance(sizes, Tensor)
        at = sizes.topk(most, -1, sorted=True).indices
        chunk = {name: R.gather(-1, at) for name, R in flat.items()}
        given = {f"given {name}": R.sum(-1) for name, R in parts.items()}
        self.chunks.append({**chunk, **given, "at": at.to(torch.int32)})

    def arrive(self, rows: Tensor) -> None:
        """(B, H, q) what came to the output at some places, those that follow the ones before."""
        self.out = rows if self.out is None else torch.cat([self.out, rows], -1)

    def left(self, through: Tensor, kept: Tensor) -> None:
        """(B, H, q) what arrived at the softmax's input, and what it keeps, at some places, those that follow the ones before."""
        self.through = through if self.through is None else torch.cat([self.through, through], -1)
        self.kept = kept if self.kept is None else torch.cat([self.kept, kept], -1)

    def found(self) -> dict[str, Any] | None:
        """All of it, plain, on the CPU; None where no relevance came here.

        heads, kept, positions (B, H, Tq); query, key: shares of scores; values, scores: (B, H, Tq, Tk) whole, or (B, Tq, top) the
        largest, of which "at" (B, Tq, top) says head * Tk + key, beside all of them summed: "given NAME" (B, H, Tq), "received NAME"
        (B, H, Tk).
        """
        if self.waiting is not None:  # what was expected through scores has not come
            values, self.waiting = self.waiting, None
            self.take({"values": values, "scores": torch.zeros_like(values)})
        if not self.chunks or self.out is None:
            return None
        joined = {name: _joined([c[name] for c in self.chunks], name) for name in self.chunks[0]}
        whole = "at" not in joined
        given = {name: joined[name].sum(-1) if whole else joined[f"given {name}"] for name in PARTS if name in joined}
        zero = torch.zeros_like(self.out)
        through = zero if self.through is None else self.through
        joined["positions"] = through - given.get("scores", zero) + (zero if self.paid is None else self.paid)
        joined["kept"] = zero if self.kept is None else self.kept
        joined["heads"] = self.out
        if not whole:
            joined |= {f"received {name}": R for name, R in self.received.items()}
        plain: dict[str, Any] = {name: x.detach().cpu() for name, x in joined.items()}
        return plain | {"key": self.key, "query": self.query, "of": self.keys}


def _joined(chunks: list[Tensor], name: str) -> Tensor:
    """The chunks of queries one after the other."""
    whole = name in PARTS and chunks[0].dim() == 4
    return chunks[0] if len(chunks) == 1 else torch.cat(chunks, -2 if whole or (chunks[0].dim() == 3 and name in (*PARTS, "at")) else -1)


@dataclass(eq=False)
class Node:
    """One residual sum: relevance (B, T) of the sum, of the stream that is skipped on, and of the branch, each measured there.

    attentions: names of those inside the branch
    """

    name: str
    stream: str
    attentions: tuple[str, ...] = ()
    relevance: Tensor | None = None
    skip: Tensor | None = None
    branch: Tensor | None = None


@dataclass(eq=False)
class Product:
    """A product of queries and keys while nobody knows of which attention it makes the scores."""

    edges: Edges | None = None
    dims: int = 0
    known: Provenance | None = None
    keys_axis: int = -1


@dataclass(eq=False)
class RouteRecord:
    """What is remembered of a forward pass: products of two tensors by the number of their node, and residual sums in call order."""

    products: dict[int, Product] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    linked: int = 0  # how many attentions belong to a node

    def forget(self) -> None:
        """What was heard belongs to the last target."""
        for node in self.nodes:
            node.relevance = node.skip = node.branch = None


Cut = Callable[..., Tensor]


def of_row(found: Mapping[str, Any], row: int | None, queries: Cut | None, keys: Cut | None) -> dict[str, Any]:
    """One row of what `Edges.found` gives, padding left out; of the whole batch (None) as it is."""
    if row is None:
        return dict(found)
    mine: dict[str, Any] = {name: x[row].clone() if isinstance(x, Tensor) else x for name, x in found.items()}
    if "at" in mine and keys is not None:
        mine |= _renumbered(mine, keys)
    for name, x in mine.items():
        if not isinstance(x, Tensor):
            continue
        sparse = "at" in mine and name in (*PARTS, "at")
        if queries is not None and not name.startswith("received"):
            x = queries(x, -2 if sparse or (name in PARTS and x.dim() == 3) else -1)
        if keys is not None and (name.startswith("received") or (name in PARTS and not sparse)):
            x = keys(x, -1)
        mine[name] = x.contiguous()
    return mine


def _renumbered(mine: Mapping[str, Any], keys: Cut) -> dict[str, Tensor]:
    """Edges to keys that are left, by their new numbers; one that goes to padding holds nothing, and points at the first."""
    T = mine["received values"].shape[-1]
    left = keys(torch.arange(T), 0)
    new = torch.full((T,), -1, dtype=torch.int64)
    new[left] = torch.arange(len(left))
    at = mine["at"].long()
    key = new[at % T]
    heads = at // T
    gone = key < 0
    found = {name: mine[name].masked_fill(gone, 0) for name in PARTS if name in mine}
    return found | {"at": torch.where(gone, 0, heads * len(left) + key).to(torch.int32)}
