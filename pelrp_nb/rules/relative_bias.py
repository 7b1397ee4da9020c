"""Relative bias: a number per distance, added to the score and paid at the pair of tokens where it was added.

    s_ij = q_i . k_j + bias_(i-j)

    R(q_i . k_j) = q_i . k_j / s_ij R(s_ij)          R(bias_ij) = bias_(i-j) / s_ij R(s_ij)

The bias belongs to a query and a key, not to one token: keep the matrix. A mask is added afterwards and is a
constant; a score of minus infinity carries nothing and is never multiplied.

Conserves: all.  (Bakish et al. 2025; encoding of Raffel et al. 2020)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..verbs import stabilise
from ._rule import Example, Rule


def relevance(
    R: Float[Tensor, "*pairs"], scores: Float[Tensor, "*pairs"], bias: Float[Tensor, "*#pairs"]
) -> tuple[Float[Tensor, "*pairs"], Float[Tensor, "*#pairs"]]:
    """The definition: shares of the sum at every visible pair. `bias` expands to scores (*batch, T, S)."""
    s = scores + bias
    visible = s != -torch.inf
    per_unit = torch.where(visible, R, 0) / stabilise(s)
    R_scores, R_bias = (torch.where(visible, term, 0) * per_unit for term in (scores, bias))
    return R_scores.sum_to_size(scores.shape), R_bias.sum_to_size(bias.shape)


def forward(scores: Float[Tensor, "*pairs"], bias: Float[Tensor, "*#pairs"]) -> Float[Tensor, "*pairs"]:
    """The same rule as a bent gradient: nothing to bend."""
    return scores + bias


def by_distance(table: Float[Tensor, "distances heads"], queries: int, keys: int) -> Float[Tensor, "heads {queries} {keys}"]:
    """The bias matrix (heads, queries, keys) from a table (distances, heads) whose middle row is distance 0."""
    distance = torch.arange(queries)[:, None] - torch.arange(keys)
    middle = len(table) // 2
    return table[(distance + middle).clamp(0, len(table) - 1)].permute(2, 0, 1)


def example(rng: torch.Generator) -> Example:
    """Two sentences, two heads, four tokens; one bias matrix per head."""
    scores, R = (torch.randn(2, 2, 4, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    table = torch.randn(5, 2, generator=rng, dtype=torch.float64)
    return R, (scores, by_distance(table, 4, 4)), {}


relative_bias = Rule("relative_bias", relevance, forward, example, page=__name__)
