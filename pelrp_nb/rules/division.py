"""Division: what is divided receives, what divides does not.

    z = a / b          R(a) = R(z)          R(b) = 0

A divisor sets the scale, as a norm does; `a * (1 / b)` with 1 / b taken as constant.

Conserves: all.  (Achtibat et al. 2024)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..verbs import freeze
from ._rule import Example, Rule


def relevance(
    R: Float[Tensor, "*shape"], a: Float[Tensor, "*#shape"], b: Float[Tensor, "*#shape"]
) -> tuple[Float[Tensor, "*#shape"], Float[Tensor, "*#shape"]]:
    """The definition: everything to `a`, summed where `a` was expanded."""
    return R.sum_to_size(a.shape), torch.zeros_like(b)


def forward(a: Float[Tensor, "*#shape"], b: Float[Tensor, "*#shape"]) -> Float[Tensor, "*#shape"]:
    """The same rule as a bent gradient: `b` is frozen."""
    return a / freeze(b)


def example(rng: torch.Generator) -> Example:
    """Weights divided by their sum, as routers do."""
    a, R = (torch.randn(3, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    return R, (a, a.abs().sum(-1, keepdim=True)), {}


division = Rule("division", relevance, forward, example, page=__name__)
