"""Constant: what is taken as given receives nothing.

    R(x) = 0

CP-LRP treats softmax weights and gates this way: all relevance of an attention layer then goes through its values,
none reaches queries, keys, or a rotary position.

Conserves: nothing; the other factor of the product is paid in full.  (Ali et al. 2022)
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from ..verbs import freeze
from ._rule import Example, Rule


def relevance(R: Float[Tensor, "*shape"], x: Float[Tensor, "*shape"]) -> tuple[Float[Tensor, "*shape"]]:
    """The definition."""
    return (torch.zeros_like(x),)


def forward(x: Inexact[Tensor, "*shape"]) -> Inexact[Tensor, "*shape"]:
    """The same rule as a bent gradient: no way back."""
    return freeze(x)


def example(rng: torch.Generator) -> Example:
    """Attention weights under CP-LRP."""
    x, R = (torch.randn(3, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    return R, (x.softmax(-1),), {}


constant = Rule("constant", relevance, forward, example, page=__name__)
