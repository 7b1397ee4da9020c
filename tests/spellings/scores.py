"""Numbers for each pair of places added to attention scores: slopes by distance, tables by offset, a learnt (T, T); decays."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import HEAD, HEADS, LONGEST, PLACES, Group, Net, drawn
from .byhand import Leaves, by_hand, half

SLOPES = (0.5, 0.25)


def slopes() -> Tensor:
    return torch.tensor(SLOPES, dtype=torch.float64)[:, None, None]


def distance(rows: int) -> Tensor:
    i = torch.arange(rows)
    return (i[None] - i[:, None]).abs().double()


def offsets(rows: int) -> Tensor:
    """j - i, from 0."""
    i = torch.arange(rows)
    return i[None] - i[:, None] + rows - 1


def scored(score) -> object:
    """Attention written out, with `score(s)` between product and softmax."""
    return lambda q, k, v: score(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1) @ v


class Scored(nn.Module):
    """The same for a module that keeps something."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.score(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1) @ v


def fused(bias) -> object:
    """Torch's fused attention, `bias(T)` as its mask."""
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=bias(q.shape[-2]))


def attending(part) -> Net:
    return Net(attend=part)


def by_hand_bias(bias: Tensor):
    return lambda: by_hand(score=lambda leaves, s, q: s + leaves.leaf(bias))


ALIBI = -slopes() * distance(LONGEST)
alibi = Group("bias", "alibi", ("alibi", "alibi"), build=attending, truth=by_hand_bias(ALIBI[:, :PLACES, :PLACES]))


@alibi
def subtracted():
    return scored(lambda s: s - slopes() * distance(s.shape[-1]))


@alibi
def its_negative_added():
    return scored(lambda s: s + -slopes() * distance(s.shape[-1]))


@alibi
def added_first():
    return scored(lambda s: -slopes() * distance(s.shape[-1]) + s)


@alibi
def the_method_with_a_factor():
    return scored(lambda s: s.add(slopes() * distance(s.shape[-1]), alpha=-1))


@alibi
def in_place():
    def score(s: Tensor) -> Tensor:
        s -= slopes() * distance(s.shape[-1])
        return s

    return scored(score)


@alibi
class Buffer(Scored):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("m", ALIBI.clone())

    def score(self, s: Tensor) -> Tensor:
        return s + self.m[:, : s.shape[-1], : s.shape[-1]]


@alibi
class Attribute(Scored):
    def __init__(self) -> None:
        super().__init__()
        self.m = -ALIBI[None]

    def score(self, s: Tensor) -> Tensor:
        return s - self.m[:, :, : s.shape[-1], : s.shape[-1]]


