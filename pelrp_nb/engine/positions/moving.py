"""Scores of contents that have exchanged their positions, read where the contents are: row and column p are those of content p.

    rows(i, j)       queries i with the positions of their partners, against keys j as they stand
    columns(j, i)    keys j with the positions of their partners, against queries i as they stand: a column lies in a row
    met()            query p against key p, and against its partner's key, all with exchanged positions

From a dealer's scores in general.  Where they are products of queries and keys with nothing added, vectors are dealt and put back before
they are multiplied, so that of a matrix no more is made than is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from ..numerics import better
from .dealing import Dealer


class Moved(Protocol):
    """How scores are got: rows (heads, i, j), columns (heads, j, i), of `met` two (heads, T)."""

    def rows(self, i: slice, j: slice) -> Tensor: ...
    def columns(self, j: slice, i: slice) -> Tensor: ...
    def met(self) -> tuple[Tensor, Tensor]: ...


class Scores:
    """From whole matrices of scores; each place has the position of place `order[p]`."""

    def __init__(self, dealer: Dealer, order: Tensor) -> None:
        self.dealer, self.order = dealer, order

    def _put_back(self, found: Tensor) -> Tensor:
        return found.index_select(1, self.order[: found.shape[1]].to(found.device))

    @cached_property
    def _rows(self) -> Tensor:
        return self._put_back(self.dealer.dealt(self.order, True, False))

    @cached_property
    def _columns(self) -> Tensor:
        return self._put_back(self.dealer.dealt(self.order, False, True).mT)

    def rows(self, i: slice, j: slice) -> Tensor:
        """A piece of the rows."""
        return self._rows[:, i, j].clone()

    def columns(self, j: slice, i: slice) -> Tensor:
        """A piece of the columns."""
        return self._columns[:, j, i].clone()

    def met(self) -> tuple[Tensor, Tensor]:
        """Read from the scores with both sides dealt."""
        both = self.dealer.dealt(self.order, True, True)
        p = self.order[: both.shape[1]].to(both.device)
        return both[:, p, p], both[:, p, torch.arange(len(p), device=both.device)]


@dataclass(frozen=True)
class Vectors:
    """From queries (heads, T, d), scaled, and keys, as they stand and with the positions of their partners."""

    still: tuple[Tensor, Tensor]
    moved: tuple[Tensor, Tensor]
    order: Tensor

    def rows(self, i: slice, j: slice) -> Tensor:
        """Moved queries against keys."""
        return self.moved[0][:, i] @ self.still[1][:, j].mT

    def columns(self, j: slice, i: slice) -> Tensor:
        """Moved keys against queries."""
        return self.moved[1][:, j] @ self.still[0][:, i].mT

    def met(self) -> tuple[Tensor, Tensor]:
        """Products of single vectors."""
        q, k = self.moved
        return (q * k).sum(-1), (q * k.index_select(1, self.order[: k.shape[1]].to(k.device))).sum(-1)


class Mover:
    """Makes a dealer's scores for one order after the other, in the cheapest way that this attention allows."""

    def __init__(self, dealer: Dealer) -> None:
        self.dealer = dealer
        self.still = None if dealer.factors is None else self._vectors(None)

    def to(self, order: Tensor) -> Moved:
        """Each place with the position of place `order[p]`."""
        return Scores(self.dealer, order) if self.still is None else Vectors(self.still, self._vectors(order), order)

    def _vectors(self, order: Tensor | None) -> tuple[Tensor, Tensor]:
        """Queries, scaled, and keys, each with the position of its partner; as they stand if there is no order."""
        dealer = self.dealer
        swapped: dict[int, Tensor] = {}
        for one in dealer.sides if order is not None else ():
            swapped[one.number] = one.dealt(swapped.get(one.number, dealer.inputs[one.number]), order)
        q, k = dealer.chain.run({**dealer.inputs, **dealer.cleared, **swapped}, call=dealer.call, wanted=dealer.factors)
        by = dealer.chain.steps[-1].kwargs.get("scale")
        q = better(q) * (q.shape[-1] ** -0.5 if by is None else by)
        return self._by_head(q, order), self._by_head(better(k), order)

    def _by_head(self, x: Tensor, order: Tensor | None) -> Tensor:
        """(heads, T, d), each vector where its content is."""
        x, heads = x.reshape(-1, *x.shape[-2:]), len(self.dealer.S)
        x = x if order is None else x.index_select(1, order[: x.shape[1]].to(x.device))
        return x if len(x) == heads else x.repeat_interleave(heads // len(x), 0)
