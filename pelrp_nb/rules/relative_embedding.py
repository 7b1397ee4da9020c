"""Relative embedding: a vector per distance is multiplied with a query or a key, and gets half of what the product gets.

    s_ij = sum_d q_id r_(i-j)d                  r a table with a row for each distance; the same for keys, k_j . r_(i-j)

    R(q_id)       = 1/2 sum_j  q_id r_(i-j)d / s_ij  R(s_ij)
    R(r_nd)       = 1/2 sum over i - j = n of  q_id r_nd / s_ij  R(s_ij)          so the pair (i, j) pays positions 1/2 R(s_ij)

Content times position, so both carry.  The fast form multiplies the query with every row first and picks by distance
afterwards, as models do: a pick is linear.

Conserves: all.  (Bakish et al. 2025; encoding of Shaw et al. 2018)
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..verbs import scale, stabilise
from ._rule import Example, Rule


def relevance(
    R: Float[Tensor, "*batch T S"], q: Float[Tensor, "*batch T d"], table: Float[Tensor, "distances d"], *, rows: Int[Tensor, "T S"]
) -> tuple[Float[Tensor, "*batch T d"], Float[Tensor, "distances d"]]:
    """The definition: write out every product, pay half of its share to each side. `rows`: the row of the table for each pair."""
    product = q[..., :, None, :] * table[rows]                               # (*batch, T, S, d)
    half = product * (R / stabilise(product.sum(-1)) / 2)[..., None]
    R_table = torch.stack([half[..., rows == n, :].sum(tuple(range(half.dim() - 2))) for n in range(len(table))])
    return half.sum(-2), R_table


def forward(
    q: Float[Tensor, "*batch T d"], table: Float[Tensor, "distances d"], *, rows: Int[Tensor, "T S"]
) -> Float[Tensor, "*batch T S"]:
    """The same rule as a bent gradient: a product of two carriers, so half of the gradient."""
    product = scale(q @ table.T, 1 / 2)                                      # (*batch, T, distances)
    return product.gather(-1, rows.expand(*product.shape[:-1], -1))


def rows_by_distance(queries: int, keys: int, distances: int) -> Int[Tensor, "{queries} {keys}"]:
    """Which row (queries, keys) of a table of so many distances each pair looks up; its middle row is distance 0."""
    distance = torch.arange(queries)[:, None] - torch.arange(keys)
    return (distance + distances // 2).clamp(0, distances - 1)


def example(rng: torch.Generator) -> Example:
    """Two heads of three queries and four keys, five distances; those further apart share the last row."""
    q, table, R = (torch.randn(*s, generator=rng, dtype=torch.float64) for s in ((2, 3, 2), (5, 2), (2, 3, 4)))
    return R, (q, table), {"rows": rows_by_distance(3, 4, 5)}


relative_embedding = Rule("relative_embedding", relevance, forward, example, page=__name__)
