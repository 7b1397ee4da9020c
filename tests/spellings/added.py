"""Vectors added to the tokens' own: learnable tables, fixed waves, in whatever way the place numbers are written."""

from __future__ import annotations

import cmath
import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import IDS, LONGEST, PLACES, WIDTH, Group, Net, drawn, embedding
from .byhand import by_hand

ROWS = drawn("positions", LONGEST, WIDTH)


def waves(rows: int = LONGEST, wide: int = WIDTH) -> Tensor:
    """Sine in the even columns, cosine in the odd ones."""
    angles = torch.outer(torch.arange(rows).double(), 100.0 ** (-torch.arange(0, wide, 2).double() / wide))
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def truth_of(rows: Tensor):
    return lambda: by_hand(enter=lambda leaves, x: x + leaves.leaf(rows[:PLACES], 0))


def entering(part) -> Net:
    return Net(enter=part())


learnable = Group("added", "learnable", ("learnable",), build=entering, truth=truth_of(ROWS))
fixed = Group("added", "waves", ("absolute",), build=entering, truth=truth_of(waves()))
less = Group("added", "subtracted", ("learnable",), build=entering, truth=truth_of(-ROWS))


# --- a table, and its place numbers ----------------------------------------------------------------------------------


class Table(nn.Module):
    """A table of vectors looked up by place numbers that `places` makes."""

    def __init__(self) -> None:
        super().__init__()
        self.table = embedding("positions", LONGEST)

    def places(self, ids: Tensor) -> Tensor:
        return torch.arange(ids.shape[1])

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x + self.table(self.places(ids))


@learnable
class Arange(Table):
    pass


def numbered(name: str):
    """A spelling of the place numbers."""

    def add(places):
        learnable.spelt(name)(type("Numbered", (Table,), {"places": lambda self, ids: places(ids)}))
        return places

    return add


numbered("expanded as the ids")(lambda ids: torch.arange(ids.shape[1])[None].expand_as(ids))
numbered("typed as the ids")(lambda ids: torch.arange(ids.shape[1], dtype=torch.int32).type_as(ids))
numbered("to the ids")(lambda ids: torch.arange(ids.shape[1], dtype=torch.int32).to(ids))
numbered("a list")(lambda ids: torch.tensor([list(range(ids.shape[1]))]))
numbered("numpy")(lambda ids: torch.from_numpy(np.arange(ids.shape[1])))
numbered("counted ones")(lambda ids: torch.ones_like(ids).cumsum(1) - 1)
numbered("new ones counted")(lambda ids: ids.new_ones(ids.shape).cumsum(-1).sub(1))
numbered("a comparison counted")(lambda ids: ids.ne(-1).long().cumsum(1) - 1)
numbered("where a mask is")(lambda ids: torch.ones(ids.shape[1]).nonzero()[:, 0])
numbered("where the ids are no padding")(lambda ids: (ids[0] >= 0).nonzero().flatten())
numbered("zeros like the ids plus numbers")(lambda ids: torch.zeros_like(ids) + torch.arange(ids.shape[1]))
numbered("filled like the ids")(lambda ids: torch.full_like(ids, 1).cumsum(1) - 1)
numbered("linspace")(lambda ids: torch.linspace(0, ids.shape[1] - 1, ids.shape[1]).round().long())
numbered("sorted numbers")(lambda ids: torch.arange(ids.shape[1]).flip(0).sort().values)
numbered("a row of scalars")(lambda ids: torch.stack([torch.tensor(t) for t in range(ids.shape[1])]))
numbered("columns of a grid")(lambda ids: torch.meshgrid(torch.arange(1), torch.arange(ids.shape[1]), indexing="ij")[1])


@learnable
class Buffer(Table):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("numbers", torch.arange(LONGEST))

    def places(self, ids: Tensor) -> Tensor:
        return self.numbers[: ids.shape[1]]


@learnable
class Attribute(Table):
    def __init__(self) -> None:
        super().__init__()
        self.numbers = torch.arange(LONGEST)[None]

    def places(self, ids: Tensor) -> Tensor:
        return self.numbers[:, : ids.shape[1]]


@learnable
class OneHot(Table):
    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x + F.one_hot(torch.arange(ids.shape[1]), LONGEST).double() @ self.table.weight


@learnable
class OneHotThroughLinear(Table):
    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x + F.linear(torch.eye(LONGEST, dtype=torch.float64)[: ids.shape[1]], self.table.weight.T)


@learnable
class FunctionalLookUp(Table):
    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x + F.embedding(torch.arange(ids.shape[1]), self.table.weight)


