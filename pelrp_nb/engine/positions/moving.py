"""Scores of contents that have exchanged their positions, one order of places after the other, or several at a time.

    rows(h, at, keys, j)   queries with the positions of their partners, against keys j as they stand, and each against some `keys` that
                           have the positions of theirs as well
    columns(h, at, i)      keys with the positions of their partners, against queries i as they stand: a column lies in a row

`at`, `keys`: numbers of contents that were moved, those of the second order behind those of the first; a content stands where its partner
stood.  From a dealer's scores in general.  Where they are products of queries and keys with nothing added, vectors are dealt before they
are multiplied, so that of a matrix no more is made than is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from ..numerics import better
from .dealing import Dealer


class Moved(Protocol):
    """How scores of one head are got, each time into a fresh tensor: rows (at, j) and for each of `keys` (at,), columns (at, i)."""

    def rows(self, h: int, at: Tensor, keys: Sequence[Tensor], j: slice) -> tuple[Tensor, list[Tensor]]: ...
    def columns(self, h: int, at: Tensor, i: slice) -> Tensor: ...


class Scores:
    """From whole matrices of scores, of one order."""

    def __init__(self, dealer: Dealer, order: Tensor) -> None:
        self.dealer, self.order = dealer, order

    @cached_property
    def _rows(self) -> Tensor:
        return self.dealer.dealt(self.order, True, False)

    @cached_property
    def _columns(self) -> Tensor:
        return self.dealer.dealt(self.order, False, True).mT

    @cached_property
    def _both(self) -> Tensor:
        return self.dealer.dealt(self.order, True, True)

    def rows(self, h: int, at: Tensor, keys: Sequence[Tensor], j: slice) -> tuple[Tensor, list[Tensor]]:
        """Rows of the queries; against keys read from the scores with both sides dealt."""
        return self._rows[h, :, j].index_select(0, at), [self._both[h][at, key] for key in keys]

    def columns(self, h: int, at: Tensor, i: slice) -> Tensor:
        """Columns of the keys."""
        return self._columns[h, :, i].index_select(0, at)


@dataclass(frozen=True)
class Vectors:
    """From queries (heads, T, d) and keys (heads or fewer, T, d): as they stand, scaled, and as dealt, those of all orders in one row."""

    still: tuple[Tensor, Tensor]
    moved: tuple[Tensor, Tensor]
    scale: float

    def _of(self, x: Tensor, h: int) -> Tensor:
        """The vectors of a query head, or those of the keys that it shares with others."""
        return x[h * len(x) // len(self.still[0])]

    def rows(self, h: int, at: Tensor, keys: Sequence[Tensor], j: slice) -> tuple[Tensor, list[Tensor]]:
        """Moved queries against keys, and against single moved ones."""
        q, k = self._of(self.moved[0], h).index_select(0, at), self._of(self.moved[1], h)
        met = [(q * k.index_select(0, key)).sum(-1).mul_(self.scale) for key in keys]
        return q @ self._of(self.still[1], h)[j].mT, met

    def columns(self, h: int, at: Tensor, i: slice) -> Tensor:
        """Moved keys against queries."""
        return self._of(self.moved[1], h).index_select(0, at) @ self._of(self.still[0], h)[i].mT


class Mover:
    """Makes a dealer's scores for some orders after others, in the cheapest way that this attention allows; `several` of them together."""

    def __init__(self, dealer: Dealer) -> None:
        self.dealer = dealer
        self.several = dealer.factors is not None
        if self.several:
            q, k = self._vectors(None)
            by = dealer.chain.steps[-1].kwargs.get("scale")
            self.scale = q.shape[-1] ** -0.5 if by is None else by
            self.still = q * self.scale, k * self.scale

    def to(self, orders: Sequence[Tensor]) -> Moved:
        """In each order the content of place `order[p]` stands at place p."""
        if not self.several:
            (order,) = orders
            return Scores(self.dealer, order)
        queries, keys = zip(*map(self._vectors, orders), strict=True)
        return Vectors(self.still, (torch.cat(queries, 1), torch.cat(keys, 1)), self.scale)

    def _vectors(self, order: Tensor | None) -> tuple[Tensor, Tensor]:
        """Queries and keys, (heads, T, d), of contents that were dealt; as they stand if there is no order."""
        dealer = self.dealer
        swapped: dict[int, Tensor] = {}
        for one in dealer.sides if order is not None else ():
            swapped[one.number] = one.dealt(swapped.get(one.number, dealer.inputs[one.number]), order)
        q, k = dealer.chain.run({**dealer.inputs, **dealer.cleared, **swapped}, call=dealer.call, wanted=dealer.factors)
        return better(q).reshape(-1, *q.shape[-2:]), better(k).reshape(-1, *k.shape[-2:])
