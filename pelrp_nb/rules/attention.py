"""Attention: product, softmax, product, each by its own rule, fused into one call.

    s = q k^T / sqrt(d) + bias          uniform, then residual
    A = softmax(s)                      softmax (or constant, under CP-LRP)
    o = A v                             uniform

A factor of 1/2 is due wherever both sides of a product carry relevance, so the factors depend on who carries:

    q: 1/2 if v carries, times 1/2 if k carries          v:    1/2 if q, k or the bias carries
    k: 1/2 if v carries, times 1/2 if q carries          bias: 1/2 if v carries

All four carrying: 1/4, 1/4, 1/2, 1/2. With a constant softmax: 0, 0, 1, 0.

Conserves: all but what the softmax keeps.  (Achtibat et al. 2024; Ali et al. 2022 for the constant softmax)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ..verbs import freeze, scale, stabilise
from ._rule import Example, Rule
from .softmax import softmax, weights
from .uniform import uniform


class Factors(NamedTuple):
    """What the gradient of each input of a fused attention is multiplied by."""

    q: float
    k: float
    v: float
    bias: float


def factors(q: bool, k: bool, v: bool, bias: bool, softmax_constant: bool = False) -> Factors:
    """The factors of fused attention from who carries relevance: the one place where they are derived."""
    if softmax_constant:
        return Factors(0, 0, 1, 0)
    half = {True: 1 / 2, False: 1}
    return Factors(half[v] * half[k], half[v] * half[q], half[q or k or bias], half[v])


def relevance(
    R: Float[Tensor, "B H T e"], q: Float[Tensor, "B H T d"], k: Float[Tensor, "B G S d"], v: Float[Tensor, "B G S e"],
    bias: Float[Tensor, "*#pairs"] | None = None, *, mask: Float[Tensor, "*#pairs"] | Bool[Tensor, "*#pairs"] | None = None,
    scale: float | None = None, is_causal: bool = False, enable_gqa: bool = False,
    carries: tuple[bool, ...] = (True, True, True, True), softmax_constant: bool = False,
) -> tuple[Float[Tensor, "..."], ...]:  # fmt: skip
    """The definition: forward, then back through the three operations by their own definitions.

    `mask` is True where visible, or a constant to add. Inputs that do not carry get zeros.
    """
    groups = q.shape[1] // k.shape[1] if enable_gqa else 1
    keys, values = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    product = torch.einsum("bhti,bhsi->bhts", q, keys) * (q.shape[-1] ** -0.5 if scale is None else scale)
    added = torch.zeros_like(product) if bias is None else bias.expand_as(product)
    s = product + added + _constant(product, mask, is_causal)
    from_q, from_k, from_v, from_bias = carries[0], carries[1], carries[2], carries[3] and bias is not None
    from_s = (from_q or from_k or from_bias) and not softmax_constant
    R_A, R_v = uniform.relevance(R, weights(s)[0], values, multiply="bhts,bhsi->bhti", n=max(from_s + from_v, 1))
    (R_s,) = softmax.relevance(R_A * from_s, s)
    R_product, R_bias = R_s * product / stabilise(s), R_s * added / stabilise(s)      # a masked entry: 0 / -inf
    R_q, R_k = uniform.relevance(R_product, q, keys, multiply="bhti,bhsi->bhts", n=max(from_q + from_k, 1))
    R_k, R_v = (r.unflatten(1, (-1, groups)).sum(2) for r in (R_k, R_v))
    paid = (R_q * from_q, R_k * from_k, R_v * from_v)
    return paid if bias is None else (*paid, (R_bias * from_bias).sum_to_size(bias.shape))


def _constant(product: Tensor, mask: Tensor | None, is_causal: bool) -> Tensor:
    """What is added to every score and carries nothing: the mask, with -inf where hidden."""
    hidden = ~mask if mask is not None and mask.dtype == torch.bool else torch.ones_like(product).triu(1).bool() & is_causal
    added = 0 if mask is None or mask.dtype == torch.bool else mask
    return torch.zeros_like(product).add(added).masked_fill(hidden, -torch.inf)


def forward(
    q: Float[Tensor, "*batch T d"], k: Float[Tensor, "*group S d"], v: Float[Tensor, "*group S e"],
    bias: Float[Tensor, "..."] | None = None, *, mask: Float[Tensor, "..."] | Bool[Tensor, "..."] | None = None,
    carries: tuple[bool, ...] = (True, True, True, True), softmax_constant: bool = False, **sdpa: Any,
) -> Float[Tensor, "*batch T e"]:  # fmt: skip
    """The same rule as a bent gradient: torch's fused kernel behind four factors; what does not carry is frozen."""
    due = factors(carries[0], carries[1], carries[2], carries[3] and bias is not None, softmax_constant)
    q, k, v = _bend(q, carries[0] and due.q), _bend(k, carries[1] and due.k), _bend(v, carries[2] and due.v)
    if bias is not None:
        bias = _bend(bias, carries[3] and due.bias)
        mask = bias if mask is None else bias.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else bias + mask
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, **sdpa)


def _bend(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1 else scale(x, factor) if factor else freeze(x)


def example(rng: torch.Generator) -> Example:
    """Two heads, four queries that see themselves and what came before, an additive bias."""
    q, k, v, R = (torch.randn(1, 2, 4, 3, generator=rng, dtype=torch.float64) for _ in range(4))
    bias = torch.randn(2, 4, 4, generator=rng, dtype=torch.float64)
    return R, (q, k, v, bias), {"mask": torch.ones(4, 4, dtype=torch.bool).tril()}


attention = Rule("attention", relevance, forward, example, page=__name__)
