"""Gamma: favour the contributions that point the way the output went.

    z_j = sum_i x_i W_ji + b_j                          x+ = max(x, 0), x- = min(x, 0), likewise W, b

    z_j > 0:   z'_j = sum_i x_i+ (W_ji + gamma W_ji+) + x_i- (W_ji + gamma W_ji-) + b_j + gamma b_j+
    z_j < 0:   z'_j = sum_i x_i+ (W_ji + gamma W_ji-) + x_i- (W_ji + gamma W_ji+) + b_j + gamma b_j-

    R_i = sum_j (the part of x_i in z'_j) / <z'_j> R_j

With C_ji = x_i W_ji, the part of x_i is C + gamma C+ where the output is positive and C + gamma C- where it is
negative: z' is never smaller than z, so shares stay small where contributions cancel.

Conserves: all but what the bias and eps keep.  (Montavon et al. 2019, made fit for signed inputs)
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import linear

from ..verbs import freeze, route, scale, stabilise
from ._rule import Example, Linear, Rule


def relevance(
    R: Float[Tensor, "*batch out"], x: Float[Tensor, "*batch in"], *,
    weight: Float[Tensor, "out in"], bias: Float[Tensor, "out"] | None = None,
    gamma: float = 0.25, eps: float = 0.0,
) -> tuple[Float[Tensor, "*batch in"]]:  # fmt: skip
    """The definition: write out every contribution, favour those that agree with the output, pay shares."""
    bias = weight.new_zeros(weight.shape[0]) if bias is None else bias
    contribution = x[..., None, :] * weight                            # (*batch, out, in)
    fell = linear(x, weight, bias) < 0                                 # (*batch, out)
    part = _favour(contribution, fell[..., None], gamma)
    z = part.sum(-1) + _favour(bias.expand_as(fell), fell, gamma)      # (*batch, out)
    return ((part / stabilise(z, eps)[..., None] * R[..., None]).sum(-2),)


def _favour(c: Float[Tensor, "*shape"], fell: Bool[Tensor, "*#shape"], gamma: float) -> Float[Tensor, "*shape"]:
    return c + gamma * torch.where(fell, c.clamp(max=0), c.clamp(min=0))


def forward(
    x: Float[Tensor, "*x"], *, weight: Float[Tensor, "..."], bias: Float[Tensor, "out"] | None = None,
    gamma: float = 0.25, apply: Linear = linear, eps: float = 0.0,
) -> Float[Tensor, "..."]:  # fmt: skip
    """The same rule as a bent gradient: the value of z, the gradient of z / <z'> z'.

    `apply(x, W, b)` is the linear map: `linear`, or a `partial` of a convolution.
    """
    z = apply(freeze(x), weight, bias)
    plus = x.clamp(min=0)
    minus = x - plus
    up, down = _bend(weight, gamma)
    b_up, b_down = (None, None) if bias is None else _bend(bias, gamma)
    rise = apply(plus, up, b_up) + apply(minus, down, None)
    fall = apply(plus, down, b_down) + apply(minus, up, None)
    bent = torch.where(z < 0, fall, rise)
    return route(z, scale(bent, z / freeze(stabilise(bent, eps))))


def _bend(W: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """`W + gamma W+` and `W + gamma W-`."""
    return W + gamma * W.clamp(min=0), W + gamma * W.clamp(max=0)


def example(rng: torch.Generator) -> Example:
    """Signed inputs, signed outputs, a bias."""
    x, weight, bias, R = (torch.randn(*s, generator=rng, dtype=torch.float64) for s in ((4, 3), (2, 3), (2,), (4, 2)))
    return R, (x,), {"weight": weight, "bias": bias}


gamma = Rule("gamma", relevance, forward, example, page=__name__, keyword="gamma")
