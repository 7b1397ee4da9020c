"""How sure a number is that is said of models: models are resampled first, then examples inside each (a hierarchical bootstrap).

    t* = (mean* - mean) / se*        mean +- quantile(|t*|) se        se = standard deviation between models / sqrt(M)

Studentised and symmetric (Davison and Hinkley 1997, 5.2), because few models make percentile and BCa intervals too narrow.  Where nearly
all models give the same number there is no interval: resamples of those alone have no spread.  Of one model only examples can be
resampled: BCa (Efron 1987).  A statistic is a function of how often each example was drawn, (B, n) -> (B,), so that 4,000 resamples are
a few products of matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

Statistic = Callable[[np.ndarray], np.ndarray]  # (B, n) how often each example was drawn -> (B,)
RESAMPLES, LEVEL = 4_000, 0.95


@dataclass(frozen=True)
class Sample:
    """What was measured on one model: the group of each example (each is resampled within its own), and the statistic of them."""

    groups: np.ndarray
    statistic: Statistic

    def drawn(self, times: int, rng: np.random.Generator) -> np.ndarray:
        """(times,) the statistic of examples drawn with replacement."""
        W = np.zeros((times, len(self.groups)))
        for group in np.unique(self.groups):
            at = np.flatnonzero(self.groups == group)
            W[:, at] = rng.multinomial(len(at), np.full(len(at), 1 / len(at)), size=times)
        return self.statistic(W)

    @property
    def value(self) -> float:
        return float(self.statistic(np.ones((1, len(self.groups))))[0])


@dataclass(frozen=True)
class OverModels:
    """A mean over models, its interval, the two-sided p of its being 0 (none for one model), and what each gave; nan: no model did."""

    mean: float
    low: float
    high: float
    p: float | None
    each: tuple[float, ...]

    def __str__(self) -> str:
        if not self.each:
            return "-"
        if not np.isfinite(self.high):
            return f"{self.mean:.3f} (no interval)"
        return f"{self.mean:.3f} [{max(self.low, -1):.3f}, {min(self.high, 1):.3f}]"


# --- statistics of examples that were drawn W times ---------------------------------------------------------------------


def mean(x: np.ndarray) -> Statistic:
    """The mean of (n,) values; nan is no value."""
    known = np.isfinite(x)
    filled = np.where(known, x, 0.0)
    return lambda W: _divided(W @ filled, W @ known)


def spearman(x: np.ndarray, y: np.ndarray) -> Statistic:
    """The rank correlation of (n,) with (n,): weighted ranks, then their weighted correlation."""

    def statistic(W: np.ndarray) -> np.ndarray:
        a, b = W @ _below(x), W @ _below(y)  # (B, n): the rank of each example among those drawn, up to a constant
        a, b = (r - _divided((W * r).sum(1), W.sum(1))[:, None] for r in (a, b))
        return _divided((W * a * b).sum(1), np.sqrt((W * a * a).sum(1) * (W * b * b).sum(1)))

    return statistic


def auroc(x: np.ndarray, positive: np.ndarray) -> Statistic:
    """How often a positive example has a larger x than one that is not; ties count half."""
    larger = _below(x).T[np.ix_(positive, ~positive)]

    def statistic(W: np.ndarray) -> np.ndarray:
        a, b = W[:, positive], W[:, ~positive]
        return _divided(((a @ larger) * b).sum(1), a.sum(1) * b.sum(1))

    return statistic


def minus(first: Statistic, second: Statistic) -> Statistic:
    """The paired difference of two statistics of the same examples."""
    return lambda W: first(W) - second(W)


def _below(x: np.ndarray) -> np.ndarray:
    """(n, n) [j, i]: 1 where x_j is below x_i, 1/2 where they are equal."""
    return (x[:, None] < x[None]) + 0.5 * (x[:, None] == x[None])


def _divided(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b; nan where b is 0."""
    return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b > 0)


# --- over models --------------------------------------------------------------------------------------------------------


def over_models(samples: Sequence[Sample], seed: int = 0, resamples: int = RESAMPLES) -> OverModels:
    """The mean over models, with the interval that this module is about; a model on which it is not defined is left out."""
    samples = [one for one in samples if not np.isnan(one.value)]
    if not samples:
        return OverModels(np.nan, np.nan, np.nan, None, ())
    rng = np.random.default_rng(seed)
    each = np.array([one.value for one in samples])
    if len(samples) == 1:
        return OverModels(each[0], *bca(samples[0], rng, resamples), None, (float(each[0]),))
    chosen = rng.integers(0, len(samples), (resamples, len(samples)))
    drawn = np.empty(chosen.shape)
    for m, one in enumerate(samples):
        drawn[chosen == m] = one.drawn(int((chosen == m).sum()), rng)
    middle, error = each.mean(), _error(each)
    t = _ratio(np.abs(drawn.mean(1) - middle), _error(drawn))
    t = t[~np.isnan(t)]
    reach = float(np.quantile(t, LEVEL, method="higher")) * float(error) if error > 0 else 0.0
    p = (1 + int((t >= _ratio(np.abs(middle), error)).sum())) / (1 + len(t))
    return OverModels(float(middle), float(middle - reach), float(middle + reach), p, tuple(each.tolist()))


def bca(sample: Sample, rng: np.random.Generator, resamples: int = RESAMPLES) -> tuple[float, float]:
    """The bias-corrected and accelerated interval of one model's statistic."""
    normal, value, n = NormalDist(), sample.value, len(sample.groups)
    drawn = sample.drawn(resamples, rng)
    drawn = drawn[~np.isnan(drawn)]
    below = np.mean(drawn < value) + np.mean(drawn == value) / 2
    shift = normal.inv_cdf(min(max(below, 1 / resamples), 1 - 1 / resamples))
    without = sample.statistic(1.0 - np.eye(n))
    without = without[~np.isnan(without)]
    away = without.sum() / max(len(without), 1) - without
    bent = float(_ratio((away**3).sum(), 6 * (away**2).sum() ** 1.5))
    ends = (normal.inv_cdf(q) for q in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    low, high = np.quantile(drawn, [normal.cdf(shift + (shift + z) / (1 - bent * (shift + z))) for z in ends])
    return float(low), float(high)


def _error(values: np.ndarray) -> np.ndarray:
    """The standard error of the mean along the last axis."""
    return values.std(-1, ddof=1) / values.shape[-1] ** 0.5


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b where 0 / 0 is 0, and anything else over 0 without end."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((a == 0) & (b == 0), 0.0, np.divide(a, b))


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """The p of each test, corrected for there being several (Holm 1979)."""
    found, largest = {}, 0.0
    for rank, name in enumerate(sorted(p, key=lambda name: p[name])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[name]))
        found[name] = largest
    return {name: found[name] for name in p}
