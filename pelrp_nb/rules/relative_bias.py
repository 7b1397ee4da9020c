"""Relative bias: a number per distance, added to the score and paid at the pair of tokens where it was added.

    s_ij = q_i . k_j + bias_(i-j)

    R(q_i . k_j) = q_i . k_j / s_ij R(s_ij)          R(bias_ij) = bias_(i-j) / s_ij R(s_ij)

The bias belongs to a query and a key, not to one token: keep the matrix. A mask is added afterwards and is a
constant; a score of minus infinity carries nothing and is never multiplied.

Conserves: all.  (Bakish et al. 2025; encoding of Raffel et al. 2020)
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..verbs import stabilise
from ._rule import Rule


def relevance(R: Tensor, scores: Tensor, bias: Tensor):
    """The definition: shares of the sum at every visible pair. `bias` expands to scores (*batch, T, S)."""
    s = scores + bias
    visible = s != -torch.inf
    per_unit = torch.where(visible, R, 0) / stabilise(s)
    parts = (torch.where(visible, term, 0) * per_unit for term in (scores, bias))
    return tuple(part.sum_to_size(term.shape) for part, term in zip(parts, (scores, bias), strict=True))


def forward(scores: Tensor, bias: Tensor) -> Tensor:
    """The same rule as a bent gradient: nothing to bend."""
    return scores + bias


def by_distance(table: Tensor, queries: int, keys: int) -> Tensor:
    """The bias matrix (heads, queries, keys) from a table (distances, heads) whose middle row is distance 0."""
    distance = torch.arange(queries)[:, None] - torch.arange(keys)
    middle = len(table) // 2
    return table[(distance + middle).clamp(0, len(table) - 1)].permute(2, 0, 1)


def example(rng: torch.Generator):
    """Two sentences, two heads, four tokens; one bias matrix per head."""
    scores, R = (torch.randn(2, 2, 4, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    table = torch.randn(5, 2, generator=rng, dtype=torch.float64)
    return R, (scores, by_distance(table, 4, 4)), {}


relative_bias = Rule("relative_bias", relevance, forward, example, page=__name__)
