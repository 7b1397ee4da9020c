"""Where relevance of positions ends: leaves, taps on what is added to attention scores, and halves of products heard at the result.

A leaf is a tensor of its own, of the same memory as the model's, whose gradient is read at the end.  A tap hears the gradient on
the way back, sums it at once, and keeps nothing as large as a pair matrix (unless "pairs" was asked for).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..context import Context
from ..leaves import Columns, Leaf, columns_of
from ..numerics import anywhere, better, finer, visible
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
    flow.inputs.entered.append(leaf)
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
    """A bias (..., Tq, Tk) of attention scores as a sink: centred, paid at the pair, half to the query's place and half to the key's.

    If it turns out to be no position (no softmax follows) it is a constant by name.
    """
    leaf = sink(flow, None, "score", known, tuple(constant.shape), found)
    leaf.pairs, leaf.waits, value = constant.numel(), waits, held(constant)
    name, depth = flow.name_of(constant, "added to scores"), flow.depth

    def hear(g: Tensor) -> None:
        bias, g = value(), finer(g, flow.power)
        if leaf.taken is False:
            flow.account.add("constants", name, depth, flow.account.sums(visible(bias, g)) * flow.power)
            return
        weights = None if leaf.weights is None else better(leaf.weights())
        if leaf.part == "sum":
            found, places = credit.summed(visible(bias, g), leaf.layout(g.dim()), flow.account.rows, -1)
            gather(leaf, columns_of(found), places)
            return
        queries, keys = (leaf.layout(g.dim(), side).axes for side in (False, True))
        axes = [a for a in keys if a not in queries] or [leaf.keys_axis]
        book(flow, leaf, centred(bias, g, weights, axes), "centred")

    return leaf, tap(flow, constant, hear)


def half_of(flow: Context, leaf: Leaf, out: Tensor, pairs: bool = False) -> Tensor:
    """`out`, a product, with half of its relevance given to a sink: heard here, and credited to the places of `leaf.known`."""
    value = held(out)
    out = leaf.halved(out)

    def hear(g: Tensor) -> None:
        if leaf.taken is False or leaf.silent:
            return
        R = visible(value(), finer(g, flow.power)) / 2
        if pairs:
            book(flow, leaf, R, "as paid")
        else:
            found, places = credit.summed(R, leaf.layout(R.dim()), flow.account.rows, -1)
            gather(leaf, columns_of(found), places)

    out.register_hook(hear)
    return out


def by_pairs(flow: Context, leaves: tuple[Leaf, ...], x: Tensor, known: Provenance) -> None:
    """Products that were halved before they lay in the order of pairs, x: they are heard here instead, by the first of their leaves."""
    first, value = leaves[0], held(x)
    for leaf in leaves:
        leaf.silent = True
    first.known, first.shape, first.pairs = known.but(pair=True), tuple(x.shape), x.numel()

    def hear(g: Tensor) -> None:
        if first.taken is not False:
            book(flow, first, visible(value(), finer(g, flow.power)) / 2, "as paid")

    x.register_hook(hear)


def book(flow: Context, leaf: Leaf, R: Tensor, written: str) -> None:
    """Add relevance of pairs (..., Tq, Tk) to what a leaf heard; `written`: how its matrix is to be read."""
    rows = flow.account.rows
    found, places = leaf.by_pairs(R, rows)
    gather(leaf, columns_of(found), places)
    if not flow.options.detail & {"heads", "pairs"}:
        return
    R = leaf.in_order(R)
    by = R.reshape(rows, -1, *R.shape[-2:]) if R.shape[0] % rows == 0 else R.expand(rows, *R.shape[1:]) / rows
    by = by.reshape(by.shape[0], -1, *by.shape[-2:])
    if "heads" in flow.options.detail:
        heads = by.sum(-1) if by.shape[-1] != by.shape[-2] else (by.sum(-1) + by.sum(-2)) / 2
        keep(leaf, "heads", {"score": heads.cpu()})
    if "pairs" in flow.options.detail:
        keep(leaf, "pairs", {"relevance": by.sum(1).cpu()} | ({"heads": by.cpu()} if "heads" in flow.options.detail else {}))
        leaf.detail["pairs"]["written"] = written


def keep(leaf: Leaf, name: str, found: dict[str, Tensor]) -> None:
    """Add to a detail of what a leaf heard."""
    before = leaf.detail.get(name, {})
    leaf.detail[name] = {k: R + before[k] if k in before and before[k].shape == R.shape else R for k, R in found.items()}


def gather(leaf: Leaf, found: Columns, places: tuple[credit.Place, ...]) -> None:
    """Add to what a leaf heard."""
    for key, column in found.items():
        leaf.columns[key] = leaf.columns[key] + column if key in leaf.columns else column
    leaf.told = places


def centred(bias: Tensor, g: Tensor, weights: Tensor | None, keys: list[int]) -> Tensor:
    """Relevance of each pair of a bias, less the mean of its row by attention weights, which is what a softmax does not see.

    The same total, and unmoved by a constant per row.  Where the gradients of a row do not sum to 0 (a soft cap behind the bias, a
    learned sink beside the keys), the mean's share goes over the row by the weights.  Without weights the mean is over visible pairs.
    """
    away, bias = g == 0, better(bias)
    A = None if weights is None or weights.numel() != g.numel() else weights.reshape(g.shape).to(bias.dtype)
    if A is None or anywhere(away):
        bias = torch.where(away, 0, bias)
        A = (~away).to(bias.dtype) if A is None else A.masked_fill(away, 0)
    whole = A.sum(keys, keepdim=True).clamp(min=torch.finfo(A.dtype).tiny)
    mean = (A * bias).sum(keys, keepdim=True) / whole
    return (A * (mean * g.sum(keys, keepdim=True) / whole)).addcmul_(bias - mean, g)
