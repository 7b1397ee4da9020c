"""Rotary: a rotation is two products, so half goes to the vector and half to the angle.

    x~ = x cos + turn(x) sin                turn(x)_i = -x_i' or x_i', i' the other coordinate of the pair

    R(cos_i) = 1/2  x_i cos_i / x~_i  R(x~_i)          R(sin_i) = 1/2  turn(x)_i sin_i / x~_i  R(x~_i)
    R(x_i)   = R(cos_i) + R(sin_i')                    so R(P) = sum_i R(cos_i) + R(sin_i) = 1/2 R(x~)

Pairs are (i, i + d/2) with turn="half", (2i, 2i + 1) with turn="interleaved". One complex table c = cos + i sin for
interleaved pairs: R(c) = Re(conj(c) g), the sum of both. Tables narrower than x: the rest passes untouched.
The same holds for q and for k; position 0 (cos 1, sin 0) is not turned, and gets its half.  So the half is a convention about
products, and no measurement of the rotation: what a position is worth is told by `exchange`.

Conserves: all.  (Bakish et al. 2025; encoding of Su et al. 2021)
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Inexact, Real
from torch import Tensor

from ..verbs import scale, stabilise
from ._rule import Example, Rule


def relevance(
    R: Float[Tensor, "*batch T d"], x: Float[Tensor, "*batch T d"], *tables: Inexact[Tensor, "..."], turn: str = "half"
) -> tuple[Float[Tensor, "..."], ...]:
    """The definition: write out both products, pay half of each share to the vector, half to the table.

    Tables: cos and sin (expandable to x, or narrower than d), or one complex table of d / 2.
    """
    if tables[0].is_complex():
        R_x, R_cos, R_sin = relevance(
            R, x, *(part.repeat_interleave(2, -1) for part in (tables[0].real, tables[0].imag)), turn="interleaved"
        )
        return R_x, (R_cos + R_sin).unflatten(-1, (-1, 2)).sum(-1)
    cos, sin = tables
    width = cos.shape[-1]
    partner, sign = _pairs(width, turn)
    v = x[..., :width]
    by_cos, by_sin = v * cos, v[..., partner] * sign.to(x) * sin
    half = R[..., :width] / stabilise(by_cos + by_sin) / 2
    R_cos, R_sin = half * by_cos, half * by_sin
    R_x = torch.cat((R_cos + R_sin[..., partner], R[..., width:]), -1)
    return R_x, R_cos.sum_to_size(cos.shape), R_sin.sum_to_size(sin.shape)


def _pairs(width: int, turn: str) -> tuple[Tensor, Tensor]:
    """For each coordinate the other one of its pair, and its sign in turn(x): minus for the first of a pair."""
    i = torch.arange(width)
    if turn == "half":
        return (i + width // 2) % width, torch.where(i < width // 2, -1, 1)
    return i + 1 - 2 * (i % 2), torch.where(i % 2 == 0, -1, 1)


def forward(x: Float[Tensor, "*batch T d"], *tables: Inexact[Tensor, "..."], turn: str = "half") -> Float[Tensor, "*batch T d"]:
    """The same rule as a bent gradient: a product of two carriers, twice, so half of the gradient."""
    width = tables[0].shape[-1] * (2 if tables[0].is_complex() else 1)
    v, rest = x[..., :width], x[..., width:]
    if tables[0].is_complex():
        pairs = torch.view_as_complex(v.unflatten(-1, (-1, 2)).contiguous())
        z = torch.view_as_real(pairs * tables[0]).flatten(-2)
    else:
        z = v * tables[0] + turned(v, turn) * tables[1]
    z = scale(z, 1 / 2)
    return torch.cat((z, rest), -1) if rest.shape[-1] else z


def turned(x: Float[Tensor, "*batch d"], turn: str = "half") -> Float[Tensor, "*batch d"]:
    """Every pair of coordinates (a, b) as (-b, a), a quarter turn."""
    if turn == "half":
        a, b = x.chunk(2, -1)
        return torch.cat((-b, a), -1)
    return torch.stack((-x[..., 1::2], x[..., 0::2]), -1).flatten(-2)


def angles(
    positions: Real[Tensor, "T"], width: int, *, base: float = 10000.0, turn: str = "half"
) -> tuple[Float[Tensor, "T {width}"], Float[Tensor, "T {width}"]]:
    """The usual tables: cos and sin (T, width) at the given positions, one frequency per pair, in float64."""
    frequency = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = positions.to(torch.float64)[:, None] * frequency
    angle = torch.cat((angle, angle), -1) if turn == "half" else angle.repeat_interleave(2, -1)
    return angle.cos(), angle.sin()


def example(rng: torch.Generator) -> Example:
    """Two heads of four queries, six coordinates of which the first four turn."""
    x, R = (torch.randn(2, 4, 6, generator=rng, dtype=torch.float64) for _ in range(2))
    return R, (x, *angles(torch.arange(4), 4)), {"turn": "half"}


rotary = Rule("rotary", relevance, forward, example, page=__name__, keyword="turn")
