"""Explanations made by hand, for tests of what draws, saves and adds them up: no model runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from pelrp_nb import Explanation
from pelrp_nb.engine.trace import Boundary
from pelrp_nb.ledger import Ledger

REVIEW = ("[CLS]", "a", "gorgeous", ",", "witty", ",", "seductive", "movie", ".", "[SEP]")


def made(
    tokens: Sequence[str] = REVIEW,
    *,
    layers: int = 4,
    sinks: int | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    **changed,
) -> Explanation:
    """An explanation whose ledger closes: seeded numbers, one rotary sink per layer, three boundaries per layer."""
    rng = torch.Generator().manual_seed(seed)
    T, S = len(tokens), layers if sinks is None else sinks

    def drawn(*shape: int) -> torch.Tensor:
        return (torch.randn(*shape, generator=rng, dtype=torch.float64) ** 3).to(dtype) / 2

    semantic, positional = drawn(T), drawn(S, T) / 3
    boundaries = [Boundary("embeddings", "embeddings", None, semantic.clone(), 0.0), *passed(layers, lambda: drawn(T))]
    constants = {f"layers.{i}.mlp.bias": float(drawn(1)) / 5 for i in range(layers)}
    softmax = {f"layer {i}": float(drawn(1)) / 5 for i in range(layers)}
    content, position = float(semantic.sum()), float(positional.sum())
    value = content + position + sum(constants.values()) + sum(softmax.values())
    ledger = Ledger(
        value, content, position, constants, softmax,
        scale=float(semantic.abs().sum() + positional.abs().sum()), tolerance=1e-3, audited=True,
    )  # fmt: skip
    given = {
        "tokens": tuple(tokens), "target": "positive", "value": value, "semantic": semantic, "positional": positional,
        "sinks": tuple(f"layer {i} rotary" for i in range(S)), "sink_kinds": ("rotary",) * S,
        "boundaries": tuple(boundaries), "ledger": ledger,
        "card": {"model": "reviews-rotary", "method": "pa-lrp", "text": " ".join(tokens), "versions": {"torch": "2.13"}},
        "reductions": {
            "semantic.positive": semantic.clamp(min=0) + 0.1, "semantic.l2": semantic.abs() * 1.5,
            "positional.absolute": positional.abs(), "positional.positive": positional.clamp(min=0) + 0.1,
            "positional.l2": positional.abs() * 1.5,
        },
        "special": tuple(token in ("[CLS]", "[SEP]") for token in tokens),
    }  # fmt: skip
    return Explanation(**{**given, **changed})


def passed(layers: int, drawn: Callable[[], torch.Tensor]) -> Iterator[Boundary]:
    """Three boundaries for each layer: its two branches, and its end with a gap of rounding."""
    for i in range(layers):
        for kind in ("attention", "mlp"):
            yield Boundary(f"layer {i} {kind}", kind, i, drawn() / 2)
        yield Boundary(f"layer {i}", "layer", i, drawn(), float(i) * 1e-9)
