"""Learnable: the same sum with a learnt table; each row is paid for the tokens that looked it up.

    z_t = E_t + P_p(t)          p(t) the position of token t

    R(E_t) = E_t / z_t R(z_t)          R(P_r) = sum over t with p(t) = r of P_r / z_t R(z_t)

The table is a parameter, and parameters are constants elsewhere; here it is added, and what is added carries from
the place where it is added. To read relevance per token, take P_p(t) as the input, as the page `absolute` does.

Conserves: all.  (Bakish et al. 2025)
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding

from ._rule import Example, Rule
from .residual import residual


def relevance(
    R: Float[Tensor, "*batch T D"], E: Float[Tensor, "*batch T D"], table: Float[Tensor, "rows D"], *,
    positions: Int[Tensor, "*#batch T"],
) -> tuple[Float[Tensor, "*batch T D"], Float[Tensor, "rows D"]]:  # fmt: skip
    """The definition: a sum, then every look-up hands its part to its row."""
    R_E, R_P = residual.relevance(R, E, table[positions].expand_as(E))
    R_table = torch.zeros_like(table)
    for row in range(len(table)):
        R_table[row] = R_P[(positions == row).expand(E.shape[:-1])].sum(0)
    return R_E, R_table


def forward(
    E: Float[Tensor, "*batch T D"], table: Float[Tensor, "rows D"], *, positions: Int[Tensor, "*#batch T"]
) -> Float[Tensor, "*batch T D"]:
    """The same rule as a bent gradient: nothing to bend."""
    return E + embedding(positions, table)


def example(rng: torch.Generator) -> Example:
    """Two sentences of three tokens, the second padded on the left, a table of five rows."""
    E, R = (torch.randn(2, 3, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    table = torch.randn(5, 4, generator=rng, dtype=torch.float64)
    return R, (E, table), {"positions": torch.tensor([[0, 1, 2], [0, 0, 1]])}


learnable = Rule("learnable", relevance, forward, example, page=__name__)
