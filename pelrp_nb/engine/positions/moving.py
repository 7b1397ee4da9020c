"""Scores of contents that have exchanged their positions, one order of places after the other.

    rows(h, some, j, base)      queries with the positions of their partners, against keys j as they stand
    columns(h, some, i, base)   keys with the positions of their partners, against queries i as they stand: a column lies in a row
    met(base)                   the same queries against two keys that are moved as well: each one's own, and its partner's

`h`: heads; `some`: contents that take part, in the order of their places.  All scores are in bits (their exponentials are powers of two,
which cost less) and `base` is added to them.  They come from a dealer's scores in general.  Where those are products of queries and keys
with nothing added, vectors are dealt before they are multiplied, so that of a matrix no more is made than is looked at; constants of
positions are dealt in place of contents where one order, looked at before, shows that this makes the same vectors.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from ..numerics import better
from ..replay import Slot
from .dealing import Dealer

BITS = 1 / math.log(2)  # of a score
MOST = 1 << 19  # numbers of constants that are dealt at a time


class Moved(Protocol):
    """How scores are got, each time in a fresh tensor: rows (h, some, j), columns (h, some, i), met (heads, 2, contents)."""

    def rows(self, h: slice, some: slice, j: slice, base: Tensor) -> Tensor: ...
    def columns(self, h: slice, some: slice, i: slice, base: Tensor) -> Tensor: ...
    def met(self, base: Tensor) -> Tensor: ...


class Scores:
    """From whole matrices of scores; at, to: where contents stand in them, and where their partners do."""

    def __init__(self, dealer: Dealer, order: Tensor, at: Tensor, to: Tensor) -> None:
        self.dealer, self.order, self.at, self.to = dealer, order, at, to

    @cached_property
    def _rows(self) -> Tensor:
        return self.dealer.dealt(self.order, True, False).index_select(1, self.to)

    @cached_property
    def _columns(self) -> Tensor:
        return self.dealer.dealt(self.order, False, True).mT.index_select(1, self.to)

    def met(self, base: Tensor) -> Tensor:
        """Read from the scores with both sides dealt."""
        both = self.dealer.dealt(self.order, True, True)
        return torch.add(base, torch.stack([both[:, self.to, self.to], both[:, self.to, self.at]], 1), alpha=BITS)

    def rows(self, h: slice, some: slice, j: slice, base: Tensor) -> Tensor:
        """Rows of the queries."""
        return torch.add(base, self._rows[h, some, j], alpha=BITS)

    def columns(self, h: slice, some: slice, i: slice, base: Tensor) -> Tensor:
        """Columns of the keys."""
        return torch.add(base, self._columns[h, some, i], alpha=BITS)


@dataclass(frozen=True)
class Vectors:
    """From queries and keys: as they stand, scaled to bits (heads, T, d), and of contents that moved (heads, contents, d).

    partner: of each content its partner's number
    """

    still: tuple[Tensor, Tensor]
    moved: tuple[Tensor, Tensor]
    partner: Tensor
    scale: float

    def rows(self, h: slice, some: slice, j: slice, base: Tensor) -> Tensor:
        """Moved queries against keys."""
        return torch.baddbmm(base, part(self.moved[0], h, some), part(self.still[1], h, j).mT)

    def columns(self, h: slice, some: slice, i: slice, base: Tensor) -> Tensor:
        """Moved keys against queries."""
        return torch.baddbmm(base, part(self.moved[1], h, some), part(self.still[0], h, i).mT)

    def met(self, base: Tensor) -> Tensor:
        """Moved queries against single moved keys."""
        q, k = self.moved
        return torch.add(base, torch.stack([(q * k).sum(-1), k.index_select(1, self.partner).mul_(q).sum(-1)], 1), alpha=self.scale)


class Mover:
    """Makes a dealer's scores for one order after the other, in the cheapest way that this attention allows.

    at: where the contents that take part stand in the scores, in rising order; queries, keys: whether they are moved
    """

    def __init__(self, dealer: Dealer, at: Tensor) -> None:
        self.dealer, self.at, self.key = dealer, at, tuple(at.tolist())
        self.queries, self.keys = (any(one.keys is keys for one in dealer.sides) for keys in (False, True))
        if dealer.factors is not None:
            q, k = self._by_head(dealer.vectors)
            by = dealer.chain.steps[-1].kwargs.get("scale")
            self.scale = BITS * (q.shape[-1] ** -0.5 if by is None else by)
            self.k, self.still = k, (q * self.scale, k * self.scale)
            self.constants = constants_of(dealer)
            self.contents = {number: x.contiguous() for number, x in dealer.inputs.items()} if self.constants else {}
            self.turns = turns_of(dealer, self.constants)
            if not self._serves():
                self.constants = {}

    def as_they_stand(self, h: slice, j: slice, i: slice) -> Tensor:
        """(h, j, i) scores of some keys with some queries, in bits, in a fresh tensor."""
        if self.dealer.factors is None:
            return (self.dealer.S[h, i, j].mT * BITS).contiguous()
        return self.k[h, j] @ self.still[0][h, i].mT

    def to(self, partners: Tensor) -> Iterator[Moved]:
        """Each content has the position of its partner: (orders, contents), their numbers among those that take part."""
        orders = torch.arange(max(self.dealer.hidden.shape[-2:])).repeat(len(partners), 1)
        orders[:, self.at] = self.at[partners]
        device = self.dealer.hidden.device
        if self.dealer.factors is None:
            at = self.at.to(device)
            for order, partner in zip(orders, partners.to(device), strict=True):
                yield Scores(self.dealer, order, at, at[partner])
        else:
            moved = self._by_constants(orders) if self.constants else map(self._by_contents, orders)
            for x, partner in zip(moved, partners.to(device), strict=True):
                yield Vectors(self.still, x, partner, self.scale)

    def _by_contents(self, order: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys (heads, contents, d): contents are dealt to each other's places, and read there."""
        swapped: dict[int, Tensor] = {}
        for one in self.dealer.sides:
            swapped[one.number] = one.dealt(swapped.get(one.number, self.dealer.inputs[one.number]), order)
        q, k = self._by_head(self.dealer.run_vectors(swapped))
        to = order[self.at].to(q.device)
        return q.index_select(1, to), k.index_select(1, to)

    def _by_constants(self, orders: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The same of one order after the other, by constants of positions that are dealt to the contents: less is moved."""
        one, mine = self.dealer.sides[0], in_one_piece(self.at)
        all_of_them = len(self.at) == self.dealer.vectors[0].shape[-2] == self.dealer.vectors[1].shape[-2]
        several = max(MOST // max(x.numel() for x, _ in self.constants.values()), 1)
        for some in (orders[:, one.shift : one.shift + len(one.cells)] - one.shift).to(self.dealer.hidden.device).split(several):
            dealt = {
                n: x.index_select(axis, some.flatten()).unflatten(axis, some.shape).unbind(axis - 1)
                for n, (x, axis) in self.constants.items()
            }
            for at in range(len(some)):
                q, k = self._by_head(self._made({n: x[at] for n, x in dealt.items()}))
                yield (q, k) if all_of_them else (q[:, mine], k[:, mine])

    def _made(self, dealt: dict[int, Tensor]) -> tuple[Tensor, Tensor]:
        """Queries and keys (..., T, d) with constants that were dealt."""
        if self.turns is None:
            return self.dealer.run_vectors({**self.contents, **dealt})
        q, k = ((self.contents[x] * dealt[c]).addcmul_(self.contents[y], dealt[s]) for (x, c), (y, s) in self.turns)
        return q, k

    def _serves(self) -> bool:
        """Whether constants that are dealt make what contents make that are dealt."""
        if not self.constants:
            return False
        turned = torch.arange(max(self.dealer.hidden.shape[-2:])).index_copy(0, self.at, self.at.flip(0))
        try:
            (found,) = self._by_constants(turned[None])
        except RuntimeError:  # shapes that do not fit
            return False
        return all(map(same, found, self._by_contents(turned)))

    def _by_head(self, vectors: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Queries and keys (heads, T, d), those that several heads share once for each."""
        q, k = (x.flatten(0, -3) for x in vectors)
        return q, k if k.shape[0] == q.shape[0] else k.repeat_interleave(q.shape[0] // k.shape[0], 0)


def constants_of(dealer: Dealer) -> dict[int, tuple[Tensor, int]]:
    """Constants of positions that could be dealt to places: number -> (the constant, its axis of places, from the last)."""
    spans = {(one.shift, len(one.cells)) for one in dealer.sides}
    found = {}
    for number in dealer.chain.positions:
        x = dealer.chain.constants.get(number)
        axis = next((a for a in range(-x.dim(), 0) if x.shape[a] == len(dealer.sides[0].cells)), None) if x is not None else None
        if x is None or axis is None or len(spans) > 1:
            return {}
        found[number] = x, axis
    return found


def turns_of(dealer: Dealer, constants: Container[int]) -> list[list[tuple[int, int]]] | None:
    """Of queries and of keys ((x, c), (y, s)), if both are x c + y s, with constants c and s: rotations, which are two calls then."""
    made = {step.outs[None]: step for step in dealer.chain.steps if None in step.outs}

    def given(number: int, name: str) -> list[int]:
        """The two tensors of which a call of that name makes one."""
        step = made.get(number)
        plain = step is not None and step.name.strip("_") == name and not step.kwargs
        return [x.number for x in step.args if isinstance(x, Slot)] if step is not None and plain else []

    found = []
    for number in dealer.factors or ():
        pairs = [sorted(given(term, "mul"), key=lambda x: x in constants) for term in given(number, "add")]
        if len(pairs) != 2 or not all(len(pair) == 2 and pair[0] in dealer.inputs and pair[1] in constants for pair in pairs):
            return None
        found.append([(x, c) for x, c in pairs])
    return None if any(better(x) is not x for x in dealer.inputs.values()) else found


def same(x: Tensor, y: Tensor) -> bool:
    """Whether two tensors are one up to rounding."""
    return x.shape == y.shape and bool((x - y).abs().amax() <= 4 * torch.finfo(y.dtype).eps * y.abs().amax())


def in_one_piece(at: Tensor) -> slice | Tensor:
    """Rising numbers as a slice, if they are one."""
    first, n = int(at[0]) if len(at) else 0, len(at)
    return slice(first, first + n) if n == 0 or int(at[-1]) == first + n - 1 else at


def part(x: Tensor, h: slice, some: slice) -> Tensor:
    """x[h, some]; x itself where that is all of it, which takes less time."""
    return x if h.stop - h.start == x.shape[0] and some.stop - some.start == x.shape[1] else x[h, some]
