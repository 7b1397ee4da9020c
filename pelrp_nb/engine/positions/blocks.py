"""Attention as it stands, cut into pieces that a processor's cache holds: some queries, the keys that they see, and some heads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .moving import Mover, in_one_piece

BLOCK = 64  # queries that are looked at together: at most, where some keys are hidden, and at least
CHUNK = 1 << 18  # keys times queries, and heads, at a time


@dataclass(frozen=True)
class Hidden:
    """What hides some of the scores (heads, a, b): 0 or -inf, along one axis from the first to the last where it hides any."""

    axis: int
    part: slice
    hide: Tensor

    @staticmethod
    def of(hidden: Tensor, axis: int, dtype: torch.dtype) -> Hidden | None:
        """Of those (1 or heads, a, b) that are hidden; None if none is."""
        part = reach(hidden.transpose(axis, -1).flatten(0, 1).any(0))
        if part is None:
            return None
        hidden = hidden.narrow(axis, part.start, part.stop - part.start).contiguous()
        return Hidden(axis, part, torch.zeros_like(hidden, dtype=dtype).masked_fill_(hidden, -torch.inf))

    def on(self, scores: Tensor, h: slice) -> None:
        """Hide, in place, scores of some heads."""
        scores.narrow(self.axis, self.part.start, self.part.stop - self.part.start).add_(self.hide if len(self.hide) == 1 else self.hide[h])


def reach(some: Tensor) -> slice | None:
    """From the first to the last that is true."""
    at = some.nonzero().flatten().tolist()
    return slice(at[0], at[-1] + 1) if at else None


@dataclass(frozen=True)
class Block:
    """Some queries i and the keys j from the first to the last that one of them sees.

    rows, columns: which of the contents that take part have their queries, and their keys, among them; row_in, column_in: where in these
    hidden: (1 or heads, i, j); hidden_rows: (1 or heads, rows, j), hidden_columns: (1 or heads, columns, i); None if nothing is
    """

    i: slice
    j: slice
    rows: slice
    columns: slice
    row_in: slice | Tensor
    column_in: slice | Tensor
    hidden: Tensor
    hidden_rows: Hidden | None
    hidden_columns: Hidden | None

    @staticmethod
    def of(i: slice, j: slice, at: Tensor, hidden: Tensor, dtype: torch.dtype) -> Block:
        """at: where the contents stand, in rising order; hidden: (1 or heads, Tq, Tk)."""
        rows, columns = (slice(*torch.searchsorted(at, torch.tensor([x.start, x.stop])).tolist()) for x in (i, j))
        row_in, column_in = in_one_piece(at[rows] - i.start), in_one_piece(at[columns] - j.start)
        hidden = hidden[:, i, j]
        by_row, by_column = Hidden.of(hidden[:, row_in], -1, dtype), Hidden.of(hidden[..., column_in].mT, -2, dtype)
        return Block(i, j, rows, columns, row_in, column_in, hidden, by_row, by_column)


def blocks(hidden: Tensor, at: Tensor, dtype: torch.dtype) -> Iterator[Block]:
    """Some queries at a time, and the keys from the first to the last that one of them sees."""
    sees = ~hidden.all(0)
    step = BLOCK if bool(hidden.any()) else max(CHUNK // sees.shape[1], BLOCK)
    for first in range(0, len(sees), step):
        i = slice(first, min(first + step, len(sees)))
        j = reach(sees[i].any(0))
        if j is not None:
            yield Block.of(i, j, at, hidden, dtype)


@dataclass(frozen=True)
class Piece:
    """Some heads h of a block: their weights A and the gradient G of these, less: sum_j A_ij G_ij of each row less G.

    G: (h, i, j); base: (h, 1, i) less the log, in bits, of the sum of exp of each row's scores; mean: (h, i) sum_j A_ij G_ij
    of contents that take part: row_G (h, rows, j), row_base (h, rows, 1), row_mean (h, rows), A and less (h, columns, i)
    """

    h: slice
    G: Tensor
    base: Tensor
    mean: Tensor
    row_G: Tensor
    row_base: Tensor
    row_mean: Tensor
    A: Tensor
    less: Tensor

    @staticmethod
    def of(mover: Mover, block: Block, h: slice, G: Tensor) -> Piece:
        """G: (heads, Tq, Tk)."""
        S = mover.as_they_stand(h, block.j, block.i)
        S.masked_fill_(block.hidden[h if len(block.hidden) > 1 else slice(1)].mT, -torch.inf)
        most = S.amax(1)
        most.masked_fill_(most == -torch.inf, 0)
        sums = S.sub_(most[:, None]).exp2_().sum(1)
        dead = sums == 0  # rows in which all is hidden
        sums.masked_fill_(dead, 1)
        A, base = S.div_(sums[:, None]), most.add_(sums.log2()).neg_()
        G = G[h, block.i, block.j]
        by_key = G.mT.contiguous()
        mean = (A * by_key).sum(1)
        less = torch.sub(mean[:, None], by_key, out=by_key)[:, block.column_in]
        row_G, row_base, row_mean = (x[:, block.row_in].contiguous() for x in (G, base, mean))
        A = A[:, block.column_in].contiguous()
        return Piece(h, G, base[:, None], mean, row_G, row_base[..., None], row_mean, A, less.contiguous())


def pieces(mover: Mover, block: Block, G: Tensor) -> list[Piece]:
    """As many heads at a time as a cache holds."""
    step = max(CHUNK // ((block.i.stop - block.i.start) * (block.j.stop - block.j.start)), 1)
    return [Piece.of(mover, block, slice(first, min(first + step, len(G))), G) for first in range(0, len(G), step)]
