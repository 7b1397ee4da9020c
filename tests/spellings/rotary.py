"""Queries and keys turned by angles: interleaved pairs, halves, complex numbers, matrices, tables kept anywhere."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import HEAD, HEADS, LONGEST, PLACES, Group, Net
from .byhand import Leaves, by_hand, half


def angles(rows: int, wide: int = HEAD) -> Tensor:
    """(rows, wide / 2): place times frequency."""
    return torch.outer(torch.arange(rows).double(), 100.0 ** (-torch.arange(0, wide, 2).double() / wide))


def interleaved(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs of neighbours turned."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


def across(x: Tensor) -> Tensor:
    """The second half negated, then the first."""
    a, b = x.chunk(2, -1)
    return torch.cat([-b, a], -1)


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs half the width apart turned."""
    return x * cos + across(x) * sin


def twice(x: Tensor) -> Tensor:
    return torch.cat([x, x], -1)


def by_hand_pairs() -> dict[str, Tensor]:
    def turn(leaves: Leaves, x: Tensor) -> Tensor:
        of = angles(PLACES).repeat_interleave(2, -1)
        beside = torch.stack([-x[..., 1::2], x[..., 0::2]], -1).flatten(-2)
        return half(x * leaves.leaf(of.cos(), 0)) + half(beside * leaves.leaf(of.sin(), 0))

    return by_hand(turn=turn)


def by_hand_halves() -> dict[str, Tensor]:
    def turn(leaves: Leaves, x: Tensor) -> Tensor:
        of = twice(angles(PLACES))
        return half(x * leaves.leaf(of.cos(), 0)) + half(across(x) * leaves.leaf(of.sin(), 0))

    return by_hand(turn=turn)


def turning(part) -> Net:
    return Net(turn=part)


pairs = Group("rotary", "neighbours", ("rotary", "rotary"), build=turning, truth=by_hand_pairs)
halves = Group("rotary", "halves", ("rotary", "rotary"), build=turning, truth=by_hand_halves)
partial = Group("rotary", "partial", ("rotary", "rotary"), build=turning)


# --- pairs of neighbours ---------------------------------------------------------------------------------------------


@pairs
class Computed(nn.Module):
    def forward(self, q: Tensor, k: Tensor):
        of = angles(q.shape[-2])
        return interleaved(q, of.cos(), of.sin()), interleaved(k, of.cos(), of.sin())


@pairs
class Buffers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("c", angles(LONGEST).cos())
        self.register_buffer("s", angles(LONGEST).sin())

    def forward(self, q: Tensor, k: Tensor):
        T = q.shape[-2]
        return interleaved(q, self.c[:T], self.s[:T]), interleaved(k, self.c[:T], self.s[:T])


@pairs
class Attributes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c, self.s = angles(LONGEST).cos(), angles(LONGEST).sin()

    def forward(self, q: Tensor, k: Tensor):
        T = q.shape[-2]
        return interleaved(q, self.c[:T], self.s[:T]), interleaved(k, self.c[:T], self.s[:T])


@pairs
class KeptAfterTheFirstCall(nn.Module):
    c: Tensor | None = None

    def forward(self, q: Tensor, k: Tensor):
        if self.c is None:
            self.c, self.s = angles(q.shape[-2]).cos(), angles(q.shape[-2]).sin()
        return interleaved(q, self.c, self.s), interleaved(k, self.c, self.s)


@functools.lru_cache
def remembered(rows: int) -> tuple[Tensor, Tensor]:
    return angles(rows).cos(), angles(rows).sin()


@pairs
class Remembered(nn.Module):
    def forward(self, q: Tensor, k: Tensor):
        return interleaved(q, *remembered(q.shape[-2])), interleaved(k, *remembered(k.shape[-2]))


