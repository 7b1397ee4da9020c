"""ResLRP: in a sum whose branches disagree, favour the branch that the sum agrees with.

    c = a + b          W_a = 1 + gamma if sign(a) = sign(c), else 1          W_b likewise

                 W_a a                             W_b b
    R(a) = ---------------- R(c)       R(b) = ---------------- R(c)
            W_a a + W_b b                      W_a a + W_b b

The denominator is never smaller than c, so |R(a)| + |R(b)| <= (1 + 2 / gamma) |R(c)|: cancelling branches no longer
blow relevance up; a sum of zero counts as positive. Where a and b agree nothing changes; gamma = 0 is the plain residual.

Conserves: all.  (Berend et al. 2026)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..verbs import freeze, route, scale, stabilise
from ._rule import Example, Rule


def relevance(
    R: Float[Tensor, "*shape"], a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"], *, gamma: float = 1.0
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """The definition: weigh both branches, pay shares of the weighted sum."""
    c = a + b
    weighted = [torch.where((branch < 0) == (c < 0), (1 + gamma) * branch, branch) for branch in (a, b)]
    per_unit = R / stabilise(weighted[0] + weighted[1])
    return weighted[0] * per_unit, weighted[1] * per_unit


def forward(
    a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"], *, gamma: float = 1.0
) -> Float[Tensor, "*shape"]:
    """The same rule as a bent gradient: the value of c, each branch's gradient times W c / (W_a a + W_b b)."""
    x, y = freeze(a), freeze(b)
    c = x + y
    W_a, W_b = (1 + gamma * ((branch < 0) == (c < 0)).to(c.dtype) for branch in (x, y))
    ratio = c / stabilise(W_a * x + W_b * y)
    return route(c, scale(a, W_a * ratio) + scale(b, W_b * ratio))


def example(rng: torch.Generator) -> Example:
    """A stream and a branch, half of whose entries disagree."""
    a, b, R = (torch.randn(3, 4, generator=rng, dtype=torch.float64) for _ in range(3))
    return R, (a, b), {}


reslrp = Rule("reslrp", relevance, forward, example, page=__name__, keyword="gamma")
