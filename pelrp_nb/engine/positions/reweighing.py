"""Attention weights with two positions exchanged, pair after pair, and what the value loses by them; no more is computed than changes.

Two rows have their softmax anew.  Of every other row two terms of its sum change; where that sum cancels (less than 1e-3 of it is left)
or one of them rises far, the row is computed again as well.  Pairs that nobody sees are left out, block by block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .dealing import Dealer
from .moving import Moved, Mover

CANCELS, RISES = 1e-3, 30.0  # what must be left of a row's sum, and how far the logarithm of a term may rise above it
MOST = 1 << 20  # numbers of rows that are computed again at a time
BLOCK = 128  # queries that are looked at together


@dataclass(frozen=True)
class Block:
    """The pairs of some queries i and of the keys j from the first to the last that one of them sees.

    hide: (1 or heads, i, j) 0, or -inf where hidden; None if nothing is.  G: (heads, i, j) the mean of the gradient of a row's weights less
    that of each, so that what other weights A' lose is sum A' G.  `by_key`: (heads, j, i), where a column lies in one piece; A: weights
    """

    i: slice
    j: slice
    hide: Tensor | None
    G: Tensor
    hide_by_key: Tensor | None
    G_by_key: Tensor
    A_by_key: Tensor


@dataclass(frozen=True)
class Weights:
    """Scores (heads, Tq, Tk) with -inf where hidden, the log of the sum of their exp (0 where that is all of a row), and pairs by block."""

    scores: Tensor
    lse: Tensor
    blocks: list[Block]

    @staticmethod
    def of(dealer: Dealer, G: Tensor) -> Weights:
        """Of scores as they stand."""
        hidden = dealer.hidden[:1] if bool((dealer.hidden[:1] == dealer.hidden).all()) else dealer.hidden
        S = dealer.S.masked_fill(hidden, -torch.inf)
        m = S.amax(-1, keepdim=True)
        m.masked_fill_(m == -torch.inf, 0)
        A = (S - m).exp_()
        Z = A.sum(-1, keepdim=True)
        Z.masked_fill_(Z == 0, 1)
        A.div_(Z)
        mean = (A * G).sum(-1, keepdim=True)
        blocks = []
        for i, j in seen(hidden):
            hide = torch.zeros_like(hidden[:, i, j], dtype=S.dtype).masked_fill_(hidden[:, i, j], -torch.inf)
            free = not bool(hide.any())
            less = mean[:, i] - G[:, i, j]
            by_key = (None if free else hide.mT.contiguous(), less.mT.contiguous(), A[:, i, j].mT.contiguous())
            blocks.append(Block(i, j, None if free else hide, less, *by_key))
        return Weights(S, m.add_(Z.log())[..., 0], blocks)


def seen(hidden: Tensor) -> list[tuple[slice, slice]]:
    """Some queries at a time, and the keys from the first to the last that one of them sees."""
    found = []
    sees = ~hidden.all(0)
    for first in range(0, len(sees), BLOCK):
        i = slice(first, min(first + BLOCK, len(sees)))
        at = sees[i].any(0).nonzero().flatten().tolist()
        if at:
            found.append((i, slice(at[0], at[-1] + 1)))
    return found


def exchanged(dealer: Dealer, G: Tensor, rounds: Tensor, index: Tensor) -> Tensor:
    """(heads, pairs): sum over i, j of (A - A')_ij G_ij, A' the weights when two places exchange their positions.

    G: (heads, Tq, Tk) gradient of the weights; rounds: (rounds, n) the partner of each of n places; index: their indices along the scores
    """
    whole, mover = Weights.of(dealer, G), Mover(dealer)
    sides = {one.keys for one in dealer.sides}
    found = []
    for partner in rounds:
        first = torch.arange(len(partner))
        at = first < partner
        t, u = index[first[at]], index[partner[at]]
        order = torch.arange(max(dealer.S.shape[1:]))
        order[t], order[u] = u, t
        scores = mover.to(order)
        lost = G.new_zeros(len(G), len(t))
        if False in sides:
            rows = of_rows(whole, scores, order, True in sides)
            lost += rows[:, t] + rows[:, u]
        if True in sides:
            for block in whole.blocks:
                pair, some = of_columns(whole, scores, block, (t, u), False in sides)
                lost[:, pair] += some
        found.append(lost)
    return torch.cat(found, -1)


def of_rows(whole: Weights, scores: Moved, order: Tensor, keys: bool) -> Tensor:
    """(heads, Tq): what each query loses in its own row when it has its partner's position; whether `keys` have theirs as well."""
    lost = torch.zeros_like(whole.lse)
    met = tuple(zip((torch.arange(len(order)), order), scores.met(), strict=True)) if keys else ()
    for block in whole.blocks:
        row = scores.rows(block.i, block.j)
        for column, value in met:
            mine, to = inside(column[block.i], block.j)
            row[:, mine, to] = value[:, block.i][:, mine]
        A = (row if block.hide is None else row.add_(block.hide)).softmax(-1)
        A = A if block.hide is None else A.nan_to_num_(0.0)  # rows in which all is hidden
        lost[:, block.i] = A.mul_(block.G).sum(-1)
    return lost


def inside(at: Tensor, part: slice) -> tuple[Tensor, Tensor]:
    """Which of some numbers lie in a part, and where in it."""
    here = ((at >= part.start) & (at < part.stop)).nonzero().flatten()
    return here, at[here] - part.start


def of_columns(whole: Weights, scores: Moved, block: Block, pairs: tuple[Tensor, Tensor], queries: bool) -> tuple[Tensor, Tensor]:
    """Which pairs are seen in a block, and (heads, those) what the rest of its rows loses by their two columns.

    Where `queries` move too, the rows of the pair itself are not counted: `of_rows` does.
    """
    rise = scores.columns(block.j, block.i).sub_(whole.lse[:, None, block.i])  # log of the new weight by the old sum
    if block.hide_by_key is not None:
        rise.add_(block.hide_by_key)
    change = rise.exp()
    high = bool(change.amax() > math.exp(RISES))
    change = (change.clamp_(max=math.exp(RISES)) if high else change).sub_(block.A_by_key)
    pair, a, b = columns_of(pairs, block.j)

    def of_pair(x: Tensor) -> Tensor:
        """(heads, pairs, i) sums of the columns that are seen."""
        found = x.index_select(1, a)
        found[:, : len(b)] += x.index_select(1, b)
        return found

    Z = of_pair(change).add_(1)
    some = of_pair(change.mul_(block.G_by_key))
    wrong = Z < CANCELS if high or bool(Z.numel() and Z.amin() < CANCELS) else torch.empty(0)
    if high:
        wrong |= of_pair((rise > RISES).to(Z.dtype)) > 0
    some.div_(Z.masked_fill_(wrong, 1) if len(wrong) else Z)
    for own in pairs if queries else ():
        mine, at = inside(own[pair], block.i)
        some[:, mine, at] = 0.0
        if len(wrong):
            wrong[:, mine, at] = False
    if bool(wrong.any()):
        again(whole, rise, block, [x[pair] for x in pairs], some, wrong)
    return pair, some.sum(-1)


def columns_of(pairs: tuple[Tensor, Tensor], j: slice) -> tuple[Tensor, Tensor, Tensor]:
    """(which pairs are seen, one column of each, the other of the first of them): those of which both columns are seen come first."""
    t, u = (x - j.start for x in pairs)
    sees_t, sees_u = ((x >= 0) & (x < j.stop - j.start) for x in (t, u))
    both, one = (sees_t & sees_u).nonzero().flatten(), (sees_t ^ sees_u).nonzero().flatten()
    return torch.cat([both, one]), torch.cat([t[both], torch.where(sees_t, t, u)[one]]), u[both]


def again(whole: Weights, rise: Tensor, block: Block, columns: list[Tensor], some: Tensor, wrong: Tensor) -> None:
    """Put into `some` what is wrong, computed from whole rows, each with its two columns replaced."""
    heads, pair, query = wrong.nonzero(as_tuple=True)
    for part in torch.arange(len(heads)).split(max(MOST // rise.shape[1], 1)):
        h, p, q = heads[part], pair[part], query[part]
        S = whole.scores[h, q + block.i.start, block.j]
        for column in columns:
            mine, at = inside(column[p], block.j)
            x, y = h[mine], q[mine]
            S[mine, at] = rise[x, at, y] + whole.lse[x, y + block.i.start]
        some.index_put_((h, p, q), (S.softmax(-1) * block.G[h, q]).sum(-1))
