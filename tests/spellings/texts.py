"""Texts of one token, tables that are all zero, and rows of a batch: positions are where they were."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .added import ROWS, OneHot, Table, WavesInABuffer, entering, steps, waves
from .base import IDS, LONGEST, PLACES, WIDTH, Group, Net
from .byhand import by_hand, half
from .products import FACTORS, Joined, Scaled
from .relative import LookedUpForEachPair, ValuesInEinsum
from .relative import Gathered as GatheredKeys
from .rotary import Buffers, ComplexAttribute, Computed, MatricesInEinsum, angles, interleaved
from .scores import Buffer, Embedded, attending, distance, scored, slopes

# --- one token -------------------------------------------------------------------------------------------------------

ONE = {"places": (1,), "common": {"inputs": (IDS[:, :1],)}}
one_learnt = Group("texts", "one token, a table", ("learnable",), build=entering, **ONE, truth=lambda: by_hand(
    enter=lambda leaves, x: x + leaves.leaf(ROWS[:1], 0), ids=IDS[:, :1]
))  # fmt: skip
one_learnt.spelt("looked up")(Table)
one_learnt.spelt("one hot")(OneHot)


@one_learnt
class AParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(ROWS.clone())

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x + self.p[: ids.shape[1]]


@one_learnt
class AParameterFirstPlacesThenBatch(AParameter):
    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return (x.transpose(0, 1) + self.p[: ids.shape[1], None]).transpose(0, 1)


one_wave = Group("texts", "one token, waves", ("absolute",), build=entering, **ONE, truth=lambda: by_hand(
    enter=lambda leaves, x: x + leaves.leaf(waves()[:1], 0), ids=IDS[:, :1]
))  # fmt: skip
one_wave.spelt("a buffer")(WavesInABuffer)


@one_wave
def made_anew():
    return lambda x, ids: x + torch.stack([steps(ids).sin(), steps(ids).cos()], -1).flatten(1)


one_turn = Group("texts", "one token, rotary", ("rotary",) * 2, build=lambda part: Net(turn=part), **ONE)
for part in (Computed, Buffers, ComplexAttribute, MatricesInEinsum):
    one_turn(part)
one_alibi = Group("texts", "one token, alibi", ("alibi",) * 2, build=attending, **ONE)
one_alibi.spelt("a buffer")(Buffer)


@one_alibi
def distances():
    return scored(lambda s: s - slopes() * distance(s.shape[-1]))


one_factor = Group("texts", "one token, a factor", ("modulation",), build=entering, **ONE, truth=lambda: by_hand(
    enter=lambda leaves, x: half(x * leaves.leaf(FACTORS[:1], 0)), ids=IDS[:, :1]
))  # fmt: skip


@one_factor
class FactorsOfAParameter(Scaled):
    def times(self, x: Tensor, f: Tensor) -> Tensor:
        return x * f


@one_factor
class FactorsOfATable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(FACTORS.clone(), freeze=False)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x * self.table(torch.arange(ids.shape[1]))


# --- nothing learnt yet ----------------------------------------------------------------------------------------------

zero = Group("texts", "a table of zeros", ("learnable",), build=entering, truth=lambda: by_hand(
    enter=lambda leaves, x: x + leaves.leaf(torch.zeros(PLACES, WIDTH, dtype=torch.float64), 0)
))  # fmt: skip


@zero
class ZerosInAParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.zeros(1, LONGEST, WIDTH, dtype=torch.float64))

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x + self.p[:, : ids.shape[1]]


@zero
class ZerosInATable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(torch.zeros(LONGEST, WIDTH, dtype=torch.float64), freeze=False)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x + self.table(torch.arange(ids.shape[1]))


@zero
class ZerosSubtracted(ZerosInAParameter):
    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x - self.p[:, : ids.shape[1]]


@zero
class ZerosSequenceFirst(ZerosInAParameter):
    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return (x.transpose(0, 1) + self.p[0, : ids.shape[1], None]).transpose(0, 1)


unbiased = Group("texts", "a bias of zeros", ("relative bias",) * 2, build=attending)


@unbiased
class ZerosByOffset(Embedded):
    def __init__(self) -> None:
        super().__init__()
        self.table.weight.data.zero_()


@unbiased
class ZerosForEachPair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Parameter(torch.zeros(2, PLACES, PLACES, dtype=torch.float64))

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.mT / 8**0.5 + self.each).softmax(-1) @ v


@unbiased
class ZerosForTheFusedKernel(ZerosForEachPair):
    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.each)


# --- rows of a batch -------------------------------------------------------------------------------------------------

BOTH = torch.cat([IDS, (IDS + 3) % 20])


class Beside(Joined):
    """Features joined as a batch has them."""

    def join(self, x: Tensor, p: Tensor) -> Tensor:
        return torch.cat([x, p.expand(len(x), -1, -1)], -1)


def turns_of(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Tables with a row for each text of the batch."""
    of = angles(q.shape[-2])[None, None].expand(len(q), -1, -1, -1)
    return interleaved(q, of.cos(), of.sin()), interleaved(k, of.cos(), of.sin())


BATCHES = {
    "a table": (lambda: Net(enter=Table()), ("learnable",)),
    "waves": (lambda: Net(enter=WavesInABuffer()), ("absolute",)),
    "rotary": (lambda: Net(turn=Computed), ("rotary",) * 2),
    "rotary, a row of tables each": (lambda: Net(turn=lambda: turns_of), ("rotary",) * 2),
    "rotary, complex": (lambda: Net(turn=ComplexAttribute), ("rotary",) * 2),
    "alibi": (lambda: Net(attend=Buffer), ("alibi",) * 2),
    "a table by offset": (lambda: Net(attend=Embedded), ("relative bias",) * 2),
    "relative keys": (lambda: Net(attend=LookedUpForEachPair), ("relative embedding",) * 2),
    "relative keys, gathered": (lambda: Net(attend=GatheredKeys), ("relative embedding",) * 2),
    "relative values": (lambda: Net(attend=ValuesInEinsum), ("relative embedding",) * 2),
    "joined": (lambda: Net(enter=Beside()), ("joined",)),
}
ROWS_ALONE: dict[str, Group] = {}
for called, (build, kinds) in BATCHES.items():
    for row in (0, 1):
        group = ROWS_ALONE[f"{called} {row}"] = Group("batches", f"{called}, row {row}", kinds)
        group.whole("alone", build, inputs=(BOTH[row : row + 1],))
        group.whole("of a batch of two", build, inputs=(BOTH,), row=row)
