"""A design as a module: its weights are drawn by name, its operations are whoever's it is given."""

from __future__ import annotations

import math
import zlib
from typing import Any

import torch
from torch import Tensor, nn

from .design import GATES, Design

WORDS, LONGEST = 13, 8


class Weights:
    """Normal numbers that depend on the seed and a name alone: variance 1.5 / fan in, biases of 0.05."""

    def __init__(self, design: Design) -> None:
        self.design = design

    def drawn(self, key: str, *shape: int, scale: float | None = None) -> Tensor:
        rng = torch.Generator().manual_seed(zlib.crc32(f"{self.design.seed} {key}".encode()))
        size = scale or (math.sqrt(1.5 / shape[-1]) if len(shape) > 1 else 0.05)
        return torch.randn(*shape, generator=rng, dtype=torch.float64) * size

    def linear(self, key: str, wide: int, out: int, biased: bool = True) -> nn.Linear:
        made = nn.Linear(wide, out, bias=biased, dtype=torch.float64)
        made.weight.data = self.drawn(key, out, wide)
        if biased:
            made.bias.data = self.drawn(f"{key}.bias", out)
        return made

    def norm(self, key: str, wide: int) -> nn.Module:
        made = (nn.LayerNorm if self.design.norm == "layer" else nn.RMSNorm)(wide, eps=1e-6, dtype=torch.float64)
        made.weight.data = 1 + 2 * self.drawn(f"{key}.weight", wide)
        if self.design.norm == "layer":
            made.bias.data = self.drawn(f"{key}.bias", wide)
        return made

    def parameter(self, key: str, *shape: int, scale: float = 0.7) -> nn.Parameter:
        return nn.Parameter(self.drawn(key, *shape, scale=scale))


class Attention(nn.Module):
    """Heads beside each other; queries of x, keys and values of y."""

    def __init__(self, key: str, w: Weights, ops: Any, crossing: bool = False) -> None:
        super().__init__()
        d, self.ops, self.crossing = w.design, ops, crossing
        self.q = w.linear(f"{key}.q", d.width, d.heads * d.head, d.biases)
        self.k, self.v = (w.linear(f"{key}.{x}", d.width, d.groups * d.head, d.biases) for x in "kv")
        self.o = w.linear(f"{key}.o", d.heads * d.head, d.width, d.biases)
        if d.normed:
            self.of_q, self.of_k = w.norm(f"{key}.of_q", d.head), w.norm(f"{key}.of_k", d.head)
        if d.scored == "bias" and not crossing:
            self.by_offset = w.parameter(f"{key}.by_offset", 2 * LONGEST - 1, d.heads)
        if d.met and not crossing:
            self.met = w.parameter(f"{key}.met", 2 * LONGEST - 1, d.head)
        if d.mixed and not crossing:
            self.mixed = w.parameter(f"{key}.mixed", 2 * LONGEST - 1, d.head)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        ops, d = self.ops, self.ops.design
        q, k, v = (ops.split(ops.linear(part, z), n) for part, z, n in ((self.q, x, d.heads), (self.k, y, d.groups), (self.v, y, d.groups)))
        if d.normed:
            q, k = ops.norm(self.of_q, q), ops.norm(self.of_k, k)
        if d.turned and not self.crossing:
            q, k = ops.turn(self, q, k)
        return ops.linear(self.o, ops.merge(ops.attend(self, q, ops.repeat(k), ops.repeat(v))))


class Perceptron(nn.Module):
    """Two linear maps with an activation or a gate between them."""

    def __init__(self, key: str, w: Weights, ops: Any) -> None:
        super().__init__()
        d, self.ops = w.design, ops
        self.up, self.down = w.linear(f"{key}.up", d.width, 2 * d.width, d.biases), w.linear(f"{key}.down", 2 * d.width, d.width, d.biases)
        if d.perceptron in GATES:
            self.gate = w.linear(f"{key}.gate", d.width, 2 * d.width, d.biases)

    def forward(self, x: Tensor) -> Tensor:
        ops, kind = self.ops, self.ops.design.perceptron
        y = ops.linear(self.up, x)
        if kind not in GATES:
            return ops.linear(self.down, ops.activation(kind, y))
        gate = ops.linear(self.gate, x)
        gate = gate if GATES[kind] is None else ops.activation(GATES[kind], gate)
        return ops.linear(self.down, ops.product(gate, y))


