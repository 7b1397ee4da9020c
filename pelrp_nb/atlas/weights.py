"""Random weights under which a ledger can open: METHOD.md, section 3."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

SCORES = re.compile(r"(^|[._])(q|k|qkv|query|key|wq|wk|q_proj|k_proj|qkv_proj|c_attn|q_lin|k_lin|query_key_value|Wqkv|in_proj)([._]|$)")
SHARP = 2.0  # queries and keys are this much larger, so that the softmax matters


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Draw every weight again, in place: variance 1 / fan in, norms near 1, biases of about 0.05, sharp queries and keys.

    What the model computes rather than learns (sinusoids, buffers, frozen tables) stays. Returns the model in eval mode.
    """
    rng = torch.Generator().manual_seed(seed)
    seen: set[int] = set()
    with torch.no_grad():
        for path, module in model.named_modules():
            for name, p in module.named_parameters(path, recurse=False):
                if id(p) in seen or not p.is_floating_point() or p.numel() == 0 or computed(p):
                    continue
                seen.add(id(p))
                drawn = torch.randn(p.shape, generator=rng, dtype=torch.float64)
                p.copy_(redrawn(module, name, p, drawn).to(p.dtype))
    return model.eval()


def redrawn(module: nn.Module, name: str, p: Tensor, drawn: Tensor) -> Tensor:
    """New values of one parameter, by where it stands and what it was at the start."""
    if p.dim() < 2:
        return 0.05 * drawn if bool((p == 0).all()) else start(p) + 0.1 * drawn
    if isinstance(module, nn.Embedding) or p.shape[0] == 1:
        return 0.7 * drawn
    turned = type(module).__name__ == "Conv1D"
    fan_in = p.shape[0] if turned else p.shape[-1] if p.dim() == 3 and not isinstance(module, nn.Conv1d) else p[0].numel()
    return drawn / fan_in**0.5 * (SHARP if SCORES.search(name) else 1)


def start(p: Tensor) -> Tensor:
    """A parameter that starts as one constant (a norm's weight, a layer scale) starts near 1; others where they were."""
    return torch.ones_like(p, dtype=torch.float64) if bool((p == p.flatten()[0]).all()) else p.double()


def computed(p: Tensor) -> bool:
    """Frozen tables, and rows of sine and cosine pairs (their squares sum to half their length)."""
    if not p.requires_grad:
        return True
    if p.dim() != 2 or p.shape[1] < 4:
        return False
    squares = p.detach().double().square().sum(-1)
    return bool(((squares - p.shape[1] / 2).abs() < 1e-3 * p.shape[1]).all())
