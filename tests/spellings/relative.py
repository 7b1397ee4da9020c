"""Vectors for each pair of places: met by queries (gathered, skewed, looked up), or mixed by attention like values."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import HEAD, HEADS, PLACES, WIDTH, Group, drawn, linear
from .byhand import Leaves, by_hand, half
from .scores import attending, offsets

ROWS = 2 * PLACES - 1
KEYS, VALUES = drawn("relative keys", ROWS, HEAD, scale=0.7), drawn("relative values", ROWS, HEAD, scale=0.7)


def by_hand_keys() -> dict[str, Tensor]:
    def score(leaves: Leaves, s: Tensor, q: Tensor) -> Tensor:
        each = leaves.leaf(KEYS[offsets(PLACES)])
        return s + half(torch.einsum("bhid,ijd->bhij", q, each)) / math.sqrt(HEAD)

    return by_hand(score=score)


def by_hand_values() -> dict[str, Tensor]:
    def mix(leaves: Leaves, a: Tensor, out: Tensor) -> Tensor:
        return out + half(torch.einsum("bhij,ijd->bhid", a, leaves.leaf(VALUES[offsets(PLACES)])))

    return by_hand(mix=mix)


BOTH = ("relative embedding", "relative embedding")
keys = Group("relative embedding", "met by queries", BOTH, build=attending, truth=by_hand_keys)
values = Group("relative embedding", "mixed like values", BOTH, build=attending, truth=by_hand_values)


class Met(nn.Module):
    """Attention with scores of queries and relative keys, `pairs(q)`, beside those of queries and keys."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(KEYS.clone())

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return ((q @ k.mT + self.pairs(q)) / math.sqrt(HEAD)).softmax(-1) @ v


@keys
class LookedUpForEachPair(Met):
    def pairs(self, q: Tensor) -> Tensor:
        return torch.einsum("bhid,ijd->bhij", q, self.table[offsets(q.shape[-2])])


@keys
class Embedded(Met):
    def __init__(self) -> None:
        super().__init__()
        del self.table
        self.table = nn.Embedding.from_pretrained(KEYS.clone(), freeze=False)

    def pairs(self, q: Tensor) -> Tensor:
        return (q[..., None, :] @ self.table(offsets(q.shape[-2])).mT).squeeze(-2)


@keys
class Gathered(Met):
    def pairs(self, q: Tensor) -> Tensor:
        T = q.shape[-2]
        return (q @ self.table.T).gather(-1, offsets(T).expand(len(q), HEADS, T, T))


@keys
class TakenAlong(Met):
    def pairs(self, q: Tensor) -> Tensor:
        return torch.take_along_dim(q @ self.table.T, offsets(q.shape[-2])[None, None], -1)


@keys
class IndexedByTwo(Met):
    def pairs(self, q: Tensor) -> Tensor:
        T = q.shape[-2]
        return (q @ self.table.T)[:, :, torch.arange(T)[:, None], offsets(T)]


@keys
class Skewed(Met):
    """A column of zeros, and the rows read one further each."""

    def pairs(self, q: Tensor) -> Tensor:
        T = q.shape[-2]
        s = F.pad(q @ self.table.T, (0, 1)).flatten(-2)
        return F.pad(s, (0, T - 1)).unflatten(-1, (T + 1, 2 * T - 1))[..., :T, T - 1 :]


@keys
class RowByRow(Met):
    def pairs(self, q: Tensor) -> Tensor:
        T = q.shape[-2]
        return torch.stack([q[..., i, :] @ self.table[T - 1 - i : 2 * T - 1 - i].T for i in range(T)], -2)


@keys
class PairByPair(Met):
    def pairs(self, q: Tensor) -> Tensor:
        T = q.shape[-2]
        rows = [torch.stack([(q[..., i, :] * self.table[j - i + T - 1]).sum(-1) for j in range(T)], -1) for i in range(T)]
        return torch.stack(rows, -2)


@keys
class OneHot(Met):
    def pairs(self, q: Tensor) -> Tensor:
        return torch.einsum("bhir,ijr->bhij", q @ self.table.T, F.one_hot(offsets(q.shape[-2]), ROWS).to(q))


@keys
class MultipliedAndSummed(Met):
    def pairs(self, q: Tensor) -> Tensor:
        return (q[..., None, :] * self.table[offsets(q.shape[-2])]).sum(-1)


@keys
class PlacesOfTheQueryInTheBatch(Met):
    def pairs(self, q: Tensor) -> Tensor:
        T, each = q.shape[-2], self.table[offsets(q.shape[-2])]
        s = torch.bmm(q.permute(2, 0, 1, 3).flatten(1, 2), each.mT)
        return s.view(T, len(q), HEADS, T).permute(1, 2, 0, 3)


