"""The operations of a random model with their gradients bent by hand (METHOD of PA-LRP and CP-LRP): the truth, with no engine near."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from .design import Design, Spelling
from .spelt import ACTIVATIONS, Spelt, across, as_numbers, beside, hidden, offsets, steps

PLAIN = Spelling(
    layout="batch first", row=0, rows=1, linear="module", norm="module", activation=0, skip="plus", table="slice", add="plus",
    waves="stacked", turn=0, tables="computed", repeat="interleave", attend="matmul", mask="filled", bias="plus", met="each pair",
    mixed="einsum", product="times", pool="method",
)  # fmt: skip


def half(x: Tensor) -> Tensor:
    """x, handing back half of what it receives: the product of two carriers."""
    return x / 2 + x.detach() / 2


class Bent(Spelt):
    """Every product hands back half, every deviation is frozen; tokens and positions are leaves, `found` by stream and kind.

    constant: attention weights and gates are constants, as under CP-LRP
    """

    def __init__(self, design: Design, constant: bool = False) -> None:
        super().__init__(design, PLAIN)
        self.constant, self.of = constant, "first"
        self.tokens: dict[str, Tensor] = {}
        self.found: dict[str, list[tuple[str, list[tuple[Tensor, int | None]]]]] = {"first": [], "second": []}

    def stream(self, name: str) -> None:
        self.of = name

    def leaf(self, kind: str, value: Tensor, axis: int | None = None, more: bool = False) -> Tensor:
        """A position: with places along `axis`, or known in total; `more` of the last sink of its kind."""
        made = value.detach().clone().requires_grad_()
        if not more:
            self.found[self.of].append((kind, []))
        next(leaves for one, leaves in reversed(self.found[self.of]) if one == kind).append((made, axis))
        return made

    def embed(self, of: nn.Embedding, ids: Tensor) -> Tensor:
        self.tokens[self.of] = of(ids).detach().requires_grad_()
        return self.tokens[self.of]

    def enter(self, of: nn.Module, x: Tensor) -> Tensor:
        kind = "absolute" if self.design.added == "waves" else "learnable"
        p = super().enter(of, torch.zeros_like(x))[0]
        return x + self.leaf(kind, p, 0)

    def norm(self, of: nn.Module, x: Tensor) -> Tensor:
        if isinstance(of, nn.LayerNorm):
            x = x - x.mean(-1, keepdim=True)
        return x / (x.square().mean(-1, keepdim=True) + of.eps).sqrt().detach() * of.weight + getattr(of, "bias", torch.zeros(()))

    def activation(self, kind: str, x: Tensor) -> Tensor:
        y = ACTIVATIONS[kind][0](x).detach()
        start = ACTIVATIONS[kind][0](torch.zeros_like(x)).detach()
        out = x * ((y - start) / torch.where(x == 0, 1.0, x)).detach() + start
        return out.detach() if self.constant and self.design.perceptron.endswith("glu") else out

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b if not a.requires_grad or not b.requires_grad else half(a * b)

    def turn(self, of: nn.Module, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        kind, n = self.design.turned, q.shape[-2]
        wide = q.shape[-1] // 4 * 2 if kind == "partial" else q.shape[-1]
        angles = steps(n, wide).repeat_interleave(2, -1) if kind == "pairs" else torch.cat([steps(n, wide)] * 2, -1)

        def one(x: Tensor, more: bool) -> Tensor:
            part, rest = x[..., :wide], x[..., wide:]
            cos, sin = self.leaf("rotary", angles.cos(), 0, more), self.leaf("rotary", angles.sin(), 0, True)
            return torch.cat([half(part * cos) + half((beside if kind == "pairs" else across)(part) * sin), rest], -1)

        return one(q, False), one(k, True)

    def attend(self, of: nn.Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        d, own, n = self.design, not of.crossing, q.shape[-2]
        s = half(q @ k.mT)
        if own and d.met:
            r = self.leaf("relative embedding", of.met[offsets(n, n, (len(of.met) + 1) // 2)])
            s = s + half(torch.einsum("...id,ijd->...ij", q, r))
        s = self.cap(s / math.sqrt(d.head), "scores")
        if own and d.scored == "decay":
            s = half(s * self.leaf("decay", self.bias(of, n)))
        elif own and d.scored:
            s = s + self.leaf({"bias": "relative bias"}.get(d.scored, d.scored), self.bias(of, n))
        s, unseen = self.cap(s, "all"), hidden(d, n, k.shape[-2]) if own else None
        a = (s if unseen is None else s + as_numbers(unseen)).softmax(-1)
        a = a.detach() if self.constant else a
        out = a @ v if self.constant else half(a @ v)
        if own and d.mixed:
            r = of.mixed[offsets(n, n, (len(of.mixed) + 1) // 2)].detach()
            r = r if self.constant else self.leaf("relative embedding", r, more=d.met)  # weights that are constants make it one
            mixed = torch.einsum("...ij,ijd->...id", a, r)
            out = out + (mixed if self.constant else half(mixed))
        return out

    def cap(self, s: Tensor, when: str) -> Tensor:
        """tanh(s / 3) * 3 by the identity rule."""
        return s if self.design.capped != when else s * (torch.tanh(s / 3) * 3 / torch.where(s == 0, 1.0, s)).detach()


def amount(leaf: Tensor, axis: int | None) -> Tensor:
    """leaf * g, for each place or in total."""
    if leaf.grad is None:
        return torch.zeros(() if axis is None else leaf.shape[axis], dtype=torch.float64)
    product = (leaf * leaf.grad).detach()
    return product.sum() if axis is None else product.movedim(axis, 0).flatten(1).sum(1)


Known = dict[str, tuple[Tensor, list[tuple[str, Tensor]]]]  # of each stream the tokens (T,), and (kind, amount) of each sink


def truth(model: Any, ids: tuple[Tensor, ...]) -> tuple[Tensor, Known]:
    """The three numbers of a model over `Bent`, and what explains the second of them; amounts of sinks by place, or in total."""
    ops = model.ops
    out = model(*ids)[0]
    out[1].backward()
    found = {}
    for name, tokens in ops.tokens.items():
        sinks = [(kind, torch.stack([amount(*one) for one in leaves]).sum(0)) for kind, leaves in ops.found[name]]
        mine = torch.zeros_like(tokens) if tokens.grad is None else tokens * tokens.grad
        found[name] = mine.detach().sum((0, -1)), sinks
    return out.detach(), found
