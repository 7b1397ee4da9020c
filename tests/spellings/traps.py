"""Where a quick look goes wrong: mask tokens, counted masks, detached gates, noise, permuted places, spectra, grids."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .added import ROWS, Table, entering
from .base import HEAD, HEADS, IDS, PLACES, WIDTH, Body, Group, Net, drawn, linear
from .byhand import Leaves, by_hand, half
from .layouts import PICTURE, SIDE, Seer, Tabled, Windowed
from .rotary import across, angles, twice
from .scores import scored

# --- a learned vector in place of what is hidden ---------------------------------------------------------------------

HIDDEN, INSTEAD = torch.tensor([[0, 1, 0, 0, 1, 0]]).bool(), drawn("instead", WIDTH, scale=0.5)
replaced = Group("traps", "a mask token", (), common={"inputs": (IDS, HIDDEN)})


class Replaced(Net):
    """A learned vector where the mask says so."""

    def __init__(self) -> None:
        super().__init__()
        self.instead = nn.Parameter(INSTEAD.clone())

    def forward(self, ids: Tensor, hidden_mask: Tensor) -> Tensor:
        return Body.forward(self, self.replace(self.tokens(ids), hidden_mask[..., None], self.instead))


def written(x: Tensor, m: Tensor, v: Tensor) -> Tensor:
    x = x.clone()
    x[m[..., 0]] = v
    return x


for called, way in {
    "where": lambda x, m, v: torch.where(m, v, x),
    "products": lambda x, m, v: x * (1 - m.to(x)) + v * m.to(x),
    "an inverted mask": lambda x, m, v: x * (~m).to(x) + m.to(x) * v,
    "filled, then added": lambda x, m, v: x.masked_fill(m, 0.0) + m.to(x) * v,
    "expanded first": lambda x, m, v: torch.where(m.expand_as(x), v.expand_as(x), x),
    "written": written,
}.items():
    replaced.whole(called, type("Replaces", (Replaced,), {"replace": lambda self, x, m, v, way=way: way(x, m, v)}))


# --- place numbers counted from what is no padding -------------------------------------------------------------------

PADDING = 5
counted = Group("traps", "numbers counted from a mask", ("learnable",), build=entering, truth=lambda: by_hand(
    enter=lambda leaves, x: x + leaves.leaf(ROWS[[1, 2, 3, 4, 0, 5]], 0)
))  # fmt: skip


def counting(name: str):
    """A spelling of 1, 2, 3 ... where the ids are no padding, 0 where they are."""

    def add(places):
        counted.spelt(name)(type("Counted", (Table,), {"places": lambda self, ids: places(ids)}))
        return places

    return add


counting("a list")(lambda ids: torch.tensor([[1, 2, 3, 4, 0, 5]]))
counting("a running sum")(lambda ids: ids.ne(PADDING).int().cumsum(1).long() * ids.ne(PADDING))
counting("typed as the mask")(lambda ids: (torch.cumsum((ids != PADDING).long(), 1).type_as(ids) * (ids != PADDING).long()).long())
counting("filled")(lambda ids: (ids != PADDING).long().cumsum(-1).masked_fill(ids == PADDING, 0))
counting("where")(lambda ids: torch.where(ids == PADDING, 0, (ids != PADDING).cumsum(1)))


# --- a gate that hands nothing back ----------------------------------------------------------------------------------

gated = Group("traps", "a detached gate", (), build=entering)


class Gated(nn.Module):
    """Vectors times a gate of their own that gradients do not pass."""

    def __init__(self) -> None:
        super().__init__()
        self.of = linear("gate", WIDTH, WIDTH)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x * self.gate(x)


def without_gradients(self: Gated, x: Tensor) -> Tensor:
    with torch.no_grad():
        return self.of(x).sigmoid()


for called, gate in {
    "detached after": lambda self, x: self.of(x).sigmoid().detach(),
    "detached before": lambda self, x: self.of(x.detach()).sigmoid(),
    "data": lambda self, x: self.of(x.data).sigmoid(),
    "no_grad": without_gradients,
}.items():
    gated.spelt(called)(type("Gate", (Gated,), {"gate": gate}))


# --- noise -----------------------------------------------------------------------------------------------------------

noisy = Group("traps", "noise", (), build=entering)


def noise(name: str):
    """A spelling of the same noise."""

    def add(make):
        def entering_noise(x: Tensor, ids: Tensor) -> Tensor:
            with torch.random.fork_rng():
                torch.manual_seed(3)
                return x + 0.1 * make(x)

        noisy.spelt(name)(lambda: entering_noise)
        return make

    return add


noise("like the vectors")(torch.randn_like)
noise("of their shape")(lambda x: torch.randn(x.shape, dtype=x.dtype))
noise("a new tensor filled")(lambda x: torch.empty_like(x).normal_())


# --- places in another order, and back -------------------------------------------------------------------------------

ORDER = torch.tensor([4, 0, 5, 2, 1, 3])
ordered = Group("traps", "another order", ("learnable",), truth=lambda: by_hand(
    enter=lambda leaves, x: x + leaves.leaf(ROWS[:PLACES], 0)
))  # fmt: skip


class Ordered(Tabled):
    """Positions are added to places in another order, which is undone."""

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids)[:, ORDER] + self.p[ORDER]
        return Body.forward(self, x[:, ORDER.argsort()])


class OrderedByIndexSelect(Ordered):
    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids).index_select(1, ORDER) + self.p.index_select(0, ORDER)
        return Body.forward(self, x.index_select(1, ORDER.argsort()))


class OrderedByGather(Ordered):
    def forward(self, ids: Tensor) -> Tensor:
        by = ORDER[None, :, None].expand(len(ids), -1, WIDTH)
        x = self.tokens(ids).gather(1, by) + self.p[ORDER]
        return Body.forward(self, x.gather(1, ORDER.argsort()[None, :, None].expand_as(by)))


class OrderedByMatmul(Ordered):
    def forward(self, ids: Tensor) -> Tensor:
        by = torch.eye(PLACES, dtype=torch.float64)[ORDER]
        return Body.forward(self, by.T @ (by @ (self.tokens(ids) + self.p[: ids.shape[1]])))


class Reversed(Tabled):
    def forward(self, ids: Tensor) -> Tensor:
        return Body.forward(self, (self.tokens(ids).flip(1) + self.p[: ids.shape[1]].flip(0)).flip(1))


class SortedByTheTokens(Tabled):
    """Sorted by what the vectors hold, and back."""

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.p[: ids.shape[1]]
        order = x[0, :, 0].argsort()
        return Body.forward(self, x[:, order][:, order.argsort()])


class Blockwise(Tabled):
    """Attention over sorted places, unsorted afterwards."""

    def __init__(self) -> None:
        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            order = k[0, 0, :, 0].argsort()
            k, v = k[:, :, order], v[:, :, order]
            return (q @ k.mT / math.sqrt(HEAD)).softmax(-1) @ v

        super().__init__(attend=lambda: attend)


ordered.whole("as they are", Tabled)
ordered.whole("indexed", Ordered)
ordered.whole("index_select", OrderedByIndexSelect)
ordered.whole("gather", OrderedByGather)
ordered.whole("matrices", OrderedByMatmul)
ordered.whole("reversed", Reversed)
ordered.whole("sorted by content and back", SortedByTheTokens)
ordered.whole("keys sorted by content", Blockwise)


# --- shifted windows -------------------------------------------------------------------------------------------------

shifted = Group("traps", "shifted windows", ("learnable",))


class Shifted(Windowed):
    """Windows of places rolled by one."""

    def __init__(self) -> None:
        super().__init__()
        for block in self.blocks:
            plain = block.attention.attend
            block.attention.attend = lambda q, k, v, plain=plain: plain(*(x.roll(-1, 2) for x in (q, k, v))).roll(1, 2)


class ShiftedBeforeTheMaps(Windowed):
    def __init__(self) -> None:
        super().__init__()
        for block in self.blocks:
            block.attention.plain = block.attention.forward
            block.attention.forward = lambda x, of=block.attention: of.plain(x.roll(-1, 1)).roll(1, 1)


class ShiftedByAMask(Tabled):
    def __init__(self) -> None:
        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            at = (torch.arange(q.shape[2]) - 1) % q.shape[2] // 3
            return (q @ k.mT / math.sqrt(HEAD)).masked_fill(at[:, None] != at, -torch.inf).softmax(-1) @ v

        super().__init__(attend=lambda: attend)


shifted.whole("rolled heads", Shifted)
shifted.whole("rolled vectors", ShiftedBeforeTheMaps)
shifted.whole("a mask", ShiftedByAMask)


# --- a spectrum over time: frequencies are features ------------------------------------------------------------------

SPECTRUM = drawn("spectrum", 1, PLACES, PLACES, scale=1.0)
MEAN, SPREAD = drawn("mean", PLACES, scale=0.3), 1 + drawn("spread", PLACES, scale=0.2)
spectra = Group("traps", "a spectrum over time", ("learnable",), common={"inputs": (SPECTRUM,), "read": lambda tokens: tokens})


class Listener(Body):
    """(batch, frequency, time), each frequency normalised by constants; as many frequencies as times."""

    def __init__(self) -> None:
        super().__init__()
        self.of, self.p = linear("spectrum", PLACES, WIDTH), nn.Parameter(ROWS.clone())

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.embed(x) + self.p[: x.shape[-1]])

    def embed(self, x: Tensor) -> Tensor:
        return self.of(((x - MEAN[:, None]) / SPREAD[:, None]).mT)


class ListenerTurnedFirst(Listener):
    def embed(self, x: Tensor) -> Tensor:
        return self.of((x.mT - MEAN) / SPREAD)


class ListenerByConvolution(Listener):
    def embed(self, x: Tensor) -> Tensor:
        return F.conv1d((x - MEAN[None, :, None]) / SPREAD[None, :, None], self.of.weight[..., None], self.of.bias).mT


class ListenerByProduct(Listener):
    def embed(self, x: Tensor) -> Tensor:
        return torch.einsum("bft,df->btd", (x - MEAN[:, None]) * (1 / SPREAD)[:, None], self.of.weight) + self.of.bias


spectra.whole("turned after", Listener)
spectra.whole("turned first", ListenerTurnedFirst)
spectra.whole("a convolution", ListenerByConvolution)
spectra.whole("einsum", ListenerByProduct)


# --- pairs of places of a grid ---------------------------------------------------------------------------------------

ROW, COLUMN = torch.arange(PLACES) // SIDE[1], torch.arange(PLACES) % SIDE[1]
BY_OFFSET = drawn("grid offsets", 2 * SIDE[0] - 1, 2 * SIDE[1] - 1, HEADS, scale=0.7)
BIAS = BY_OFFSET[ROW[None] - ROW[:, None] + SIDE[0] - 1, COLUMN[None] - COLUMN[:, None] + SIDE[1] - 1].permute(2, 0, 1)


class Bare(Seer):
    """Patches without positions of their own."""

    def __init__(self, **parts) -> None:
        super().__init__()
        del self.p
        for block, other in zip(self.blocks, Body(**parts).blocks):
            block.attention.turn, block.attention.attend = other.attention.turn, other.attention.attend

    def enter(self, x: Tensor) -> Tensor:
        return self.stem(x).flatten(2).mT


def paired_by_hand() -> dict[str, Tensor]:
    model = Bare()
    x = model.enter(PICTURE)
    return {"positional": by_hand(model, x, score=lambda leaves, s, q: s + leaves.leaf(BIAS))["positional"]}


paired = Group("traps", "pairs of a grid", ("relative bias",) * 2, build=lambda part: Bare(attend=part), truth=paired_by_hand,
               common={"inputs": (PICTURE,)})  # fmt: skip


class Paired(nn.Module):
    """A learned number per offset in rows and columns."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(BY_OFFSET.clone())

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return scored(lambda s: s + self.bias())(q, k, v)

    def bias(self) -> Tensor:
        return self.table[ROW[None] - ROW[:, None] + SIDE[0] - 1, COLUMN[None] - COLUMN[:, None] + SIDE[1] - 1].permute(2, 0, 1)


