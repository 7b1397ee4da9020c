"""Attention weights with two positions exchanged, pair after pair, and what the value loses by them; no more is computed than changes.

A pair t, u changes two rows, which have their softmax anew, and two columns.  Of a query i whose row is not among them, e the new weights
by the old sum of the row, G its gradient and m = sum_j A_ij G_ij:

    lost_i = ((e_t - A_it) (m - G_it) + (e_u - A_iu) (m - G_iu)) / Z       Z = 1 + (e_t - A_it) + (e_u - A_iu)

Of a row that is among them sum_j e_j G_j / sum_j e_j is kept.  Where Z cancels (less than 1e-3 of the sum is left) or a sum rises far, or a
row's falls far, the row is computed again as a whole.

Round after round, each content with one partner: what the value loses in the row of each is told of it, what it loses by the columns of a
pair in the rows of others of the first of them, and a pair loses what both do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .blocks import Block, Piece, blocks, pieces
from .dealing import Dealer
from .moving import BITS, Moved, Mover, part

CANCELS, RISES = 1e-3, math.exp(30.0)  # what must be left of a row's sum, and what it may rise to
MOST = 1 << 20  # numbers of rows that are computed again at a time
PLANS = 1 << 10  # kept for the next attention at most


def exchanged(dealer: Dealer, G: Tensor, rounds: Tensor, index: Tensor, plans: dict[tuple, Plan]) -> Tensor:
    """(heads, pairs): sum over i, j of (A - A')_ij G_ij, A' the weights when two places exchange their positions.

    G: (heads, Tq, Tk) gradient of the weights; rounds: (rounds, n) the partner of each of n places; index: their indices along the scores
    plans: of these rounds, those of one attention for the next
    """
    by_place = index.argsort()
    number = by_place.argsort()  # of each place, among those in the order of the scores
    whole = Attention.of(dealer, G, index[by_place])
    partners = number[rounds[:, by_place]]
    lost = G.new_zeros(len(rounds), len(G), len(index))
    for r, moved in enumerate(whole.mover.to(partners)):
        whole.add(lost[r], moved, [planned(plans, r, block, partners[r], whole.mover) for block, _ in whole.parts])
    pairs = lost + lost.gather(2, partners[:, None].expand_as(lost).to(lost.device))
    first = (torch.arange(len(index)) < rounds).to(lost.device)
    return pairs.index_select(2, number.to(lost.device)).transpose(0, 1)[:, first]


@dataclass(frozen=True)
class Attention:
    """One attention as it stands; base: (heads, 1, contents) as of its pieces, of the queries of contents that take part."""

    mover: Mover
    parts: list[tuple[Block, list[Piece]]]
    base: Tensor

    @staticmethod
    def of(dealer: Dealer, G: Tensor, at: Tensor) -> Attention:
        """at: where these contents stand in the scores, in rising order."""
        hidden = dealer.hidden[:1] if bool((dealer.hidden[:1] == dealer.hidden).all()) else dealer.hidden
        mover, base = Mover(dealer, at), G.new_zeros(len(G), 1, len(at))
        parts = [(block, pieces(mover, block, G)) for block in blocks(hidden, at, G.dtype)]
        for block, own in parts:
            for piece in own:
                base[piece.h, 0, block.rows] = piece.row_base[..., 0]
        return Attention(mover, parts, base)

    def add(self, lost: Tensor, moved: Moved, plans: list[Plan]) -> None:
        """Add to (heads, contents) what the value loses in the row of each, and by its column in the rows of others."""
        queries, keys = self.mover.queries, self.mover.keys
        met = moved.met(self.base).flatten(1) if queries and keys else None
        for (block, own), plan in zip(self.parts, plans, strict=True):
            if queries and block.rows.start < block.rows.stop:
                rows = Rows(block, moved, plan, None if met is None else met.index_select(1, plan.met))
                for piece in own:
                    part(lost, piece.h, block.rows).add_(rows.lost(piece))
            if keys and len(plan.first):
                columns = Columns(block, moved, plan, self.mover)
                for piece in own:
                    part(lost, piece.h, block.columns).add_(columns.lost(piece))


@dataclass(frozen=True)
class Plan:
    """Who meets whom in a block in one order of places, whatever the head.

    met, to: which of the (2, contents) scores with moved keys lie in it, and where in a head's rows, one behind the other
    first: which of its columns begin a pair, those whose partner it sees before those that are alone; second: the partners of these
    places: where its columns stand among its keys
    own: where in a head's columns, one behind the other, the rows of the contents and of their partners are, which are counted as rows
    """

    met: Tensor
    to: Tensor
    first: Tensor
    second: Tensor
    places: Tensor
    own: Tensor

    @staticmethod
    def of(block: Block, partner: Tensor, mover: Mover) -> Plan:
        stands, n = torch.stack([mover.at, mover.at[partner]]), block.columns.stop - block.columns.start
        rows = block.rows.stop - block.rows.start
        met, to = inside(stands[:, block.rows].flatten(), block.j)
        to += met % max(rows, 1) * (block.j.stop - block.j.start)
        met += block.rows.start + (met >= rows) * (stands.shape[1] - rows)
        partner = partner[block.columns] - block.columns.start
        seen, pair = (partner >= 0) & (partner < n), torch.arange(n) < partner
        first, alone = (seen & pair).nonzero().flatten(), (~seen).nonzero().flatten()
        mine, own = inside(stands[:, block.columns].flatten(), block.i)
        own += mine % max(n, 1) * (block.i.stop - block.i.start)
        places = stands[0, block.columns] - block.j.start
        found = (met, to, torch.cat([first, alone]), partner[first], places, own if mover.queries else own[:0])
        return Plan(*(x.to(block.hidden.device) for x in found))


def planned(plans: dict[tuple, Plan], number: int, block: Block, partner: Tensor, mover: Mover) -> Plan:
    """The plan of a round of that number in a block: the next attention mostly asks for the same."""
    key = (number, block.i.start, block.i.stop, block.j.start, block.j.stop, mover.queries, mover.key)
    found = plans.get(key)
    if found is None:
        found = Plan.of(block, partner, mover)
        if len(plans) < PLANS:
            plans[key] = found
    return found


def inside(at: Tensor, part: slice) -> tuple[Tensor, Tensor]:
    """Which of some numbers lie in a part, and where in it."""
    here = ((at >= part.start) & (at < part.stop)).nonzero().flatten()
    return here, at[here] - part.start


@dataclass(frozen=True)
class Rows:
    """The rows of a block whose queries are moved; met: (heads, those of `Plan.met`) their scores, None if no keys are moved."""

    block: Block
    moved: Moved
    plan: Plan
    met: Tensor | None

    def scores(self, piece: Piece) -> Tensor:
        """(h, rows, j) less the log of the old sum of each row."""
        found = self.moved.rows(piece.h, self.block.rows, self.block.j, piece.row_base)
        if self.met is not None:
            met = self.met[piece.h]
            found.view(found.shape[0], -1).scatter_(1, self.plan.to.expand_as(met), met)
        if self.block.hidden_rows is not None:
            self.block.hidden_rows.on(found, piece.h)
        return found

    def lost(self, piece: Piece) -> Tensor:
        """(h, rows) what the value loses in them."""
        e = self.scores(piece).exp2_()
        sums = e.sum(-1)
        low, high = torch.aminmax(sums)
        if float(low) * RISES >= 1 and float(high) <= RISES:
            return piece.row_mean - e.mul_(piece.row_G).sum(-1).div_(sums)
        A = self.scores(piece).div_(BITS).softmax(-1).nan_to_num_(0.0)  # rows in which all is hidden
        return piece.row_mean - A.mul_(piece.row_G).sum(-1)


@dataclass(frozen=True)
class Columns:
    """The columns of a block whose keys are moved."""

    block: Block
    moved: Moved
    plan: Plan
    mover: Mover

    def scores(self, piece: Piece) -> Tensor:
        """(h, columns, i) less the log of the old sum of each row."""
        found = self.moved.columns(piece.h, self.block.columns, self.block.i, piece.base)
        if self.block.hidden_columns is not None:
            self.block.hidden_columns.on(found, piece.h)
        return found

    def lost(self, piece: Piece) -> Tensor:
        """(h, columns) what the value loses by them in the rows of the block, by a pair's told of its first."""
        change = self.scores(piece).exp2_().sub_(piece.A)
        change.view(change.shape[0], -1).index_fill_(1, self.plan.own, 0)
        Z = self.paired(change).add_(1)
        kept = self.paired(change.mul_(piece.less)).div_(Z)
        low, high = torch.aminmax(Z)
        if wrong := not (float(low) >= CANCELS and float(high) <= RISES):
            again = ~((Z >= CANCELS) & (Z <= RISES))
            kept.masked_fill_(again, 0)
        found = torch.zeros_like(change[..., 0]).index_copy_(1, self.plan.first, kept.sum(-1))
        if wrong:
            for x in again.flatten(1).any(1).nonzero().flatten().tolist():
                self.again(piece, x, again[x], found[x])
        return found

    def paired(self, x: Tensor) -> Tensor:
        """(h, first, i) columns of x and those of their partners together, in a fresh tensor."""
        first, second = self.plan.first, self.plan.second
        found = x.index_select(1, first)
        found[:, : second.shape[0]].add_(x.index_select(1, second))
        return found

    def again(self, piece: Piece, x: int, wrong: Tensor, found: Tensor) -> None:
        """Add to what is `found` (columns,) in head x of a piece what is wrong (first, i), from whole rows with two columns replaced."""
        block, h = self.block, slice(piece.h.start + x, piece.h.start + x + 1)
        new = self.scores(piece)[x]
        still = self.mover.as_they_stand(h, block.j, block.i)[0].mT + piece.base[x, 0, :, None]
        still.masked_fill_(block.hidden[(piece.h.start + x) % len(block.hidden)], -torch.inf)
        places, (pair, query) = self.plan.places, wrong.nonzero(as_tuple=True)
        for some in torch.arange(len(pair), device=new.device).split(max(MOST // still.shape[1], 1)):
            i, t = query[some], self.plan.first[pair[some]]
            S = still.index_select(0, i)
            S[torch.arange(len(t), device=S.device), places[t]] = new[t, i]
            both = (pair[some] < len(self.plan.second)).nonzero().flatten()
            u = self.plan.second[pair[some][both]]
            S[both, places[u]] = new[u, i[both]]
            kept = S.div_(BITS).softmax(-1).mul_(piece.G[x].index_select(0, i)).sum(-1)
            found.index_add_(0, t, piece.mean[x][i] - kept)
