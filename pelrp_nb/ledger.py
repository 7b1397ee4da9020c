"""Where every bit of the logit went.

    value = tokens + positions + constants + softmax + stabilisers + gap

Every term but the gap is measured at the place that keeps it.  The gap is what nobody can explain.  A ledger is

    open          |gap| > allowed: more is missing than rounding takes; or how much that is cannot be said (nan, inf)
    cannot tell   rounding may take a tenth of the value, or the gap is a tenth of it: an account of nothing would look like this one
    closed        otherwise

In full precision a part of the scale is allowed,  scale = sum |token entries| + sum |position entries|,  so that large biases
cannot hide missing tokens.  In half precision such a part is either too small for a right account or too large for a wrong one to
exceed.  There rounding is measured: it is independent from entry to entry, so it grows as the root of their squares,

    rounding = 3 eps sqrt( value^2 + sum over the entries of every boundary of (x g)^2 ),

3 because on random and trained models right accounts came to at most 1 (`tests/test_precision.py` repeats it).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from .amounts import HYPHEN, Digits, Show, State, account, balance, by_size, digits, is_rounding, largest, verdict

TOLERANCE = {"float64": 1e-6, "float32": 1e-3}  # of the scale; coarser precisions have their rounding measured
TELLS = 0.1  # the part of the value that may be in doubt


@dataclass(frozen=True)
class Ledger:
    """The account of one explained number; every amount in units of that number.

    value:       what was explained (or what the relevance started with)
    tokens:      sum of E * g(E) over all input look-ups (or pixels)
    positions:   sum over all sinks, signed
    constants:   what the model adds that comes from no input, by name (biases, CLS, f(0) of activations)
    softmax:     what each softmax keeps, by layer
    stabilisers: what eps keeps, and what 0/0 loses
    scale:       sum of |token entries| + |position entries|
    tolerance:   the part of the scale that rounding may take, 0 in half precision
    rounding:    what rounding may take, measured; 0 where the tolerance covers it
    precision:   the coarsest dtype on the way, "bfloat16"
    written:     False: no account was kept (`Options(ledger=False)`), so there is nothing to tell
    audited:     True: every softmax was measured; False: in fused attention it is the difference, and proves nothing there
    layers:      name of each layer boundary -> the gap seen up to there, walking back from the value
    kept:        segment of the walk back -> what it kept, by category: "head" (from the value to the last layer's output),
                 "layer 3" (from its output to its input), "embeddings" (below the first layer's input)
    unknown:     operations whose plain gradient was accepted (composite.unknown="gradient"), by name
    """

    value: float
    tokens: float
    positions: float
    constants: Mapping[str, float] = field(default_factory=dict)
    softmax: Mapping[str, float] = field(default_factory=dict)
    stabilisers: float = 0.0
    scale: float = 0.0
    tolerance: float = 1e-3
    audited: bool = False
    layers: Mapping[str, float] = field(default_factory=dict)
    kept: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    rounding: float = 0.0
    precision: str = ""
    written: bool = True

    @property
    def gap(self) -> float:
        """What is left of the value when every keeper has been named."""
        kept = sum(self.constants.values()) + sum(self.softmax.values()) + self.stabilisers
        return self.value - self.tokens - self.positions - kept

    @property
    def allowed(self) -> float:
        """How large a gap may be and count as rounding; nan where that is no finite number, and then nothing counts as it."""
        bounds = (self.tolerance * self.scale, self.rounding)
        return max(bounds) if all(map(math.isfinite, bounds)) else math.nan

    @property
    def state(self) -> State:
        """ "closed", "open", "cannot tell" at this precision, or "not kept"."""
        if not self.written:
            return "not kept"
        if not is_rounding(self.gap, self.allowed):
            return "open"
        return "cannot tell" if max(abs(self.gap), self.rounding) > TELLS * abs(self.value) else "closed"

    @property
    def closed(self) -> bool:
        """Whether the gap is no more than rounding, and could have been more."""
        return self.state == "closed"

    @property
    def verdict(self) -> str:
        """The state in one phrase: "closed", "open at layer 3", "cannot tell in bfloat16", "not kept"."""
        return verdict(self.state, self.opened, self.precision)

    @property
    def opened(self) -> str | None:
        """The first layer, walking back from the value, at which the account no longer balances; None if it is not open."""
        if self.state != "open":
            return None
        for name, gap in self.layers.items():
            if not is_rounding(gap, self.allowed):
                return name
        return "input"

    def rows(self) -> list[tuple[str, float]]:
        """The account as (name, amount), in the order of the equation."""
        return [
            ("tokens", self.tokens),
            ("positions", self.positions),
            ("constants", sum(self.constants.values())),
            ("softmax", sum(self.softmax.values())),
            ("stabilisers", self.stabilisers),
            ("gap", self.gap),
            ("value", self.value),
        ]

    @property
    def _digits(self) -> Digits:
        """How its amounts are printed: five figures of the largest."""
        return digits(largest(amount for _, amount in self.rows()), 5)

    def __repr__(self) -> str:
        *terms, (_, _, value) = account(self.rows(), self.state, partial(self._digits, minus=HYPHEN))
        told = ", ".join(f"{name} {shown}" for name, _, shown in terms)
        return f"Ledger({value} = {told}; {self.verdict})"

    def __str__(self) -> str:
        show: Show = partial(self._digits, minus=HYPHEN)
        *terms, value = account(self.rows(), self.state, show)
        named = {"constants": by_size(self.constants, self._digits)[:3], "softmax": self.softmax.items()}
        lines = []
        for name, _, shown in terms:
            lines.append(f"{name:<14}{shown:>14}")
            lines += [f"  {show(part):>12}  {keeper}" for keeper, part in named.get(name, ())]
        lines += ["-" * 28, f"{value[0]:<14}{value[2]:>14}"]
        told = balance(
            self.state, self.verdict, self.gap, self.allowed, self.precision, self.audited, self.unknown, kept=self.softmax.values()
        )
        return "\n".join([*lines, told])
