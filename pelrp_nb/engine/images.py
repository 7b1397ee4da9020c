"""Relevance of pictures: pixels, patches, and the position of a patch spread over its pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .trace import Trace

if TYPE_CHECKING:
    from .propagation import Flow


def by_patch(flow: Flow, trace: Trace) -> tuple[Tensor, dict[str, Tensor], tuple[str, ...], tuple[bool, ...], dict[str, Any]]:
    """(semantic (T,), reductions, tokens, special, maps) of one picture whose pixels received (C, H, W).

    Tokens are the model's: CLS and registers first (no pixels, 0 content), then the patches row by row.
    """
    C, H, W = trace.tokens.shape
    h, w = flow.patch or (H, W)
    rows, columns = H // h, W // w
    pixels = trace.tokens[:, : rows * h, : columns * w]
    cells = pixels.reshape(C, rows, h, columns, w).permute(1, 3, 0, 2, 4).reshape(rows * columns, -1)
    T = trace.positional.shape[-1] if trace.positional.shape[0] else rows * columns
    prefix = max(T - rows * columns, 0)

    def padded(x: Tensor) -> Tensor:
        return torch.cat([x.new_zeros(prefix), x])

    reductions = dict(trace.reductions)
    reductions["semantic.positive"] = padded(cells.clamp(min=0).sum(-1))
    reductions["semantic.l2"] = padded(cells.norm(dim=-1))
    positional = trace.positional if trace.positional.shape[0] else trace.positional.new_zeros(0, prefix + rows * columns)
    for name in ("absolute", "positive", "l2"):
        if not trace.positional.shape[0]:
            reductions[f"positional.{name}"] = positional
    tokens = tuple(f"<{i}>" for i in range(prefix)) + tuple(f"patch {r},{c}" for r in range(rows) for c in range(columns))
    special = (True,) * prefix + (False,) * (rows * columns)
    content = trace.tokens.sum(0)
    position = content.new_zeros(H, W)
    if trace.positional.shape[0]:
        each = trace.positional.sum(0)[prefix:].reshape(rows, columns) / (h * w)
        position[: rows * h, : columns * w] = each.repeat_interleave(h, 0).repeat_interleave(w, 1)
    maps = {"positional": positional, "map": content + position, "maps": {"content": content, "position": position}}
    return padded(cells.sum(-1)), reductions, tokens, special, maps
