"""Where relevance ends: the leaves that a forward pass meets, and what they hear on the way back."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from ..rules import PositionKind

Columns = dict[str, Tensor]
SUMS = ("signed", "absolute", "positive", "squared")


def columns_of(R: Tensor) -> Columns:
    """(B, T, features) summed over the features, (B, T), in each of `SUMS`."""
    total = R.sum(-1)
    return {"signed": total, "absolute": total.abs(), "positive": R.clamp(min=0).sum(-1), "squared": R.square().sum(-1)}


def by_row(R: Tensor, rows: int) -> Tensor:
    """The rows of the batch first; what all rows share is divided among them, axes merged with the rows come apart."""
    if R.shape[0] == rows:
        return R
    if R.shape[0] % rows == 0:
        return R.reshape(rows, -1, *R.shape[1:])
    return R.expand(rows, *R.shape[1:]) / rows


@dataclass(eq=False)
class Leaf:
    """One tensor of positions at one place, with a gradient of its own (tensor), or with what a tap heard (columns).

    part: "cos", "sin", "rotary" (a complex turn), "sum", "score"; role: "query", "key", "value" or None until known
    places: how many tokens it has a position for; pairs: how many numbers its pair matrices hold
    gathered, turned: a product with relative embeddings was picked out by distance; and has keys for rows
    """

    tensor: Tensor | None
    name: str
    kind: PositionKind
    part: str
    layer: int | None
    depth: float
    stream: str = ""
    places: int = 0
    pairs: int = 0
    role: str | None = None
    columns: Columns = field(default_factory=dict)
    detail: dict[str, dict] = field(default_factory=dict)
    gathered: bool = False
    turned: bool = False

    def forget(self) -> None:
        """What was heard belongs to the last target."""
        self.columns, self.detail = {}, {}


@dataclass
class Inputs:
    """Leaves at which relevance ends, in call order.

    tokens: look-ups by input ids, or vectors; pixels: images; sinks: positions; constants: joined pieces by name;
    anchors: leaves without a value that taps hang on
    """

    tokens: list[Tensor] = field(default_factory=list)
    pixels: list[Tensor] = field(default_factory=list)
    sinks: list[Leaf] = field(default_factory=list)
    constants: list[tuple[str, float, Tensor]] = field(default_factory=list)
    anchors: list[Tensor] = field(default_factory=list)

    def leaves(self) -> list[Tensor]:
        """All tensors whose gradient the backward pass must reach."""
        sinks = [s.tensor for s in self.sinks if s.tensor is not None]
        return [*self.tokens, *self.pixels, *sinks, *(c for _, _, c in self.constants), *self.anchors]


@dataclass(eq=False)
class Attention:
    """One attention of the forward pass; amounts per row of the batch, heads (B, H, T) at the output."""

    name: str
    stream: str = ""
    heads: Tensor | None = None
    values: Tensor | None = None
    scores: Tensor | None = None

    def forget(self) -> None:
        """What was heard belongs to the last target."""
        self.heads = self.values = self.scores = None
