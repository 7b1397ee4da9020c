"""Positions made to enter little by little: the plain gradient averaged on the way, and half way between two that are exchanged.

Zoo models only: where their positions are kept is known here by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..composites import Composite
from .confirmed import Batch
from .replayed import Order, at_tokens, gradient_of

POINTS = 6  # of a path, in the middles of equal pieces


def table_of(model: nn.Module) -> nn.Embedding | None:
    """The vectors that are added for each place; None where positions enter scores."""
    found = (m for name, m in model.named_modules() if name.endswith("position_embeddings") and isinstance(m, nn.Embedding))
    table = next(found, None)
    return None if table is None or not bool(table.weight.any()) else table


@contextmanager
def rows_of(table: nn.Embedding, rows: Tensor) -> Iterator[None]:
    """Inside the `with` the first rows of a table are these."""
    before = table.weight.data.clone()
    table.weight.data[: len(rows)] = rows
    try:
        yield
    finally:
        table.weight.data.copy_(before)


def linear(batch: Batch, orders: Sequence[Order], composite: Composite) -> Tensor | None:
    """(B, orders) the loss of the value by gradient alone, bent, as exchange has it: sum over places of (p - p') . g."""
    table = table_of(batch.model)
    return None if table is None else lost(table.weight.data, at_tokens(batch, composite), orders)


def lost(p: Tensor, g: Tensor, orders: Sequence[Order]) -> Tensor:
    """(B, orders) from vectors (places, D) and the gradient (B, T, D)."""
    T = g.shape[1]
    return torch.stack([((p[:T] - p[torch.as_tensor(order)]) * g).sum((-1, -2)) for order in orders], -1)


def integrated(batch: Batch, orders: Sequence[Order], composite: Composite | None = None) -> Tensor | None:
    """The same with the gradient averaged while positions go from their mean (biases: from 0) to what they are; plain without a composite.

    None where biases or rotations have no bent gradient.
    """
    table = table_of(batch.model)
    if table is not None:
        p = table.weight.data[: batch.ids.shape[1]].clone()
        mean = p[batch.places].mean(0)
        g = torch.zeros(())
        for a in _points():
            with rows_of(table, mean + a * (p - mean)):
                g = g + at_tokens(batch, composite) / POINTS
        return lost(p, g, orders)
    if composite is not None:
        return None
    turning = next((m for m in batch.model.modules() if type(m).__name__ == "EsmRotaryEmbedding"), None)
    return _of_bias(batch, orders) if turning is None else _of_rotation(batch, orders, turning)


def _of_rotation(batch: Batch, orders: Sequence[Order], turning: nn.Module) -> Tensor:
    """Of cosines and sines, the same in all layers, as vectors: sum over places of (c - c') g."""
    B, T = batch.ids.shape
    c = torch.cat(turning(torch.zeros(1, dtype=torch.float64), torch.arange(T)[None]), -1)[0]
    mean, g = c[batch.places].mean(0), torch.zeros(())
    for a in _points():
        leaf = (mean + a * (c - mean)).expand(B, T, -1).clone().requires_grad_()
        handle = turning.register_forward_hook(lambda *_, leaf=leaf: leaf.chunk(2, -1))
        try:
            g = g + gradient_of(batch, leaf) / POINTS
        finally:
            handle.remove()
    return lost(c, g, orders)


def _of_bias(batch: Batch, orders: Sequence[Order]) -> Tensor | None:
    """Of biases, row by row: sum over pairs of (b - b') g."""
    owner, name = _maker(batch.model)
    if owner is None:
        return None
    found = []
    for row, target in zip(batch.ids.split(1), batch.target.split(1), strict=True):
        one, g = replace(batch, ids=row, target=target), torch.zeros(())
        for a in _points():
            with _scaled(owner, name, row.shape[1], a) as leaf:
                g = g + gradient_of(one, leaf) / POINTS
        b = leaf.detach() / a
        found.append(torch.stack([((b - _dealt(b, torch.as_tensor(order), name)) * g).sum() for order in orders]))
    return torch.stack(found)


def _points() -> list[float]:
    return [(i + 0.5) / POINTS for i in range(POINTS)]


def _maker(model: Any) -> tuple[Any, str]:
    """Whose method makes the biases of a zoo model."""
    if hasattr(model, "mpnet"):
        return model.mpnet.encoder, "compute_position_bias"
    if hasattr(model, "transformer") and hasattr(model.transformer, "build_mpt_alibi_tensor"):
        return model.transformer, "build_mpt_alibi_tensor"
    return None, ""


@contextmanager
def _scaled(owner: Any, name: str, T: int, a: float) -> Iterator[Tensor]:
    """Inside the `with` biases are `a` times what they are; gives those of all pairs, (..., T, T)."""
    usual: Callable[..., Tensor] = getattr(owner, name)
    if name == "build_mpt_alibi_tensor":
        slopes = usual(owner.num_heads, T).double().diff(dim=-1)[:, :, :1]
        away = (torch.arange(T)[:, None] - torch.arange(T)).double()
        b = -slopes * away
    else:
        b = usual(torch.zeros(1, T, 1, dtype=torch.float64)).double()
    leaf = (a * b.detach()).requires_grad_()
    setattr(owner, name, lambda *_, **__: leaf)
    try:
        yield leaf
    finally:
        delattr(owner, name)


def _dealt(b: Tensor, order: Tensor, name: str) -> Tensor:
    """Biases with positions in another order; what would look ahead in a causal model keeps its own."""
    moved = b[..., order[:, None], order[None, :]]
    return torch.where(order[:, None] >= order[None, :], moved, b) if name == "build_mpt_alibi_tensor" else moved


def half_way(batch: Batch, pairs: Sequence[tuple[int, int]]) -> Tensor | None:
    """(B, pairs) of places by number, with the plain gradient where both have the mean of their two vectors.

    That is exact up to the second order.
    """
    table = table_of(batch.model)
    if table is None:
        return None
    p = table.weight.data[: batch.ids.shape[1]].clone()
    found = []
    for t, u in ((int(batch.places[a]), int(batch.places[b])) for a, b in pairs):
        middle = p.clone()
        middle[t] = middle[u] = (p[t] + p[u]) / 2
        with rows_of(table, middle):
            g = at_tokens(batch, None)
        found.append(((p[t] - p[u]) * (g[:, t] - g[:, u])).sum(-1))
    return torch.stack(found, -1)
