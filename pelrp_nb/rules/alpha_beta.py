"""Alpha-beta: share out what speaks for and what speaks against apart, and weigh the two.

    P_j = sum_i (x_i W_ji)+ + b_j+        what speaks for: x+ W+ and x- W- share ONE denominator
    N_j = sum_i (x_i W_ji)- + b_j-        what speaks against

                        (x_i W_ji)+          (x_i W_ji)-
    R_i = sum_j ( alpha ----------- -  beta ----------- ) R_j          alpha - beta = 1
                            P_j                  N_j

Conserves: all but what the bias keeps, and the part of a sign that no contribution has (P_j = 0 or N_j = 0).
(Bach et al. 2015)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from ..errors import InputError
from ..verbs import freeze, route, scale, stabilise
from ._rule import Example, Linear, Rule


def relevance(
    R: Float[Tensor, "*batch out"], x: Float[Tensor, "*batch in"], *,
    weight: Float[Tensor, "out in"], bias: Float[Tensor, "out"] | None = None,
    alpha: float = 2, beta: float | None = None,
) -> tuple[Float[Tensor, "*batch in"]]:  # fmt: skip
    """The definition: two piles of contributions, each shared out apart. `beta` is `alpha - 1` if not given."""
    bias = weight.new_zeros(weight.shape[0]) if bias is None else bias
    contribution = x[..., None, :] * weight                                     # (*batch, out, in)
    plus, minus = contribution.clamp(min=0), contribution.clamp(max=0)
    P, N = plus.sum(-1) + bias.clamp(min=0), minus.sum(-1) + bias.clamp(max=0)  # (*batch, out)
    speaks_for, speaks_against = plus / stabilise(P)[..., None], minus / stabilise(N)[..., None]
    share = alpha * speaks_for - _beta(alpha, beta) * speaks_against
    return ((share * R[..., None]).sum(-2),)


def forward(
    x: Float[Tensor, "*x"], *, weight: Float[Tensor, "..."], bias: Float[Tensor, "out"] | None = None,
    alpha: float = 2, beta: float | None = None, apply: Linear = linear,
) -> Float[Tensor, "..."]:  # fmt: skip
    """The same rule as a bent gradient: the value of z, the gradient of alpha z/P P' - beta z/N N'.

    `apply(x, W, b)` is the linear map: `linear`, or a `partial` of a convolution.
    """
    beta = _beta(alpha, beta)
    z = apply(freeze(x), weight, bias)
    plus = x.clamp(min=0)
    minus = x - plus
    up, down = weight.clamp(min=0), weight.clamp(max=0)
    b_up, b_down = (None, None) if bias is None else (bias.clamp(min=0), bias.clamp(max=0))
    P = apply(plus, up, b_up) + apply(minus, down, None)
    through = scale(P, alpha * _over(z, P))
    if beta:
        N = apply(plus, down, b_down) + apply(minus, up, None)
        through = through - scale(N, beta * _over(z, N))
    return route(z, through)


def _over(z: Tensor, pile: Tensor) -> Tensor:
    """`z / pile`, and 0 for an empty pile: it can pay nobody."""
    return z / freeze(pile).masked_fill(pile == 0, torch.inf)


def _beta(alpha: float, beta: float | None) -> float:
    beta = alpha - 1 if beta is None else beta
    if abs(alpha - beta - 1) > 1e-12:
        raise InputError(f"alpha - beta must be 1, got alpha={alpha} and beta={beta}; type alpha_beta({beta + 1})")
    return beta


def example(rng: torch.Generator) -> Example:
    """Signed inputs, signed weights, a bias."""
    x, weight, bias, R = (torch.randn(*s, generator=rng, dtype=torch.float64) for s in ((4, 3), (2, 3), (2,), (4, 2)))
    return R, (x,), {"weight": weight, "bias": bias}


alpha_beta = Rule("alpha_beta", relevance, forward, example, page=__name__, keyword="alpha")