@learnable
class IndexSelect(Table):
    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x + self.table.weight.index_select(0, torch.arange(ids.shape[1]))


@learnable
class Gathered(Table):
    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x + self.table.weight.gather(0, torch.arange(ids.shape[1])[:, None].expand(-1, WIDTH))


@learnable
class SlicedWeight(Table):
    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x + self.table.weight[: ids.shape[1]]


@learnable
class FrozenTable(Table):
    def __init__(self) -> None:
        super().__init__()
        self.table.weight.requires_grad_(False)


# --- a parameter, and how it is added --------------------------------------------------------------------------------


class Kept(nn.Module):
    """A parameter with a row per place; `add(x, p)` adds it."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(ROWS[None].clone())

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return self.add(x, self.p[:, : ids.shape[1]])


def summed(name: str, group: Group = learnable):
    """A spelling of the sum of x and p."""

    def add(sum_of):
        group.spelt(name)(type("Summed", (Kept,), {"add": lambda self, x, p: sum_of(x, p)}))
        return sum_of

    return add


def into(x: Tensor, p: Tensor) -> Tensor:
    x = x.clone()
    x += p
    return x


def written(x: Tensor, p: Tensor) -> Tensor:
    out = x.clone()
    for t in range(x.shape[1]):
        out[:, t] = x[:, t] + p[:, t]
    return out


summed("a parameter")(lambda x, p: x + p)
summed("a parameter first")(lambda x, p: p + x)
summed("in place")(into)
summed("by the method in place")(lambda x, p: x.clone().add_(p))
summed("half of it twice")(lambda x, p: torch.add(x, p / 2, alpha=2))
summed("minus its negative")(lambda x, p: x - (-p))
summed("negative minus, negated")(lambda x, p: -(-p - x))
summed("stacked and summed")(lambda x, p: torch.stack([x, p.expand_as(x)]).sum(0))
summed("stacked last and summed")(lambda x, p: torch.stack([x, p.expand_as(x)], -1).sum(-1))
summed("python's sum")(lambda x, p: sum([x, p]))
summed("interpolated")(lambda x, p: 2 * torch.lerp(x, p.expand_as(x), 0.5))
summed("addcmul")(lambda x, p: torch.addcmul(x, p, torch.ones((), dtype=x.dtype)))
summed("onto a unit matrix")(lambda x, p: torch.baddbmm(x, torch.eye(x.shape[1]).to(x)[None], p))
summed("channels first")(lambda x, p: (x.transpose(1, 2) + p.transpose(1, 2)).transpose(1, 2))
summed("sequence first")(lambda x, p: (x.transpose(0, 1) + p[0][:, None]).transpose(0, 1))
summed("flattened")(lambda x, p: (x.flatten(1) + p.flatten(1)).unflatten(1, x.shape[1:]))
summed("by heads")(lambda x, p: (x.unflatten(-1, (2, -1)) + p.unflatten(-1, (2, -1))).flatten(-2))
summed("place by place")(lambda x, p: torch.stack([x[:, t] + p[:, t] for t in range(x.shape[1])], 1))
summed("place by place, joined")(lambda x, p: torch.cat([x[:, t : t + 1] + p[:, t : t + 1] for t in range(x.shape[1])], 1))
summed("unbound and zipped")(lambda x, p: torch.stack([a + b for a, b in zip(x.unbind(1), p.unbind(1))], 1))
summed("written place by place")(written)
summed("rolled there and back")(lambda x, p: (x.roll(1, 1) + p.roll(1, 1)).roll(-1, 1))
summed("in two halves")(lambda x, p: torch.cat([x[:, :3] + p[:, :3], x[:, 3:] + p[:, 3:]], 1))


@learnable
class ChannelsFirstParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(ROWS.T.clone())

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x + self.p[:, : ids.shape[1]].T


@learnable
class ListOfParameters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.each = nn.ParameterList([nn.Parameter(row.clone()) for row in ROWS])

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x + torch.stack(list(self.each)[: ids.shape[1]])


@learnable
class LinearOfOneHot(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.of = nn.Linear(LONGEST, WIDTH, bias=False, dtype=torch.float64)
        self.of.weight.data = ROWS.T.clone()

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x + self.of(F.one_hot(torch.arange(ids.shape[1]), LONGEST).double())


@learnable
class OfAnArgument(nn.Module):
    """The table's rows scaled up and down again before they are added."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(ROWS[None] / 4)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x + 4.0 * self.p[:, : ids.shape[1]]


# --- a difference ----------------------------------------------------------------------------------------------------

