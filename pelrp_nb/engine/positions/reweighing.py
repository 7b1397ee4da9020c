"""Attention weights with two positions exchanged, pair after pair, and what the value loses by them; no more is computed than changes.

A pair t, u changes two rows, which have their softmax anew, and two columns.  Of a query i whose row is not among them, e the new weights
by the old sum of the row, G its gradient and m = sum_j A_ij G_ij:

    lost_i = ((e_t - A_it) (m - G_it) + (e_u - A_iu) (m - G_iu)) / Z       Z = 1 + (e_t - A_it) + (e_u - A_iu)

Where Z cancels (less than 1e-3 of the sum is left) or rises far the row is computed again as a whole.  Pairs that nobody sees are left out,
block by block.  Head after head, so many pairs at a time that what is computed of them stays in the processor's cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .dealing import Dealer
from .moving import Moved, Mover

CANCELS, RISES = 1e-3, math.exp(30.0)  # what must be left of a row's sum, and what it may rise to
MOST = 1 << 20  # numbers of rows that are computed again at a time
BLOCK = 128  # queries that are looked at together, where some keys are hidden
CHUNK = 1 << 16  # pairs times queries at a time


@dataclass(frozen=True)
class Block:
    """Some queries i and the keys j from the first to the last that one of them sees.

    hide: (1 or heads, i, j) 0, or -inf where hidden; None if nothing is; `by_key`: (1 or heads, j, i), where a column lies in one piece
    """

    i: slice
    j: slice
    hide: Tensor | None
    hide_by_key: Tensor | None

    @staticmethod
    def of(i: slice, j: slice, hidden: Tensor, dtype: torch.dtype) -> Block:
        """Of the pairs (1 or heads, Tq, Tk) that are hidden."""
        here = hidden[:, i, j]
        if not bool(here.any()):
            return Block(i, j, None, None)
        hide = torch.zeros_like(here, dtype=dtype).masked_fill_(here, -torch.inf)
        return Block(i, j, hide, hide.mT.contiguous())


@dataclass(frozen=True)
class Weights:
    """Attention as it stands: scores and the gradient G of its weights (heads, Tq, Tk), by block.

    lse: (heads, Tq) the log of the sum of exp of each row's scores, 0 where all of it is hidden; mean: (heads, Tq) sum_j A_ij G_ij
    A_by_key, less_by_key: (heads, Tk, Tq) weights, and the mean of each row less G
    """

    scores: Tensor
    G: Tensor
    lse: Tensor
    mean: Tensor
    A_by_key: Tensor
    less_by_key: Tensor
    blocks: list[Block]

    @staticmethod
    def of(dealer: Dealer, G: Tensor) -> Weights:
        """Of scores as they stand."""
        hidden = dealer.hidden[:1] if bool((dealer.hidden[:1] == dealer.hidden).all()) else dealer.hidden
        heads, Tq, Tk = dealer.S.shape
        lse, mean = dealer.S.new_empty(heads, Tq), dealer.S.new_empty(heads, Tq)
        A_by_key, less = (dealer.S.new_empty(heads, Tk, Tq) for _ in range(2))
        for h in range(heads):
            S = dealer.S[h].masked_fill(hidden[h % len(hidden)], -torch.inf)
            lse[h] = S.logsumexp(-1).masked_fill_(S.amax(-1) == -torch.inf, 0)
            A = S.sub_(lse[h, :, None]).exp_()
            mean[h] = (A * G[h]).sum(-1)
            A_by_key[h] = A.mT
            less[h] = (mean[h, :, None] - G[h]).mT
        blocks = [Block.of(i, j, hidden, dealer.S.dtype) for i, j in seen(hidden)]
        return Weights(dealer.S, G, lse, mean, A_by_key, less, blocks)


def seen(hidden: Tensor) -> list[tuple[slice, slice]]:
    """Some queries at a time, and the keys from the first to the last that one of them sees; all queries where nothing is hidden."""
    found = []
    sees = ~hidden.all(0)
    step = BLOCK if bool(hidden.any()) else len(sees)
    for first in range(0, len(sees), step):
        i = slice(first, min(first + step, len(sees)))
        at = sees[i].any(0).nonzero().flatten().tolist()
        if at:
            found.append((i, slice(at[0], at[-1] + 1)))
    return found


@dataclass(frozen=True)
class Some:
    """Some pairs: (2, pairs) where both places stand in the scores, and in which row of what was moved each has its partner's position."""

    places: Tensor
    moved: Tensor

    @staticmethod
    def of(rounds: Tensor, index: Tensor, size: int) -> tuple[Some, list[Tensor]]:
        """The pairs of some rounds (rounds, n), and the order of each: whose content is dealt to each of `size` places."""
        places, moved, orders = [], [], []
        for r, partner in enumerate(rounds):
            first = torch.arange(len(partner))
            at = first < partner
            t, u = index[first[at]], index[partner[at]]
            order = torch.arange(size)
            order[t], order[u] = u, t
            places.append(torch.stack([t, u]))
            moved.append(torch.stack([u, t]) + r * size)  # each content stands where its partner stood
            orders.append(order)
        return Some(torch.cat(places, 1), torch.cat(moved, 1)), orders

    def to(self, device: torch.device) -> Some:
        return Some(self.places.to(device), self.moved.to(device))


