"""Joined: features of the place stand beside those of the token, and each piece keeps what arrives at it.

    z_t = [E_t, P_t]

    R(E_t) = R(z_t)[: D]          R(P_t) = R(z_t)[D :]

Nothing is shared, so nothing is divided: what comes next, a linear map say, has paid the features of the place for their own
part.  A piece that is joined along the tokens instead, such as CLS, is a token of its own and no position.

Conserves: all.  (Bakish et al. 2025; encoding of Jaegle et al. 2021)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ._rule import Example, Rule


def relevance(
    R: Float[Tensor, "*batch both"], E: Float[Tensor, "*batch D"], P: Float[Tensor, "*#batch F"]
) -> tuple[Float[Tensor, "*batch D"], Float[Tensor, "*#batch F"]]:
    """The definition: to each piece its own. `P` may be shared by a batch and gets the total."""
    R_E, R_P = R.split((E.shape[-1], P.shape[-1]), -1)
    return R_E, R_P.sum_to_size(P.shape)


def forward(E: Float[Tensor, "*batch D"], P: Float[Tensor, "*#batch F"]) -> Float[Tensor, "*batch D+F"]:
    """The same rule as a bent gradient: nothing to bend."""
    return torch.cat((E, P.expand(*E.shape[:-1], -1)), -1)


def example(rng: torch.Generator) -> Example:
    """Two sentences of three tokens with three features, beside two of their places."""
    E, P, R = (torch.randn(*s, generator=rng, dtype=torch.float64) for s in ((2, 3, 3), (3, 2), (2, 3, 5)))
    return R, (E, P), {}


joined = Rule("joined", relevance, forward, example, page=__name__)