@alibi
class KeptAfterTheFirstCall(Scored):
    kept: Tensor | None = None

    def score(self, s: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = -slopes() * distance(s.shape[-1])
        return s + self.kept


@alibi
def numpy_and_lists():
    m = torch.from_numpy(np.array([[[-f * abs(i - j) for j in range(PLACES)] for i in range(PLACES)] for f in SLOPES]))
    return scored(lambda s: s + m)


@alibi
def closure():
    return scored(lambda s: s + ALIBI[:, : s.shape[-1], : s.shape[-1]])


@alibi
def row_by_row():
    def score(s: Tensor) -> Tensor:
        by = distance(s.shape[-1])
        return torch.stack([s[..., i, :] - slopes()[:, 0] * by[i] for i in range(s.shape[-2])], -2)

    return scored(score)


@alibi
def head_by_head():
    return scored(lambda s: torch.stack([s[:, h] - SLOPES[h] * distance(s.shape[-1]) for h in range(HEADS)], 1))


@alibi
def heads_merged_into_the_batch():
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        T, bias = q.shape[-2], ALIBI[:, : q.shape[-2], : q.shape[-2]]
        s = torch.baddbmm(bias.repeat(len(q), 1, 1), q.flatten(0, 1), k.flatten(0, 1).mT, alpha=1 / math.sqrt(HEAD))
        return torch.bmm(s.softmax(-1), v.flatten(0, 1)).view(len(q), HEADS, T, HEAD)

    return attend


@alibi
def the_fused_kernel():
    return fused(lambda T: -slopes() * distance(T))


@alibi
def the_fused_kernel_and_a_closure():
    return fused(lambda T: ALIBI[None, :, :T, :T])


@alibi
def transposed_scores():
    """Keys first, softmax over the axis before the last."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        s = k @ q.mT / math.sqrt(HEAD) - slopes() * distance(q.shape[-2])
        return s.softmax(-2).mT @ v

    return attend


# --- with a causal mask ----------------------------------------------------------------------------------------------


def later(rows: int) -> Tensor:
    return torch.ones(rows, rows, dtype=torch.bool).triu(1)


def by_hand_causal() -> dict[str, Tensor]:
    def score(leaves: Leaves, s: Tensor, q: Tensor) -> Tensor:
        return (s + leaves.leaf(ALIBI[:, :PLACES, :PLACES])).masked_fill(later(PLACES), -torch.inf)

    return by_hand(score=score)


masked = Group("bias", "alibi and a mask", ("alibi", "alibi"), build=attending, truth=by_hand_causal)
HIDING = torch.zeros(LONGEST, LONGEST, dtype=torch.float64).masked_fill(later(LONGEST), -torch.inf)


@masked
def masked_after():
    return scored(lambda s: (s - slopes() * distance(s.shape[-1])).masked_fill(later(s.shape[-1]), -torch.inf))


@masked
def mask_added_after():
    return scored(lambda s: s - slopes() * distance(s.shape[-1]) + HIDING[: s.shape[-1], : s.shape[-1]])


@masked
def mask_added_before():
    return scored(lambda s: s + HIDING[: s.shape[-1], : s.shape[-1]] - slopes() * distance(s.shape[-1]))


@masked
def mask_and_bias_in_one():
    return scored(lambda s: s + (HIDING + ALIBI)[:, : s.shape[-1], : s.shape[-1]])


@masked
def mask_and_bias_in_one_of_finite_numbers():
    return scored(lambda s: s + (HIDING.clamp(min=-1e9) + ALIBI)[:, : s.shape[-1], : s.shape[-1]])


@masked
def mask_and_bias_in_one_fused():
    return fused(lambda T: (HIDING + ALIBI)[:, :T, :T])


@masked
def where():
    return scored(lambda s: torch.where(later(s.shape[-1]), -torch.inf, s + ALIBI[:, : s.shape[-1], : s.shape[-1]]))


# --- tables by offset ------------------------------------------------------------------------------------------------

TABLE = drawn("offsets", 2 * PLACES - 1, HEADS, scale=0.7)


def by_offset() -> Tensor:
    return TABLE[offsets(PLACES)].permute(2, 0, 1)


table = Group("bias", "a table by offset", ("relative bias",) * 2, build=attending, truth=by_hand_bias(by_offset()))


class Tabled(Scored):
    """A learnt number per offset and head."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(TABLE.clone())

    def score(self, s: Tensor) -> Tensor:
        return s + self.bias(s.shape[-1])


@table
class Embedded(Scored):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(TABLE.clone(), freeze=False)

    def score(self, s: Tensor) -> Tensor:
        return s + self.table(offsets(s.shape[-1])).permute(2, 0, 1)


@table
class IndexInABuffer(Tabled):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("index", offsets(PLACES))

    def bias(self, rows: int) -> Tensor:
        return self.table[self.index.view(-1)].view(rows, rows, HEADS).permute(2, 0, 1)


@table
class IndexInAnAttribute(Tabled):
    def __init__(self) -> None:
        super().__init__()
        self.index = offsets(PLACES)

    def bias(self, rows: int) -> Tensor:
        return self.table[self.index.view(-1)].view(rows, rows, HEADS).permute(2, 0, 1)


@table
class OneHot(Tabled):
    def bias(self, rows: int) -> Tensor:
        return torch.einsum("ijr,rh->hij", F.one_hot(offsets(rows), 2 * rows - 1).double(), self.table)


@table
class Gathered(Tabled):
    def bias(self, rows: int) -> Tensor:
        return self.table.T.gather(1, offsets(rows).flatten()[None].expand(HEADS, -1)).view(HEADS, rows, rows)


@table
class Skewed(Tabled):
    """Row i of the matrix is a window of the table that starts at rows - 1 - i."""

    def bias(self, rows: int) -> Tensor:
        return torch.stack([self.table[rows - 1 - i : 2 * rows - 1 - i] for i in range(rows)]).permute(2, 0, 1)


@table
class Unfolded(Tabled):
    def bias(self, rows: int) -> Tensor:
        return self.table.T.unfold(1, rows, 1).flip(1)


@table
class PairByPair(Tabled):
    def bias(self, rows: int) -> Tensor:
        return torch.stack([torch.stack([self.table[j - i + rows - 1] for j in range(rows)], -1) for i in range(rows)], 1)


@table
class FusedTable(Tabled):
    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias(q.shape[-2])[None])

    def bias(self, rows: int) -> Tensor:
        return self.table[offsets(rows)].permute(2, 0, 1)


