"""Modulation: a vector or a number that belongs to a place multiplies the token there, and gets half.

    z_t = x_t m_t                 coordinate by coordinate; m_t may be one number for all of them

    R(x_ti) = 1/2 R(z_ti)          R(m_t) = 1/2 R(z_t), summed over the coordinates that share it

A rotation is two modulations and a sum, and has the page `rotary`.  What multiplies is a position only if no input made it: a
gate is a product of two tokens, and the inverse norm of a token is a constant of that token.

Conserves: all.  (Bakish et al. 2025; encoding of Sun et al. 2023, xPos)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..verbs import scale
from ._rule import Example, Rule


def relevance(
    R: Float[Tensor, "*shape"], x: Float[Tensor, "*shape"], m: Float[Tensor, "*#shape"]
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*#shape"]]:
    """The definition: half to each factor. `m` may be shared by a batch and gets the total."""
    half = torch.where(x * m == 0, 0, R) / 2                                 # nothing was made of a zero
    return half, half.sum_to_size(m.shape)


def forward(x: Float[Tensor, "*shape"], m: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """The same rule as a bent gradient: a product of two carriers, so half of the gradient."""
    return scale(x * m, 1 / 2)


def growth(
    tokens: int, width: int, *, gamma: float = 0.4, base: float = 512.0, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "{tokens} {width}"]:
    """The numbers by which xPos multiplies queries (tokens, width); keys are divided by them. One for each pair of coordinates."""
    pair = torch.arange(0, width, 2, dtype=torch.float64) / width
    rate = ((pair + gamma) / (1 + gamma)).repeat_interleave(2)
    place = torch.arange(tokens, dtype=torch.float64) - tokens // 2
    return (rate ** (place / base)[:, None]).to(dtype)


def example(rng: torch.Generator) -> Example:
    """Two sentences of three tokens, multiplied by what belongs to their places."""
    x, R = (torch.randn(2, 3, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    return R, (x, growth(3, 4, base=4.0, dtype=torch.float64)), {}


modulation = Rule("modulation", relevance, forward, example, page=__name__)
