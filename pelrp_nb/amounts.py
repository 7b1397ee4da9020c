"""How amounts are printed: with their sign, as many figures as say something, and rounding by its name.

The digits of a rounding error differ from processor to processor, so none of them is printed: where nothing is missing, the word
stands in their place.  The number itself stays in the object, and in CSV and JSON.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

MINUS = "\u2212"
ROUNDING = "rounding"
Show = Callable[[float], str]


@dataclass(frozen=True)
class Digits:
    """How to print the numbers of one table: decimals, or an exponent where they are very large or small."""

    decimals: int
    exponent: bool

    def __call__(self, amount: float, minus: str = MINUS) -> str:
        """The number with its sign; a zero has none, and what rounds to zero is one."""
        if math.isnan(amount):
            return "nan"
        text = f"{amount:+.{self.decimals}{'e' if self.exponent else 'f'}}"
        return (text if float(text) else f"{0:.{self.decimals}f}").replace("-", minus)


def digits(scale: float, figures: int = 4) -> Digits:
    """As many decimals as show `figures` figures of the largest number."""
    if scale == 0 or not math.isfinite(scale):
        return Digits(figures - 1, False)
    power = math.floor(math.log10(scale))
    if -4 <= power <= 6:
        return Digits(max(0, min(figures + 3, figures - 1 - power)), False)
    return Digits(figures - 1, True)


def largest(*columns: Iterable[float]) -> float:
    """The largest finite |number|; 0.0 if there is none."""
    return max((abs(x) for column in columns for x in column if math.isfinite(x)), default=0.0)


def size(amount: float) -> str:
    """How large, in two figures: `5.9e-04`."""
    return f"{abs(amount):.1e}"


def is_rounding(amount: float, allowed: float) -> bool:
    """Whether what should be zero is no more than rounding may make of it."""
    return math.isfinite(amount) and abs(amount) <= allowed


def unless_rounding(amount: float, allowed: float, show: Show = size) -> str:
    """What should be zero, as it is printed: its number where it is not, the word `rounding` where it is."""
    return ROUNDING if is_rounding(amount, allowed) else show(amount)


def account(rows: Iterable[tuple[str, float]], closed: bool, show: Show) -> list[tuple[str, float, str]]:
    """The rows of a ledger as (name, amount, as it is printed): the gap of one that closes is rounding."""
    return [(name, amount, ROUNDING if name == "gap" and closed else show(amount)) for name, amount in rows]


def by_size(amounts: Mapping[str, float], show: Digits) -> list[tuple[str, float]]:
    """Names and amounts, what is no number first, then by the size that is printed: rounding puts nothing in another order."""

    def place(item: tuple[str, float]) -> tuple[bool, float, str]:
        name, amount = item
        return (False, 0.0, name) if math.isnan(amount) else (True, -abs(float(show(amount, "-"))), name)

    return sorted(amounts.items(), key=place)


def balance(gap: float, allowed: float, opened: str | None, audited: bool, unknown: Iterable[str] = (), show: Show = size) -> str:
    """Whether an account closes, what that proves, and what was accepted: the same words wherever a ledger is told."""
    word = "closed" if opened is None else f"open at {opened}"
    how = "every softmax measured" if audited else "fast: the softmax of fused attention is the difference"
    accepted = ", ".join(unknown)
    said = f"{word} (the gap is {unless_rounding(gap, allowed, show)}, {show(allowed)} allowed; {how})"
    return f"{said}; plain gradient accepted for {accepted}" if accepted else said
