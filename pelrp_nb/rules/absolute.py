"""Absolute: a position added to a token is paid like the token, in proportion to what it brought.

    z_t = E_t + P_t          P_t,2i = sin(t / 10000^(2i/D)),   P_t,2i+1 = cos(t / 10000^(2i/D))

    R(E_t) = E_t / z_t R(z_t)          R(P_t) = P_t / z_t R(z_t)

The values are fixed and the same for every input, yet P is an input: the word at t is the pair (E_t, P_t). Leaving
P out loses its relevance.

Conserves: all.  (Bakish et al. 2025; encoding of Vaswani et al. 2017)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ._rule import Example, Rule
from .residual import residual


def relevance(
    R: Float[Tensor, "*shape"], E: Float[Tensor, "*shape"], P: Float[Tensor, "*#shape"]
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*#shape"]]:
    """The definition: a sum. `P` (T, D) may be shared by a batch and then gets the batch's total."""
    R_E, R_P = residual.relevance(R, E, P)
    return R_E, R_P


def forward(E: Float[Tensor, "*shape"], P: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """The same rule as a bent gradient: nothing to bend."""
    return E + P


def sinusoids(tokens: int, width: int, *, dtype: torch.dtype = torch.float32) -> Float[Tensor, "{tokens} {width}"]:
    """The fixed table (tokens, width), sine and cosine in turn; `width` is even."""
    t, i = torch.arange(tokens, dtype=torch.float64), torch.arange(0, width, 2, dtype=torch.float64)
    angle = t[:, None] / 10000 ** (i / width)
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(-2).to(dtype)


def example(rng: torch.Generator) -> Example:
    """Two sentences of three tokens, and the sinusoids of their positions."""
    E, R = (torch.randn(2, 3, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    return R, (E, sinusoids(3, 4, dtype=torch.float64)), {}


absolute = Rule("absolute", relevance, forward, example, page=__name__)
