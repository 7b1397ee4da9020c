"""RMS norm: the root mean square only sets the scale, so each coordinate keeps what it receives.

    y_i = x_i / rms * w_i,          rms = sqrt(mean(x^2) + eps) taken as a constant

    R(x_i) = R(y_i)

Conserves: all but the share of a bias, which few such norms have.  (Achtibat et al. 2024)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..verbs import freeze, stabilise
from ._rule import Example, Rule


def relevance(
    R: Float[Tensor, "*shape"],
    x: Float[Tensor, "*shape"],
    *,
    weight: Float[Tensor, "*last"] | None = None,
    bias: Float[Tensor, "*last"] | None = None,
    eps: float = 1e-6,
    normalized_shape: Sequence[int] | None = None,
) -> tuple[Float[Tensor, "*shape"]]:
    """The definition: coordinate by coordinate, everything but the bias's share."""
    part = x / _rms(x, last_dims(weight, normalized_shape), eps) * (1 if weight is None else weight)
    y = part if bias is None else part + bias
    return (part / stabilise(y) * R,)


def forward(
    x: Float[Tensor, "*shape"],
    *,
    weight: Float[Tensor, "*last"] | None = None,
    bias: Float[Tensor, "*last"] | None = None,
    eps: float = 1e-6,
    normalized_shape: Sequence[int] | None = None,
) -> Float[Tensor, "*shape"]:
    """The same rule as a bent gradient: the root mean square is frozen.

    The mean runs over the last dimensions, as many as `normalized_shape` or `weight` has; one if neither is given.
    """
    y = x / _rms(freeze(x), last_dims(weight, normalized_shape), eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _rms(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    return (x.square().mean(dims, keepdim=True) + eps).sqrt()


def last_dims(weight: Tensor | None, normalized_shape: Sequence[int] | None) -> tuple[int, ...]:
    """The dimensions a norm runs over, counted from the end: (-1,), (-2, -1), ..."""
    shape = normalized_shape if normalized_shape is not None else (1,) if weight is None else weight.shape
    return tuple(range(-len(shape), 0))


def example(rng: torch.Generator) -> Example:
    """A weight and no bias, as in Llama."""
    x, R, weight = (torch.randn(*s, generator=rng, dtype=torch.float64) for s in ((3, 5), (3, 5), (5,)))
    return R, (x,), {"weight": weight}


rms_norm = Rule("rms_norm", relevance, forward, example, page=__name__)
