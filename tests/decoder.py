"""A small decoder as a student writes it: plain torch, every way in which a position may enter a token's vectors, three norms."""

from __future__ import annotations

import torch
from einops import einsum, rearrange
from models import randomise
from torch import Tensor, nn
from torch.nn import functional as F

POSITIONS = ("rotary", "learnt", "waves", "none")
NORMS = ("rms", "layer", "written", "quotient")
D, H, WORDS = 16, 2, 30


def waves(T: int, width: int) -> tuple[Tensor, Tensor]:
    """cos and sin (T, width), each frequency twice."""
    angle = torch.arange(T)[:, None] / 100.0 ** (torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.cat((angle, angle), -1)
    return angle.cos(), angle.sin()


class Written(nn.Module):
    """An RMS norm in single operations, with a root below or a quotient."""

    def __init__(self, quotient: bool) -> None:
        super().__init__()
        self.weight, self.quotient = nn.Parameter(torch.ones(D)), quotient

    def forward(self, x: Tensor) -> Tensor:
        mean = x.pow(2).mean(-1, keepdim=True) + 1e-5
        return self.weight * (x / mean.sqrt() if self.quotient else x * torch.rsqrt(mean))


class Layer(nn.Module):
    """Norm, attention, norm, gate."""

    def __init__(self, norm: str, rotary: bool) -> None:
        super().__init__()
        made = {"rms": lambda: nn.RMSNorm(D), "layer": lambda: nn.LayerNorm(D)}
        self.norms = nn.ModuleList(made[norm]() if norm in made else Written(norm == "quotient") for _ in range(2))
        self.q_proj, self.k_proj, self.v_proj, self.out = (nn.Linear(D, D) for _ in range(4))
        self.gate, self.up, self.down = nn.Linear(D, 24), nn.Linear(D, 24), nn.Linear(24, D)
        self.rotary = rotary

    def turn(self, x: Tensor) -> Tensor:
        cos, sin = waves(x.shape[-2], x.shape[-1])
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat((-b, a), -1) * sin

    def attention(self, x: Tensor, hidden: Tensor) -> Tensor:
        q, k, v = (rearrange(proj(x), "b t (h d) -> b h t d", h=H) for proj in (self.q_proj, self.k_proj, self.v_proj))
        if self.rotary:
            q, k = self.turn(q), self.turn(k)
        s = einsum(q, k, "b h t d, b h s d -> b h t s") / (D // H) ** 0.5
        A = (s + hidden).softmax(-1) if self.rotary else F.softmax(s.masked_fill(hidden != 0, -torch.inf), -1)
        return self.out(rearrange(A @ v, "b h t d -> b t (h d)"))

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        x = x + self.attention(self.norms[0](x), hidden)
        y = self.norms[1](x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Decoder(nn.Module):
    """Token ids (1, T) to logits (1, T, words)."""

    def __init__(self, positions: str, norm: str) -> None:
        super().__init__()
        self.embed, self.embed_positions = nn.Embedding(WORDS, D), nn.Embedding(12, D)
        self.positions = positions
        self.layers = nn.ModuleList(Layer(norm, positions == "rotary") for _ in range(2))
        self.head = nn.Linear(D, WORDS)

    def forward(self, ids: Tensor) -> Tensor:
        T, x = ids.shape[-1], self.embed(ids)
        if self.positions == "learnt":
            x = x + self.embed_positions(torch.arange(T))
        if self.positions == "waves":
            x = x + torch.cat(waves(T, D // 2), -1)
        hidden = torch.full((T, T), -torch.inf, dtype=x.dtype).triu(1)
        for layer in self.layers:
            x = layer(x, hidden)
        return self.head(F.gelu(x))


def decoder(positions: str, norm: str) -> tuple[nn.Module, Tensor]:
    """One of them with random weights, and a text of seven tokens."""
    return randomise(Decoder(positions, norm).double()), torch.tensor([[3, 1, 4, 1, 5, 9, 2]])
