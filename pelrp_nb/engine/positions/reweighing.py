"""Attention weights with two positions exchanged, pair after pair, and what the value loses by them; no more is computed than changes.

A pair t, u changes two rows, which have their softmax anew, and two columns.  Of a query i whose row is not among them, e the new weights
by the old sum of the row, G its gradient and m = sum_j A_ij G_ij:

    lost_i = ((e_t - A_it) (m - G_it) + (e_u - A_iu) (m - G_iu)) / Z       Z = 1 + (e_t - A_it) + (e_u - A_iu)

Of a row that is among them sum_j e_j G_j / sum_j e_j is kept.  Where Z cancels (less than 1e-3 of the sum is left) or a sum rises far, or a
row's falls far, the row is computed again as a whole.

Round after round, each content with one partner: what the value loses in its row, and by its column in the rows of others, is told of
it, and a pair loses what both do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .blocks import Block, Piece, blocks, pieces
from .dealing import Dealer
from .moving import BITS, Moved, Mover

CANCELS, RISES = 1e-3, math.exp(30.0)  # what must be left of a row's sum, and what it may rise to
MOST = 1 << 20  # numbers of rows that are computed again at a time


def exchanged(dealer: Dealer, G: Tensor, rounds: Tensor, index: Tensor) -> Tensor:
    """(heads, pairs): sum over i, j of (A - A')_ij G_ij, A' the weights when two places exchange their positions.

    G: (heads, Tq, Tk) gradient of the weights; rounds: (rounds, n) the partner of each of n places; index: their indices along the scores
    """
    by_place = index.argsort()
    number = by_place.argsort()  # of each place, among those in the order of the scores
    hidden = dealer.hidden[:1] if bool((dealer.hidden[:1] == dealer.hidden).all()) else dealer.hidden
    mover = Mover(dealer, index[by_place])
    whole = [(block, pieces(mover, block, G)) for block in blocks(hidden, mover.at, G.dtype)]
    base = G.new_zeros(len(G), len(index))
    for block, own in whole:
        for piece in own:
            base[piece.h, block.rows] = piece.row_base
    found = []
    for some in rounds.split(mover.several):
        partners = number[some[:, by_place]]
        for given, partner, scores in zip(some, partners, mover.to(partners), strict=True):
            met = scores.met() + base[:, None] if mover.queries and mover.keys else None
            lost = torch.zeros_like(base)
            Round(mover, scores, partner, torch.stack([mover.at, mover.at[partner]]), met).add_to(lost, whole)
            first = (torch.arange(len(given)) < given).nonzero().flatten()
            t, u = (number[x].to(lost.device) for x in (first, given[first]))
            found.append(lost[:, t] + lost[:, u])
    return torch.cat(found, -1)


@dataclass(frozen=True)
class Round:
    """One order of places: scores with it, and of each content that takes part its partner's number.

    stands: (2, contents) where it and its partner are
    met: as of `Moved`, less the log of the old sum of each row; None if one side alone is moved
    """

    mover: Mover
    scores: Moved
    partner: Tensor
    stands: Tensor
    met: Tensor | None

    def add_to(self, lost: Tensor, whole: list[tuple[Block, list[Piece]]]) -> None:
        """Add to (heads, contents) what the value loses in the row of each, and by its column in the rows of others."""
        for block, own in whole:
            if self.mover.queries and block.rows.start < block.rows.stop:
                rows = Rows.of(self, block)
                for piece in own:
                    lost[piece.h, block.rows].add_(rows.lost(piece))
            if self.mover.keys and block.columns.start < block.columns.stop:
                columns = Columns.of(self, block)
                for piece in own:
                    lost[piece.h, block.columns].add_(columns.lost(piece))


def inside(at: Tensor, part: slice) -> tuple[Tensor, Tensor]:
    """Which of some numbers lie in a part, and where in it."""
    here = ((at >= part.start) & (at < part.stop)).nonzero().flatten()
    return here, at[here] - part.start


@dataclass(frozen=True)
class Rows:
    """The rows of a block whose queries are moved.

    to, met: where in a head's rows, one behind the other, they meet moved keys, and (heads, these) those scores; None if no keys are moved
    """

    round: Round
    block: Block
    to: Tensor | None
    met: Tensor | None

    @staticmethod
    def of(one: Round, block: Block) -> Rows:
        if one.met is None:
            return Rows(one, block, None, None)
        mine, to = inside(one.stands[:, block.rows].flatten(), block.j)
        to = mine % (block.rows.stop - block.rows.start) * (block.j.stop - block.j.start) + to
        met = one.met[..., block.rows].flatten(1)
        return Rows(one, block, to.to(met.device), met.index_select(1, mine.to(met.device)))

    def scores(self, piece: Piece) -> Tensor:
        """(h, rows, j) less the log of the old sum of each row."""
        block = self.block
        found = self.round.scores.rows(piece.h, block.rows, block.j, piece.row_base[..., None])
        if self.to is not None and self.met is not None:
            found.view(len(found), -1).index_copy_(1, self.to, self.met[piece.h])
        if block.hidden_rows is not None:
            block.hidden_rows.on(found, piece.h)
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
    """The columns of a block whose keys are moved.

    partner: which of the block's columns is each one's partner; alone: those whose partner the block does not see
    own: where in a head's columns, one behind the other, the rows of the contents and of their partners are, which are counted as rows;
    None if no queries are moved
    """

    round: Round
    block: Block
    partner: Tensor
    alone: Tensor
    own: Tensor | None

    @staticmethod
    def of(one: Round, block: Block) -> Columns:
        n, device = block.columns.stop - block.columns.start, block.hidden.device
        partner = one.partner[block.columns] - block.columns.start
        alone = ((partner < 0) | (partner >= n)).nonzero().flatten()
        own = None
        if one.mover.queries:
            mine, to = inside(one.stands[:, block.columns].flatten(), block.i)
            own = (mine % n * (block.i.stop - block.i.start) + to).to(device)
        return Columns(one, block, partner.clamp(0, n - 1).to(device), alone.to(device), own)

    def scores(self, piece: Piece) -> Tensor:
        """(h, columns, i) less the log of the old sum of each row."""
        found = self.round.scores.columns(piece.h, self.block.columns, self.block.i, piece.base[:, None])
        if self.block.hidden_columns is not None:
            self.block.hidden_columns.on(found, piece.h)
        return found

    def lost(self, piece: Piece) -> Tensor:
        """(h, columns) what the value loses by them in the rows of the block."""
        change = self.scores(piece).exp2_().sub_(piece.A)
        if self.own is not None:
            change.view(len(change), -1).index_fill_(1, self.own, 0)
        Z = change.index_select(1, self.partner)
        if len(self.alone):
            Z.index_fill_(1, self.alone, 0)
        Z.add_(change).add_(1)
        low, high = torch.aminmax(Z)
        change.div_(Z)
        if float(low) >= CANCELS and float(high) <= RISES:
            return change.mul_(piece.less).sum(-1)
        wrong = ~((Z >= CANCELS) & (Z <= RISES))
        found = change.masked_fill_(wrong, 0).mul_(piece.less).sum(-1)
        twice = self.partner < torch.arange(len(self.partner), device=wrong.device)
        twice[self.alone] = False
        wrong[:, twice] = False  # a pair's rows, once
        for x in wrong.flatten(1).any(1).nonzero().flatten().tolist():
            self.again(piece, x, wrong[x], found[x])
        return found

    def again(self, piece: Piece, x: int, wrong: Tensor, found: Tensor) -> None:
        """Add to what is `found` (columns,) in head x of a piece what is wrong (columns, i), from whole rows with two columns replaced."""
        block, h = self.block, slice(piece.h.start + x, piece.h.start + x + 1)
        new = self.scores(piece)[x]
        still = self.round.mover.as_they_stand(h, block.j, block.i)[0].mT + piece.base[x, :, None]
        still.masked_fill_(block.hidden[(piece.h.start + x) % len(block.hidden)], -torch.inf)
        places = self.round.stands[0, block.columns].to(new.device) - block.j.start
        seen = torch.ones_like(places, dtype=torch.bool).index_fill_(0, self.alone, False)
        column, query = wrong.nonzero(as_tuple=True)
        for part in torch.arange(len(column), device=new.device).split(max(MOST // still.shape[1], 1)):
            t, i = column[part], query[part]
            S = still.index_select(0, i)
            S[torch.arange(len(t), device=S.device), places[t]] = new[t, i]
            both = seen[t].nonzero().flatten()
            u = self.partner[t[both]]
            S[both, places[u]] = new[u, i[both]]
            kept = S.div_(BITS).softmax(-1).mul_(piece.G[x].index_select(0, i)).sum(-1)
            found.index_add_(0, t, piece.mean[x][i] - kept)