@paired
class TwoIndices(Paired):
    pass


@paired
class OneIndex(Paired):
    def bias(self) -> Tensor:
        index = (ROW[None] - ROW[:, None] + SIDE[0] - 1) * (2 * SIDE[1] - 1) + COLUMN[None] - COLUMN[:, None] + SIDE[1] - 1
        return self.table.flatten(0, 1)[index.view(-1)].view(PLACES, PLACES, HEADS).permute(2, 0, 1).contiguous()


@paired
class OnTheGrid(Paired):
    """Scores with an axis for rows and one for columns on each side."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        s = (q @ k.mT / math.sqrt(HEAD)).view(len(q), HEADS, *SIDE, *SIDE) + self.bias().view(HEADS, *SIDE, *SIDE)
        return s.view(len(q), HEADS, PLACES, PLACES).softmax(-1) @ v


# rotations by row in one half of the features, by column in the other


def axial_angles() -> Tensor:
    one = angles(PLACES, HEAD // 2)
    return torch.cat([twice(one[ROW]), twice(one[COLUMN])], -1)


def across_each(x: Tensor) -> Tensor:
    return torch.cat([across(part) for part in x.chunk(2, -1)], -1)


def axial_by_hand() -> dict[str, Tensor]:
    model, of = Bare(), axial_angles()
    x = model.enter(PICTURE)

    def turn(leaves: Leaves, x: Tensor) -> Tensor:
        return half(x * leaves.leaf(of.cos(), 0)) + half(across_each(x) * leaves.leaf(of.sin(), 0))

    return {"positional": by_hand(model, x, turn=turn)["positional"]}


axial = Group("traps", "rotations on a grid", ("rotary",) * 2, build=lambda part: Bare(turn=part), truth=axial_by_hand,
              common={"inputs": (PICTURE,)})  # fmt: skip


@axial
def one_table():
    of = axial_angles()
    return lambda q, k: tuple(x * of.cos() + across_each(x) * of.sin() for x in (q, k))


@axial
def each_half_by_itself():
    one = twice(angles(PLACES, HEAD // 2))

    def turn(x: Tensor) -> Tensor:
        a, b = x.chunk(2, -1)
        a = a * one[ROW].cos() + across(a) * one[ROW].sin()
        b = b * one[COLUMN].cos() + across(b) * one[COLUMN].sin()
        return torch.cat([a, b], -1)

    return lambda q, k: (turn(q), turn(k))


@axial
def on_the_grid():
    """Rows and columns apart: a table for rows is constant along columns."""

    def turn(x: Tensor) -> Tensor:
        x = x.unflatten(2, SIDE)
        rows, columns = (twice(angles(n, HEAD // 2)) for n in SIDE)
        a, b = x.chunk(2, -1)
        a = a * rows.cos()[:, None] + across(a) * rows.sin()[:, None]
        b = b * columns.cos() + across(b) * columns.sin()
        return torch.cat([a, b], -1).flatten(2, 3)

    return lambda q, k: (turn(q), turn(k))
