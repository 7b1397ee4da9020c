"""How amounts are printed: with their sign, as many figures as say something, and rounding by its name.

The digits of a rounding error differ from processor to processor, so none of them is printed: where nothing is missing, the word
stands in their place.  The number itself stays in the object, and in CSV and JSON.

Where it is drawn (a page, a view, a picture) a minus is a minus.  Where it is printed (a repr, a terminal, a command, LaTeX) it is a
hyphen, which can be pasted into Python and which every terminal knows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

MINUS, HYPHEN = "\u2212", "-"  # drawn, and printed
ROUNDING = "rounding"
NOT_KEPT = "not kept"
State = Literal["closed", "open", "cannot tell", "not kept"]
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
        return (text if float(text) else f"{0:.{self.decimals}f}").replace(HYPHEN, minus)


def digits(scale: float, figures: int = 4) -> Digits:
    """As many decimals as show `figures` figures of the largest number."""
    if scale == 0 or not math.isfinite(scale):
        return Digits(figures - 1, False)
    power = math.floor(math.log10(scale))
    if -4 <= power <= 6:
        return Digits(max(0, min(figures + 3, figures - 1 - power)), False)
    return Digits(figures - 1, True)


def signed(amount: float, figures: int = 4, minus: str = MINUS) -> str:
    """One number that stands alone, with its sign, in so many figures."""
    return digits(abs(amount), figures)(amount, minus)


def as_drawn(said: str) -> str:
    """What was said with numbers, as it is drawn: their hyphens are minuses, those of words are not."""
    return re.sub(r"(?<!\w)-(?=\.?\d)|(?<=\de)-(?=\d)", MINUS, said)


def largest(*columns: Iterable[float]) -> float:
    """The largest finite |number|; 0.0 if there is none."""
    return max((abs(x) for column in columns for x in column if math.isfinite(x)), default=0.0)


def size(amount: float) -> str:
    """How large, in two figures: `5.9e-04`."""
    return f"{abs(amount):.1e}"


def is_rounding(amount: float, allowed: float) -> bool:
    """Whether what should be zero is no more than rounding may make of it."""
    return math.isfinite(amount) and abs(amount) <= allowed < math.inf


def unless_rounding(amount: float, allowed: float, show: Show = size) -> str:
    """What should be zero, as it is printed: its number where it is not, the word `rounding` where it is."""
    return ROUNDING if is_rounding(amount, allowed) else show(amount)


def account(rows: Iterable[tuple[str, float]], state: State, show: Show) -> list[tuple[str, float, str]]:
    """The rows of a ledger as (name, amount, as it is printed): the gap of one that closes is rounding, what nobody kept says so."""

    def printed(name: str, amount: float) -> str:
        if state == NOT_KEPT and name not in ("tokens", "positions", "value"):
            return NOT_KEPT
        return ROUNDING if name == "gap" and state == "closed" else show(amount)

    return [(name, amount, printed(name, amount)) for name, amount in rows]


def by_size(amounts: Mapping[str, float], show: Digits) -> list[tuple[str, float]]:
    """Names and amounts, what is no number first, then by the size that is printed: rounding puts nothing in another order."""

    def place(item: tuple[str, float]) -> tuple[bool, float, str]:
        name, amount = item
        return (False, 0.0, name) if math.isnan(amount) else (True, -abs(float(show(amount, HYPHEN))), name)

    return sorted(amounts.items(), key=place)


def verdict(state: State, opened: str | None, precision: str) -> str:
    """Which of the four states an account is in, in one phrase: the same wherever a ledger is told."""
    where = {"open": f" at {opened}", "cannot tell": f" in {precision or 'this precision'}"}
    return f"{state}{where.get(state, '')}"


KEPT = "Kept by the softmax: the part of attention's relevance that depends on how much the scores were, not on which token they chose"
FINER = {"float32": "type model.double()", "float64": "so small a value is lost among what flows"}


def balance(
    state: State, told: str, gap: float, allowed: float, precision: str, audited: bool, unknown: Iterable[str] = (), show: Show = size,
    kept: Iterable[float] = (),
) -> str:  # fmt: skip
    """What was told of an account, what that proves, what to type where it proves nothing, and what was accepted.

    kept: what each softmax keeps; what that means is said unless it is rounding
    """
    how = "every softmax measured" if audited else "fast: the softmax of fused attention is the difference"
    if state == NOT_KEPT:
        said = f"{told} (type Options(ledger=True))"
    elif state == "cannot tell":
        finer = FINER.get(precision, 'type Options(precision="float32")')
        said = (
            f"{told} (the gap is {show(gap)}, and up to {show(allowed)} may be rounding, which is too much for this value: {finer}; {how})"
        )
    else:
        missing = "only rounding is missing" if is_rounding(gap, allowed) else f"the gap is {show(gap)}"
        said = f"{told} ({missing}, {show(allowed)} allowed; {how})"
    accepted = ", ".join(unknown)
    said = f"{said}; plain gradient accepted for {accepted}" if accepted else said
    return said if all(is_rounding(amount, allowed) for amount in kept) else f"{said}. {KEPT}"