summed("a parameter subtracted", less)(lambda x, p: x - p)
summed("the method", less)(lambda x, p: x.sub(p))
summed("in place", less)(lambda x, p: x.clone().sub_(p))
summed("a factor of minus one", less)(lambda x, p: x.add(p, alpha=-1))
summed("its negative added", less)(lambda x, p: x + -p)
summed("reversed and negated", less)(lambda x, p: -(p - x))


# --- waves -----------------------------------------------------------------------------------------------------------


@fixed
class WavesInABuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pe", waves()[None])

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x + self.pe[:, : ids.shape[1]]


@fixed
class WavesInAnAttribute(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pe = waves()

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x + self.pe[: ids.shape[1]]


@fixed
class WavesInTheTutorialsLayout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pe", waves()[:, None])

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return (x.transpose(0, 1) + self.pe[: ids.shape[1]]).transpose(0, 1)


@fixed
class WavesKeptAfterTheFirstCall(nn.Module):
    kept: Tensor | None = None

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = waves()
        return x + self.kept[: ids.shape[1]]


@fixed
class WavesInAFrozenTable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dictionary = {"waves": waves()}

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x + F.embedding(torch.arange(ids.shape[1]), self.dictionary["waves"])


def waving(name: str):
    """A spelling of the waves, made anew in each call."""

    def add(made):
        fixed.spelt(name)(lambda: lambda x, ids: x + made(ids))
        return made

    return add


def steps(ids: Tensor) -> Tensor:
    return torch.outer(torch.arange(ids.shape[1]).double(), 100.0 ** (-torch.arange(0, WIDTH, 2).double() / WIDTH))


def filled(ids: Tensor) -> Tensor:
    made = torch.zeros(ids.shape[1], WIDTH, dtype=torch.float64)
    made[:, 0::2], made[:, 1::2] = steps(ids).sin(), steps(ids).cos()
    return made


def by_math(ids: Tensor) -> Tensor:
    def entry(t: int, i: int) -> float:
        return (math.cos if i % 2 else math.sin)(t * 100.0 ** (-(i - i % 2) / WIDTH))

    return torch.tensor([[entry(t, i) for i in range(WIDTH)] for t in range(ids.shape[1])], dtype=torch.float64)


def by_numpy(ids: Tensor) -> Tensor:
    angles = np.outer(np.arange(ids.shape[1]), 100.0 ** (-np.arange(0, WIDTH, 2) / WIDTH))
    return torch.from_numpy(np.stack([np.sin(angles), np.cos(angles)], -1).reshape(ids.shape[1], WIDTH))


def by_complex_numbers(ids: Tensor) -> Tensor:
    rows = [[cmath.exp(1j * t * 100.0 ** (-i / WIDTH)) for i in range(0, WIDTH, 2)] for t in range(ids.shape[1])]
    return torch.view_as_real(torch.tensor(rows, dtype=torch.complex128)).flip(-1).flatten(1)


ELSEWHERE = waves()
waving("stacked")(lambda ids: torch.stack([steps(ids).sin(), steps(ids).cos()], -1).flatten(1))
waving("filled by columns")(filled)
waving("python's math")(by_math)
waving("numpy's")(by_numpy)
waving("complex numbers")(by_complex_numbers)
waving("polar")(lambda ids: torch.view_as_real(torch.polar(torch.ones(()).to(ELSEWHERE), steps(ids))).flip(-1).flatten(1))
waving("a cosine shifted")(lambda ids: torch.stack([(steps(ids) - torch.pi / 2).cos(), steps(ids).cos()], -1).flatten(1))
waving("counted from the ids' shape")(
    lambda ids: torch.stack([f(steps(torch.zeros_like(ids))) for f in (torch.sin, torch.cos)], -1).flatten(1)
)
waving("from a closure")(lambda ids: ELSEWHERE[: ids.shape[1]])
waving("expanded as the batch")(lambda ids: ELSEWHERE[None, : ids.shape[1]].expand(len(ids), -1, -1).contiguous())
waving("by a list of rows")(lambda ids: torch.stack([ELSEWHERE[t] for t in range(ids.shape[1])]))


class ReadsPlaces(Net):
    """Place numbers handed in beside the ids."""

    def __init__(self) -> None:
        super().__init__()
        self.table = embedding("positions", LONGEST)

    def forward(self, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        self.enter = lambda x, ids: x + self.table(position_ids)
        return super().forward(input_ids)


learnable.whole("place numbers as an argument", ReadsPlaces, inputs=(IDS, torch.arange(PLACES)[None]))
