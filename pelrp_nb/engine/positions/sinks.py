"""Where relevance of positions ends: leaves, taps on what is added to attention scores, and halves of products heard at the result.

A leaf is a tensor of its own, of the same memory as the model's, whose gradient is read at the end.  A tap hears the gradient on
the way back, sums it at once, and keeps nothing as large as a pair matrix (unless "pairs" was asked for).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...rules import PositionKind
from ..context import Context
from ..leaves import Leaf, columns_of
from ..numerics import finer, visible
from ..places import credit
from ..places.meetings import Meeting
from ..places.provenance import Provenance
from ..saved import held
from .constants import source_of


def sink(flow: Context, tensor: Tensor | None, part: str, known: Provenance, shape: tuple[int, ...], found: Meeting | None) -> Leaf:
    """One more place where positions may enter; its kind, name and input are judged when the forward pass has ended."""
    leaf = Leaf(tensor, "", None, part, flow.layer, flow.depth, flow.streams.current, where=flow.where_am_i(), place=flow.place,
                meeting=found, known=known, shape=shape)  # fmt: skip
    flow.inputs.sinks.append(leaf)
    return leaf


def named(flow: Context, leaf: Leaf, constant: Tensor) -> Leaf:
    """What the leaf was made of, for its kind and its name."""
    leaf.constant, leaf.source = constant, source_of(flow, constant)
    leaf.learnt = leaf.source in flow.parameters
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


def bias_sink(flow: Context, constant: Tensor, known: Provenance, found: Meeting | None, waits: bool) -> tuple[Leaf, Tensor]:
    """A bias (..., Tq, Tk) of attention scores as a sink: paid at the pair, credited to the query's row.

    If it turns out to be no position (no softmax follows) it is a constant by name.
    ALiBi is written in distance first, for models differ in a constant per row, which changes no row's sum.
    """
    leaf = sink(flow, None, "score", known, tuple(constant.shape), found)
    leaf.pairs, leaf.waits, value = constant.numel(), waits, held(constant)
    name, depth = flow.name_of(constant, "added to scores"), flow.depth

    def hear(g: Tensor) -> None:
        bias, g = value(), finer(g, flow.power)
        if leaf.taken is False:
            flow.account.add("constants", name, depth, flow.account.sums(visible(bias, g)) * flow.power)
            return
        distance = in_distance(bias, g) if leaf.kind == PositionKind.ALIBI else None
        book(flow, leaf, visible(bias, g) if distance is None else distance[0])
        if "pairs" in flow.options.detail:
            keep_pairs(flow, leaf, *(distance or centred(bias, g)))

    return leaf, tap(flow, constant, hear)


def half_of(flow: Context, leaf: Leaf, out: Tensor, pairs: bool = False) -> Tensor:
    """`out`, a product, with half of its relevance given to a sink: heard here, and credited to the places of `leaf.known`."""
    value = held(out)
    out = leaf.halved(out)

    def hear(g: Tensor) -> None:
        if leaf.taken is False:
            return
        x, g = value(), finer(g, flow.power)
        if pairs:
            book(flow, leaf, visible(x, g) / 2)
            if "pairs" in flow.options.detail:
                R, written = centred(x, g)
                keep_pairs(flow, leaf, R / 2, written)
        else:
            add_columns(flow, leaf, visible(x, g) / 2, features=-1)

    out.register_hook(hear)
    return out


def book(flow: Context, leaf: Leaf, R: Tensor) -> None:
    """Add relevance (..., Tq, Tk) to what a leaf heard, summed to the places of the queries."""
    add_columns(flow, leaf, R, features=leaf.keys_axis)
    if "heads" in flow.options.detail:
        rows = flow.account.rows
        by = R.reshape(rows, -1, *R.shape[-2:]) if R.shape[0] % rows == 0 else R.expand(rows, *R.shape[1:]) / rows
        heads = by.reshape(by.shape[0], -1, *by.shape[-2:]).sum(-1).cpu()
        leaf.detail["heads"] = {"score": heads + leaf.detail["heads"]["score"] if "heads" in leaf.detail else heads}


def add_columns(flow: Context, leaf: Leaf, R: Tensor, features: int) -> None:
    """Sum relevance to the leaf's places, in every reduction."""
    layout = leaf.layout(R.dim())
    found, places = credit.summed(R, layout, flow.account.rows, features)
    for key, column in columns_of(found).items():
        leaf.columns[key] = leaf.columns[key] + column if key in leaf.columns else column
    leaf.told = places


def keep_pairs(flow: Context, leaf: Leaf, R: Tensor, written: str) -> None:
    """The pair matrix, per head and summed."""
    rows = flow.account.rows
    R = R.reshape(rows, -1, *R.shape[-2:]) if R.shape[0] % rows == 0 else R.expand(rows, *R.shape[1:]) / rows
    R = R.reshape(R.shape[0], -1, *R.shape[-2:]).cpu()
    before = leaf.detail.get("pairs")
    if before is not None and before["heads"].shape == R.shape:
        R = R + before["heads"]
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
