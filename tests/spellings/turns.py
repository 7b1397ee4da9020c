"""Rotations kept as matrices, however they are made, laid out and multiplied."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .base import HEAD, HEADS, LONGEST, PLACES, Group, Net
from .byhand import Leaves, by_hand, half
from .rotary import angles, by_hand_halves, by_hand_pairs, matrices, turned, turning, twice

neighbours = Group("matrices", "neighbours", ("rotary", "rotary"), build=turning, truth=by_hand_pairs)
columns = Group("matrices", "column by column", ("modulation", "modulation"), build=turning, truth=by_hand_pairs)
across = Group("matrices", "halves", ("rotary", "rotary"), build=turning, truth=by_hand_halves)


class Kept(nn.Module):
    """(places, from, to) in a buffer, multiplied with queries and keys alike."""

    def __init__(self, times: Callable[[Tensor, Tensor], Tensor], made: Callable[[int], Tensor]) -> None:
        super().__init__()
        self.register_buffer("turns", made(LONGEST))
        self.times = times

    def forward(self, q: Tensor, k: Tensor):
        return tuple(self.times(x, self.turns[: x.shape[-2]]) for x in (q, k))


def of_halves(rows: int) -> Tensor:
    """(places, from, to): features half the width apart are turned."""
    order = torch.arange(HEAD).view(-1, 2).T.flatten()
    return matrices(rows)[:, order[:, None], order]


def multiplied(name: str):
    """A spelling of queries and keys times the matrices, for both orders of features."""

    def add(times: Callable[[Tensor, Tensor], Tensor]) -> None:
        neighbours.spelt(name)(lambda: Kept(times, matrices))
        across.spelt(name)(lambda: Kept(times, of_halves))

    return add


multiplied("einsum")(lambda x, R: torch.einsum("bhtd,tde->bhte", x, R))
multiplied("einsum, the matrix first")(lambda x, R: torch.einsum("tde,bhtd->bhte", R, x))
multiplied("einsum with dots")(lambda x, R: torch.einsum("...td,tde->...te", x, R))
multiplied("einsum over places first")(lambda x, R: torch.einsum("tbhd,tde->tbhe", x.permute(2, 0, 1, 3), R).permute(1, 2, 0, 3))
multiplied("einsum of heads after places")(lambda x, R: torch.einsum("bthd,tde->bthe", x.transpose(1, 2), R).transpose(1, 2))
multiplied("einsum of whole features")(
    lambda x, R: torch.einsum("bthd,tde->bthe", x.transpose(1, 2).flatten(2).unflatten(-1, (HEADS, HEAD)), R).transpose(1, 2)
)
multiplied("einsum, a matrix for each head")(lambda x, R: torch.einsum("bhtd,htde->bhte", x, R.expand(HEADS, *R.shape)))
multiplied("einsum of numbered axes")(lambda x, R: torch.einsum(x, [0, 1, 2, 3], R, [2, 3, 4], [0, 1, 2, 4]))
multiplied("matmul of rows")(lambda x, R: (x.unsqueeze(-2) @ R).squeeze(-2))
multiplied("matmul of columns")(lambda x, R: torch.matmul(R.transpose(-1, -2), x.unsqueeze(-1)).squeeze(-1))
multiplied("matmul over places first")(lambda x, R: (x.permute(2, 0, 1, 3).flatten(1, 2) @ R).unflatten(1, x.shape[:2]).permute(1, 2, 0, 3))
multiplied("bmm over places")(lambda x, R: torch.bmm(x.flatten(0, 1).transpose(0, 1), R).transpose(0, 1).view_as(x))
multiplied("bmm over everything")(
    lambda x, R: torch.bmm(x.reshape(-1, 1, HEAD), R.expand(*x.shape[:2], *R.shape).reshape(-1, HEAD, HEAD)).view_as(x)
)
multiplied("looked up by place numbers")(lambda x, R: torch.einsum("bhtd,tde->bhte", x, R[torch.arange(x.shape[-2])]))
multiplied("summed over features")(lambda x, R: (x[..., None] * R).sum(-2))
multiplied("summed over features, laid out before")(lambda x, R: (R.mT * x[..., None, :]).sum(-1))
multiplied("vecdot")(lambda x, R: torch.linalg.vecdot(x[..., None, :], R.mT))
multiplied("place by place")(lambda x, R: torch.stack([torch.einsum("bhd,de->bhe", x[:, :, t], R[t]) for t in range(len(R))], 2))
multiplied("place by place, written")(lambda x, R: written(x, R))
multiplied("into what was there")(
    lambda x, R: torch.baddbmm(torch.zeros(len(R), HEADS, HEAD).to(x), x[0].transpose(0, 1), R).transpose(0, 1)[None]
)


def written(x: Tensor, R: Tensor) -> Tensor:
    """Each place's row, written where it belongs."""
    out = torch.empty_like(x)
    for t in range(len(R)):
        out[:, :, t] = x[:, :, t] @ R[t]
    return out


# --- made otherwise ---------------------------------------------------------------------------------------------------


def in_einsum(made: Callable[[int], Tensor]):
    return lambda q, k: tuple(torch.einsum("bhtd,tde->bhte", x, made(x.shape[-2])) for x in (q, k))


