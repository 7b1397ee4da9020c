"""Decay: a number that falls with the distance multiplies the score of a pair, and gets half.

    z_ij = s_ij D_ij          D_ij = gamma_h^(i - j) for j <= i, else 0;  gamma_h the rate of head h

    R(s_ij) = 1/2 R(z_ij)          R(D_ij) = 1/2 R(z_ij)

The number belongs to a query and a key, not to one token: keep the matrix.  A pair with D_ij = 0 is hidden, as by a mask: it
makes nothing and gets nothing.

Conserves: all.  (Bakish et al. 2025; encoding of Sun et al. 2023, RetNet)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..verbs import scale
from ._rule import Example, Rule


def relevance(
    R: Float[Tensor, "*pairs"], scores: Float[Tensor, "*pairs"], decay: Float[Tensor, "*#pairs"]
) -> tuple[Float[Tensor, "*pairs"], Float[Tensor, "*#pairs"]]:
    """The definition: half to each factor, at every visible pair. `decay` expands to scores (*batch, T, S)."""
    half = torch.where(scores * decay == 0, 0, R) / 2
    return half.sum_to_size(scores.shape), half.sum_to_size(decay.shape)


def forward(scores: Float[Tensor, "*pairs"], decay: Float[Tensor, "*#pairs"]) -> Float[Tensor, "*pairs"]:
    """The same rule as a bent gradient: a product of two carriers, so half of the gradient."""
    return scale(scores * decay, 1 / 2)


def retention(heads: int, queries: int, keys: int, *, dtype: torch.dtype = torch.float32) -> Float[Tensor, "{heads} {queries} {keys}"]:
    """The matrix (heads, queries, keys) of RetNet, 0 for keys that come later; the last query stands at the last key."""
    gamma = 1 - 2.0 ** -(5 + torch.arange(heads, dtype=torch.float64))
    distance = torch.arange(keys - queries, keys)[:, None] - torch.arange(keys)
    return torch.where(distance < 0, 0, gamma[:, None, None] ** distance.clamp(min=0)).to(dtype)


def example(rng: torch.Generator) -> Example:
    """Two sentences, two heads, four tokens that see what came before; nothing arrives at hidden pairs."""
    scores, R = (torch.randn(2, 2, 4, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    return R.tril(), (scores, retention(2, 4, 4, dtype=torch.float64)), {}


decay = Rule("decay", relevance, forward, example, page=__name__)
