"""The scores of a fused attention kernel, which makes none that could be looked at, as one more call of a chain (`replay.py`)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..numerics import better
from ..places.values import hiding
from ..replay import Chain

SCORES = "scores of a fused kernel"


def scores(
    q: Tensor, k: Tensor, mask: Tensor | None = None, *, causal: bool, scale: float | None, masks: bool = True
) -> Tensor:  # fmt: skip
    """Scores (..., Tq, Tk) of a fused kernel; without `masks`, those of hidden pairs too."""
    if k.dim() > 3 and k.shape[-3] != q.shape[-3]:
        k = k.repeat_interleave(q.shape[-3] // k.shape[-3], -3)
    s = better(q) @ better(k).transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None and mask.dtype != torch.bool:
        s = s + better(mask if masks else without(mask))
    elif mask is not None and masks:
        s = s.masked_fill(~mask, -torch.inf)
    if causal and masks:
        s = s.masked_fill(torch.ones(s.shape[-2:], dtype=torch.bool, device=s.device).triu(1), -torch.inf)
    return s


def factors_of(chain: Chain) -> tuple[int, int] | None:
    """The numbers of queries and keys, where scores are their products and nothing but masks is added; None elsewhere."""
    last = chain.steps[-1]
    if last.name != SCORES or chain.terms or any(leaf.part == "score" for leaf in chain.positions.values()):
        return None
    q, k, *masks = last.args
    for mask in masks:
        x = chain.constants.get(mask.number)
        if x is None or (x.dtype != torch.bool and bool(without(x).any())):
            return None
    return q.number, k.number


def hidden(chain: Chain, q: Tensor, k: Tensor) -> Tensor:
    """(1 or heads, Tq, Tk): which scores of these queries (..., Tq, d) and keys the masks of a kernel hide."""
    last, shape = chain.steps[-1], (q.shape[-2], k.shape[-2])
    found = q.new_zeros(shape, dtype=torch.bool)
    for mask in last.args[2:]:
        x = chain.constants[mask.number]
        found = found | (~x if x.dtype == torch.bool else x != 0)
    if last.kwargs["causal"]:
        found = found | torch.ones_like(found).triu(1)
    return found.reshape(-1, *shape)


def without(mask: Tensor) -> Tensor:
    """What a mask adds, 0 where it hides."""
    found = hiding(mask)
    return mask if found is None else mask.masked_fill(found, 0)