def exchanged(dealer: Dealer, G: Tensor, rounds: Tensor, index: Tensor) -> Tensor:
    """(heads, pairs): sum over i, j of (A - A')_ij G_ij, A' the weights when two places exchange their positions.

    G: (heads, Tq, Tk) gradient of the weights; rounds: (rounds, n) the partner of each of n places; index: their indices along the scores
    """
    whole, mover = Weights.of(dealer, G), Mover(dealer)
    sides = {one.keys for one in dealer.sides}
    heads, size = len(G), max(dealer.S.shape[1:])
    found = []
    for part in rounds.split(max(1, CHUNK * 2 // (rounds.shape[1] * size)) if mover.several else 1):
        some, orders = Some.of(part, index, size)
        some, scores = some.to(G.device), mover.to(orders)
        lost = dealer.S.new_zeros(heads, some.places.shape[1])
        for block in whole.blocks:
            rows = Rows.of(some, block, True in sides) if False in sides else None
            columns = Columns.of(some, block, False in sides) if True in sides else None
            for h in range(heads):
                if rows is not None:
                    lost[h].index_add_(0, rows.pair, of_rows(whole, scores, (h, block), rows))
                if columns is not None:
                    lost[h].index_add_(0, columns.pair, of_columns(whole, scores, (h, block), columns))
        found.append(lost)
    return torch.cat(found, -1)


def inside(at: Tensor, part: slice) -> tuple[Tensor, Tensor]:
    """Which of some numbers lie in a part, and where in it."""
    here = ((at >= part.start) & (at < part.stop)).nonzero().flatten()
    return here, at[here] - part.start


@dataclass(frozen=True)
class Rows:
    """The rows of a block whose queries are moved, whatever the head.

    pair: of each row its pair; to: where its query is in the block; own: its number among what was moved
    met: (the numbers of the keys that are moved with it, rows in which the block sees them, where they are in the block)
    """

    pair: Tensor
    to: Tensor
    own: Tensor
    met: tuple[tuple[Tensor, Tensor, Tensor], ...]

    @staticmethod
    def of(some: Some, block: Block, keys: bool) -> Rows | None:
        """Of a query's own key and of its partner's, if `keys` are moved; None where no query of the pairs lies in the block."""
        here, to = inside(some.places.flatten(), block.i)
        if not len(here):
            return None
        own, partner = (x.flatten()[here] for x in (some.moved, some.moved.flip(0)))
        at = (x.flatten()[here] for x in (some.places, some.places.flip(0)))
        met = tuple((key, *inside(x, block.j)) for key, x in zip((own, partner), at, strict=True)) if keys else ()
        return Rows(here % some.places.shape[1], to, own, met)


def of_rows(whole: Weights, scores: Moved, at: tuple[int, Block], rows: Rows) -> Tensor:
    """(rows,) what the value loses in them."""
    h, block = at
    row, met = scores.rows(h, rows.own, [key for key, _, _ in rows.met], block.j)
    for (_, mine, to), score in zip(rows.met, met, strict=True):
        row[mine, to] = score[mine]
    if block.hide is not None:
        row.add_(block.hide[h % len(block.hide)].index_select(0, rows.to))
    A = row.softmax(-1)
    A = A if block.hide is None else A.nan_to_num_(0.0)  # rows in which all is hidden
    kept = A.mul_(whole.G[h, block.i, block.j].index_select(0, rows.to)).sum(-1)
    return whole.mean[h, block.i].index_select(0, rows.to).sub_(kept)


@dataclass(frozen=True)
class Columns:
    """The columns of some pairs that a block sees, whatever the head: which pairs, one key of each and the other of the first of them.

    places: where in the block's keys; moved: their numbers among what was moved
    apart: (pairs, where in the block's queries) of rows that are counted as rows
    """

    pair: Tensor
    places: tuple[Tensor, Tensor]
    moved: tuple[Tensor, Tensor]
    apart: tuple[tuple[Tensor, Tensor], ...]

    @staticmethod
    def of(some: Some, block: Block, queries: bool) -> Columns | None:
        """Those of which both are seen come first; rows of the pair itself are apart where `queries` move too. None: no pair is seen."""
        t, u = some.places - block.j.start
        sees_t, sees_u = ((x >= 0) & (x < block.j.stop - block.j.start) for x in (t, u))
        both, one = (sees_t & sees_u).nonzero().flatten(), (sees_t ^ sees_u).nonzero().flatten()
        a = torch.cat([t[both], torch.where(sees_t, t, u)[one]])
        moved = torch.cat([some.moved[0][both], torch.where(sees_t, *some.moved)[one]])
        pair = torch.cat([both, one])
        apart = tuple(inside(own[pair], block.i) for own in some.places) if queries else ()
        return Columns(pair, (a, u[both]), (moved, some.moved[1][both]), apart) if len(pair) else None


def of_columns(whole: Weights, scores: Moved, at: tuple[int, Block], columns: Columns) -> Tensor:
    """(pairs,) what the value loses by their columns in the rows of a block."""
    h, block = at
    A, less = (x[h, block.j, block.i] for x in (whole.A_by_key, whole.less_by_key))
    first, second = (
        raw(scores, at, place, moved).sub_(whole.lse[h, block.i]).exp_().sub_(A.index_select(0, place))
        for place, moved in zip(columns.places, columns.moved, strict=True)
    )
    Z, two = first + 1, slice(len(second))
    Z[two] += second
    change = first.mul_(less.index_select(0, columns.places[0]))
    change[two].addcmul_(second, less.index_select(0, columns.places[1]))
    low, high = (float(x) for x in torch.aminmax(Z))
    change.div_(Z)
    wrong = None if low >= CANCELS and high <= RISES else ~((Z >= CANCELS) & (Z <= RISES))
    for mine, to in columns.apart:
        change[mine, to] = 0.0
        if wrong is not None:
            wrong[mine, to] = False
    if wrong is not None and bool(wrong.any()):
        again(whole, scores, at, columns, change, wrong)
    return change.sum(-1)


def raw(scores: Moved, at: tuple[int, Block], place: Tensor, moved: Tensor) -> Tensor:
    """(keys, i) scores of moved keys, -inf where hidden."""
    h, block = at
    found = scores.columns(h, moved, block.i)
    return found if block.hide_by_key is None else found.add_(block.hide_by_key[h % len(block.hide_by_key)].index_select(0, place))


def again(whole: Weights, scores: Moved, at: tuple[int, Block], columns: Columns, change: Tensor, wrong: Tensor) -> None:
    """Put into `change` what is wrong, computed from whole rows, each with its two columns replaced."""
    h, block = at
    pair, query = wrong.nonzero(as_tuple=True)
    for part in torch.arange(len(pair), device=pair.device).split(max(MOST // (block.j.stop - block.j.start), 1)):
        p, q = pair[part], query[part]
        S = whole.scores[h, block.i, block.j].index_select(0, q)
        if block.hide is not None:
            S.add_(block.hide[h % len(block.hide)].index_select(0, q))
        for place, moved in zip(columns.places, columns.moved, strict=True):
            mine = (p < len(place)).nonzero().flatten()
            some, which = p[mine].unique(return_inverse=True)
            S[mine, place[p[mine]]] = raw(scores, at, place[some], moved[some])[which, q[mine]]
        kept = S.softmax(-1).mul_(whole.G[h, block.i, block.j].index_select(0, q)).sum(-1)
        change[p, q] = whole.mean[h, block.i][q] - kept
