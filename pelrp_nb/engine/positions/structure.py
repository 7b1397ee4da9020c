"""What numbers look like: counting, on the unit circle, sinusoidal, a mask, a matrix of pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from ..numerics import better

TURNS = ("cos", "sin", "rotary")
MASKED = -1e4                                    # an added score below this hides its pair


def on_the_circle(buffers: list[Tensor]) -> dict[int, str]:
    """Which stored tables are rotations: two with a^2 + b^2 = 1 are "cos" and "sin", one of sine and cosine columns a "table"."""
    found: dict[int, str] = {}
    real = [b for b in buffers if b.is_floating_point() and b.dim() >= 2 and b.numel() and not b.is_meta and b.shape[-1] > 1]
    for a in real:
        for b in real:
            if a is not b and a.shape == b.shape and bool((better(a) ** 2 + better(b) ** 2 - 1).abs().max() < 1e-3):
                found[id(a)] = part_of(a)
        if id(a) not in found and a.shape[-2] > 1 and sinusoidal(a):
            found[id(a)] = "table"
    return found


def part_of(table: Tensor) -> str:
    """"cos" or "sin", by the column that turns slowest: near 1 or near 0."""
    rows = table.detach().reshape(-1, table.shape[-1])
    slow = rows[:, int((rows.amax(0) - rows.amin(0)).argmin())]
    return "cos" if bool(slow.abs().mean() > 0.5) else "sin"


def counts(x: Tensor) -> bool:
    """Whether integers go up one by one along the last axis."""
    if x.dtype not in (torch.int64, torch.int32) or x.dim() == 0 or x.shape[-1] < 2 or x.is_meta:
        return False
    return bool((x[..., 1:] - x[..., :-1] == 1).all())


def is_matrix(added: Tensor) -> bool:
    """Whether an added constant without a past (a model may keep its bias in a cache of its own) has a number for each pair."""
    return added.dim() >= 3 and min(added.shape[-2:]) > 1 and len(added.detach()[..., :2, :].unique()) > 3


def is_mask(added: Tensor) -> bool:
    """Whether an added score only hides: 0 for every pair that it leaves visible."""
    added = added.detach()
    return not bool(((added > MASKED) & (added != 0)).any())


def sinusoidal(table: Tensor) -> bool:
    """Whether each row is made of sine and cosine pairs: its squares sum to half its length."""
    squares = better(table.detach()).square().sum(-1)
    return bool(((squares - table.shape[-1] / 2).abs() < 0.02 * table.shape[-1] / 2).all())
