"""Where places are easily lost: views of bare memory, windows of ids, scattered writes, padding, pieces cut off, pooled texts, queries."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .added import ROWS
from .base import HEAD, PLACES, WIDTH, Attention, Body, Group, Net, drawn
from .byhand import Leaves, by_hand
from .layouts import WINDOW, Tabled, Windowed


def plainly(leaves: Leaves, x: Tensor) -> Tensor:
    """A vector for each place, added."""
    return x + leaves.leaf(ROWS[:PLACES], 0)


# --- memory read another way (Longformer) ----------------------------------------------------------------------------

strided = Group("followed", "memory read another way", ("learnable",))
entered = Group("followed", "positions added in chunks", ("learnable",), truth=lambda: by_hand(enter=plainly))


def in_memory(x: Tensor) -> Tensor:
    """(B, H, T, D) in windows, by the steps of its memory alone."""
    B, H, T, D = x.shape
    b, h, t, d = x.stride()
    return x.as_strided((B, H, T // WINDOW, WINDOW, D), (b, h, WINDOW * t, t, d))


class Strided(Tabled):
    """Attention within windows that are views of bare memory."""

    def __init__(self) -> None:
        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k, v = map(in_memory, (q, k, v))
            return ((q @ k.mT / math.sqrt(HEAD)).softmax(-1) @ v).flatten(2, 3)

        super().__init__(attend=lambda: attend)


class StridedVectors(Tabled):
    """Vectors in chunks; each place of a chunk has its own."""

    def forward(self, ids: Tensor) -> Tensor:
        return Body.forward(self, self.add(self.tokens(ids)))

    def add(self, x: Tensor) -> Tensor:
        B, T, D = x.shape
        b, t, d = x.stride()
        x = x.as_strided((B, T // WINDOW, WINDOW, D), (b, WINDOW * t, t, d)) + self.p[:T].view(-1, WINDOW, D)
        return x.flatten(1, 2)


class TurnedInMemory(StridedVectors):
    """Places before rows, and read back."""

    def add(self, x: Tensor) -> Tensor:
        B, T, D = x.shape
        x = x.transpose(0, 1).contiguous()
        return x.as_strided((B, T, D), (D, B * D, 1)) + self.p[:T]


class Unfolded(StridedVectors):
    def add(self, x: Tensor) -> Tensor:
        x = x.unfold(1, WINDOW, WINDOW).mT + self.p[: x.shape[1]].view(-1, WINDOW, WIDTH)
        return x.flatten(1, 2)


strided.whole("views", Windowed)
strided.whole("as_strided", Strided)
for called, part in {"all at once": Tabled, "as_strided": StridedVectors, "turned": TurnedInMemory, "unfold": Unfolded}.items():
    entered.whole(called, part)


# --- windows of ids (a vector for each pair of neighbours) -----------------------------------------------------------

grams = Group("followed", "pairs of neighbours", ("learnable",), places=(PLACES,))


class Grams(Tabled):
    """The vectors of two neighbours, added up, and a vector for each pair."""

    def forward(self, ids: Tensor) -> Tensor:
        x = self.pairs(ids)
        return Body.forward(self, x + self.p[: x.shape[1]])

    def pairs(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids)
        return x[:, :-1] + x[:, 1:]


class GramsOfIds(Grams):
    def pairs(self, ids: Tensor) -> Tensor:
        return self.tokens(ids.unfold(1, 2, 1)).sum(2)


class GramsOfAPicture(Grams):
    def pairs(self, ids: Tensor) -> Tensor:
        return self.tokens(F.unfold(ids[:, None, None].double(), (1, 2)).long().mT).sum(-2)


class GramsOfVectors(Grams):
    def pairs(self, ids: Tensor) -> Tensor:
        return self.tokens(ids).unfold(1, 2, 1).sum(-1)


class GramsByPooling(Grams):
    def pairs(self, ids: Tensor) -> Tensor:
        return 2 * F.avg_pool1d(self.tokens(ids).mT, 2, 1).mT


class GramsStacked(Grams):
    def pairs(self, ids: Tensor) -> Tensor:
        return torch.stack([self.tokens(ids[:, :-1]), self.tokens(ids[:, 1:])], 2).sum(2)


grams.whole("slices", Grams)
for called, part in {"unfolded ids": GramsOfIds, "ids as a picture": GramsOfAPicture, "unfolded vectors": GramsOfVectors,
                     "stacked": GramsStacked}.items():  # fmt: skip
    grams.whole(called, part)


# --- what experts write back -----------------------------------------------------------------------------------------

experts = Group("followed", "written by experts", ("learnable",), truth=lambda: by_hand(enter=plainly))
ROWS_OF = (torch.arange(0, PLACES, 2), torch.tensor([5, 1, 3]))


class Experts(Tabled):
    """The vectors are given to two experts, who write them into a fresh tensor."""

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids)
        flat = x.flatten(0, 1)
        out = torch.zeros_like(flat)
        for rows in ROWS_OF:
            out = self.write(out, rows, flat[rows])
        return Body.forward(self, out.view(x.shape) + self.p[: x.shape[1]])


def put(out: Tensor, rows: Tensor, y: Tensor) -> Tensor:
    out[rows] = y
    return out


def added_to(out: Tensor, rows: Tensor, y: Tensor) -> Tensor:
    out[rows] += y
    return out


def spread(rows: Tensor, y: Tensor) -> Tensor:
    return rows[:, None].expand_as(y)


for called, write in {
    "written": put,
    "added in place": added_to,
    "index_add": lambda out, rows, y: out.index_add(0, rows, y),
    "index_add in place": lambda out, rows, y: out.index_add_(0, rows, y),
    "index_copy": lambda out, rows, y: out.index_copy(0, rows, y),
    "index_put": lambda out, rows, y: out.index_put((rows,), y),
    "index_put, accumulated": lambda out, rows, y: out.index_put((rows,), y, accumulate=True),
    "scatter": lambda out, rows, y: out.scatter(0, spread(rows, y), y),
    "scatter_add": lambda out, rows, y: out.scatter_add(0, spread(rows, y), y),
    "scatter_add, an index of its own": lambda out, rows, y: out.scatter_add(0, spread(rows, y).clone(), y),
}.items():
    experts.whole(called, type("WritesBack", (Experts,), {"write": lambda self, out, rows, y, write=write: write(out, rows, y)}))
experts.whole("none", Tabled)


# --- padding (Perceiver) ---------------------------------------------------------------------------------------------

padded = Group("followed", "features beside padding", ("learnable",), truth=lambda: by_hand(enter=plainly))


class Padded(Tabled):
    """Vectors with as many zeros behind them as there are places; positions are added to the features."""

    def forward(self, ids: Tensor) -> Tensor:
        x = self.pad(self.tokens(ids))
        p = F.pad(self.p[: ids.shape[1]], (0, PLACES))
        return Body.forward(self, (x + p)[..., :WIDTH])

    def pad(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, PLACES))


class PaddedByJoining(Padded):
    def pad(self, x: Tensor) -> Tensor:
        return torch.cat([x, x.new_zeros(*x.shape[:2], PLACES)], -1)


class PaddedByWriting(Padded):
    def pad(self, x: Tensor) -> Tensor:
        wide = x.new_zeros(*x.shape[:2], WIDTH + PLACES)
        wide[..., :WIDTH] = x
        return wide


class PaddedAlongPlaces(Tabled):
    """Places behind the text, which attention does not see, and positions for them too."""

    def __init__(self) -> None:
        super().__init__()
        for block in self.blocks:
            block.attention.attend = self.attend

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        hidden = torch.arange(k.shape[2]) >= PLACES
        return (q @ k.mT / math.sqrt(HEAD)).masked_fill(hidden, -torch.inf).softmax(-1) @ v

    def forward(self, ids: Tensor) -> Tensor:
        x = F.pad(self.tokens(ids), (0, 0, 0, 2)) + self.p[: PLACES + 2]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, PLACES - 1])


padded.whole("none", Tabled)
padded.whole("F.pad", Padded)
padded.whole("joined", PaddedByJoining)
padded.whole("written", PaddedByWriting)
behind = Group("followed", "places behind the text", ("learnable",), places=(PLACES + 2,))
behind.whole("F.pad", PaddedAlongPlaces)


class JoinedBehind(PaddedAlongPlaces):
    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids)
        x = torch.cat([x, x.new_zeros(len(x), 2, WIDTH)], 1) + self.p[: PLACES + 2]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, PLACES - 1])


behind.whole("joined", JoinedBehind)


# --- pieces of constants, cut off again (Pegasus-X) ------------------------------------------------------------------

GLOBAL = drawn("global", 2, WIDTH)
pieces = Group("followed", "global vectors", ("learnable",))


class Global(Tabled):
    """Two vectors of the model's own go beside the tokens, which read them; each layer adds to them, and they are cut off at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.each = nn.Parameter(GLOBAL.clone()), nn.Parameter(drawn("each", 2, WIDTH))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.p[: ids.shape[1]]
        own = self.own.expand(len(x), -1, -1)
        for block in self.blocks:
            x, own = self.layer(block, x, own)
        return self.head(self.norm(x)[:, -1])

    def layer(self, block: nn.Module, x: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        both = block(torch.cat([own, x], 1))
        return both[:, 2:], both[:, :2] + self.each


class GlobalSplit(Global):
    def layer(self, block: nn.Module, x: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        own, x = block(torch.cat([own, x], 1)).split([2, x.shape[1]], 1)
        return x, own + self.each


class GlobalBehind(Global):
    def layer(self, block: nn.Module, x: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        both = block(torch.cat([x, own], 1))
        return both[:, :-2], both[:, -2:] + self.each


pieces.whole("sliced", Global)
pieces.whole("split", GlobalSplit)
pieces.whole("behind", GlobalBehind, boundaries=False)


# --- pooled texts ----------------------------------------------------------------------------------------------------

GAIN, QUERIES = 1 + drawn("gain", PLACES, WIDTH, scale=0.2), drawn("own queries", PLACES, WIDTH)
pooled = Group("followed", "a pooled text", ("learnable",))
read = Group("followed", "pooled, then as many vectors as places", ("learnable",))


class Pooled(Tabled):
    """All places in one vector, which is read."""

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.p[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.pool(self.norm(x), ids))

    def pool(self, x: Tensor, ids: Tensor) -> Tensor:
        return x.mean(1)


class PooledByAMask(Pooled):
    def pool(self, x: Tensor, ids: Tensor) -> Tensor:
        mask = torch.ones_like(ids).to(x)[..., None]
        return (x * mask).sum(1) / mask.sum(1)


class PooledByAProduct(Pooled):
    def pool(self, x: Tensor, ids: Tensor) -> Tensor:
        return torch.full((1, ids.shape[1]), 1 / ids.shape[1], dtype=x.dtype) @ x.squeeze(0)


class PooledByTorch(Pooled):
    def pool(self, x: Tensor, ids: Tensor) -> Tensor:
        return F.adaptive_avg_pool1d(x.mT, 1).squeeze(-1)


class PooledInTwoSteps(Pooled):
    def pool(self, x: Tensor, ids: Tensor) -> Tensor:
        return x.unflatten(1, (-1, 2)).mean(2).mean(1)


class Spread(Pooled):
    """The pooled text beside each of as many vectors of the model's own as there are places."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.gain = nn.Parameter(QUERIES.clone()), nn.Parameter(GAIN.clone())

    def pool(self, x: Tensor, ids: Tensor) -> Tensor:
        return (x.mean(1, keepdim=True).expand(-1, PLACES, -1) * self.gain + self.own).mean(1)


class SpreadByBroadcasting(Spread):
    def pool(self, x: Tensor, ids: Tensor) -> Tensor:
        return (x.mean(1)[:, None] * self.gain + self.own).mean(1)


class SpreadByRepeating(Spread):
    def pool(self, x: Tensor, ids: Tensor) -> Tensor:
        return (x.mean(1).repeat(PLACES, 1) * self.gain + self.own).mean(0, keepdim=True)


for called, part in {"a mean": Pooled, "a mask": PooledByAMask, "a product": PooledByAProduct, "adaptive pooling": PooledByTorch,
                     "two steps": PooledInTwoSteps}.items():  # fmt: skip
    pooled.whole(called, part)
for called, part in {"expanded": Spread, "broadcast": SpreadByBroadcasting, "repeated": SpreadByRepeating}.items():
    read.whole(called, part)


# --- object queries (DETR) -------------------------------------------------------------------------------------------

OBJECTS = drawn("objects", PLACES, WIDTH)
detected = Group("followed", "object queries", ("learnable",))


class Detector(Net):
    """As many objects as places: vectors of their own, added to queries and keys of each layer, read the text with its positions."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.objects = nn.Parameter(ROWS.clone()), nn.Parameter(OBJECTS.clone())
        self.among, self.across = (nn.ModuleList(Attention(f"{name} {i}") for i in range(2)) for name in ("among", "across"))

    def forward(self, ids: Tensor) -> Tensor:
        memory = self.tokens(ids)
        of, at = self.begin(memory), self.p[: ids.shape[1]]
        x = torch.zeros_like(of)
        for among, across in zip(self.among, self.across):
            x = x + read_by(among, x + of, x + of, x)
            x = x + read_by(across, x + of, memory + at, memory)
        return self.head(self.norm(x)[:, -1])

    def begin(self, memory: Tensor) -> Tensor:
        return self.objects.expand(len(memory), -1, -1)


class DetectorThatRepeats(Detector):
    def begin(self, memory: Tensor) -> Tensor:
        return self.objects[None].repeat(memory.shape[0], 1, 1)


class DetectorBroadcasting(Detector):
    def begin(self, memory: Tensor) -> Tensor:
        return self.objects[None]


class DetectorByATable(Detector):
    def begin(self, memory: Tensor) -> Tensor:
        return F.embedding(torch.arange(PLACES), self.objects)[None]


def read_by(attention: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of q to others."""
    q, k, v = attention.split(attention.q(q)), attention.split(attention.k(k)), attention.split(attention.v(v))
    return attention.o(attention.attend(q, k, v).transpose(1, 2).flatten(2))


for part in (Detector, DetectorThatRepeats, DetectorBroadcasting, DetectorByATable):
    detected(part)
