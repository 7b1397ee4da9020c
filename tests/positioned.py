"""One attention over looked-up tokens with a number of positions to give it: where exchanging two of them is plain to compute.

The value is linear in the attention weights, so what an exchange changes of the weights is what it changes of the value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

T, D, H = 7, 8, 2


def drawn(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


class Attention(nn.Module):
    """H heads over D features; `scores(q, k, positions)` is where an encoding comes in, `hidden` which pairs are not seen."""

    causal, window, fused, filled, groups, sharp = False, None, False, False, 1, 1.0

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(30, D)
        kv = D // self.groups
        self.q, self.k, self.v, self.out = nn.Linear(D, D), nn.Linear(D, kv), nn.Linear(D, kv), nn.Linear(D, D)
        self.rel = nn.Parameter(torch.zeros(2 * T - 1, H))
        self.vectors = nn.Parameter(torch.zeros(2 * T - 1, D // H))
        for i, p in enumerate(self.parameters()):
            p.data = drawn(*p.shape, seed=i + 1, scale=1.0 if p.dim() == 1 else 0.7)

    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, D // H)).transpose(1, 2)

    def hidden(self, n: int) -> Tensor:
        at = torch.arange(n)
        away = at[:, None] - at[None, :]
        hidden = (away < 0) if self.causal else torch.zeros(n, n, dtype=torch.bool)
        return hidden | (away.abs() > self.window) if self.window is not None else hidden

    def turned(self, x: Tensor, positions: Tensor) -> Tensor:
        return x

    def biases(self, positions: Tensor, dtype: torch.dtype) -> Tensor | None:
        return None

    def more(self, q: Tensor, k: Tensor, positions: Tensor) -> Tensor | None:
        return None

    def attend(self, q: Tensor, k: Tensor, v: Tensor, positions: Tensor) -> Tensor:
        q, k = self.turned(q, positions), self.turned(k, positions)
        bias, hidden = self.biases(positions, q.dtype), self.hidden(q.shape[-2])
        if self.fused:
            mask: Tensor | None = None if bias is None else bias.masked_fill(hidden, -torch.inf)
            mask = ~hidden if mask is None and bool(hidden.any()) else mask
            if self.filled:
                mask = torch.zeros_like(hidden, dtype=q.dtype).masked_fill(hidden, torch.finfo(q.dtype).min)
            return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=self.groups > 1)
        if self.groups > 1:
            k, v = k.repeat_interleave(self.groups, 1), v.repeat_interleave(self.groups, 1)
        s = q @ k.mT / math.sqrt(D // H) * self.sharp
        if bias is not None:
            s = s + bias
        if (extra := self.more(q, k, positions)) is not None:
            s = s + extra
        return self.weigh(self.masked(s, hidden), v)

    def weigh(self, s: Tensor, v: Tensor) -> Tensor:
        return s.softmax(-1) @ v

    def masked(self, s: Tensor, hidden: Tensor) -> Tensor:
        return s.masked_fill(hidden, -torch.inf)

    def forward(self, input_ids: Tensor, positions: Tensor | None = None) -> Tensor:
        x = self.table(input_ids)
        positions = torch.arange(x.shape[1]) if positions is None else positions
        q, k, v = (self.heads(f(x)) for f in (self.q, self.k, self.v))
        o = self.attend(q, k, v, positions).transpose(1, 2).flatten(-2)
        return (self.out(o) * torch.linspace(-1, 1, D, dtype=x.dtype)).sum((-1, -2))


def tables(positions: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    angle = positions[:, None].double() * 0.8 ** torch.arange(D // H // 2)
    return (t.repeat(1, 2).to(like.dtype) for t in (angle.cos(), angle.sin()))  # type: ignore[return-value]


class Rotary(Attention):
    def turned(self, x: Tensor, positions: Tensor) -> Tensor:
        cos, sin = tables(positions, x)
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat([-b, a], -1) * sin


class CausalRotary(Rotary):
    causal = True


class FusedRotary(Rotary):
    fused, causal = True, True


class MultipliedMask(CausalRotary):
    """Hidden pairs are multiplied by 0 before -1e4 is added, as in GPT."""

    def masked(self, s: Tensor, hidden: Tensor) -> Tensor:
        b = (~hidden).to(s.dtype).view(1, 1, *hidden.shape)
        return s * b + -1e4 * (1 - b)


class WrittenRotary(CausalRotary):
    """Scores are written into after another call has taken them, last less the largest of their row, as a stable softmax does."""

    def weigh(self, s: Tensor, v: Tensor) -> Tensor:
        s += 0.3 * s.tanh()
        s -= s.amax(-1, keepdim=True)
        return s.softmax(-1) @ v


class GroupedRotary(Rotary):
    groups, causal = 2, True


class FusedGroupedRotary(GroupedRotary):
    fused = True


class SaturatedRotary(Rotary):
    causal, sharp = True, 40.0


class WindowedRotary(Rotary):
    causal, window = True, 2


class FusedWindowedRotary(WindowedRotary):
    """A window that is no prefix, told to a kernel by what is added to scores."""

    fused, filled = True, True


class FusedSaturatedRotary(SaturatedRotary):
    fused = True

    def turned(self, x: Tensor, positions: Tensor) -> Tensor:
        return super().turned(x, positions) * self.sharp**0.5


def weighing(name: str, weigh: Callable[[Tensor, Tensor], Tensor]) -> type[Attention]:
    """Causal rotary attention that makes of scores and values what it likes."""
    return type(f"Rotary_{name}", (CausalRotary,), {"weigh": lambda self, s, v: weigh(s, v)})


def renormed(A: Tensor) -> Tensor:
    return (A + 0.01) / (A + 0.01).sum(-1, keepdim=True)


UNFOLLOWED = {  # uses of weights that are no product with values
    "transposed": lambda s, v: (v.mT @ s.softmax(-1).mT).mT,
    "renormed": lambda s, v: renormed(s.softmax(-1)) @ v,
    "twice": lambda s, v: s.softmax(-1) @ s.softmax(-1) @ v,
    "beside": lambda s, v: s.softmax(-1) @ v + renormed(s.softmax(-1)) @ v,
    "elementwise": lambda s, v: (s.softmax(-1)[..., None] * v[..., None, :, :]).sum(-2),
    "baddbmm": lambda s, v: torch.baddbmm(torch.zeros_like(v[0]), s.softmax(-1)[0], v[0])[None],
    "tensordot": lambda s, v: torch.stack([torch.tensordot(A, x, 1) for A, x in zip(s.softmax(-1)[0], v[0], strict=True)])[None],
}
FOLLOWED = {
    "scaled": lambda s, v: s.softmax(-1) * 0.5 @ v,
    "einsum": lambda s, v: torch.einsum("bhij,bhjd->bhid", s.softmax(-1), v),
    "einsum of three": lambda s, v: torch.einsum("bhij,bhjd,d->bhid", s.softmax(-1), v, torch.linspace(0.5, 1.5, v.shape[-1]).to(v)),
    "two products": lambda s, v: s.softmax(-1) @ v + 0.5 * (s.softmax(-1) @ v.flip(-1)),
    "a learned sink": lambda s, v: torch.cat([s, torch.full_like(s[..., :1], 0.3)], -1).softmax(-1)[..., :-1] @ v,
    "of the same shape": lambda s, v: (A := s.softmax(-1)) @ v.type_as(A) + torch.zeros_like(A) @ v,
}


class ComplexRotary(Attention):
    def turned(self, x: Tensor, positions: Tensor) -> Tensor:
        cos, sin = tables(positions, x)
        turn = torch.complex(cos[:, : D // H // 2], sin[:, : D // H // 2])
        return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * turn).flatten(-2)


class NormedRotary(Rotary):
    """Norms and a scale after the rotation, a soft cap on the scores."""

    def turned(self, x: Tensor, positions: Tensor) -> Tensor:
        x = super().turned(x, positions)
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * 1.7

    def masked(self, s: Tensor, hidden: Tensor) -> Tensor:
        return super().masked(3.0 * torch.tanh(s / 3.0), hidden)


class Bias(Attention):
    def biases(self, positions: Tensor, dtype: torch.dtype) -> Tensor:
        return self.rel[positions[:, None] - positions[None, :] + T - 1].permute(2, 0, 1).to(dtype)


class FusedBias(Bias):
    fused = True


class Relative(Attention):
    """A vector for each distance, multiplied with queries, picked out by distance."""

    def more(self, q: Tensor, k: Tensor, positions: Tensor) -> Tensor:
        rows = positions[:, None] - positions[None, :] + T - 1
        return (q @ self.vectors.T).gather(-1, rows.expand(*q.shape[:2], -1, -1))


class RelativeToKeys(Attention):
    """The same of keys, looked up for each pair."""

    def more(self, q: Tensor, k: Tensor, positions: Tensor) -> Tensor:
        return torch.einsum("bhjd,ijd->bhij", k, self.vectors[positions[:, None] - positions[None, :] + T - 1])


class Alibi(Attention):
    """Causal, in four ways of writing it that differ where nobody looks."""

    causal, way = True, "distance"

    def biases(self, positions: Tensor, dtype: torch.dtype) -> Tensor:
        i, j = positions[:, None].to(dtype), positions[None, :].to(dtype)
        written = {"distance": j - i, "key": j.expand(len(positions), -1), "size": -(j - i).abs(), "clamped": (j - i).clamp(max=0)}
        return written[self.way] * torch.tensor([0.5, 0.25], dtype=dtype)[:, None, None]


ALIBIS: dict[str, Any] = {way: type(f"Alibi_{way}", (Alibi,), {"way": way}) for way in ("distance", "key", "size", "clamped")}
ALIBIS["fused"] = type("Alibi_fused", (Alibi,), {"fused": True})
EXACT = (Rotary, CausalRotary, FusedRotary, GroupedRotary, FusedGroupedRotary, SaturatedRotary, WindowedRotary, FusedWindowedRotary,
         FusedSaturatedRotary, MultipliedMask, WrittenRotary, ComplexRotary, NormedRotary, Bias, FusedBias, Relative,
         RelativeToKeys)  # fmt: skip
IDS = torch.tensor([[3, 9, 4, 17, 6, 3, 21]])


def swapped(t: int, u: int, n: int = T) -> Tensor:
    order = torch.arange(n)
    order[[t, u]] = order[[u, t]]
    return order
