"""Log-sum-exp: pay each score by its softmax weight; the entropy of the weights is kept.

    y = log sum_j exp(x_j) = sum_j p_j x_j + H          p = softmax(x),  H = -sum_j p_j log p_j

    R(x_j) = p_j x_j / y R(y)                            masked entries have p_j = 0 and get 0

    kept   = H / y R(y)

The plain gradient, since dy/dx_j = p_j. It is what a large maximum is a soft form of: with one score far above the
others H is nothing, and that score gets all.

Conserves: not the total; the entropy of the weights is kept, per row.  (Achtibat et al. 2024, by the softmax rule)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..verbs import stabilise
from ._rule import Example, Rule
from .softmax import weights


def relevance(R: Float[Tensor, "*rows"], x: Float[Tensor, "*rows scores"]) -> tuple[Float[Tensor, "*rows scores"]]:
    """The definition: every entry's term of sum p x. Scores of minus infinity are hidden."""
    p, score = weights(x)
    return (score * p * (R / stabilise(x.logsumexp(-1))).unsqueeze(-1),)


def kept(R: Float[Tensor, "*rows"], x: Float[Tensor, "*rows scores"]) -> Float[Tensor, "*rows"]:
    """What each row keeps: its entropy's share."""
    p, _ = weights(x)
    return R / stabilise(x.logsumexp(-1)) * torch.special.entr(p).sum(-1)


def forward(x: Float[Tensor, "*rows scores"]) -> Float[Tensor, "*rows"]:
    """The same rule as a bent gradient: the plain one."""
    return x.logsumexp(-1)


def example(rng: torch.Generator) -> Example:
    """Rows of four scores."""
    x, R = (torch.randn(*s, generator=rng, dtype=torch.float64) for s in ((3, 4), (3,)))
    return R, (x,), {}


logsumexp = Rule("logsumexp", relevance, forward, example, page=__name__)
