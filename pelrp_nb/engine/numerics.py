"""Sums of relevance: in float32 or better, masked places left out, no temporary where none is needed."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ..verbs import Later

FILLER = 1e30  # beyond this an added constant is a mask, not an amount
LITTLE = 2**17  # numbers of which a temporary costs nothing


def better(x: Tensor) -> Tensor:
    """The same numbers in float32 or better."""
    return x if x.dtype in (torch.float32, torch.float64) else x.to(torch.float32)


def exact(x: Tensor) -> Tensor:
    """The same numbers in float64, on the CPU: not every device has it."""
    return x.detach().cpu().double()


def spread(a: Tensor, b: Tensor) -> torch.Size:
    """The shape of an elementwise operation of two tensors: torch's own way of telling it costs more than the operation."""
    one, two = a.shape, b.shape
    if one == two:
        return one
    long, short = (one, two) if len(one) > len(two) else (two, one)
    found, skip = list(long), len(long) - len(short)
    for i, n in enumerate(short, skip):
        if found[i] == 1:
            found[i] = n
        elif n not in (1, found[i]):
            return torch.broadcast_shapes(one, two)  # which says what does not fit
    return torch.Size(found)


def dot(x: Tensor, g: Tensor) -> Tensor:
    """x * g, real, in float32 or better; a masked filler counts as nothing."""
    return (x.conj() * g).real if x.is_complex() else better(x) * better(g)


def total(x: Tensor, g: Tensor) -> Tensor:
    """sum of x * g without a temporary of their size, where both lie in memory alike."""
    alike = x.stride() == g.stride() and x.dtype == g.dtype and x.dtype in (torch.float32, torch.float64)
    if alike and x.numel() and _dense(x) and _dense(g):
        return torch.dot(_flat(x), _flat(g))
    return dot(x, g).sum()


def _flat(x: Tensor) -> Tensor:
    return x.as_strided((x.numel(),), (1,), x.storage_offset())


def _dense(x: Tensor) -> bool:
    """Whether the elements fill a piece of memory without holes, in whatever order of axes."""
    expected = 1
    for stride, size in sorted(zip(x.stride(), x.shape, strict=True)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def by_place(x: Tensor, g: Tensor) -> Tensor:
    """sum of x * g over the features, (B, T, D) to (B, T)."""
    if x.dtype == g.dtype and x.dtype in (torch.float32, torch.float64):
        # of few numbers a temporary costs less than what einsum does before it computes
        return torch.linalg.vecdot(x, g) if x.numel() <= LITTLE else torch.einsum("...d,...d->...", x, g)
    return dot(x, g).sum(-1)


def visible(constant: Tensor, g: Tensor) -> Tensor:
    """constant * g with masked places (fillers, infinities) left out."""
    if constant.is_complex():
        return (constant.conj() * g).real
    constant = better(constant.detach())
    constant = torch.where(constant.abs() < FILLER, constant, 0)
    return constant * better(g)


def spread_over(constant: Tensor, g: Tensor) -> Tensor:
    """`visible(constant, g)`, summed over the features where the constant is a vector of those: no temporary of the size of g."""
    vector = constant.dim() == 1 and g.dim() > 1 and constant.shape[0] == g.shape[-1] and constant.dtype == g.dtype
    if not vector or g.dtype not in (torch.float32, torch.float64) or not g.is_contiguous():
        return visible(constant, g)
    return torch.mv(g.reshape(-1, g.shape[-1]), visible(constant, torch.ones_like(constant))).reshape(g.shape[:-1])


def anywhere(x: Tensor) -> bool:
    """Whether any is true; taken to be so on a device, which would have to be waited for."""
    return x.device.type != "cpu" or bool(x.any())


def finer(g: Tensor, power: float) -> Tensor:
    """The gradient without its loss scale: g / power, in float32 or better."""
    g = g if g.is_complex() else better(g)
    return g if power == 1 else g / power


def times(out: Tensor, factor: float | Later) -> Tensor:
    """`verbs.scale` of what an operation has just made, on that operation's own node: what comes back to it is multiplied first.

    Whoever listens at `out` hears what comes back before that.
    """
    assert out.grad_fn is not None
    out.grad_fn.register_prehook(partial(multiplied, factor))
    return out


def multiplied(factor: float | Later, gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """Each gradient times a number that may be known on the way back alone."""
    number = float(factor)
    return gradients if number == 1 else tuple(None if g is None else g * number for g in gradients)


def by_row(x: Tensor, rows: int) -> Tensor:
    """The rows of the batch first: axes merged with them come apart, what all rows share is divided among them."""
    if x.dim() and x.shape[0] % rows == 0:
        return x if x.shape[0] == rows else x.reshape(rows, -1, *x.shape[1:])
    shared = x if x.dim() and x.shape[0] == 1 else x.sum().reshape(1)
    return shared.expand(rows, *shared.shape[1:]) / rows


def sums(x: Tensor, rows: int) -> Tensor:
    """(rows,): everything of each row of the batch added up."""
    return x.sum().reshape(1) if rows == 1 else by_row(x, rows).reshape(rows, -1).sum(1)
