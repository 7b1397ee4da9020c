"""Epsilon: pay every input in proportion to what it contributed.

    z_j = sum_i x_i W_ji + b_j

                 x_i W_ji
    R_i = sum_j ---------- R_j         <z> = z + eps sign(z)
                  <z_j>

Conserves: all but what the bias and eps keep.  (Bach et al. 2015)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from ..verbs import scale, stabilise
from ._rule import Example, Linear, Rule


def relevance(
    R: Float[Tensor, "*batch out"], x: Float[Tensor, "*batch in"], *,
    weight: Float[Tensor, "out in"], bias: Float[Tensor, "out"] | None = None, eps: float = 0.0,
) -> tuple[Float[Tensor, "*batch in"]]:  # fmt: skip
    """The definition: build every share, pay it, add up."""
    z = linear(x, weight, bias)                                        # (*batch, out)
    share = x[..., None, :] * weight / stabilise(z, eps)[..., None]    # (*batch, out, in)
    return ((share * R[..., None]).sum(-2),)


def forward(
    x: Float[Tensor, "*x"], *, weight: Float[Tensor, "..."], bias: Float[Tensor, "out"] | None = None,
    eps: float = 0.0, apply: Linear = linear,
) -> Float[Tensor, "..."]:  # fmt: skip
    """The same rule as a bent gradient: only z / <z> is unusual. `apply` is the linear map, a convolution as well."""
    z = apply(x, weight, bias)
    return scale(z, (z / stabilise(z, eps)).detach()) if eps else z


def example(rng: torch.Generator) -> Example:
    """Three inputs, two outputs, a bias that keeps something."""
    x, weight, bias, R = (torch.randn(*s, generator=rng, dtype=torch.float64) for s in ((4, 3), (2, 3), (2,), (4, 2)))
    return R, (x,), {"weight": weight, "bias": bias, "eps": 0.1}


epsilon = Rule("epsilon", relevance, forward, example, page=__name__, keyword="eps")
