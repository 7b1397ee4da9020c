"""Relevance of pictures: pixels, patches, and the position of a patch spread over its pixels.

    sum of the map = sum of the pixels + sum of the patches' positions

Tokens of the model that have no pixels (CLS, registers) stand before the patches: what they are made of is a named constant of the
ledger, what their position receives is in `positional` and in no map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..engine.trace import Trace

if TYPE_CHECKING:
    from ..engine.propagation import Propagation
    from ..inputs.model_input import Encoded

Names = tuple[str, ...]
PIXELS, SEEN = "pixel_values", 320  # the argument that holds pictures; pixels a side of one that is kept to be shown


def by_patch(
    flow: Propagation, trace: Trace, size: tuple[int, int] | None = None
) -> tuple[Tensor, dict[str, Tensor], Names, tuple[bool, ...], dict[str, Any]]:
    """(semantic (T,), reductions, tokens, special, maps) of one picture whose pixels received (C, H, W).

    Tokens are the model's: CLS and registers first (no pixels, 0 content), then the patches row by row.
    `size` is the (height, width) of the picture that the user gave: the maps are spread over it, sums unchanged.
    """
    H, W = trace.tokens.shape[1:]
    rows, columns = grid(flow, trace)
    row, column = _cell(H, rows), _cell(W, columns)
    cell = (row[:, None] * columns + column).flatten()  # patch of each pixel
    names = prefix(flow, trace, rows * columns)

    def summed(x: Tensor) -> Tensor:
        """(C, H, W) to (T,): the pixels of each patch; nothing for what has none."""
        patches = x.new_zeros(rows * columns).index_add(0, cell, x.sum(0).flatten())
        return torch.cat([x.new_zeros(len(names)), patches])

    def aligned(x: Tensor) -> Tensor:
        """(sinks, patches) or (sinks, T) to (sinks, T): a rotation has no place for CLS."""
        T = len(names) + rows * columns
        return torch.cat([x.new_zeros(len(x), T - x.shape[-1]), x], -1) if x.shape[-1] else x.new_zeros(len(x), T)

    reductions = {k: aligned(v) for k, v in trace.reductions.items() if k.startswith("positional.")}
    reductions["semantic.positive"] = summed(trace.tokens.clamp(min=0))
    reductions["semantic.l2"] = summed(trace.tokens.square()).sqrt()
    positional = aligned(trace.positional)
    share = positional.sum(0)[len(names) :] / cell.bincount(minlength=rows * columns)
    maps = {"content": trace.tokens.sum(0), "position": share[cell].reshape(H, W)}
    if size is not None:
        maps = {name: resized(one, size) for name, one in maps.items()}
    tokens = (*names, *(f"patch {r},{c}" for r in range(rows) for c in range(columns)))
    special = (True,) * len(names) + (False,) * (rows * columns)
    more = {"positional": positional, "map": maps["content"] + maps["position"], "maps": maps}
    return summed(trace.tokens), reductions, tokens, special, more


def as_seen(row: Encoded, trace: Trace) -> Tensor | None:
    """The picture that a map lies over, small, in bytes (h, w, 3): the user's own, or else the pixels that the model was given.

    Those were normalised in a way that is not known here: their range becomes that of bytes.
    """
    if row.pixels is not None and not row.cropped:
        return torch.tensor(row.pixels)
    given = row.tensors.get(PIXELS)
    if given is None or given[0].shape != trace.tokens.shape:
        return None
    x = given[0].detach().float().cpu()
    step = -(-max(x.shape[1:]) // SEEN)
    x = x[:, ::step, ::step] if len(x) == 3 else x[:1, ::step, ::step].expand(3, -1, -1)
    low, high = x.aminmax()
    return ((x - low) / (high - low).clamp(min=1e-12) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()


def grid(flow: Propagation, trace: Trace) -> tuple[int, int]:
    """Rows and columns of patches; one patch where the model cuts the picture in none."""
    H, W = trace.tokens.shape[1:]
    h, w = flow.patch or (H, W)
    return max(1, H // h), max(1, W // w)


def _cell(length: int, cells: int) -> Tensor:
    """The row (column) of patches that each row (column) of pixels is in; the rest at the end belongs to the last."""
    return (torch.arange(length) // (length // cells)).clamp(max=cells - 1)


def prefix(flow: Propagation, trace: Trace, patches: int) -> Names:
    """Names of the tokens before the patches, by the parameters they were made of: [CLS], [register 1] ..."""
    embedded = next((len(b.relevance) for b in trace.boundaries if b.kind == "embeddings"), 0)
    count = max(embedded, trace.positional.shape[-1]) - patches
    found: list[str] = []
    for name, _, leaf in flow.inputs.constants:
        kind = name.rsplit(".", 1)[-1].lower().removesuffix("s").removesuffix("_token")
        n = leaf.shape[-2] if leaf.dim() > 1 else 1
        kind = "CLS" if kind in ("cls", "class", "class_embedding") else kind.replace("_", " ")
        found += [f"[{kind}]"] if n == 1 else [f"[{kind} {i + 1}]" for i in range(n)]
    if len(found) != count:
        found = [f"[{i}]" for i in range(count)]
    return tuple(found)


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """A map (h, w) at another size (H, W): every pixel pays the area it covers, so no sum changes.

    Area interpolation, except that amounts are spread instead of averaged: a map enlarged four times has a quarter of the amount
    in each pixel.  It holds where the picture was resized as a whole, not cropped.
    """
    rows, columns = (_overlap(n, m).to(x.dtype) for n, m in zip(x.shape, size, strict=True))
    return rows @ x @ columns.T


def _overlap(n: int, m: int) -> Tensor:
    """(m, n) which part of each of n equal stretches lies in each of m equal stretches of the same line; columns sum to 1."""
    here, there = torch.arange(n, dtype=torch.float64) / n, torch.arange(m, dtype=torch.float64)[:, None] / m
    inside = torch.minimum(here + 1 / n, there + 1 / m) - torch.maximum(here, there)
    return inside.clamp(min=0) * n
