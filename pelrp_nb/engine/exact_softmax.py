"""What replacing one query or one key does to an attention's output, its softmax computed again exactly (AtP*, arXiv 2403.00745).

    queries    (A' - A)_i . (v g_i)                     A' the softmax of the scores that the other query has
    keys       A_ij (e^d - 1) / (1 + A_ij (e^d - 1))  (v_j - out_i) . g_i        d: how far the score s_ij moves

With a gradient along the difference, `secant`, the effect reaches whatever queries and keys are made of: g . (x' - x) is the effect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LEFT = 1e-3  # where less than that is left of a denominator, or a score rises beyond all others, the row is computed again
HIGHEST = 700.0  # the exponential of more is no number


def by_values(g: Tensor, values: Tensor) -> Tensor:
    """(..., H, Tq, Tk) g_i . v_j, where several query heads may share the values of one."""
    return g @ shared(values, g.shape[-3]).transpose(-1, -2)


def shared(x: Tensor, heads: int) -> Tensor:
    """Keys or values for each query head."""
    return x if x.shape[-3] == heads else x.repeat_interleave(heads // x.shape[-3], -3)


def of_queries(scores: Tensor, other: Tensor, into: Tensor) -> Tensor:
    """(..., Tq) the effect of each query's being another one, whose scores are `other`; into: g_i . v_j."""
    return ((softmax(other) - softmax(scores)) * into).sum(-1)


def of_keys(scores: Tensor, other: Tensor, into: Tensor) -> Tensor:
    """(..., Tk) the effect of each key's being another one, alone; `other`: the scores with all of them replaced."""
    A = softmax(scores)
    moves = torch.where(scores.isfinite() & other.isfinite(), other - scores, 0).clamp(max=HIGHEST)
    grown = torch.where(A > 0, A * torch.expm1(moves), 0)
    left = 1 + grown
    out = (A * into).sum(-1, keepdim=True)
    effect = grown / left.clamp(min=LEFT) * (into - out)
    highest = scores.amax(-1, keepdim=True)
    *row, j = ((left < LEFT) | ((other > highest) & highest.isfinite())).nonzero(as_tuple=True)
    if len(j):
        rows = scores[tuple(row)].clone()
        rows[torch.arange(len(j)), j] = other[(*row, j)]
        effect[(*row, j)] = ((softmax(rows) - A[tuple(row)]) * into[tuple(row)]).sum(-1)
    return effect.sum(-2)


def softmax(scores: Tensor) -> Tensor:
    """The weights; 0 in a row that is hidden wholly."""
    return scores.softmax(-1).nan_to_num(0.0)


def secant(effect: Tensor, difference: Tensor) -> Tensor:
    """(..., T, d) along the difference, so that its product with it is the effect (..., T); 0 where there is no difference."""
    size = difference.square().sum(-1)
    return torch.where(size > 0, effect / size.clamp(min=torch.finfo(size.dtype).tiny), 0)[..., None] * difference


@dataclass(eq=False)
class Replaced:
    """One attention of two inputs, everything (1, H, ...) in float64: scores of the first, with queries or keys of the second, values.

    queries, keys: second less first; shapes: turn a gradient of queries, or keys, into the shape in which these pass
    effects: what was found, by "queries" and "keys"; power: the loss scale of the walk back; g: what came to the output
    """

    scores: Tensor
    by_queries: Tensor
    by_keys: Tensor
    values: Tensor
    queries: Tensor
    keys: Tensor
    shapes: tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
    power: Callable[[], float]

    def __post_init__(self) -> None:
        self.effects: dict[str, Tensor] = {}
        self.g: Tensor | None = None

    def walk(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of queries and keys for that g (1, H, Tq, d) of the output."""
        power = self.power()
        self.g = g.detach().double() / power
        into = by_values(self.g, self.values)
        queries, keys = of_queries(self.scores, self.by_queries, into), of_keys(self.scores, self.by_keys, into)
        keys = keys.unflatten(-2, (self.keys.shape[-3], -1)).sum(-2)
        self.effects = {"queries": queries, "keys": keys}
        return secant(queries * power, self.queries), secant(keys * power, self.keys)


class _Exact(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, out: Tensor, q: Tensor, k: Tensor, replaced: Replaced, rows: int) -> Tensor:
        ctx.replaced, ctx.rows, ctx.dtypes = replaced, rows, (q.dtype, k.dtype)
        return out.view_as(out)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        q, k = ctx.replaced.walk(g.reshape(ctx.rows, -1, *g.shape[-2:]))
        turn_q, turn_k = ctx.replaced.shapes
        return g, turn_q(q).to(ctx.dtypes[0]), turn_k(k).to(ctx.dtypes[1]), None, None


def beside(out: Tensor, q: Tensor, k: Tensor, replaced: Replaced) -> Tensor:
    """The output of an attention, of which queries and keys have a gradient too: that of their exact effects."""
    return _Exact.apply(out, q, k, replaced, 1)
