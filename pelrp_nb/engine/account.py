"""Keepers of the ledger: who kept how much, row by row, while the backward pass runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from .checkpoint import held

Category = Literal["constants", "softmax", "stabilisers"]
FILLER = 1e30                                    # beyond this an added constant is a mask, not an amount


def better(x: Tensor) -> Tensor:
    """The same numbers in float32 or better."""
    return x if x.dtype in (torch.float32, torch.float64) else x.to(torch.float32)


def exact(x: Tensor) -> Tensor:
    """The same numbers in float64, on the CPU: not every device has it."""
    return x.detach().cpu().double()


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
    """Whether the elements fill a stretch of memory without holes, in whatever order of axes."""
    expected = 1
    for stride, size in sorted(zip(x.stride(), x.shape, strict=True)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def by_place(x: Tensor, g: Tensor) -> Tensor:
    """sum of x * g over the features, (B, T, D) to (B, T)."""
    if x.dtype == g.dtype and x.dtype in (torch.float32, torch.float64):
        return torch.einsum("...d,...d->...", x, g)
    return dot(x, g).sum(-1)


class Account:
    """Amounts by (category, name, depth), each a tensor with one number per row of the batch."""

    def __init__(self) -> None:
        self.rows = 1
        self.open = True                         # False: nobody asked, nothing is kept
        self.mixed = False                       # whether amounts came in another order than row by row, as experts make them
        self.amounts: dict[tuple[Category, str, float], Tensor] = {}

    def clear(self) -> None:
        """Forget all amounts; the next backward pass writes them anew."""
        self.amounts = {}

    def by_row(self, amounts: Tensor) -> Tensor:
        """Sum everything but the rows of the batch; a leading axis of B * T is taken for rows of T (and noted in `mixed`)."""
        amounts = better(amounts)
        if self.rows == 1:
            return amounts.sum().reshape(1)
        self.mixed = self.mixed or not amounts.dim() or amounts.shape[0] != self.rows
        if amounts.dim() and amounts.shape[0] % self.rows == 0:
            return amounts.reshape(self.rows, -1).sum(1)
        return (amounts.sum() / self.rows).expand(self.rows)

    def inner(self, x: Tensor, g: Tensor) -> Tensor:
        """x * g summed for each row of the batch."""
        return total(x, g).reshape(1) if self.rows == 1 else self.by_row(dot(x, g))

    def add(self, category: Category, name: str, depth: float, amounts: Tensor) -> None:
        """Book `amounts`, already one number per row."""
        key = (category, name, depth)
        amounts = amounts.detach()
        self.amounts[key] = self.amounts[key] + amounts if key in self.amounts else amounts

    def constant(self, out: Tensor, constant: Tensor | float, name: str, depth: float, sign: float = 1.0) -> None:
        """Book `constant * g` when the gradient g of `out` arrives: out = something + sign * constant."""
        if not (out.requires_grad and self.open):
            return

        value = held(constant) if isinstance(constant, Tensor) else None

        def keep(g: Tensor) -> None:
            amount = better(g) * constant if value is None else visible(value(), g)
            self.add("constants", name, depth, sign * self.by_row(amount))

        out.register_hook(keep)

    def kept(self, category: Category, name: str, depth: float, out: Tensor, into: tuple[Tensor, ...]) -> None:
        """Book R(out) minus the relevance of `into`, fresh tensors that only this operation reads."""
        if not self.open:
            return

        value = held(out)

        def arrived(g: Tensor) -> None:
            self.add(category, name, depth, self.inner(value(), g))

        out.register_hook(arrived)
        for x in into:
            x.register_hook(self._left(category, name, depth, held(x)))

    def _left(self, category: Category, name: str, depth: float, x: Callable[[], Tensor]) -> Callable[[Tensor], None]:
        return lambda g: self.add(category, name, depth, -self.inner(x(), g))


def visible(constant: Tensor, g: Tensor) -> Tensor:
    """constant * g with masked places (fillers, infinities) left out."""
    if constant.is_complex():
        return (constant.conj() * g).real
    constant = better(constant.detach())
    constant = torch.where(constant.abs() < FILLER, constant, torch.zeros_like(constant))
    return constant * better(g)
