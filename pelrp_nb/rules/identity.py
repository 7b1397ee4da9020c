"""Identity: an activation hands on what it receives.

    y = f(x) = f(0) + (f(x) - f(0))          the first part is a constant, the second depends on x

             f(x) - f(0)
    R(x) =  ------------- R(y)               = R(y) where f(0) = 0: SiLU, GELU, ReLU, tanh
                f(x)

As a gradient this is the slope (f(x) - f(0)) / x, the line from the origin to the curve, not its tangent;
at x = 0 the two meet, in f'(0). For SiLU the slope is the sigmoid, for GELU the normal distribution.

Conserves: all but the constant f(0), which is zero for most activations.  (Bach et al. 2015; Achtibat et al. 2024)
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import silu, softplus

from ..verbs import route, stabilise
from ._rule import Example, Rule

Elementwise = Callable[[Tensor], Tensor]


def relevance(
    R: Float[Tensor, "*shape"], x: Float[Tensor, "*shape"], *, f: Elementwise, slope: Elementwise | None = None
) -> tuple[Float[Tensor, "*shape"]]:
    """The definition: everything but the share of f(0). The closed form of `slope` is not needed here."""
    y, start = f(x), f(torch.zeros_like(x))
    return ((y - start) / stabilise(y) * R,)


def forward(
    x: Float[Tensor, "*shape"], *, f: Elementwise, slope: Elementwise | None = None
) -> Float[Tensor, "*shape"]:
    """The same rule as a bent gradient: the value of f(x), the gradient of slope times x.

    `f` works element by element; `slope(x)` is the closed form of (f(x) - f(0)) / x, for instance `SLOPES["silu"]`.
    """
    with torch.no_grad():
        y = f(x)
        factor = slope if slope else _slope(f, x, y)      # a closed form is evaluated on the way back
    return route(y, x, factor)


def _slope(f: Elementwise, x: Tensor, y: Tensor) -> Tensor:
    """(f(x) - f(0)) / x, and f'(0) where x is 0."""
    with torch.enable_grad():
        zero = torch.zeros_like(x, requires_grad=True)
        start = f(zero)
        (limit,) = torch.autograd.grad(start.sum(), zero)
    return torch.where(x == 0, limit, (y - start.detach()) / x)


def _at_zero(limit: float, x: Tensor, quotient: Tensor) -> Tensor:
    return quotient.masked_fill_(x == 0, limit)


SLOPES: dict[str, Elementwise] = {
    "relu": lambda x: (x > 0).to(x.dtype),
    "silu": torch.sigmoid,
    "gelu": lambda x: torch.erf(x * sqrt(1 / 2)).add_(1).mul_(1 / 2),
    "gelu_tanh": lambda x: torch.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)).add_(1).mul_(1 / 2),
    "quick_gelu": lambda x: torch.sigmoid(1.702 * x),
    "mish": lambda x: torch.tanh(softplus(x)),
    "tanh": lambda x: _at_zero(1, x, torch.tanh(x) / x),
    "elu": lambda x: _at_zero(1, x, torch.expm1(x) / x).masked_fill_(x > 0, 1),
    "sigmoid": lambda x: _at_zero(1 / 4, x, torch.tanh(x / 2) / (2 * x)),
    "exp": lambda x: _at_zero(1, x, torch.expm1(x) / x),
}
"""(f(x) - f(0)) / x in closed form, its limit at 0 included."""


def example(rng: torch.Generator) -> Example:
    """A SiLU, at zero as well."""
    x, R = (torch.randn(3, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    x[0, 0] = R[0, 0] = 0
    return R, (x,), {"f": silu, "slope": SLOPES["silu"]}


identity = Rule("identity", relevance, forward, example, page=__name__)
