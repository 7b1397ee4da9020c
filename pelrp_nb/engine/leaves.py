"""Where relevance ends: the leaves that a forward pass meets, and what they hear on the way back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..rules import PositionKind
from ..verbs import Later, scale
from .depth import Depth
from .edges import Edges
from .places import credit
from .places.maps import Axis
from .places.meetings import Meeting
from .places.provenance import Provenance

Columns = dict[str, Tensor]
SUMS = ("signed", "absolute", "positive", "squared")


def columns_of(R: Tensor) -> Columns:
    """(B, T, features) summed over the features, (B, T), in each of `SUMS`."""
    total = R.sum(-1)
    return {"signed": total, "absolute": total.abs(), "positive": R.clamp(min=0).sum(-1), "squared": R.square().sum(-1)}


@dataclass(frozen=True)
class Picked:
    """One place alone: which operation it met, at which step, and the place along each axis of an input that may be meant.

    Which of these is the batch is known when the forward pass has ended, and never for a first layer: so all are remembered.
    """

    operation: str
    step: int
    places: tuple[tuple[Axis, int], ...]


@dataclass(eq=False)
class Leaf:
    """What may be a position, at one place: a tensor with a gradient of its own, or what a tap heard (columns).

    part:    "sum", "product", "score", "joined"; of products, when they are judged: "cos", "sin", "rotary" (a complex turn), "factor"
    where, place: the layer, and the module, that ran; layer, depth, stream: the same for the ledger
    meeting: why it may be one; None: it is one, if `waits` does not say otherwise
    known, shape: provenance of what it met, and the shape in which that is to be read
    waits:   it is a bias only if a softmax follows
    picked:  it met one place alone
    taken:   whether it is a position; None until the forward pass has ended
    keys, batch: the axes of the input whose places it has, and the one that is the batch
    keys_axis: of scores, the axis of the keys; told: the places that `columns` are about
    source:  the parameter or buffer that `constant` was made from; learnt: it is a parameter
    widens:  as a factor it brings an axis along that the carrier does not have: distances
    role:    "query", "key", "value" or None until known; pairs: how many numbers its pair matrices hold
    weights: the attention weights of the scores that a bias was added to, when they are known
    silent:  its products were told apart by pairs later on, and are heard there
    behind:  of what positions changed of attention weights: the places where those positions entered
    reaches: it entered the scores of an attention by calls that can be done again
    beside:  what may be a product with relative embeddings, to which it was added before either met scores; None once that is known
    """

    tensor: Tensor | None
    name: str
    kind: PositionKind | None
    part: str
    layer: int | None
    depth: Depth
    stream: str = ""
    where: str = ""
    place: str = ""
    meeting: Meeting | None = None
    known: Provenance | None = None
    shape: tuple[int, ...] = ()
    waits: bool = False
    picked: Picked | None = None
    taken: bool | None = None
    keys: tuple[Axis, ...] = ()
    batch: int | None = 0
    keys_axis: int = -1
    told: tuple[credit.Place, ...] = ()
    source: str | None = None
    learnt: bool = False
    widens: bool = False
    constant: Tensor | None = None
    pairs: int = 0
    role: str | None = None
    weights: Callable[[], Tensor] | None = None
    silent: bool = False
    behind: tuple[Leaf, ...] = ()
    reaches: bool = False
    beside: Tensor | None = None
    columns: Columns = field(default_factory=dict)
    detail: dict[str, dict] = field(default_factory=dict)

    def forget(self) -> None:
        """What was heard belongs to the last target."""
        self.columns, self.detail = {}, {}

    def halved(self, x: Tensor) -> Tensor:
        """The value of x; half of its gradient, if this is a position."""
        return scale(x, self.half())

    def half(self) -> Later:
        """The factor of a product with what may be a position: a half if it is one, else all."""
        return Later(self.ask)

    def ask(self) -> float:
        """A half or all, as it turned out."""
        return 1.0 if self.taken is False else 0.5

    def layout(self, dims: int, keys: bool = False) -> credit.Layout:
        """Where rows and places are in a tensor of the leaf's shape; of scores, those of the queries, or of the `keys`."""
        axis = None if not self.known.pair else -2 if self.keys_axis in (-1, dims - 1) else -1
        stream = self.keys[0].stream if self.keys else ""
        return credit.layout_of(self.known, dims, stream, self.keys, self.batch, axis, keys)

    def in_order(self, R: Tensor) -> Tensor:
        """Relevance of pairs with the rows of the batch first, queries and keys last, wherever the model has them."""
        dims = R.dim()
        queries, keys = (
            {a for m in layout.maps if m is not None for a in m.axes} for layout in (self.layout(dims), self.layout(dims, keys=True))
        )
        pair = [*queries, *keys] if len(queries) == len(keys) == 1 and queries != keys else [dims - 2, dims - 1]
        rows = self.layout(dims).rows
        first = [a for a in (rows.axes if rows is not None and len(rows.axes) == 1 else ()) if a not in pair]
        return R.permute([*first, *(a for a in range(dims) if a not in (*first, *pair)), *pair])

    def by_pairs(self, R: Tensor, rows: int) -> tuple[Tensor, tuple[credit.Place, ...]]:
        """Relevance of pairs (..., Tq, Tk) as (rows, places, features): half of each to the query's place, half to the key's."""
        queries, keys = self.layout(R.dim()), self.layout(R.dim(), keys=True)
        if any(m is None for m in keys.maps):  # keys of another input, whose places are none of these
            return credit.summed(R, queries, rows, self.keys_axis)
        mine, places = credit.summed(R, queries, rows, self.keys_axis)
        theirs, told = credit.summed(R, keys, rows, -3 - self.keys_axis)
        more = [i for i, place in enumerate(told) if place not in places]
        if more and not theirs.is_meta:  # what was padded is no key's place
            lit = theirs[:, more].abs().sum((0, 2)).tolist()
            more = [i for i, size in zip(more, lit, strict=True) if size]
        order = credit.in_order([*places, *(told[i] for i in more)])
        return torch.cat([credit.aligned(mine, places, order), credit.aligned(theirs, told, order)], -1) / 2, tuple(order)


