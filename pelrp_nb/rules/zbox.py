"""Z-box: compare each pixel with the darkest and the brightest it could have been.

    z'_j = sum_i x_i W_ji - l_i W_ji+ - h_i W_ji-          l <= x <= h, so no term is negative

                 x_i W_ji - l_i W_ji+ - h_i W_ji-
    R_i = sum_j ---------------------------------- R_j     = R(x_i) + R(l_i) + R(h_i)
                             z'_j

The bounds are inputs too: each of x, l, h receives its own term, and a pixel's relevance is the sum of the three.
The bias adds to the value and takes no share.

Conserves: all (but outputs with z'_j = 0, where every pixel sits on its bound).  (Montavon et al. 2017)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from ..verbs import freeze, route, scale
from ._rule import Example, Linear, Rule


def relevance(
    R: Float[Tensor, "*batch out"], x: Float[Tensor, "*batch in"], low: Float[Tensor, "*#batch in"], high: Float[Tensor, "*#batch in"], *,
    weight: Float[Tensor, "out in"], bias: Float[Tensor, "out"] | None = None,
) -> tuple[Float[Tensor, "*batch in"], Float[Tensor, "*#batch in"], Float[Tensor, "*#batch in"]]:  # fmt: skip
    """The definition: three terms for every pixel and output, shares of their sum. `bias` is not asked."""
    terms = (
        x[..., None, :] * weight,                                   # (*batch, out, in)
        -low[..., None, :] * weight.clamp(min=0),
        -high[..., None, :] * weight.clamp(max=0),
    )
    z = (terms[0] + terms[1] + terms[2]).sum(-1)                    # (*batch, out)
    paid = (R / z.masked_fill(z == 0, torch.inf))[..., None]
    R_x, R_low, R_high = ((term * paid).sum(-2) for term in terms)
    return R_x, R_low.sum_to_size(low.shape), R_high.sum_to_size(high.shape)


def forward(
    x: Float[Tensor, "*x"], low: Float[Tensor, "*#x"], high: Float[Tensor, "*#x"], *,
    weight: Float[Tensor, "..."], bias: Float[Tensor, "out"] | None = None, apply: Linear = linear,
) -> Float[Tensor, "..."]:  # fmt: skip
    """The same rule as a bent gradient: the value of z, the gradient of z / z' z'.

    `low` and `high` have x's shape, or one that expands to it. `apply(x, W, b)` is the linear map.
    """
    z = apply(freeze(x), weight, bias)
    low, high = low.expand_as(x), high.expand_as(x)
    box = apply(x, weight, None) - apply(low, weight.clamp(min=0), None) - apply(high, weight.clamp(max=0), None)
    return route(z, scale(box, z / freeze(box).masked_fill(box == 0, torch.inf)))


def example(rng: torch.Generator) -> Example:
    """Four pixels between -1 and 2, two outputs."""
    x = torch.rand(3, 4, generator=rng, dtype=torch.float64) * 3 - 1
    weight, bias, R = (torch.randn(*s, generator=rng, dtype=torch.float64) for s in ((2, 4), (2,), (3, 2)))
    return R, (x, torch.full_like(x, -1), torch.full_like(x, 2)), {"weight": weight, "bias": bias}


zbox = Rule("zbox", relevance, forward, example, page=__name__)
