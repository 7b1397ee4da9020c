"""The reader's explanation computed without the engine: the bent gradient written out, positions as leaves of their own."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import IDS, Body, Net


def half(x: Tensor) -> Tensor:
    """x, handing back half of what it receives: the product of two carriers."""
    return x / 2 + x.detach() / 2


def norm(layer: torch.nn.LayerNorm, x: Tensor) -> Tensor:
    """A layer norm with its deviation frozen."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / (x.var(-1, correction=0, keepdim=True) + layer.eps).sqrt().detach() * layer.weight + layer.bias


class Leaves:
    """Where positions enter, one leaf for each time: its relevance is asked for at the end."""

    def __init__(self) -> None:
        self.sinks: list[list[tuple[Tensor, int | None]]] = []

    def sink(self) -> None:
        """The leaves that follow belong to a sink of their own."""
        self.sinks.append([])

    def leaf(self, value: Tensor, axis: int | None = None) -> Tensor:
        """A leaf with places along `axis`; None where only its total is known."""
        made = value.detach().clone().requires_grad_()
        self.sinks[-1].append((made, axis))
        return made


def by_hand(
    net: Body | None = None,
    x: Tensor | None = None,
    enter: Callable[[Leaves, Tensor], Tensor] | None = None,
    turn: Callable[[Leaves, Tensor], Tensor] | None = None,
    score: Callable[[Leaves, Tensor, Tensor], Tensor] | None = None,
    mix: Callable[[Leaves, Tensor, Tensor], Tensor] | None = None,
    pick: Callable[[Tensor], Tensor] = lambda out: out[0, 1],
    ids: Tensor = IDS,
) -> dict[str, Tensor]:
    """Relevance of tokens (T,) and of each sink, (S, T) where all have places, else (S,)."""
    net = net or Net()
    tokens = (net.tokens(ids) if x is None else x).detach().requires_grad_()
    leaves = Leaves()
    x = tokens
    if enter is not None:
        leaves.sink()
        x = enter(leaves, x)
    for block in net.blocks:
        x = x + attend(block.attention, norm(block.before, x), leaves, turn, score, mix)
        up = block.perceptron[0](norm(block.between, x))
        x = x + block.perceptron[2](up * (F.gelu(up) / up).detach())
    value = pick(net.head(norm(net.norm, x)[:, -1]))
    value.backward()
    assert tokens.grad is not None
    found = [[relevance(leaf, axis) for leaf, axis in sink] for sink in leaves.sinks]
    rows = [torch.stack(sink).sum(0) for sink in found]
    return {"tokens": (tokens * tokens.grad).detach().sum((0, -1)), "positional": torch.stack(rows) if rows else torch.zeros(0, x.shape[1])}


def relevance(leaf: Tensor, axis: int | None) -> Tensor:
    """leaf * g, per place or in total."""
    if leaf.grad is None:
        return torch.zeros(() if axis is None else leaf.shape[axis], dtype=torch.float64)
    product = (leaf * leaf.grad).detach()
    return product.sum() if axis is None else product.movedim(axis, 0).flatten(1).sum(1)


def attend(attention, x: Tensor, leaves: Leaves, turn: Callable | None, score: Callable | None, mix: Callable | None) -> Tensor:
    """Attention of one layer: half at each product of two carriers."""
    q, k, v = (attention.split(part(x)) for part in (attention.q, attention.k, attention.v))
    if turn or score or mix:
        leaves.sink()
    if turn is not None:
        q, k = turn(leaves, q), turn(leaves, k)
    s = half(q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
    a = (s if score is None else score(leaves, s, q)).softmax(-1)
    out = half(a @ v)
    if mix is not None:
        out = mix(leaves, a, out)
    return attention.o(out.transpose(1, 2).flatten(2))
