"""Routes with numbers drawn by chance, which add up as those of a model do: for views of any size, with any tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pelrp_nb.results.routes import Routes


def handed(tokens: Sequence[str], layers: int = 3, heads: int = 4, seed: int = 0, causal: bool = True, target: str = "positive") -> Routes:
    """A decoder that reads these tokens, each layer with an attention and an MLP; a few edges are large, most are small."""
    rng = torch.Generator().manual_seed(seed)
    attention, nodes = {}, {}
    for layer in range(layers):
        one = _attention(len(tokens), heads, rng, causal)
        branch = one["heads"].sum(0)
        skip = torch.randn(len(tokens), generator=rng) / 2
        attention[f"layer {layer}"] = one
        nodes[f"layer {layer} attention"] = {"relevance": skip + branch, "skip": skip, "branch": branch, "attentions": [f"layer {layer}"]}
    return Routes({"": (tuple(tokens), {"attention": attention, "nodes": nodes})}, target, 2.5, "a model by chance")


def _attention(T: int, heads: int, rng: torch.Generator, causal: bool) -> dict[str, Any]:
    def drawn() -> Tensor:
        values = torch.randn(heads, T, T, generator=rng) ** 5 / 40
        return values.tril() if causal else values

    values, scores = drawn(), drawn() / 3
    positions, kept = torch.zeros(heads, T), torch.randn(heads, T, generator=rng) / 50
    out = values.sum(-1) + scores.sum(-1) + positions + kept
    return {"values": values, "scores": scores, "positions": positions, "kept": kept, "heads": out, "key": 0.5, "query": 0.5, "of": ""}