@neighbours
def powers_of_one():
    """The matrix of place t is that of place 1 to the power of t."""
    return in_einsum(lambda rows: torch.stack([torch.linalg.matrix_power(matrices(2)[1], t) for t in range(rows)]))


@neighbours
def exponentials():
    """exp(t G), G the turn of a small step."""
    made = torch.zeros(HEAD, HEAD, dtype=torch.float64)
    even, of = torch.arange(0, HEAD, 2), angles(2)[1]
    made[even, even + 1], made[even + 1, even] = of, -of
    return in_einsum(lambda rows: torch.linalg.matrix_exp(torch.arange(rows)[:, None, None] * made))


@neighbours
def blocks_on_the_diagonal():
    def made(rows: int) -> Tensor:
        turns = [torch.stack([torch.stack([a.cos(), a.sin()], -1), torch.stack([-a.sin(), a.cos()], -1)], -2) for a in angles(rows)]
        return torch.stack([torch.block_diag(*each) for each in turns])

    return in_einsum(made)


@neighbours
def blocks_of_two():
    """(places, pairs, 2, 2), each pair of features by itself."""
    blocks = matrices(LONGEST).unflatten(-1, (-1, 2)).unflatten(1, (-1, 2)).diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)
    return lambda q, k: tuple(
        torch.einsum("bhtpi,tpij->bhtpj", x.unflatten(-1, (-1, 2)), blocks[: x.shape[-2]]).flatten(-2) for x in (q, k)
    )


@neighbours
def queries_and_keys_in_one():
    return lambda q, k: torch.einsum("nbhtd,tde->nbhte", torch.stack([q, k]), matrices(q.shape[-2])).unbind(0)


@neighbours
class Learnt(nn.Module):
    """A parameter that happens to be a rotation."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = nn.Parameter(matrices(LONGEST))

    def forward(self, q: Tensor, k: Tensor):
        return tuple(torch.einsum("bhtd,tde->bhte", x, self.turns[: x.shape[-2]]) for x in (q, k))


class Scored(nn.Module):
    """Turned where the scores are made, in one product of queries and keys."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        R = matrices(q.shape[-2])
        q = torch.einsum("bhtd,tde->bhte", q, R)
        return (torch.einsum("bhid,jed,bhje->bhij", q, R, k) / HEAD**0.5).softmax(-1) @ v


class AllInOne(nn.Module):
    """Queries, keys and a matrix for each of them in one einsum."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        R = matrices(q.shape[-2])
        return (torch.einsum("bhid,ide,jfe,bhjf->bhij", q, R, R, k) / HEAD**0.5).softmax(-1) @ v


class KeysOnTheirSide(nn.Module):
    """Keys turned when they lie as columns."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        R = matrices(q.shape[-2])
        columns = torch.einsum("tde,bhdt->bhet", R, k.transpose(-1, -2))
        return ((q.unsqueeze(-2) @ R).squeeze(-2) @ columns / HEAD**0.5).softmax(-1) @ v


neighbours.whole("keys as columns", lambda: Net(attend=KeysOnTheirSide))
neighbours.whole("keys turned in the product of both", lambda: Net(attend=Scored))
neighbours.whole("one product of four", lambda: Net(attend=AllInOne))


@columns
def matrices_column_by_column():
    """One column of the matrices at a time: that all of them together turn cannot be seen."""
    return lambda q, k: tuple(torch.stack([(x * matrices(x.shape[-2])[..., e]).sum(-1) for e in range(HEAD)], -1) for x in (q, k))


# --- turned and scaled: xPos -------------------------------------------------------------------------------------------

SCALE = torch.linspace(0.9, 0.99, HEAD // 2).double()


def tables(rows: int, power: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of each place, as large as its scale."""
    grown = twice(SCALE ** (power * torch.arange(rows).double()[:, None]))
    return twice(angles(rows)).cos() * grown, twice(angles(rows)).sin() * grown


def by_hand_scaled() -> dict[str, Tensor]:
    powers = iter([1, -1] * 10)

    def turn(leaves: Leaves, x: Tensor) -> Tensor:
        cos, sin = tables(PLACES, next(powers))
        beside = torch.cat([-x[..., HEAD // 2 :], x[..., : HEAD // 2]], -1)
        return half(x * leaves.leaf(cos, 0)) + half(beside * leaves.leaf(sin, 0))

    return by_hand(turn=turn)


scaled = Group("matrices", "turned and scaled", ("modulation", "modulation"), build=turning, truth=by_hand_scaled)


@scaled
def two_tables():
    return lambda q, k: (turned(q, *tables(q.shape[-2], 1)), turned(k, *tables(k.shape[-2], -1)))


@scaled
def in_matrices():
    def made(rows: int, power: int) -> Tensor:
        return of_halves(rows) * twice(SCALE ** (power * torch.arange(rows).double()[:, None]))[..., None]

    return lambda q, k: tuple(torch.einsum("bhtd,tde->bhte", x, made(x.shape[-2], p)) for x, p in ((q, 1), (k, -1)))


@scaled
def in_complex_numbers():
    def one(x: Tensor, power: int) -> Tensor:
        grown = SCALE ** (power * torch.arange(x.shape[-2]).double()[:, None])
        z = torch.complex(*x.chunk(2, -1)) * torch.polar(grown, angles(x.shape[-2]))
        return torch.cat([z.real, z.imag], -1)

    return lambda q, k: (one(q, 1), one(k, -1))