@dataclass
class Inputs:
    """Leaves at which relevance ends, in call order.

    tokens: look-ups by input ids, or vectors; pixels: images; sinks: positions; constants: joined pieces by name;
    anchors: leaves without a value that taps hang on; entered: sinks in the order in which they were met, those withdrawn included
    """

    tokens: list[Tensor] = field(default_factory=list)
    pixels: list[Tensor] = field(default_factory=list)
    sinks: list[Leaf] = field(default_factory=list)
    constants: list[tuple[str, Depth, Tensor]] = field(default_factory=list)
    anchors: list[Tensor] = field(default_factory=list)
    entered: list[Leaf] = field(default_factory=list)

    def apart(self) -> Inputs:
        """The same leaves, for layers that are run again; the list of sinks may be one of a kind (`live/broken.py`), and stays so."""
        return Inputs([*self.tokens], [*self.pixels], copy.copy(self.sinks), [*self.constants], [*self.anchors], [*self.entered])

    def leaves(self) -> list[Tensor]:
        """All tensors whose gradient the backward pass must reach."""
        sinks = [s.tensor for s in self.sinks if s.tensor is not None and s.taken is not False]
        return [*self.tokens, *self.pixels, *sinks, *(c for _, _, c in self.constants), *self.anchors]


@dataclass(eq=False)
class Attention:
    """One attention of the forward pass; amounts per row of the batch, heads (B, H, T) at the output; edges if routes were asked for."""

    name: str
    stream: str = ""
    heads: Tensor | None = None
    values: Tensor | None = None
    scores: Tensor | None = None
    edges: Edges | None = None

    def forget(self) -> None:
        """What was heard belongs to the last target."""
        self.heads = self.values = self.scores = None
        if self.edges is not None:
            self.edges.forget()
