"""Layer norm: the standard deviation only sets the scale, the rest is a linear map and pays by epsilon.

    y_j = (x_j - mean(x)) / std * w_j + b_j          std = sqrt(var(x) + eps) taken as a constant

    M_ji = (delta_ji - 1/D) w_j / std                the linear map: y = M x + b

                 x_i M_ji
    R_i = sum_j ---------- R_j
                   y_j

Conserves: all but what the bias keeps.  (Achtibat et al. 2024)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..verbs import freeze, stabilise
from ._rule import Example, Rule
from .rms_norm import last_dims


def relevance(
    R: Float[Tensor, "*shape"],
    x: Float[Tensor, "*shape"],
    *,
    weight: Float[Tensor, "*last"] | None = None,
    bias: Float[Tensor, "*last"] | None = None,
    eps: float = 1e-5,
    normalized_shape: Sequence[int] | None = None,
) -> tuple[Float[Tensor, "*shape"]]:
    """The definition: write out the matrix M, pay shares."""
    n = len(last_dims(weight, normalized_shape))
    flat = x.flatten(-n)                                                       # (*batch, D)
    D = flat.shape[-1]
    std = (flat.var(-1, correction=0, keepdim=True) + eps).sqrt()
    w = x.new_ones(D) if weight is None else weight.flatten()
    b = x.new_zeros(D) if bias is None else bias.flatten()
    M = (torch.eye(D).to(x) - 1 / D) * w[:, None] / std[..., None]    # (*batch, D out, D in)
    contribution = flat[..., None, :] * M
    y = contribution.sum(-1) + b
    share = contribution / stabilise(y)[..., None]
    return ((share * R.flatten(-n)[..., None]).sum(-2).reshape(x.shape),)


def forward(
    x: Float[Tensor, "*shape"],
    *,
    weight: Float[Tensor, "*last"] | None = None,
    bias: Float[Tensor, "*last"] | None = None,
    eps: float = 1e-5,
    normalized_shape: Sequence[int] | None = None,
) -> Float[Tensor, "*shape"]:
    """The same rule as a bent gradient: the standard deviation is frozen, the mean is not.

    The mean runs over the last dimensions, as many as `normalized_shape` or `weight` has; one if neither is given.
    """
    dims = last_dims(weight, normalized_shape)
    centred = x - x.mean(dims, keepdim=True)
    std = (freeze(centred).square().mean(dims, keepdim=True) + eps).sqrt()
    y = centred / std
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def example(rng: torch.Generator) -> Example:
    """Weight and bias over one dimension."""
    x, R = (torch.randn(3, 5, generator=rng, dtype=torch.float64) for _ in range(2))
    weight, bias = (torch.randn(5, generator=rng, dtype=torch.float64) for _ in range(2))
    return R, (x,), {"weight": weight, "bias": bias}


layer_norm = Rule("layer_norm", relevance, forward, example, page=__name__)