@pairs
class OneTableOfBoth(nn.Module):
    """(places, frequencies, 2), looked up by place numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("both", torch.stack([angles(LONGEST).cos(), angles(LONGEST).sin()], -1))

    def forward(self, q: Tensor, k: Tensor):
        cos, sin = self.both[torch.arange(q.shape[-2])].unbind(-1)
        return interleaved(q, cos, sin), interleaved(k, cos, sin)


@pairs
class LookedUp(nn.Module):
    """The two as tables for `embedding`, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(torch.cat([angles(LONGEST).sin(), angles(LONGEST).cos()], -1))

    def forward(self, q: Tensor, k: Tensor):
        sin, cos = self.table(torch.arange(q.shape[-2])).chunk(2, -1)
        return interleaved(q, cos, sin), interleaved(k, cos, sin)


@pairs
def numpy_tables():
    of = np.outer(np.arange(LONGEST), 100.0 ** (-np.arange(0, HEAD, 2) / HEAD))
    cos, sin = torch.from_numpy(np.cos(of)), torch.from_numpy(np.sin(of))
    return lambda q, k: tuple(interleaved(x, cos[: x.shape[-2]], sin[: x.shape[-2]]) for x in (q, k))


@pairs
def lists_of_floats():
    def turn(q: Tensor, k: Tensor):
        of = [[t * 100.0 ** (-i / HEAD) for i in range(0, HEAD, 2)] for t in range(q.shape[-2])]
        cos = torch.tensor([[math.cos(a) for a in row] for row in of], dtype=q.dtype)
        sin = torch.tensor([[math.sin(a) for a in row] for row in of], dtype=q.dtype)
        return interleaved(q, cos, sin), interleaved(k, cos, sin)

    return turn


@pairs
def queries_and_keys_in_one():
    def turn(q: Tensor, k: Tensor):
        of = angles(q.shape[-2])
        return interleaved(torch.stack([q, k]), of.cos(), of.sin()).unbind(0)

    return turn


@pairs
def pairs_on_an_axis_of_their_own():
    def turn(q: Tensor, k: Tensor):
        of = angles(q.shape[-2])

        def one(x: Tensor) -> Tensor:
            x = x.unflatten(-1, (-1, 2))
            beside = torch.stack([-x[..., 1], x[..., 0]], -1)
            return (x * of.cos()[..., None] + beside * of.sin()[..., None]).flatten(-2)

        return one(q), one(k)

    return turn


@pairs
def place_by_place():
    def turn(q: Tensor, k: Tensor):
        of = angles(q.shape[-2])

        def one(x: Tensor) -> Tensor:
            return torch.stack([interleaved(x[..., t, :], of[t].cos(), of[t].sin()) for t in range(x.shape[-2])], -2)

        return one(q), one(k)

    return turn


@pairs
def sequence_first():
    def turn(q: Tensor, k: Tensor):
        of = angles(q.shape[-2])[:, None, None]
        return tuple(interleaved(x.permute(2, 0, 1, 3), of.cos(), of.sin()).permute(1, 2, 0, 3) for x in (q, k))

    return turn


@pairs
def heads_after_places():
    def turn(q: Tensor, k: Tensor):
        of = angles(q.shape[-2])[:, None]
        return tuple(interleaved(x.transpose(1, 2), of.cos(), of.sin()).transpose(1, 2) for x in (q, k))

    return turn


@pairs
def heads_merged():
    def turn(q: Tensor, k: Tensor):
        of = angles(q.shape[-2]).repeat(1, HEADS)
        return tuple(interleaved(x.transpose(1, 2).flatten(2), of.cos(), of.sin()).unflatten(-1, (HEADS, HEAD)).transpose(1, 2)
                     for x in (q, k))  # fmt: skip

    return turn


# complex numbers


def by_complex(x: Tensor, f: Tensor) -> Tensor:
    return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * f).flatten(-2)


