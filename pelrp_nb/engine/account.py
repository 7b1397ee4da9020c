"""The account of the ledger's keepers: who kept how much, row by row, while the backward pass runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from .depth import Depth
from .numerics import better, dot, sums, total, visible
from .saved import held

Category = Literal["constants", "softmax", "stabilisers"]
Passed = tuple[Tensor, Tensor]  # a tensor and its gradient


def keeper(bias: Tensor | None) -> Category:
    """Of which kind is what the rule of a linear map keeps."""
    return "stabilisers" if bias is None else "constants"


class Account:
    """Amounts by (category, name, depth), each a tensor with one number per row of the batch."""

    def __init__(self) -> None:
        self.rows = 1
        self.open = True  # False: nobody asked, nothing is kept
        self.mixed = False  # whether amounts came in another order than row by row, as experts make them
        self.amounts: dict[tuple[Category, str, Depth], Tensor] = {}

    def clear(self) -> None:
        """Forget all amounts; the next backward pass writes them anew."""
        self.amounts = {}

    def sums(self, amounts: Tensor) -> Tensor:
        """(rows,): each row's amounts added up; a leading axis of B * T is taken for rows of T (and noted in `mixed`)."""
        self.mixed = self.mixed or (self.rows > 1 and (not amounts.dim() or amounts.shape[0] != self.rows))
        return sums(better(amounts), self.rows)

    def inner(self, x: Tensor, g: Tensor) -> Tensor:
        """x * g summed for each row of the batch."""
        return total(x, g).reshape(1) if self.rows == 1 else self.sums(dot(x, g))

    def add(self, category: Category, name: str, depth: Depth, amounts: Tensor) -> None:
        """Book `amounts`, already one number per row."""
        key = (category, name, depth)
        amounts = amounts.detach()
        before = self.amounts.get(key)
        self.amounts[key] = amounts if before is None else before + amounts

    def constant(self, out: Tensor, constant: Tensor | float, name: str, depth: Depth, sign: float = 1.0) -> None:
        """Book `constant * g` when the gradient g of `out` arrives: out = something + sign * constant."""
        if not (out.requires_grad and self.open):
            return

        value = held(constant) if isinstance(constant, Tensor) else None

        def keep(g: Tensor) -> None:
            amount = better(g) * constant if value is None else visible(value(), g)
            self.add("constants", name, depth, sign * self.sums(amount))

        out.register_hook(keep)

    def kept(self, category: Category, name: str, depth: Depth, out: Tensor, into: tuple[Tensor, ...]) -> None:
        """Book R(out) minus the relevance of `into`, fresh tensors that only this operation reads."""
        if not (out.requires_grad and self.open):
            return

        value = held(out)

        def arrived(g: Tensor) -> None:
            self.add(category, name, depth, self.inner(value(), g))

        out.register_hook(arrived)
        for x in into:
            x.register_hook(self._left(category, name, depth, held(x)))

    def between(self, category: Category, name: str, depth: Depth, out: Passed, into: Passed) -> None:
        """Book R(out) minus R(into)."""
        self.add(category, name, depth, self.inner(*out))
        self.add(category, name, depth, -self.inner(*into))

    def _left(self, category: Category, name: str, depth: Depth, x: Callable[[], Tensor]) -> Callable[[Tensor], None]:
        return lambda g: self.add(category, name, depth, -self.inner(x(), g))