@keys
class HandedToTheFusedKernel(Met):
    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        T = q.shape[-2]
        more = (q @ self.table.T).gather(-1, offsets(T).expand(len(q), HEADS, T, T)) / math.sqrt(HEAD)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=more)


@keys
class Attribute(Met):
    def __init__(self) -> None:
        super().__init__()
        del self.table
        self.table = KEYS[offsets(PLACES)]

    def pairs(self, q: Tensor) -> Tensor:
        return torch.einsum("bhid,ijd->bhij", q, self.table)


# --- vectors made from waves by a linear map, as in Transformer-XL ---------------------------------------------------


def wave_rows(rows: int) -> Tensor:
    of = torch.outer(torch.arange(1 - rows, rows).double(), 100.0 ** (-torch.arange(0, WIDTH, 2).double() / WIDTH))
    return torch.cat([of.sin(), of.cos()], -1)


mapped = Group("relative embedding", "waves through a map", BOTH, build=attending)


class Mapped(nn.Module):
    """A learned vector added to the queries on each side, as the paper has it."""

    def __init__(self) -> None:
        super().__init__()
        self.to_rows = linear("waves", WIDTH, HEAD, bias=False)
        self.u, self.v = nn.Parameter(drawn("u", HEAD, scale=0.3)), nn.Parameter(drawn("v", HEAD, scale=0.3))

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        s = (q + self.u) @ k.mT + self.pairs(q + self.v, self.to_rows(wave_rows(q.shape[-2])))
        return (s / math.sqrt(HEAD)).softmax(-1) @ v


@mapped
class MappedAndGathered(Mapped):
    def pairs(self, q: Tensor, rows: Tensor) -> Tensor:
        T = q.shape[-2]
        return (q @ rows.T).gather(-1, offsets(T).expand(len(q), HEADS, T, T))


@mapped
class MappedAndSkewed(Mapped):
    def pairs(self, q: Tensor, rows: Tensor) -> Tensor:
        T = q.shape[-2]
        s = F.pad(F.pad(q @ rows.T, (0, 1)).flatten(-2), (0, T - 1))
        return s.unflatten(-1, (T + 1, 2 * T - 1))[..., :T, T - 1 :]


@mapped
class MappedAndShiftedAsInThePaper(Mapped):
    """A column of zeros in front; the whole read as if it had one row more."""

    def pairs(self, q: Tensor, rows: Tensor) -> Tensor:
        T = q.shape[-2]
        s = F.pad(q @ rows.T, (1, 0))
        return s.reshape(*s.shape[:-2], 2 * T, T)[..., 1:, :].reshape(*s.shape[:-2], T, 2 * T - 1)[..., :T]


@mapped
class MappedAndLookedUp(Mapped):
    def pairs(self, q: Tensor, rows: Tensor) -> Tensor:
        return torch.einsum("bhid,ijd->bhij", q, F.embedding(offsets(q.shape[-2]), rows))


# --- values ----------------------------------------------------------------------------------------------------------


class Mixed(nn.Module):
    """What attention mixes of the values, and `mix(a)` of relative ones."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(VALUES.clone())

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        a = (q @ k.mT / math.sqrt(HEAD)).softmax(-1)
        return a @ v + self.mix(a)


@values
class ValuesInEinsum(Mixed):
    def mix(self, a: Tensor) -> Tensor:
        return torch.einsum("bhij,ijd->bhid", a, self.table[offsets(a.shape[-1])])


@values
class ValuesInMatmul(Mixed):
    def mix(self, a: Tensor) -> Tensor:
        return (a[..., None, :] @ self.table[offsets(a.shape[-1])]).squeeze(-2)


@values
class ValuesMultipliedAndSummed(Mixed):
    def mix(self, a: Tensor) -> Tensor:
        return (a[..., None] * self.table[offsets(a.shape[-1])]).sum(-2)


@values
class ValuesRowByRow(Mixed):
    def mix(self, a: Tensor) -> Tensor:
        T = a.shape[-1]
        return torch.stack([a[..., i, :] @ self.table[T - 1 - i : 2 * T - 1 - i] for i in range(T)], -2)


@values
class ValuesOfAnEmbedding(Mixed):
    def __init__(self) -> None:
        super().__init__()
        del self.table
        self.table = nn.Embedding.from_pretrained(VALUES.clone(), freeze=False)

    def mix(self, a: Tensor) -> Tensor:
        return torch.einsum("bhij,ijd->bhid", a, self.table(offsets(a.shape[-1])))


@values
class WeightsSkewedOntoOffsets(Mixed):
    """The other way round: attention weights laid out by offset, then one product with the table."""

    def mix(self, a: Tensor) -> Tensor:
        T = a.shape[-1]
        wide = torch.stack([F.pad(a[..., i, :], (T - 1 - i, i)) for i in range(T)], -2)
        return wide @ self.table
