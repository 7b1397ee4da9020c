"""Vectors times a number per place (modulation), a matrix per place, and features joined beside the token's own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .added import entering
from .base import LONGEST, PLACES, WIDTH, Group, drawn, linear
from .byhand import by_hand, half

FACTORS = 1 + drawn("factors", LONGEST, WIDTH, scale=0.3)
vector = Group("modulation", "a vector per place", ("modulation",), build=entering, truth=lambda: by_hand(
    enter=lambda leaves, x: half(x * leaves.leaf(FACTORS[:PLACES], 0))
))  # fmt: skip


class Scaled(nn.Module):
    """A learned factor for each place and feature."""

    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Parameter(FACTORS[None].clone())

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return self.times(x, self.f[:, : ids.shape[1]])


def scaled(name: str):
    """A spelling of x times f."""

    def add(times):
        vector.spelt(name)(type("Times", (Scaled,), {"times": lambda self, x, f: times(x, f)}))
        return times

    return add


scaled("times")(lambda x, f: x * f)
scaled("the factor first")(lambda x, f: f * x)
scaled("in place")(lambda x, f: x.clone().mul_(f))
scaled("divided by its inverse")(lambda x, f: x / (1 / f))
scaled("an exponential")(lambda x, f: x * f.abs().log().exp() * f.sign())
scaled("einsum")(lambda x, f: torch.einsum("btd,td->btd", x, f[0]))
scaled("place by place")(lambda x, f: torch.stack([x[:, t] * f[:, t] for t in range(x.shape[1])], 1))
scaled("sequence first")(lambda x, f: (x.transpose(0, 1) * f[0, :, None]).transpose(0, 1))
scaled("channels first")(lambda x, f: (x.mT * f.mT).mT)
scaled("expanded")(lambda x, f: torch.mul(x, f.expand_as(x)))
scaled("flattened")(lambda x, f: (x.flatten(1) * f.flatten(1)).view_as(x))


@vector
class FactorsInABuffer(Scaled):
    def __init__(self) -> None:
        super().__init__()
        del self.f
        self.register_buffer("f", FACTORS[None])

    def times(self, x: Tensor, f: Tensor) -> Tensor:
        return f.mul(x)


@vector
class FactorsInATable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(FACTORS.clone(), freeze=False)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x * self.table(torch.arange(ids.shape[1]))


@vector
def factors_from_numpy():
    kept = FACTORS.numpy()
    return lambda x, ids: x * torch.from_numpy(kept[: ids.shape[1]])


# --- a number per place ----------------------------------------------------------------------------------------------

number = Group("modulation", "a number per place", ("modulation",), build=entering, truth=lambda: by_hand(
    enter=lambda leaves, x: half(x * leaves.leaf(0.9 ** torch.arange(PLACES).double()[:, None], 0))
))  # fmt: skip


@number
def a_power():
    return lambda x, ids: x * (0.9 ** torch.arange(ids.shape[1]).double())[:, None]


@number
def a_list():
    return lambda x, ids: x * torch.tensor([[0.9**t] for t in range(ids.shape[1])], dtype=x.dtype)


@number
def numpy():
    return lambda x, ids: x * torch.from_numpy(np.power(0.9, np.arange(ids.shape[1])))[None, :, None]


@number
def python_numbers():
    return lambda x, ids: torch.stack([x[:, t] * 0.9**t for t in range(ids.shape[1])], 1)


@number
def einsum():
    return lambda x, ids: torch.einsum("btd,t->btd", x, 0.9 ** torch.arange(ids.shape[1]).double())


@number
def channels_first():
    return lambda x, ids: (x.mT * 0.9 ** torch.arange(ids.shape[1]).double()).mT


@number
def counted_from_the_ids():
    return lambda x, ids: x * torch.pow(0.9, (torch.ones_like(ids).cumsum(1) - 1).double())[..., None]


@number
def a_running_product():
    return lambda x, ids: x * torch.full((ids.shape[1],), 0.9, dtype=x.dtype).index_fill(0, torch.tensor([0]), 1.0).cumprod(0)[:, None]


# --- a matrix per place ----------------------------------------------------------------------------------------------

MATRICES = torch.eye(WIDTH).double() + drawn("matrices", LONGEST, WIDTH, WIDTH, scale=0.1)
matrix = Group("modulation", "a matrix per place", ("modulation",), build=entering, truth=lambda: by_hand(
    enter=lambda leaves, x: half(torch.einsum("btd,tde->bte", x, leaves.leaf(MATRICES[:PLACES], 0)))
))  # fmt: skip


class Matrices(nn.Module):
    """A learned matrix for each place."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(MATRICES.clone())

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return self.times(x, self.w[: ids.shape[1]])


@matrix
class MatricesInEinsum(Matrices):
    def times(self, x: Tensor, w: Tensor) -> Tensor:
        return torch.einsum("btd,tde->bte", x, w)


@matrix
class MatricesInMatmul(Matrices):
    def times(self, x: Tensor, w: Tensor) -> Tensor:
        return (x[:, :, None] @ w)[:, :, 0]


