"""ALiBi: the penalty for distance is an input like any other position, paid where it was subtracted.

    s_ij = q_i . k_j - m_h (i - j)          m_h = 2^(-8h/H), the slope of head h = 1 ... H

    R(q_i . k_j) = q_i . k_j / s_ij R(s_ij)          R(P_ij) = - m_h (i - j) / s_ij R(s_ij)

Slope and distance are constants; their product is the position and receives. The softmax ignores a constant per
row, so `m_h j` in place of `- m_h (i - j)` gives the same outputs and other columns of R(P): say which was taken.

Conserves: all.  (Bakish et al. 2025; encoding of Press et al. 2022)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ._rule import Example, Rule
from .relative_bias import relative_bias


def relevance(
    R: Float[Tensor, "*pairs"], scores: Float[Tensor, "*pairs"], bias: Float[Tensor, "*#pairs"]
) -> tuple[Float[Tensor, "*pairs"], Float[Tensor, "*#pairs"]]:
    """The definition: a sum, at every visible pair. `bias` expands to scores (*batch, T, S)."""
    R_scores, R_bias = relative_bias.relevance(R, scores, bias)
    return R_scores, R_bias


def forward(scores: Float[Tensor, "*pairs"], bias: Float[Tensor, "*#pairs"]) -> Float[Tensor, "*pairs"]:
    """The same rule as a bent gradient: nothing to bend."""
    return scores + bias


def penalty(heads: int, queries: int, keys: int, *, dtype: torch.dtype = torch.float32) -> Float[Tensor, "{heads} {queries} {keys}"]:
    """The bias matrix (heads, queries, keys), zero on the diagonal; the last query stands at the last key."""
    slope = 2.0 ** (-8 * torch.arange(1, heads + 1, dtype=torch.float64) / heads)
    distance = torch.arange(keys - queries, keys)[:, None] - torch.arange(keys)
    return (-slope[:, None, None] * distance).to(dtype)


def example(rng: torch.Generator) -> Example:
    """Two sentences, two heads, four tokens."""
    scores, R = (torch.randn(2, 2, 4, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    return R, (scores, penalty(2, 4, 4, dtype=torch.float64)), {}


alibi = Rule("alibi", relevance, forward, example, page=__name__)
