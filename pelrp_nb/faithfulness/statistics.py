"""How sure the numbers are: means with bootstrap intervals, and paired differences between methods.

Nothing is called better whose interval of the difference includes zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .examples import seed_of
from .protocols import BETTER
from .settings import Statistics

CHUNK = 2_000_000  # random numbers drawn at a time
ROUNDING = 1e-5  # two values that differ by less, in units of the larger (at least 1), are the same


@dataclass(frozen=True)
class Estimate:
    """A mean over n examples and its interval; no interval where there are too few, no mean where there are none."""

    mean: float | None
    low: float | None
    high: float | None
    n: int

    @property
    def decided(self) -> int:
        """+1 or -1 where the interval lies on one side of zero, else 0."""
        if self.low is None or self.high is None:
            return 0
        return 1 if self.low > 0 else -1 if self.high < 0 else 0

    def __str__(self) -> str:
        if self.mean is None:
            return "-"
        if self.low is None or self.high is None:
            return shown(self.mean)
        digits = 3 if max(abs(self.mean), abs(self.low), abs(self.high)) >= 0.01 else 5
        return f"{shown(self.mean, digits)} [{shown(self.low, digits)}, {shown(self.high, digits)}]"


def shown(x: float, digits: int = 3) -> str:
    """So many decimals; what rounds to zero has no sign."""
    text = f"{x:.{digits}f}"
    return text if float(text) else f"{0:.{digits}f}"


def estimate(values: Sequence[float], settings: Statistics, seed: int = 0) -> Estimate:
    """Mean and percentile interval of the bootstrap over examples (Efron and Tibshirani 1993)."""
    x = np.asarray(values, dtype=np.float64)
    if not len(x):
        return Estimate(None, None, None, 0)
    if len(x) < settings.least:
        return Estimate(float(x.mean()), None, None, len(x))
    rng = np.random.default_rng(seed_of(seed, "bootstrap", len(x), "estimate"))
    means = np.empty(settings.resamples)
    step = max(1, CHUNK // len(x))
    for start in range(0, settings.resamples, step):
        some = rng.integers(0, len(x), (min(step, settings.resamples - start), len(x)))
        means[start : start + len(some)] = x[some].mean(1)
    outside = (1 - settings.level) / 2
    low, high = np.quantile(means, (outside, 1 - outside))
    return Estimate(float(x.mean()), float(low), float(high), len(x))


@dataclass(frozen=True)
class Difference:
    """One method minus another over the examples that both could be measured on."""

    first: str
    second: str
    measure: str
    estimate: Estimate

    @property
    def better(self) -> str | None:
        """The better method; None where the interval includes zero, or where the measure knows no better."""
        sign = self.estimate.decided * BETTER.get(self.measure, 0)
        return self.first if sign > 0 else self.second if sign < 0 else None

    def __str__(self) -> str:
        if self.estimate.n == 0:
            return f"{self.measure}: {self.first} and {self.second} have no example in common"
        if self.estimate.low is None:
            said = "too few examples for an interval"
        elif self.estimate.decided == 0:
            said = "no difference shown"
        else:
            said = f"{self.better} is better" if self.better else "different"
        return f"{self.measure}: {self.first} - {self.second} = {self.estimate} (n = {self.estimate.n}): {said}"


Values = Mapping[str, Mapping[int, float]]  # method -> example -> value, of one measure


def difference(values: Values, first: str, second: str, measure: str, settings: Statistics, seed: int = 0) -> Difference:
    """The paired difference of two methods; what is rounding is no difference."""
    a, b = values.get(first, {}), values.get(second, {})
    pairs = [(a[i], b[i]) for i in sorted(a.keys() & b.keys())]
    paired = [x - y if abs(x - y) > ROUNDING * max(1.0, abs(x), abs(y)) else 0.0 for x, y in pairs]
    return Difference(first, second, measure, estimate(paired, settings, seed))


def leaders(values: Values, measure: str, settings: Statistics, seed: int = 0) -> tuple[str, ...]:
    """The method with the best mean, and every other that is not shown to be worse; () where the measure knows no better."""
    sign = BETTER.get(measure, 0)
    means = {name: sign * float(np.mean(list(some.values()))) for name, some in values.items() if some}
    if not sign or not means:
        return ()
    best = max(means, key=lambda name: means[name])
    rest = [n for n in means if n != best and difference(values, best, n, measure, settings, seed).better is None]
    return (best, *rest)