@matrix
class MatricesInBmm(Matrices):
    def times(self, x: Tensor, w: Tensor) -> Tensor:
        return torch.bmm(x.transpose(0, 1), w).transpose(0, 1)


@matrix
class MatricesMultipliedAndSummed(Matrices):
    def times(self, x: Tensor, w: Tensor) -> Tensor:
        return (x[..., None] * w).sum(-2)


@matrix
class MatricesPlaceByPlace(Matrices):
    def times(self, x: Tensor, w: Tensor) -> Tensor:
        return torch.stack([x[:, t] @ w[t] for t in range(x.shape[1])], 1)


@matrix
class MatricesOfLinears(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.each = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False, dtype=torch.float64) for _ in range(LONGEST))
        for one, weight in zip(self.each, MATRICES):
            one.weight.data = weight.T.clone()

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return torch.stack([self.each[t](x[:, t]) for t in range(ids.shape[1])], 1)


# --- features beside the token's -------------------------------------------------------------------------------------

BESIDE, FEATURES = drawn("beside", LONGEST, 4), linear("onto", WIDTH + 4, WIDTH)
joined = Group("joined", "learned features", ("joined",), build=entering, truth=lambda: by_hand(
    enter=lambda leaves, x: FEATURES(torch.cat([x, leaves.leaf(BESIDE[:PLACES], 0)[None]], -1))
))  # fmt: skip


class Joined(nn.Module):
    """Four features of the place beside those of the token, and a map of both."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.onto = nn.Parameter(BESIDE.clone()), linear("onto", WIDTH + 4, WIDTH)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return self.onto(self.join(x, self.p[: ids.shape[1]]))


def written(x: Tensor, p: Tensor) -> Tensor:
    out = x.new_empty(len(x), x.shape[1], WIDTH + 4)
    out[..., :WIDTH], out[..., WIDTH:] = x, p
    return out


def joining(name: str):
    """A spelling of x beside p."""

    def add(join):
        joined.spelt(name)(type("Beside", (Joined,), {"join": lambda self, x, p: join(x, p)}))
        return join

    return add


joining("cat")(lambda x, p: torch.cat([x, p.expand(len(x), -1, -1)], -1))
joining("cat along its number")(lambda x, p: torch.cat((x, p[None].repeat(len(x), 1, 1)), dim=2))
joining("concatenate")(lambda x, p: torch.concatenate([x, p[None].expand(len(x), -1, -1)], axis=-1))
joining("written beside")(written)
joining("place by place")(lambda x, p: torch.stack([torch.cat([x[:, t], p[t].expand(len(x), -1)], -1) for t in range(x.shape[1])], 1))
joining("sequence first")(lambda x, p: torch.cat([x.transpose(0, 1), p[:, None].expand(-1, len(x), -1)], -1).transpose(0, 1))
joining("channels first")(lambda x, p: torch.cat([x.mT, p.T.expand(len(x), -1, -1)], 1).mT)
joining("hstack of one row")(lambda x, p: torch.hstack([x[0], p])[None])


@joined
class FeaturesOfATable(Joined):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(BESIDE.clone(), freeze=False)

    def join(self, x: Tensor, p: Tensor) -> Tensor:
        return torch.cat([x, self.table(torch.arange(x.shape[1])[None].expand(len(x), -1))], -1)


@joined
class FeaturesInABuffer(Joined):
    def __init__(self) -> None:
        super().__init__()
        del self.p
        self.register_buffer("p", BESIDE)

    def join(self, x: Tensor, p: Tensor) -> Tensor:
        return torch.cat([x, p.expand(len(x), -1, -1)], -1)


FIRST = linear("onto places first", WIDTH + 1, WIDTH)
clock = Group("joined", "the place's number", ("joined",), build=entering, truth=lambda: by_hand(
    enter=lambda leaves, x: FIRST(torch.cat([leaves.leaf(torch.arange(PLACES).double()[:, None] / PLACES, 0)[None], x], -1))
))  # fmt: skip


class Clock(nn.Module):
    """The place's number, a part of the length, before the features."""

    def __init__(self) -> None:
        super().__init__()
        self.onto = linear("onto places first", WIDTH + 1, WIDTH)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return self.onto(self.join(x, x.shape[1]))


def clocked(name: str):
    """A spelling of the number beside x."""

    def add(join):
        clock.spelt(name)(type("Clocked", (Clock,), {"join": lambda self, x, rows: join(x, rows)}))
        return join

    return add


clocked("arange")(lambda x, rows: torch.cat([torch.arange(rows).to(x)[None, :, None] / rows, x], -1))
clocked("linspace")(lambda x, rows: torch.cat([torch.linspace(0, 1 - 1 / rows, rows).to(x).mul(rows).round()[None, :, None] / rows, x], -1))
clocked("a list")(lambda x, rows: torch.cat([x.new_tensor([[[t / rows] for t in range(rows)]]), x], -1))
clocked("padded and written")(lambda x, rows: into(F.pad(x, (1, 0)), rows))


def into(x: Tensor, rows: int) -> Tensor:
    x = x.clone()
    x[..., 0] = torch.arange(rows).to(x) / rows
    return x
