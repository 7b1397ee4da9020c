"""Where relevance ends: leaves for tokens, pixels and positions, and taps on what is added to attention scores.

A leaf is a tensor of its own, of the same memory as the model's, whose gradient is read at the end.  A tap hears the gradient on
the way back, sums it at once, and keeps nothing as large as a pair matrix (unless "pairs" was asked for).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...rules import PositionKind
from ..context import Context
from ..leaves import Leaf, by_row, columns_of
from ..numerics import finer, visible
from ..saved import held


def sink(flow: Context, x: Tensor, name: str, kind: PositionKind, part: str) -> Leaf:
    """One more place where positions enter; x: the leaf, or the scores (..., T, T) that a tap hears."""
    tensor = None if part == "score" else x
    leaf = Leaf(tensor, name, kind, part, flow.layer, flow.depth, flow.streams.current, x.shape[-2])
    leaf.pairs = x.numel() if tensor is None else 0
    flow.inputs.sinks.append(leaf)
    return leaf


class _Tap(torch.autograd.Function):
    @staticmethod
    def forward(ctx, anchor: Tensor, constant: Tensor, hear: Callable[[Tensor], None]) -> Tensor:
        ctx.hear = hear
        return constant.detach()

    @staticmethod
    def backward(ctx, g: Tensor):
        ctx.hear(g)
        return g.new_zeros(()), None, None


def tap(flow: Context, constant: Tensor, hear: Callable[[Tensor], None]) -> Tensor:
    """The same constant as something that carries; `hear` gets its gradient on the way back."""
    anchor = flow.leaf(constant.new_zeros(()))
    flow.inputs.anchors.append(anchor)
    return _Tap.apply(anchor, constant, hear)


def bias_sink(flow: Context, constant: Tensor, name: str, kind: PositionKind) -> Tensor:
    """A bias (B, H, Tq, Tk) of attention scores as a sink: paid at the pair, credited to the query's row.

    ALiBi is written in distance first, for models differ in a constant per row, which changes no row's sum.
    """
    leaf, value = sink(flow, constant, name, kind, "score"), held(constant)

    def hear(g: Tensor) -> None:
        bias, g = value(), finer(g, flow.power)
        distance = in_distance(bias, g) if kind == PositionKind.ALIBI else None
        book(flow, leaf, visible(bias, g) if distance is None else distance[0])
        if "pairs" in flow.options.detail:
            keep_pairs(flow, leaf, *(distance or centred(bias, g)))

    return tap(flow, constant, hear)


def product_sink(flow: Context, out: Tensor, name: str) -> Leaf:
    """Vectors times relative embeddings (..., T, distances): half is the embeddings', heard where the product was made."""
    leaf, value = sink(flow, out, name, PositionKind.RELATIVE_EMBEDDING, "score"), held(out)

    def hear(g: Tensor) -> None:
        if not leaf.gathered:
            book(flow, leaf, visible(value(), finer(g, flow.power)) / 2)

    out.register_hook(hear)
    return leaf


def picked(flow: Context, leaf: Leaf, out: Tensor) -> None:
    """Scores (..., T, T) picked from that product by distance: now each belongs to a pair of tokens."""
    leaf.gathered, value = True, held(out)

    def hear(g: Tensor) -> None:
        x, g = value(), finer(g, flow.power)
        x, g = (x.transpose(-1, -2), g.transpose(-1, -2)) if leaf.turned else (x, g)
        book(flow, leaf, visible(x, g) / 2)
        if "pairs" in flow.options.detail:
            R, written = centred(x, g)
            keep_pairs(flow, leaf, R / 2, written)

    out.register_hook(hear)


def book(flow: Context, leaf: Leaf, R: Tensor) -> None:
    """Add relevance (..., Tq, Tk) to what a leaf heard, summed to query rows."""
    R = by_row(R, flow.account.rows)
    R = R.reshape(R.shape[0], -1, *R.shape[-2:])
    for key, column in columns_of(R.sum(1)).items():
        leaf.columns[key] = leaf.columns[key] + column if key in leaf.columns else column
    if "heads" in flow.options.detail:
        leaf.detail["heads"] = {"score": R.sum(-1).cpu()}


def keep_pairs(flow: Context, leaf: Leaf, R: Tensor, written: str) -> None:
    """The pair matrix, per head and summed."""
    R = by_row(R, flow.account.rows)
    R = R.reshape(R.shape[0], -1, *R.shape[-2:]).cpu()
    leaf.detail["pairs"] = {"relevance": R.sum(1), "heads": R, "written": written}


def in_distance(bias: Tensor, g: Tensor) -> tuple[Tensor, str]:
    """The bias written in distance, 0 at the token itself: a constant per row changes no output, and no row sum here."""
    if bias.shape[-1] != bias.shape[-2]:
        return centred(bias, g)
    return _less(bias, bias.diagonal(dim1=-2, dim2=-1)[..., None], g), "distance"


def centred(bias: Tensor, g: Tensor) -> tuple[Tensor, str]:
    """The bias less the mean of its row over the visible pairs."""
    seen = g != 0
    mean = torch.where(seen, bias, 0).sum(-1, keepdim=True) / seen.sum(-1, keepdim=True).clamp(min=1)
    return _less(bias, mean, g), "centred"


def _less(bias: Tensor, reference: Tensor, g: Tensor) -> Tensor:
    return visible(torch.where(g != 0, bias - reference, 0), g)
