"""Softmax: pay each score for how much its weight stands out, by the first term of a Taylor series.

    s_i = exp(x_i) / sum_j exp(x_j)

    R(x_i) = x_i ( R(s_i) - s_i sum_j R(s_j) )           masked entries have s_i = 0 and get 0

    kept   = sum_j R(s_j) ( 1 - x_j + sum_i s_i x_i )    per row

The one rule here that leaks. A row with one visible entry keeps everything (x_j = sum s x), and so nearly does a
row of equal scores. Adding a constant to a row changes no output, and changes the relevance of every score.

Conserves: not the total; what it keeps is measured, per row.  (Montavon et al. 2017; Achtibat et al. 2024)
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ._rule import Example, Rule


def relevance(
    R: Float[Tensor, "*shape"], x: Float[Tensor, "*shape"], *, dim: int = -1, mask: Bool[Tensor, "*#shape"] | None = None
) -> tuple[Float[Tensor, "*shape"]]:
    """The definition, at every visible entry. `mask` is True there; scores of minus infinity are hidden as well."""
    s, score = weights(x, dim=dim, mask=mask)
    return (score * (R - s * R.sum(dim, keepdim=True)),)


def kept(
    R: Float[Tensor, "*shape"], x: Float[Tensor, "*shape"], *, dim: int = -1, mask: Bool[Tensor, "*#shape"] | None = None
) -> Float[Tensor, "..."]:
    """What each row keeps of its relevance `R`: x's shape without `dim`."""
    s, score = weights(x, dim=dim, mask=mask)
    return (R * (1 - score + (s * score).sum(dim, keepdim=True))).sum(dim)


def weights(
    x: Float[Tensor, "*shape"], *, dim: int = -1, mask: Bool[Tensor, "*#shape"] | None = None
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """The softmax, and the scores it saw; both 0 at hidden entries, so that no score of -inf is ever multiplied."""
    x = x if mask is None else x.masked_fill(~mask, -torch.inf)
    hidden = x == -torch.inf
    s = x.softmax(dim).masked_fill(hidden, 0)
    return s, x.masked_fill(hidden | (s == 0), 0)


def forward(
    x: Float[Tensor, "*shape"], *, dim: int = -1, mask: Bool[Tensor, "*#shape"] | None = None
) -> Float[Tensor, "*shape"]:
    """The same rule as a bent gradient: the plain one. A row without a visible entry is 0."""
    if mask is None:
        return x.softmax(dim)
    return x.masked_fill(~mask, -torch.inf).softmax(dim).masked_fill(~mask, 0)


def example(rng: torch.Generator) -> Example:
    """Causal attention scores: row t sees t + 1 entries, row 0 keeps all it receives."""
    x, R = (torch.randn(2, 4, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    mask = torch.ones(4, 4, dtype=torch.bool).tril()
    return R * mask, (x,), {"mask": mask}


softmax = Rule("softmax", relevance, forward, example, page=__name__)
