"""Z-plus: pay only the inputs that spoke for the output.

                 (x_i W_ji)+
    R_i = sum_j ------------- R_j        P_j = sum_i (x_i W_ji)+ + b_j+
                     P_j

This is alpha-beta with alpha = 1, beta = 0, and gamma with gamma at infinity where the output is positive.

Conserves: all but what the bias keeps, and outputs that nothing spoke for (P_j = 0).
(Bach et al. 2015; Montavon et al. 2017)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from ..verbs import stabilise
from ._rule import Example, Linear, Rule
from .alpha_beta import alpha_beta


def relevance(
    R: Float[Tensor, "*batch out"], x: Float[Tensor, "*batch in"], *,
    weight: Float[Tensor, "out in"], bias: Float[Tensor, "out"] | None = None,
) -> tuple[Float[Tensor, "*batch in"]]:  # fmt: skip
    """The definition: shares of the positive contributions."""
    plus = (x[..., None, :] * weight).clamp(min=0)                         # (*batch, out, in)
    P = plus.sum(-1) + (0 if bias is None else bias.clamp(min=0))          # (*batch, out)
    return ((plus / stabilise(P)[..., None] * R[..., None]).sum(-2),)


def forward(
    x: Float[Tensor, "*x"], *, weight: Float[Tensor, "..."], bias: Float[Tensor, "out"] | None = None, apply: Linear = linear,
) -> Float[Tensor, "..."]:  # fmt: skip
    """The same rule as a bent gradient: alpha-beta's, without the part that speaks against."""
    return alpha_beta.forward(x, weight=weight, bias=bias, alpha=1, beta=0, apply=apply)


def example(rng: torch.Generator) -> Example:
    """Signed inputs, signed weights, a bias."""
    x, weight, bias, R = (torch.randn(*s, generator=rng, dtype=torch.float64) for s in ((4, 3), (2, 3), (2,), (4, 2)))
    return R, (x,), {"weight": weight, "bias": bias}


zplus = Rule("zplus", relevance, forward, example, page=__name__)