@pairs
class ComplexBuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        of = angles(LONGEST)
        self.register_buffer("f", torch.polar(torch.ones_like(of), of), persistent=False)

    def forward(self, q: Tensor, k: Tensor):
        f = self.f[: q.shape[-2]]
        return by_complex(q, f), by_complex(k, f)


@pairs
class ComplexAttribute(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.f = torch.complex(angles(LONGEST).cos(), angles(LONGEST).sin())

    def forward(self, q: Tensor, k: Tensor):
        f = self.f[: q.shape[-2]]
        return by_complex(q, f), by_complex(k, f)


@pairs
def complex_exponential():
    return lambda q, k: tuple(by_complex(x, torch.exp(1j * angles(x.shape[-2]))) for x in (q, k))


@pairs
def complex_factor_first():
    return lambda q, k: tuple(
        torch.view_as_real(torch.exp(1j * angles(x.shape[-2])) * torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())).flatten(-2)
        for x in (q, k)
    )


@pairs
def complex_made_of_parts():
    def turn(q: Tensor, k: Tensor):
        def one(x: Tensor) -> Tensor:
            z = torch.complex(x[..., 0::2], x[..., 1::2]) * torch.exp(1j * angles(x.shape[-2]))
            return torch.stack([z.real, z.imag], -1).flatten(-2)

        return one(q), one(k)

    return turn


# matrices


def matrices(rows: int) -> Tensor:
    """(places, from, to): a rotation in a matrix per place."""
    made = torch.zeros(rows, HEAD, HEAD, dtype=torch.float64)
    of, even = angles(rows), torch.arange(0, HEAD, 2)
    made[:, even, even] = made[:, even + 1, even + 1] = of.cos()
    made[:, even, even + 1], made[:, even + 1, even] = of.sin(), -of.sin()
    return made


@pairs
class MatricesInEinsum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("turns", matrices(LONGEST))

    def forward(self, q: Tensor, k: Tensor):
        return tuple(torch.einsum("tde,bhtd->bhte", self.turns[: x.shape[-2]], x) for x in (q, k))


@pairs
def matrices_in_matmul():
    return lambda q, k: tuple((x[..., None, :] @ matrices(x.shape[-2]))[..., 0, :] for x in (q, k))


@pairs
def matrices_before_vectors():
    return lambda q, k: tuple((matrices(x.shape[-2]).mT @ x[..., None]).squeeze(-1) for x in (q, k))


@pairs
def matrices_place_by_place():
    def turn(q: Tensor, k: Tensor):
        of = matrices(q.shape[-2])
        return tuple(torch.stack([x[:, :, t] @ of[t] for t in range(x.shape[-2])], 2) for x in (q, k))

    return turn


@pairs
def products_summed():
    """A product with every entry of the matrices, summed over the features."""
    return lambda q, k: tuple((x[..., None] * matrices(x.shape[-2])).sum(-2) for x in (q, k))


# --- halves ----------------------------------------------------------------------------------------------------------


@halves
class HalvesComputed(nn.Module):
    def forward(self, q: Tensor, k: Tensor):
        of = twice(angles(q.shape[-2]))
        return turned(q, of.cos(), of.sin()), turned(k, of.cos(), of.sin())


@halves
class HalvesInBuffers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("c", twice(angles(LONGEST)).cos()[None, None])
        self.register_buffer("s", twice(angles(LONGEST)).sin()[None, None])

    def forward(self, q: Tensor, k: Tensor):
        T = q.shape[-2]
        return turned(q, self.c[:, :, :T], self.s[:, :, :T]), turned(k, self.c[:, :, :T], self.s[:, :, :T])


@halves
class FrequenciesInABuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 100.0 ** (-torch.arange(0, HEAD, 2).double() / HEAD))

    def forward(self, q: Tensor, k: Tensor):
        of = twice(torch.einsum("i,j->ij", torch.arange(q.shape[-2]).double(), self.inv_freq))
        return turned(q, of.cos(), of.sin()), turned(k, of.cos(), of.sin())


