"""Residual: the two branches of a sum are paid in proportion to what they brought.

    c = a + b

    R(a) = a / c R(c)          R(b) = b / c R(c)

Where the branches cancel, c is small and both parts are large, with opposite signs: the total is kept, and
|R(a)| + |R(b)| has no bound. The page `reslrp` gives it one.

Conserves: all.  (Bach et al. 2015)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..verbs import stabilise
from ._rule import Example, Rule


def relevance(
    R: Float[Tensor, "*shape"], a: Float[Tensor, "*#shape"], b: Float[Tensor, "*#shape"]
) -> tuple[Float[Tensor, "*#shape"], Float[Tensor, "*#shape"]]:
    """The definition: shares of the sum, added up where a branch was expanded."""
    per_unit = R / stabilise(a + b)
    return (a * per_unit).sum_to_size(a.shape), (b * per_unit).sum_to_size(b.shape)


def forward(a: Float[Tensor, "*#shape"], b: Float[Tensor, "*#shape"]) -> Float[Tensor, "*#shape"]:
    """The same rule as a bent gradient: nothing to bend."""
    return a + b


def example(rng: torch.Generator) -> Example:
    """A stream and a branch of the same shape."""
    a, b, R = (torch.randn(3, 4, generator=rng, dtype=torch.float64) for _ in range(3))
    return R, (a, b), {}


residual = Rule("residual", relevance, forward, example, page=__name__)
