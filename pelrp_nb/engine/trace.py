"""Relevance at every boundary, as plain data and, while the backward pass runs, as events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ..ledger import Ledger
from ..pickling import Portable
from ..rules import PositionKind

Kind = Literal["embeddings", "attention", "mlp", "layer", "cross"]


@dataclass(frozen=True)
class Boundary(Portable):
    """What flows through one place of the model, token by token.

    name:      "embeddings", "layer 0 attention", "layer 0 mlp", "layer 0", "decoder layer 0 cross-attention", ...
    kind:      "embeddings"; "attention" or "mlp" (what that branch contributed); "layer" (after the layer); "cross" (what a layer
               of another stream drew from this one)
    layer:     index of the layer in call order within its stream; None for the embeddings
    relevance: (T,) in float32 or better, on the CPU
    gap:       what the ledger cannot explain between the value and here; None for branches, and where relevance passes by
    """

    name: str
    kind: Kind
    layer: int | None
    relevance: Tensor
    gap: float | None = None

    @property
    def total(self) -> float:
        """The sum over tokens."""
        return float(self.relevance.sum(dtype=torch.promote_types(self.relevance.dtype, torch.float32)))


@dataclass(frozen=True)
class Crossing(Boundary):
    """A boundary as `Options.watch` hears of it, when the walk back arrives there.

    gap:     as at the end; None where it cannot be known before
    allowed: how much of a gap counts as rounding here
    """

    allowed: float | None = None


@dataclass(frozen=True)
class Sink:
    """One place where positions enter; all entries of one kind in one layer (two products with relative embeddings) are one, added up.

    name:  "layer 0 rotary", "bert.embeddings.position_embeddings", ...
    kind:  how they enter; its page is `kind.rule`
    layer: index of the layer in call order within its stream, None at the input
    """

    name: str
    kind: PositionKind
    layer: int | None


@dataclass(frozen=True)
class Role:
    """What an argument, a parameter, a buffer or another constant was taken for, and why, in one line."""

    name: str
    role: str
    reason: str


@dataclass(frozen=True)
class Trace(Portable):
    """All relevance of one explained number, for one row of the batch.

    tokens:     (T, D) relevance of the token vectors, E * g(E); for images (C, H, W) of the pixels
    sinks:      what received positional relevance, in call order
    positional: (sinks, T) signed, summed over heads, queries and keys, dimensions
    reductions: further (sinks, T) or (T,) tensors by name: "semantic.positive", "semantic.l2", "positional.absolute",
                "positional.positive", "positional.l2" (METHOD: reductions are named choices)
    boundaries: in call order of the forward pass
    ledger:     of the whole model, whatever the stream
    detail:     what was asked for beyond that, by name
    streams:    the same for each stream ("encoder", "decoder" ...) where there are several; the outer fields are the first one's
    roles:      what was taken for what, and why; notes: what could have been read otherwise
    """

    tokens: Tensor
    sinks: tuple[Sink, ...]
    positional: Tensor
    reductions: Mapping[str, Tensor]
    boundaries: tuple[Boundary, ...]
    ledger: Ledger
    detail: Mapping[str, object] = field(default_factory=dict)
    streams: Mapping[str, Trace] = field(default_factory=dict)
    roles: tuple[Role, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def semantic(self) -> Tensor:
        """(T,) relevance of each token."""
        return self.tokens.sum(-1)


@dataclass(frozen=True)
class Visible:
    """The places of one row in a padded batch that are the row's own: `at` (T,) of `length`."""

    length: int
    at: Tensor

    def __call__(self, x: Tensor, *axes: int) -> Tensor:
        """x at those places, along the axes that are as long as the batch."""
        for axis in axes if len(self.at) != self.length else ():
            if -x.dim() <= axis < x.dim() and x.shape[axis] == self.length:
                x = x.index_select(axis, self.at.to(x.device))
        return x
