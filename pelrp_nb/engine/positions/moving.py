"""Scores of contents that have exchanged their positions, read where the contents are: row and column p are those of content p.

    rows(order)[p, j]       query p with the position of place order[p], against key j as it stands
    columns(order)[p, i]    key p with the position of place order[p], against query i as it stands: a column lies in a row
    met(order)              query p against key p, and against key order[p], all with exchanged positions

From a dealer's scores in general.  Where they are products of queries and keys with nothing added, vectors are dealt and put back before
they are multiplied, so that no matrix is made only to be read in another order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..numerics import better
from ..replay import Slot
from .dealing import KERNEL, Dealer


class Moved(Protocol):
    """How scores are got: rows (heads, Tq, Tk), columns (heads, Tk, Tq), of `met` two (heads, T)."""

    def rows(self, order: Tensor) -> Tensor: ...
    def columns(self, order: Tensor) -> Tensor: ...
    def met(self, order: Tensor) -> tuple[Tensor, Tensor]: ...


def moved(dealer: Dealer) -> Moved:
    """The cheapest way that this attention allows."""
    last, chain = dealer.chain.steps[-1], dealer.chain
    plain = last.name == KERNEL and not dealer.biases and not chain.terms
    if plain and (len(last.args) < 3 or only_hides(dealer, last.args[2])):
        return Vectors(dealer, last.args[0].number, last.args[1].number, last.kwargs.get("scale"))
    return Scores(dealer)


def only_hides(dealer: Dealer, mask: Slot) -> bool:
    """Whether a mask is a constant that adds nothing to what it lets through."""
    x = dealer.chain.constants.get(mask.number)
    return x is not None and (x.dtype == torch.bool or not bool(dealer.cleared.get(mask.number, x).any()))


@dataclass(frozen=True)
class Scores:
    """From whole matrices of scores."""

    dealer: Dealer

    def rows(self, order: Tensor) -> Tensor:
        """Rows put back."""
        found = self.dealer.dealt(order, True, False)
        return found.index_select(1, order[: found.shape[1]].to(found.device))

    def columns(self, order: Tensor) -> Tensor:
        """Columns put back."""
        found = self.dealer.dealt(order, False, True).mT
        return found.index_select(1, order[: found.shape[1]].to(found.device))

    def met(self, order: Tensor) -> tuple[Tensor, Tensor]:
        """Read from the scores with both sides dealt."""
        both = self.dealer.dealt(order, True, True)
        p = order[: both.shape[1]].to(both.device)
        return both[:, p, p], both[:, p, torch.arange(len(p), device=both.device)]


class Vectors:
    """From queries and keys, of a fused kernel."""

    def __init__(self, dealer: Dealer, q: int, k: int, scale: float | None) -> None:
        self.dealer, self.number = dealer, (q, k)
        self.scale = scale
        still = torch.arange(0)
        self.q, self.k = self._vectors(still, False), self._vectors(still, True)

    def _vectors(self, order: Tensor, keys: bool) -> Tensor:
        """(heads, T, d) queries, scaled, or keys, each with the position of its partner; as they stand if there is no order."""
        dealer = self.dealer
        swapped: dict[int, Tensor] = {}
        for one in dealer.sides if len(order) else ():
            if one.keys == keys:
                swapped[one.number] = one.dealt(swapped.get(one.number, dealer.inputs[one.number]), order)
        (x,) = dealer.chain.run({**dealer.inputs, **dealer.cleared, **swapped}, call=dealer.call, wanted=[self.number[keys]])
        heads = len(dealer.S)
        x = better(x).reshape(-1, *x.shape[-2:])
        x = x if len(x) == heads else x.repeat_interleave(heads // len(x), 0)
        x = x.index_select(1, order[: x.shape[1]].to(x.device)) if len(order) else x
        return x if keys else x * (x.shape[-1] ** -0.5 if self.scale is None else self.scale)

    def rows(self, order: Tensor) -> Tensor:
        """Moved queries against keys."""
        return self._vectors(order, False) @ self.k.mT

    def columns(self, order: Tensor) -> Tensor:
        """Moved keys against queries."""
        return self._vectors(order, True) @ self.q.mT

    def met(self, order: Tensor) -> tuple[Tensor, Tensor]:
        """Products of single vectors."""
        q, k = self._vectors(order, False), self._vectors(order, True)
        return (q * k).sum(-1), (q * k.index_select(1, order[: k.shape[1]].to(k.device))).sum(-1)
