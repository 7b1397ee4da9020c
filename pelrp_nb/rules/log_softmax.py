"""Log-softmax, and so cross-entropy: what speaks for an answer, less what speaks for all of them.

    y_k = x_k - log sum_j exp(x_j)                       p = softmax(x),  H = -sum_j p_j log p_j

    R(x_j) = x_j sum_k (1[j = k] - p_j) g_k              g_k = R(y_k) / y_k

    kept   = -H sum_k g_k

For one answer k alone: x_k is paid whole, every score pays back p_j of itself. Cross-entropy is -y_k for the label k,
its mean over rows, or a sum of y weighed by labels that are probabilities: linear in y, so the same rule.

Conserves: not the total; minus the entropy of the weights is kept, per row.  (Achtibat et al. 2024, by the softmax rule)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..verbs import stabilise
from ._rule import Example, Rule
from .softmax import weights


def relevance(R: Float[Tensor, "*shape"], x: Float[Tensor, "*shape"], *, dim: int = -1) -> tuple[Float[Tensor, "*shape"]]:
    """The definition: each answer's own score, less the weighed sum of all."""
    p, score = weights(x, dim=dim)
    g = R / stabilise(x.log_softmax(dim))
    return (score * (g - p * g.sum(dim, keepdim=True)),)


def kept(R: Float[Tensor, "*shape"], x: Float[Tensor, "*shape"], *, dim: int = -1) -> Float[Tensor, "..."]:
    """What each row keeps: less than nothing."""
    p, _ = weights(x, dim=dim)
    return -(R / stabilise(x.log_softmax(dim))).sum(dim) * torch.special.entr(p).sum(dim)


def forward(x: Float[Tensor, "*shape"], *, dim: int = -1) -> Float[Tensor, "*shape"]:
    """The same rule as a bent gradient: the plain one."""
    return x.log_softmax(dim)


def example(rng: torch.Generator) -> Example:
    """Rows of four scores, relevance at every answer."""
    x, R = (torch.randn(3, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    return R, (x,), {}


log_softmax = Rule("log_softmax", relevance, forward, example, page=__name__)
