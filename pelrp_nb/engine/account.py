"""The account of the ledger's keepers: who kept how much, row by row, while the backward pass runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor

from .depth import Depth
from .numerics import FILLER, better, dot, spread_over, sums, total
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
        self.amounts: dict[tuple[Category, str, Depth], Tensor] = {}

    def clear(self) -> None:
        """Forget all amounts; the next backward pass writes them anew."""
        self.amounts = {}

    def sums(self, amounts: Tensor) -> Tensor:
        """(rows,): each row's amounts added up, the first axis taken for that of the rows; one of B * T for rows of T.

        Where it is another (experts, places first, heads first) they come into the books of other rows, which then do not close:
        `explain` asks such rows one by one.
        """
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
        value = held(constant) if isinstance(constant, Tensor) else constant
        out.register_hook(partial(self._keep, value, name, depth, sign))

    def _keep(self, constant: Callable[[], Tensor] | float, name: str, depth: Depth, sign: float, g: Tensor) -> None:
        amount = spread_over(constant(), g) if callable(constant) else better(g) * constant
        self.add("constants", name, depth, sign * self.sums(amount))

    def start(self, out: Tensor, x: Tensor, number: float, name: str, depth: Depth) -> None:
        """Book f(0) = `number` times g when the gradient g of out = f(x) arrives, but where x is masked: f is 0 there, nothing is f(0)."""
        if out.requires_grad and self.open:
            out.register_hook(partial(self._start, held(x), number, name, depth))

    def _start(self, x: Callable[[], Tensor], number: float, name: str, depth: Depth, g: Tensor) -> None:
        self.add("constants", name, depth, self.sums(better(g).masked_fill(x() < -FILLER, 0) * number))

    def kept(self, category: Category, name: str, depth: Depth, out: Tensor, into: tuple[Tensor, ...]) -> None:
        """Book R(out) minus the relevance of `into`, fresh tensors that only this operation reads."""
        if not (out.requires_grad and self.open):
            return
        self.hear(category, name, depth, out, held(out))
        for x in into:
            self.hear(category, name, depth, x, held(x), -1)

    def hear(self, category: Category, name: str, depth: Depth, at: Tensor, value: Callable[[], Tensor], part: float = 1) -> None:
        """Book `part` of `value` * g when the gradient g of `at` arrives."""
        at.register_hook(partial(self._part, category, name, depth, value, part))

    def _part(self, category: Category, name: str, depth: Depth, value: Callable[[], Tensor], part: float, g: Tensor) -> None:
        self.add(category, name, depth, part * self.inner(value(), g))

    def between(self, category: Category, name: str, depth: Depth, out: Passed, into: Passed) -> None:
        """Book R(out) minus R(into)."""
        self.add(category, name, depth, self.inner(*out))
        self.add(category, name, depth, -self.inner(*into))
