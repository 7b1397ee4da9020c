"""What a bias holds at offsets that a mask hides is nobody's.

Each row first loses its own value at its own place, is read at offsets that are visible somewhere, and where there is none a pair keeps
what it had.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..places.values import hiding


def levelled(bias: Tensor, seen: Tensor | None) -> Tensor:
    """A bias (..., T, T), each row less its own value at its own place, where that is visible; nothing where it hides."""
    hidden = hiding(bias)
    bias = bias if hidden is None else bias.masked_fill(hidden, 0)
    if seen is None:
        return bias
    bias = bias.expand(*bias.shape[:-2], *seen.shape)
    own = torch.where(seen.diagonal(), bias.diagonal(dim1=-2, dim2=-1), 0)
    return bias - own[..., None]


def visible_offsets(seen: Tensor) -> Tensor:
    """(T, T): for each pair the row of some visible pair of the same offset, -1 where that offset is never visible."""
    T = len(seen)
    found = torch.full((T, T), -1, dtype=torch.long)
    for offset in range(1 - T, T):
        rows = seen.diagonal(offset).nonzero()
        if len(rows):
            found.diagonal(offset).fill_(int(rows[0]) + max(0, -offset))
    return found


def read(bias: Tensor, seen: Tensor | None, offsets: Tensor | None, rows: Tensor, columns: Tensor) -> Tensor:
    """A levelled bias as it is read by contents that were dealt: at visible pairs, at visible offsets, else as it was."""
    if seen is None or offsets is None:
        return bias
    T = len(seen)
    at = torch.arange(T)
    away = bias[..., offsets.clamp(min=0), (offsets + at[None, :] - at[:, None]).clamp(0, T - 1)]
    usual = bias.index_select(-2, rows).index_select(-1, columns)
    return torch.where(seen, bias, torch.where(offsets >= 0, away, usual))
