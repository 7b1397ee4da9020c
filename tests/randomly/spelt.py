"""The operations of a random model as people write them: one table for each, every entry the same function."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from .design import Design, Spelling

LAYOUTS = ("batch first", "sequence first", "no batch")
LINEAR = {
    "module": lambda of, x: of(x),
    "functional": lambda of, x: F.linear(x, of.weight, of.bias),
    "matmul": lambda of, x: x @ of.weight.T + (0 if of.bias is None else of.bias),
    "einsum": lambda of, x: torch.einsum("...i,oi->...o", x, of.weight) + (0 if of.bias is None else of.bias),
    "addmm": lambda of, x: (
        x.reshape(-1, x.shape[-1]).mm(of.weight.T) if of.bias is None else torch.addmm(of.bias, x.reshape(-1, x.shape[-1]), of.weight.T)
    ).view(*x.shape[:-1], -1),
}


def written_norm(of: nn.Module, x: Tensor) -> Tensor:
    """Its statistics step by step."""
    if isinstance(of, nn.RMSNorm):
        return of.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + of.eps))
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + of.eps) * of.weight + of.bias


def short_norm(of: nn.Module, x: Tensor) -> Tensor:
    """By `var` and `norm`."""
    if isinstance(of, nn.RMSNorm):
        return x / (x.square().sum(-1, keepdim=True) / x.shape[-1] + of.eps).sqrt() * of.weight
    return (x - x.mean(-1, keepdim=True)) * torch.rsqrt(x.var(-1, unbiased=False, keepdim=True) + of.eps) * of.weight + of.bias


def functional_norm(of: nn.Module, x: Tensor) -> Tensor:
    """Torch's functions."""
    if isinstance(of, nn.RMSNorm):
        return F.rms_norm(x, of.normalized_shape, of.weight, of.eps)
    return F.layer_norm(x, of.normalized_shape, of.weight, of.bias, of.eps)


NORMS = {"module": lambda of, x: of(x), "functional": functional_norm, "written": written_norm, "short": short_norm}
ACTIVATIONS = {
    "gelu": (F.gelu, nn.GELU(), lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2))), lambda x: 0.5 * x * (1 + (x * 0.5**0.5).erf())),
    "silu": (F.silu, nn.SiLU(), lambda x: x * torch.sigmoid(x), lambda x: x / (1 + torch.exp(-x))),
    "relu": (F.relu, nn.ReLU(), lambda x: x.clamp(min=0), lambda x: torch.where(x > 0, x, 0.0)),
    "relu2": (lambda x: F.relu(x) ** 2, lambda x: x.relu().square(), lambda x: x.clamp(min=0).pow(2), lambda x: torch.square(F.relu(x))),
    "tanh": (torch.tanh, nn.Tanh(), lambda x: x.tanh(), lambda x: 2 * torch.sigmoid(2 * x) - 1),
    "sigmoid": (torch.sigmoid, nn.Sigmoid(), F.sigmoid, lambda x: 1 / (1 + torch.exp(-x))),
}


def in_place(x: Tensor, y: Tensor) -> Tensor:
    x = x.clone()
    x += y
    return x


