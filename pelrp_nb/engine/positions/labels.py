"""What the numbers of a constant say of its kind.  Labels decide nothing but words."""

from __future__ import annotations

import torch
from torch import Tensor

from ..numerics import better
from ..places.values import HIDES

CLOSE = 1e-3


def sinusoidal(table: Tensor) -> bool:
    """Whether each row is made of sine and cosine pairs: its squares sum to half its length."""
    squares = better(table.detach()).square().sum(-1)
    return bool(((squares - table.shape[-1] / 2).abs() < 0.02 * table.shape[-1] / 2).all())


def on_a_circle(a: Tensor, b: Tensor) -> bool:
    """Whether a^2 + b^2 is one number everywhere, beside what each of them moves: cosine and sine, scaled or not."""
    if a.shape != b.shape or a.is_complex() or b.is_complex():
        return False
    one, two = better(a.detach()) ** 2, better(b.detach()) ** 2
    rounding = 4 * max(torch.finfo(x.dtype).eps for x in (a, b)) * (one + two).amax()
    return bool(span(one + two) <= CLOSE * torch.maximum(span(one), span(two)) + rounding)


def span(x: Tensor) -> Tensor:
    """How far apart the largest and the smallest number are."""
    return x.amax() - x.amin()


def turns(x: Tensor) -> bool:
    """Whether complex numbers have one size: they turn, and do nothing else."""
    size = x.detach().abs()
    return bool(size.amax() - size.amin() <= CLOSE * size.amax())


def part_of(table: Tensor) -> str:
    """Whether a table is "cos" or "sin": by its first place where nothing is turned there, else by the column that turns slowest."""
    rows = better(table.detach()).reshape(-1, table.shape[-1])
    first, most = rows[0].abs(), rows.abs().amax()
    if bool((first <= CLOSE * most).all()) or bool((first >= (1 - CLOSE) * most).all()):
        return "cos" if bool(first[0] > most / 2) else "sin"
    slow = rows[:, int((rows.amax(0) - rows.amin(0)).argmin())]
    return "cos" if bool(slow.abs().mean() > slow.abs().amax().clamp(min=0.5) / 2) else "sin"


def by_distance(bias: Tensor) -> bool:
    """Whether each row of a bias (..., Tq, Tk) is a straight line on either side of the query, as ALiBi is.

    Through so few keys that any numbers lie on such lines, the heads must have one line and a slope each.
    """
    x = better(bias.detach())
    if x.dim() < 2 or x.shape[-1] < 3 or (x.shape[-2] == 1 and x.shape[-1] <= 4):
        return proportional(x)
    bend = (x[..., 2:] - 2 * x[..., 1:-1] + x[..., :-2]).abs()
    if x.shape[-2] == 1:  # straight lines, bent at the query and where padding begins
        return bool(((torch.where(visible(x), bend, 0) > CLOSE * size(x)).sum(-1) <= 2).all())
    i, j = torch.arange(x.shape[-2], device=x.device)[:, None], torch.arange(1, x.shape[-1] - 1, device=x.device)
    shift = x.shape[-1] - x.shape[-2]
    aside = (i + shift != j) & visible(x)
    return bool((torch.where(aside, bend, 0) <= CLOSE * size(x)).all())


def proportional(bias: Tensor) -> bool:
    """Whether the heads of a bias (..., H, Tq, Tk) differ by a factor alone."""
    if bias.dim() < 3:
        return True
    x = bias.masked_fill(bias <= HIDES, 0).reshape(-1, bias.shape[-2] * bias.shape[-1])
    largest = x[x.norm(dim=-1).argmax()]
    along = (x @ largest / (largest @ largest).clamp(min=torch.finfo(x.dtype).tiny))[:, None] * largest
    return bool((x - along).abs().amax() <= CLOSE * x.abs().amax())


def visible(x: Tensor) -> Tensor:
    """Where three neighbours in a row are all visible."""
    seen = x > HIDES
    return seen[..., 2:] & seen[..., 1:-1] & seen[..., :-2]


def size(x: Tensor) -> Tensor:
    """The largest visible entry."""
    return x.masked_fill(x <= HIDES, 0).abs().amax()


def orthogonal(matrices: Tensor) -> bool:
    """Whether the last two axes hold rotations: M M^T = 1."""
    x = matrices.detach()
    square = x.dim() > 2
    x = x.reshape([n for n in x.shape if n > 1])
    if not square or x.dim() < 2 or x.shape[-1] != x.shape[-2] or x.is_complex():
        return False
    one = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    return bool(((x @ x.transpose(-1, -2) - one).abs() < CLOSE).all())
