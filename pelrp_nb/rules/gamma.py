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

from inspect import unwrap

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

    C+ and C- are halves of C + |C| and C - |C|, so that two linear maps are enough:

        z'_j = (1 + gamma / 2) z_j + sign(z_j) gamma / 2 (sum_i |C_ji| + |b_j|)

    `apply(x, W, b)` is the linear map: `linear`, or a `partial` of a convolution.
    """
    z = apply(x, weight, bias)
    bent = (1 + gamma / 2) * z + gamma / 2 * _Size.apply(x, weight, bias, freeze(z), apply)
    return route(z, scale(bent, freeze(z) / freeze(stabilise(bent, eps))))


class _Size(torch.autograd.Function):
    """sum_i |C_ji| + |b_j| with the sign of z. For the way back signs alone are kept, a byte each: x and z may be written over."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, z: Tensor, apply: Linear) -> Tensor:
        ctx.save_for_backward(x.sign().to(torch.int8), weight, z.signbit())
        ctx.map, ctx.dtype = apply, x.dtype
        return torch.copysign(apply(x.abs(), weight.abs(), None if bias is None else bias.abs()), z)

    @staticmethod
    def backward(ctx, g: Tensor):
        sign, weight, negative = ctx.saved_tensors
        return _back(ctx.map, sign.to(ctx.dtype), weight.abs(), torch.where(negative, -g, g)) * sign, None, None, None, None


def _back(apply: Linear, x: Tensor, weight: Tensor, g: Tensor) -> Tensor:
    """The gradient of a linear map's input, whatever its numbers are; any but `linear` is run once more for it."""
    if unwrap(apply) is linear:
        return g @ weight.to(g.dtype)
    with torch.enable_grad():
        x = x.requires_grad_()
        return torch.autograd.grad(apply(x, weight, None), x, g)[0]


def example(rng: torch.Generator) -> Example:
    """Signed inputs, signed outputs, a bias."""
    x, weight, bias, R = (torch.randn(*s, generator=rng, dtype=torch.float64) for s in ((4, 3), (2, 3), (2,), (4, 2)))
    return R, (x,), {"weight": weight, "bias": bias}


gamma = Rule("gamma", relevance, forward, example, page=__name__, keyword="gamma")