@halves
class FrequenciesLearnt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(100.0 ** (-torch.arange(0, HEAD, 2).double() / HEAD))

    def forward(self, q: Tensor, k: Tensor):
        of = twice(torch.arange(q.shape[-2]).double()[:, None] * self.frequencies)
        return turned(q, of.cos(), of.sin()), turned(k, of.cos(), of.sin())


@halves
def written_per_half():
    def turn(q: Tensor, k: Tensor):
        cos, sin = angles(q.shape[-2]).cos(), angles(q.shape[-2]).sin()

        def one(x: Tensor) -> Tensor:
            a, b = x[..., : HEAD // 2], x[..., HEAD // 2 :]
            return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

        return one(q), one(k)

    return turn


@halves
def sign_in_the_sine():
    """roll(x) * sin, the sine's first half negative."""

    def turn(q: Tensor, k: Tensor):
        of = angles(q.shape[-2])
        cos, sin = twice(of).cos(), torch.cat([-of.sin(), of.sin()], -1)
        return tuple(x * cos + x.roll(HEAD // 2, -1) * sin for x in (q, k))

    return turn


@halves
def addcmul():
    def turn(q: Tensor, k: Tensor):
        of = twice(angles(q.shape[-2]))
        return tuple(torch.addcmul(x * of.cos(), across(x), of.sin()) for x in (q, k))

    return turn


@halves
def in_place():
    def turn(q: Tensor, k: Tensor):
        of = twice(angles(q.shape[-2]))

        def one(x: Tensor) -> Tensor:
            out = x * of.cos()
            out += across(x) * of.sin()
            return out

        return one(q), one(k)

    return turn


@halves
def complex_halves():
    def turn(q: Tensor, k: Tensor):
        def one(x: Tensor) -> Tensor:
            z = torch.complex(*x.chunk(2, -1)) * torch.exp(1j * angles(x.shape[-2]))
            return torch.cat([z.real, z.imag], -1)

        return one(q), one(k)

    return turn


class Fused(Net):
    """Turned queries and keys in torch's fused attention."""

    def __init__(self) -> None:
        super().__init__(turn=HalvesComputed, attend=lambda: F.scaled_dot_product_attention)


halves.whole("fused attention", Fused)


class TurnedBeforeSplitting(Net):
    """The tables are made once and handed to every layer."""

    def forward(self, ids: Tensor) -> Tensor:
        of = twice(angles(ids.shape[1]))
        for block in self.blocks:
            block.attention.turn = lambda q, k: (turned(q, of.cos(), of.sin()), turned(k, of.cos(), of.sin()))
        return super().forward(ids)


halves.whole("made once for all layers", TurnedBeforeSplitting)


# --- half of the width only ------------------------------------------------------------------------------------------


def part_turned(x: Tensor) -> Tensor:
    of = twice(angles(x.shape[-2], HEAD // 2))
    return torch.cat([turned(x[..., : HEAD // 2], of.cos(), of.sin()), x[..., HEAD // 2 :]], -1)


@partial
def the_first_half_turned():
    return lambda q, k: (part_turned(q), part_turned(k))


@partial
def written_into_a_copy():
    def one(x: Tensor) -> Tensor:
        of, out = twice(angles(x.shape[-2], HEAD // 2)), x.clone()
        out[..., : HEAD // 2] = turned(x[..., : HEAD // 2], of.cos(), of.sin())
        return out

    return lambda q, k: (one(q), one(k))


@partial
class PartialByBuffers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c, self.s = twice(angles(LONGEST, HEAD // 2)).cos(), twice(angles(LONGEST, HEAD // 2)).sin()

    def forward(self, q: Tensor, k: Tensor):
        def one(x: Tensor) -> Tensor:
            a, b = x.split(HEAD // 2, -1)
            return torch.cat((turned(a, self.c[: x.shape[-2]], self.s[: x.shape[-2]]), b), -1)

        return one(q), one(k)
