"""Delta attention: values are paid by the weights without positions; what positions changed of the weights pays the positions.

    A  = softmax(s)             A0 = softmax(s without positions), with the same mask
    o  = A v = A0 v + (A - A0) v

    R(v_j)        = sum_i  A0_ij v_j / o_i  R(o_i)
    R(A - A0)_ij  = (A - A0)_ij (v_j - sum_k A0_ik v_k) / o_i  R(o_i)

A0 is a constant, as attention weights are under CP-LRP; A - A0 is what positions changed, and its rows sum to 0, so that the mean of
the values may be taken away: a pair is paid for how far its value stands out, half to the query's token and half to the key's.
Nothing goes through scores, so that no softmax keeps anything.  The fast form takes A - A0 for an input, `moved`.

Conserves: all.  (this library, after Ali et al. 2022 and Bakish et al. 2025)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..verbs import freeze, stabilise
from ._rule import Example, Rule


def relevance(
    R: Float[Tensor, "*batch T e"], v: Float[Tensor, "*batch S e"], moved: Float[Tensor, "*batch T S"],
    *, still: Float[Tensor, "*batch T S"],
) -> tuple[Float[Tensor, "*batch S e"], Float[Tensor, "*batch T S"]]:  # fmt: skip
    """The definition: every share written out. `still` are the weights without positions, `moved` what positions changed of them."""
    o = (still + moved) @ v
    per_unit = (R / stabilise(o))[..., :, None, :]                           # (*batch, T, 1, e)
    apart = v[..., None, :, :] - (still @ v)[..., :, None, :]                # (*batch, T, S, e)
    R_v = still[..., None] * v[..., None, :, :] * per_unit
    R_moved = moved[..., None] * apart * per_unit
    return R_v.sum(-3), R_moved.sum(-1)


def forward(
    v: Float[Tensor, "*batch S e"], moved: Float[Tensor, "*batch T S"], *, still: Float[Tensor, "*batch T S"]
) -> Float[Tensor, "*batch T e"]:
    """The same rule as a bent gradient: what multiplies `moved` is frozen, and its mean, which adds nothing, taken away."""
    mean = freeze(still @ v)
    return still @ v + moved @ freeze(v) - moved.sum(-1, keepdim=True) * mean


def example(rng: torch.Generator) -> Example:
    """Two heads of four tokens that see what came before; scores with a penalty for distance, and without it."""
    s, bias = (torch.randn(2, 4, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    v, R = (torch.randn(2, 4, 3, generator=rng, dtype=torch.float64) for _ in range(2))
    hidden = torch.ones(4, 4, dtype=torch.bool).triu(1)
    still, A = (scores.masked_fill(hidden, -torch.inf).softmax(-1) for scores in (s, s + bias))
    return R, (v, A - still), {"still": still}


delta = Rule("delta", relevance, forward, example, page=__name__)