class Block(nn.Module):
    """Attention, perhaps to another stream as well, and a perceptron; norms where the design has them."""

    def __init__(self, key: str, w: Weights, ops: Any, crossing: bool = False) -> None:
        super().__init__()
        d, self.ops = w.design, ops
        self.attention, self.perceptron = Attention(f"{key}.a", w, ops), Perceptron(f"{key}.p", w, ops)
        names = ["attention", "perceptron"]
        if crossing:
            self.across = Attention(f"{key}.x", w, ops, crossing=True)
            names.append("across")
        many = {"none": (), "both": ("before", "after")}.get(d.where, ("of",))
        self.norms = nn.ModuleDict({f"{one} {name}": w.norm(f"{key}.{one} {name}", d.width) for one in many for name in names})

    def before(self, name: str, x: Tensor) -> Tensor:
        """What a branch reads."""
        one = {"pre": "of", "both": "before"}.get(self.ops.design.where)
        return self.ops.norm(self.norms[f"{one} {name}"], x) if one else x

    def after(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        """The stream once the branch is added."""
        where, ops = self.ops.design.where, self.ops
        if where == "both":
            y = ops.norm(self.norms[f"after {name}"], y)
        x = ops.skip(x, y)
        return ops.norm(self.norms[f"of {name}"], x) if where == "post" else x

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        y = self.before("attention", x)
        attended = self.attention(y, y)
        if self.ops.design.parallel and other is None:
            return self.after("perceptron", self.after("attention", x, attended), self.perceptron(self.before("perceptron", x)))
        x = self.after("attention", x, attended)
        if other is not None:
            x = self.after("across", x, self.across(self.before("across", x), other))
        return self.after("perceptron", x, self.perceptron(self.before("perceptron", x)))


class Entrance(nn.Module):
    """A table of tokens, and positions added to them."""

    def __init__(self, key: str, w: Weights, ops: Any) -> None:
        super().__init__()
        self.ops = ops
        self.tokens = nn.Embedding.from_pretrained(w.drawn(f"{key}.tokens", WORDS, w.design.width, scale=0.8), freeze=False)
        if w.design.added == "learnable":
            self.p = w.parameter(f"{key}.p", LONGEST, w.design.width)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.ops.embed(self.tokens, ids)
        return self.ops.enter(self, x) if self.ops.design.added else x


class Model(nn.Module):
    """One stream, one that reads another, or two that meet in a product: three numbers for each row."""

    def __init__(self, design: Design, ops: Any) -> None:
        super().__init__()
        w, self.ops = Weights(design), ops
        crossing = design.streams == "cross"
        self.first = Entrance("first", w, ops)
        self.blocks = nn.ModuleList(Block(f"{i}", w, ops, crossing) for i in range(design.layers))
        if design.texts == 2:
            self.second = Entrance("second", w, ops)
            self.others = nn.ModuleList(Block(f"other {i}", w, ops) for i in range(design.layers))
        self.last = w.norm("last", design.width)
        self.head = w.linear("head", design.width, 3)

    def forward(self, first: Tensor, second: Tensor | None = None) -> Tensor:
        ops, d = self.ops, self.ops.design
        other = None
        if second is not None:
            ops.stream("second")
            other = self.second(second)
            for block in self.others:
                other = block(other)
            ops.stream("first")
        x = self.first(first)
        for block in self.blocks:
            x = block(x, other) if d.streams == "cross" else block(x)
        x = ops.pooled(x if d.where == "none" else ops.norm(self.last, x))
        return ops.linear(self.head, ops.product(x, ops.pooled(other)) if d.streams == "pair" else x)
