"""Uniform: every factor of a product gets the same part, shared inside it as in epsilon.

    z_j = sum_i a_ji b_ji                (a product of n factors, summed or not)

               1       a_ji b_ji
    R(a_ji) = --- sum ----------- R_j    (over every output that a_ji enters)
               n          z_j

Conserves: all.  (Montavon et al. 2019; Achtibat et al. 2024, equation 14)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from ..verbs import scale, stabilise
from ._rule import Example, Rule


def relevance(
    R: Float[Tensor, "..."], *factors: Float[Tensor, "..."], multiply: str = "bti,bsi->bts", n: int | None = None
) -> tuple[Float[Tensor, "..."], ...]:
    """The definition: write out every elementary product, pay 1/n of its share to each of its factors.

    `n` is how many factors carry relevance, all of them if it is not given.
    """
    names, result = multiply.split("->")
    terms = names.split(",")
    every = "".join(sorted(set(names) - {","}))                              # one letter per axis
    size = {letter: f.shape[axis] for term, f in zip(terms, factors, strict=True) for axis, letter in enumerate(term)}
    product = R.new_ones([size[letter] for letter in every])
    for term, factor in zip(terms, factors, strict=True):
        product = torch.einsum(f"{every},{term}->{every}", product, factor)
    z = torch.einsum(f"{every}->{result}", product)
    paid = torch.einsum(f"{every},{result}->{every}", product, R / stabilise(z)) / (n or len(factors))
    return tuple(torch.einsum(f"{every}->{term}", paid) for term in terms)


def forward(
    *factors: Inexact[Tensor, "..."], multiply: str | Callable[..., Tensor] = "bti,bsi->bts", n: int | None = None
) -> Inexact[Tensor, "..."]:
    """The same rule as a bent gradient: the product rule gives each factor everything, so divide it by n."""
    z = torch.einsum(multiply, *factors) if isinstance(multiply, str) else multiply(*factors)
    n = n or len(factors)
    return scale(z, 1 / n) if n > 1 else z


def example(rng: torch.Generator) -> Example:
    """Queries times keys: two factors, a sum over the features."""
    q, k, R = (torch.randn(2, *s, generator=rng, dtype=torch.float64) for s in ((3, 4), (5, 4), (3, 5)))
    return R, (q, k), {"multiply": "bti,bsi->bts"}


uniform = Rule("uniform", relevance, forward, example, page=__name__)
