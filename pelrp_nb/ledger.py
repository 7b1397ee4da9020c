"""Where every bit of the logit went.

    value = tokens + positions + constants + softmax + stabilisers + gap

Every term but the gap is measured at the place that keeps it.  The gap is what nobody can explain; the ledger is closed if
|gap| <= tolerance * scale,  scale = sum |token entries| + sum |position entries|,  so that large biases cannot hide missing tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from .amounts import Digits, Show, account, balance, by_size, digits, is_rounding, largest

TOLERANCE = {"float64": 1e-6, "float32": 1e-3, "float16": 1e-1, "bfloat16": 1e-1}


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
    tolerance:   the part of the scale that rounding may take
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

    @property
    def gap(self) -> float:
        """What is left of the value when every keeper has been named."""
        kept = sum(self.constants.values()) + sum(self.softmax.values()) + self.stabilisers
        return self.value - self.tokens - self.positions - kept

    @property
    def allowed(self) -> float:
        """How large a gap may be and count as rounding."""
        return self.tolerance * self.scale

    @property
    def closed(self) -> bool:
        """Whether the gap is no more than rounding."""
        return is_rounding(self.gap, self.allowed)

    @property
    def opened(self) -> str | None:
        """The first layer, walking back from the value, at which the account no longer balances; None if closed."""
        if self.closed:
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
        *terms, (_, _, value) = account(self.rows(), self.closed, partial(self._digits, minus="-"))
        told = ", ".join(f"{name} {shown}" for name, _, shown in terms)
        return f"Ledger({value} = {told}; {'closed' if self.closed else f'open at {self.opened}'})"

    def __str__(self) -> str:
        show: Show = partial(self._digits, minus="-")
        *terms, value = account(self.rows(), self.closed, show)
        named = {"constants": by_size(self.constants, self._digits)[:3], "softmax": self.softmax.items()}
        lines = []
        for name, _, shown in terms:
            lines.append(f"{name:<14}{shown:>14}")
            lines += [f"  {show(part):>12}  {keeper}" for keeper, part in named.get(name, ())]
        lines += ["-" * 28, f"{value[0]:<14}{value[2]:>14}"]
        return "\n".join([*lines, balance(self.gap, self.allowed, self.opened, self.audited, self.unknown)])