@table
class WholeMatrix(Scored):
    """A learnt number for each pair."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Parameter(by_offset().clone())

    def score(self, s: Tensor) -> Tensor:
        return self.each + s


@table
class MadeOnceForAllLayers(Tabled):
    def bias(self, rows: int) -> Tensor:
        return F.embedding(offsets(rows).view(-1), self.table).T.reshape(HEADS, rows, rows)


# --- decays ----------------------------------------------------------------------------------------------------------

GAMMA = torch.tensor([0.9, 0.7], dtype=torch.float64)[:, None, None]
decay = Group("decay", "scores times a power of the distance", ("decay", "decay"), build=attending, truth=lambda: by_hand(
    score=lambda leaves, s, q: half(s * leaves.leaf(GAMMA ** distance(PLACES)))
))  # fmt: skip


@decay
def computed():
    return scored(lambda s: s * GAMMA ** distance(s.shape[-1]))


@decay
def computed_first():
    return scored(lambda s: (GAMMA ** distance(s.shape[-1])).mul(s))


@decay
def an_exponential():
    return scored(lambda s: s * torch.exp(GAMMA.log() * distance(s.shape[-1])))


@decay
def divided():
    return scored(lambda s: s / GAMMA ** -distance(s.shape[-1]))


@decay
class DecayInABuffer(Scored):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("d", GAMMA ** distance(LONGEST))

    def score(self, s: Tensor) -> Tensor:
        return s * self.d[:, : s.shape[-1], : s.shape[-1]]


@decay
class DecayInAnAttribute(Scored):
    def __init__(self) -> None:
        super().__init__()
        self.d = GAMMA ** distance(LONGEST)

    def score(self, s: Tensor) -> Tensor:
        return torch.einsum("bhij,hij->bhij", s, self.d[:, : s.shape[-1], : s.shape[-1]])


@decay
def decay_row_by_row():
    def score(s: Tensor) -> Tensor:
        by = GAMMA ** distance(s.shape[-1])
        return torch.stack([s[..., i, :] * by[:, i] for i in range(s.shape[-2])], -2)

    return scored(score)


@decay
def decay_from_numpy():
    by = torch.from_numpy(np.power(GAMMA.numpy(), distance(PLACES).numpy()))
    return scored(lambda s: s.mul(by))


# --- retention: no softmax at all ------------------------------------------------------------------------------------

retention = Group("decay", "retention", ("decay", "decay"), build=attending)


def kept(rows: int) -> Tensor:
    return (GAMMA ** distance(rows)).masked_fill(later(rows), 0.0)


@retention
def scores_times_decay():
    return lambda q, k, v: (q @ k.mT * kept(q.shape[-2])) @ v


@retention
def decay_in_the_einsum_of_scores():
    return lambda q, k, v: torch.einsum("bhij,hij->bhij", torch.einsum("bhid,bhjd->bhij", q, k), kept(q.shape[-2])) @ v


@retention
class RetentionBuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("d", kept(PLACES), persistent=False)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.mT).mul_(self.d) @ v


@retention
def decay_masked_afterwards():
    return lambda q, k, v: (q @ k.mT * GAMMA ** distance(q.shape[-2])).masked_fill(later(q.shape[-2]), 0.0) @ v


@retention
def decay_cut_by_tril():
    return lambda q, k, v: (q @ k.mT * GAMMA ** distance(q.shape[-2])).tril() @ v