SKIPS = {
    "plus": lambda x, y: x + y,
    "the other way": lambda x, y: y + x,
    "method": lambda x, y: x.add(y),
    "in place": in_place,
    "stacked": lambda x, y: torch.stack([x, y]).sum(0),
}
PRODUCTS = {
    "times": lambda a, b: a * b,
    "the other way": lambda a, b: b * a,
    "mul": torch.mul,
    "einsum": lambda a, b: torch.einsum("...i,...i->...i", a, b),
}
REPEATS = {
    "interleave": lambda x, n: x.repeat_interleave(n, -3),
    "expand": lambda x, n: x.unsqueeze(-3).expand(*x.shape[:-2], n, *x.shape[-2:]).flatten(-4, -3),
    "index": lambda x, n: x.index_select(x.dim() - 3, torch.arange(x.shape[-3] * n) // n),
}
# rows of a learned table or of waves, (T, width), before they are added
TABLES = {
    "slice": lambda p, n: p[:n],
    "look-up": lambda p, n: F.embedding(torch.arange(n), p),
    "index": lambda p, n: p.index_select(0, torch.arange(n)),
    "one hot": lambda p, n: F.one_hot(torch.arange(n), len(p)).to(p) @ p,
}
ADDS = {"plus": lambda x, p: x + p, "first": lambda x, p: p + x, "in place": in_place, "minus": lambda x, p: x - (-p),
        "twice": lambda x, p: torch.add(x, p / 2, alpha=2)}  # fmt: skip


def steps(n: int, wide: int, base: float = 50.0) -> Tensor:
    """(n, wide / 2): place times frequency."""
    return torch.outer(torch.arange(n).double(), base ** (-torch.arange(0, wide, 2).double() / wide))


def filled(n: int, wide: int) -> Tensor:
    made = torch.zeros(n, wide, dtype=torch.float64)
    made[:, 0::2], made[:, 1::2] = steps(n, wide).sin(), steps(n, wide).cos()
    return made


WAVES = {
    "stacked": lambda n, wide: torch.stack([steps(n, wide).sin(), steps(n, wide).cos()], -1).flatten(1),
    "filled": filled,
    "of lists": lambda n, wide: torch.tensor(filled(n, wide).tolist(), dtype=torch.float64),
}


def across(x: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    return torch.cat([-b, a], -1)


def beside(x: Tensor) -> Tensor:
    return torch.stack([-x[..., 1::2], x[..., 0::2]], -1).flatten(-2)


def half_by_half(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def sign_in_the_sine(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return x * torch.cat([cos, cos], -1) + x.roll(x.shape[-1] // 2, -1) * torch.cat([-sin, sin], -1)


def complex_halves(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    z = torch.complex(*x.chunk(2, -1)) * torch.complex(cos, sin)
    return torch.cat([z.real, z.imag], -1)


def complex_pairs(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * torch.complex(cos, sin)).flatten(-2)


def pair_by_pair(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


def matrices(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    d = x.shape[-1]
    made, even = torch.zeros(len(cos), d, d, dtype=x.dtype), torch.arange(0, d, 2)
    made[:, even, even] = made[:, even + 1, even + 1] = cos
    made[:, even, even + 1], made[:, even + 1, even] = sin, -sin
    return torch.einsum("tde,...td->...te", made, x)


TURNS = {
    "halves": (
        lambda x, cos, sin: x * torch.cat([cos, cos], -1) + across(x) * torch.cat([sin, sin], -1),
        half_by_half, sign_in_the_sine, complex_halves,
        lambda x, cos, sin: torch.addcmul(x * torch.cat([cos, cos], -1), across(x), torch.cat([sin, sin], -1)),
    ),
    "pairs": (
        pair_by_pair, lambda x, cos, sin: x * cos.repeat_interleave(2, -1) + beside(x) * sin.repeat_interleave(2, -1), complex_pairs,
        matrices, lambda x, cos, sin: torch.stack([pair_by_pair(x[..., t, :], cos[t], sin[t]) for t in range(x.shape[-2])], -2),
    ),
}  # fmt: skip


def offsets(n: int, m: int, longest: int) -> Tensor:
    """j - i, from 0."""
    return torch.arange(m)[None] - torch.arange(n)[:, None] + longest - 1


def distance(n: int) -> Tensor:
    i = torch.arange(n)
    return (i[None] - i[:, None]).abs().double()


def slopes(heads: int) -> Tensor:
    return (2.0 ** -torch.arange(1, heads + 1).double())[:, None, None]


def decays(heads: int) -> Tensor:
    return (1 - 2.0 ** (-1 - torch.arange(heads).double()))[:, None, None]


BIASES = {
    "plus": lambda s, b: s + b,
    "first": lambda s, b: b + s,
    "minus": lambda s, b: s - (-b),
    "in place": in_place,
    "row by row": lambda s, b: torch.stack([s[..., i, :] + b[:, i] for i in range(s.shape[-2])], -2),
}
METS = {
    "each pair": lambda q, r, at: torch.einsum("...id,ijd->...ij", q, r[at]),
    "gathered": lambda q, r, at: (q @ r.T).gather(-1, at.expand(*q.shape[:-1], at.shape[-1])),
    "matmul": lambda q, r, at: (q[..., None, :] @ F.embedding(at, r).mT).squeeze(-2),
    "summed": lambda q, r, at: (q[..., None, :] * r[at]).sum(-1),
}
MIXES = {
    "einsum": lambda a, r, at: torch.einsum("...ij,ijd->...id", a, r[at]),
    "matmul": lambda a, r, at: (a[..., None, :] @ r[at]).squeeze(-2),
    "summed": lambda a, r, at: (a[..., None] * F.embedding(at, r)).sum(-2),
}


def as_numbers(hidden: Tensor, low: float = -torch.inf) -> Tensor:
    return torch.zeros(hidden.shape, dtype=torch.float64).masked_fill(hidden, low)


MASKS = {
    "filled": lambda s, hidden: s.masked_fill(hidden, -torch.inf),
    "where": lambda s, hidden: torch.where(hidden, -torch.inf, s),
    "added": lambda s, hidden: s + as_numbers(hidden),
    "finite": lambda s, hidden: s + as_numbers(hidden, -1e9),
    "least": lambda s, hidden: s.masked_fill(hidden, torch.finfo(s.dtype).min),
}
ATTENDS = ("matmul", "einsum", "fused", "head by head", "transposed")


def hidden(d: Design, n: int, m: int) -> Tensor | None:
    """Which pairs see nothing of each other, (n, m); None if all do."""
    apart = torch.arange(m)[None] - torch.arange(n)[:, None]
    out = (apart > 0) if d.causal else torch.zeros(n, m, dtype=torch.bool)
    out = out if d.window is None else out | (apart.abs() >= d.window)
    return out if bool(out.any()) else None


class Spelt:
    """The operations of a design in one spelling."""

    def __init__(self, design: Design, spelling: Spelling) -> None:
        self.design, self.s = design, spelling
        self.kept: dict[Any, Any] = {}

    def stream(self, name: str) -> None:
        """What follows belongs to that input: of no interest here."""

    def linear(self, of: nn.Linear, x: Tensor) -> Tensor:
        return LINEAR[self.s.linear](of, x)

    def norm(self, of: nn.Module, x: Tensor) -> Tensor:
        return NORMS[self.s.norm](of, x)

    def activation(self, kind: str, x: Tensor) -> Tensor:
        return ACTIVATIONS[kind][self.s.activation](x)

    def skip(self, x: Tensor, y: Tensor) -> Tensor:
        return SKIPS[self.s.skip](x, y)

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        return PRODUCTS[self.s.product](a, b)

    def embed(self, of: nn.Embedding, ids: Tensor) -> Tensor:
        return of(ids)

    def enter(self, of: nn.Module, x: Tensor) -> Tensor:
        first = self.s.layout == "sequence first"
        n = x.shape[0] if self.s.layout != "batch first" else x.shape[1]
        p = WAVES[self.s.waves](n, x.shape[-1]) if self.design.added == "waves" else TABLES[self.s.table](of.p, n)
        return ADDS[self.s.add](x, p[:, None] if first else p)

    def split(self, x: Tensor, heads: int) -> Tensor:
        """(..., heads, places, features)."""
        x = x.unflatten(-1, (heads, -1))
        return x.permute(1, 2, 0, 3) if self.s.layout == "sequence first" else x.transpose(-3, -2)

    def merge(self, x: Tensor) -> Tensor:
        return (x.permute(2, 0, 1, 3) if self.s.layout == "sequence first" else x.transpose(-3, -2)).flatten(-2)

    def repeat(self, x: Tensor) -> Tensor:
        n = self.design.heads // self.design.groups
        return x if n == 1 else REPEATS[self.s.repeat](x, n)

    def pooled(self, x: Tensor) -> Tensor:
        axis, how = (1 if self.s.layout == "batch first" else 0), self.design.pool
        if how == "mean":
            return x.mean(axis) if self.s.pool == "method" else x.sum(axis) / x.shape[axis]
        at = 0 if how == "first" else x.shape[axis] - 1
        return x.select(axis, at) if self.s.pool == "method" else x.index_select(axis, torch.tensor([at])).squeeze(axis)

    # --- positions of attention --------------------------------------------------------------------------------------

    def once(self, of: nn.Module, name: str, make: Any) -> tuple[Tensor, ...]:
        """Tables made anew in each call, kept after the first, or kept in buffers."""
        if self.s.tables == "computed":
            return make()
        if self.s.tables == "kept":
            if (name, id(of)) not in self.kept:
                self.kept[name, id(of)] = make()
            return self.kept[name, id(of)]
        if not hasattr(of, f"{name}_0"):
            for i, x in enumerate(make()):
                of.register_buffer(f"{name}_{i}", x, persistent=False)
        return tuple(x for name_, x in of.named_buffers() if name_.startswith(f"{name}_"))

    def turn(self, of: nn.Module, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        kind, n = self.design.turned, q.shape[-2]
        wide = q.shape[-1] // 4 * 2 if kind == "partial" else q.shape[-1]
        cos, sin = self.once(of, "turn", lambda: (steps(n, wide).cos(), steps(n, wide).sin()))
        way = TURNS["halves" if kind == "partial" else kind][self.s.turn]
        one = lambda x: way(x, cos, sin) if kind != "partial" else torch.cat([way(x[..., :wide], cos, sin), x[..., wide:]], -1)
        return one(q), one(k)

    def bias(self, of: nn.Module, n: int) -> Tensor:
        """(heads, n, n), added to scores; decays multiply them."""
        if self.design.scored == "bias":
            return of.by_offset[offsets(n, n, (len(of.by_offset) + 1) // 2)].permute(2, 0, 1)
        if self.design.scored == "alibi":
            return self.once(of, "bias", lambda: (-slopes(self.design.heads) * distance(n),))[0]
        return self.once(of, "decay", lambda: (decays(self.design.heads) ** distance(n),))[0]

    def met(self, of: nn.Module, q: Tensor) -> Tensor:
        return METS[self.s.met](q, of.met, offsets(q.shape[-2], q.shape[-2], (len(of.met) + 1) // 2))

    def capped(self, s: Tensor, when: str) -> Tensor:
        return torch.tanh(s / 3) * 3 if self.design.capped == when else s

    def attend(self, of: nn.Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention, with whatever positions it has; `fused` where the kernel can do it."""
        d, own = self.design, not of.crossing
        unseen = hidden(d, q.shape[-2], k.shape[-2]) if own else None
        if self.s.attend == "fused" and not d.capped and not (own and (d.scored == "decay" or d.mixed)):
            return self.fused(of, q, k, v, unseen)
        if self.s.attend == "head by head" and not (own and (d.scored or d.met or d.mixed)):
            heads = [self.mixed(of, self.weights(of, *(x[..., h, :, :] for x in (q, k)), unseen), v[..., h, :, :]) for h in range(d.heads)]
            return torch.stack(heads, -3)
        return self.mixed(of, self.weights(of, q, k, unseen), v)

    def fused(self, of: nn.Module, q: Tensor, k: Tensor, v: Tensor, unseen: Tensor | None) -> Tensor:
        d, own, bias = self.design, not of.crossing, None
        if own and d.met:
            bias = self.met(of, q) / math.sqrt(d.head)
        if own and d.scored:
            bias = self.bias(of, q.shape[-2]) if bias is None else bias + self.bias(of, q.shape[-2])
        if unseen is not None and bias is None:
            if d.causal and d.window is None and self.s.mask == "filled":
                return F.scaled_dot_product_attention(q, k, v, is_causal=True)
            bias = ~unseen if self.s.mask == "where" else as_numbers(unseen)
        elif unseen is not None:
            bias = bias.masked_fill(unseen, -torch.inf) if self.s.mask == "filled" else bias + as_numbers(unseen)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)

    def weights(self, of: nn.Module, q: Tensor, k: Tensor, unseen: Tensor | None) -> Tensor:
        d, own = self.design, not of.crossing
        s = torch.einsum("...id,...jd->...ij", q, k) if self.s.attend == "einsum" else q @ k.mT
        if self.s.attend == "transposed":
            s = (k @ q.mT).mT
        if own and d.met:
            s = s + self.met(of, q)
        s = self.capped(s / math.sqrt(d.head), "scores")
        if own and d.scored == "decay":
            s = PRODUCTS["times" if self.s.product == "einsum" else self.s.product](s, self.bias(of, q.shape[-2]))
        elif own and d.scored:
            s = BIASES[self.s.bias](s, self.bias(of, q.shape[-2]))
        s = self.capped(s, "all")
        return (s if unseen is None else MASKS[self.s.mask](s, unseen)).softmax(-1)

    def mixed(self, of: nn.Module, a: Tensor, v: Tensor) -> Tensor:
        out = torch.einsum("...ij,...jd->...id", a, v) if self.s.attend == "einsum" else a @ v
        if self.design.mixed and not of.crossing:
            out = out + MIXES[self.s.mixed](a, of.mixed, offsets(*a.shape[-2:], (len(of.mixed) + 1) // 2))
        return out
