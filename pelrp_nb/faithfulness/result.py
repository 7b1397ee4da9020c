"""What an evaluation found: rows, differences, curves, tables, a report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .protocols import BETTER
from .records import Record
from .settings import Configuration
from .statistics import Difference, Estimate, Values, difference, estimate, leaders

if TYPE_CHECKING:
    from .tables import Table


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """The records of all examples, and what follows from them.

    configuration: every choice
    methods:       in the order they were named
    records:       one per example: index, example (a digest), values[method][measure], curves, relevance, errors
    """

    configuration: Configuration
    methods: tuple[str, ...]
    records: tuple[Record, ...]

    @property
    def measures(self) -> tuple[str, ...]:
        """All that was measured, in the order of the documentation."""
        found = {m for record in self.records for values in record["values"].values() for m in values}
        return tuple(m for m in BETTER if m in found) + tuple(sorted(found - BETTER.keys()))

    def values(self, measure: str) -> Values:
        """Method -> example -> value."""
        return {
            method: {r["index"]: r["values"][method][measure] for r in self.records if measure in r["values"].get(method, {})}
            for method in self.methods
        }

    def estimate(self, method: str, measure: str) -> Estimate:
        """Mean with interval of one method under one measure."""
        return estimate(list(self.values(measure).get(method, {}).values()), self.configuration.statistics, self.configuration.seed)

    def rows(self) -> list[dict[str, Any]]:
        """{method, measure, mean, low, high, n} for every method and measure; low and high are None for too few examples."""
        found = []
        for measure in self.measures:
            for method in self.methods:
                e = self.estimate(method, measure)
                if e.n:
                    found.append({"method": method, "measure": measure, "mean": e.mean, "low": e.low, "high": e.high, "n": e.n})
        return found

    def to_json(self) -> str:
        """The rows as JSON."""
        return json.dumps(self.rows(), indent=1, allow_nan=False)

    def difference(self, first: str, second: str, measure: str) -> Difference:
        """The paired difference first - second, with its interval."""
        for name in (first, second):
            if name not in self.methods:
                raise InputError(f"There is no method {name!r} in this result. It has: {', '.join(self.methods)}.")
        return difference(self.values(measure), first, second, measure, self.configuration.statistics, self.configuration.seed)

    def leaders(self, measure: str) -> tuple[str, ...]:
        """The best method and those not shown to be worse."""
        return leaders(self.values(measure), measure, self.configuration.statistics, self.configuration.seed)

    def curve(self, method: str, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """(fractions,) mean, lower and upper end of the band of a curve; None where there is none."""
        rows = [r["curves"][method][name] for r in self.records if name in r["curves"].get(method, {})]
        if not rows:
            return None
        settings, seed = self.configuration.statistics, self.configuration.seed
        points = [estimate(list(column), settings, seed) for column in zip(*rows, strict=True)]
        return tuple(  # type: ignore[return-value]
            np.array([np.nan if v is None else v for v in end])
            for end in ([e.mean for e in points], [e.low for e in points], [e.high for e in points])
        )

    @property
    def curves(self) -> tuple[str, ...]:
        """Names of the curves there are."""
        return tuple(dict.fromkeys(name for r in self.records for curves in r["curves"].values() for name in curves))

    @property
    def errors(self) -> Mapping[str, Sequence[tuple[int, str]]]:
        """What went wrong: method (or method and protocol, or * for all) -> examples and reasons."""
        found: dict[str, list[tuple[int, str]]] = {}
        for r in self.records:
            for where, reason in r["errors"].items():
                found.setdefault(where, []).append((r["index"], reason))
        return found

    def table(self, measures: Sequence[str] | None = None) -> Table:
        """Methods down, measures across."""
        from .tables import Table

        shown = tuple(measures or self.measures)
        cells = {(m, x): self.estimate(m, x) for x in shown for m in self.methods}
        leading = {x: self.leaders(x) for x in shown}
        return Table(self.methods, shown, cells, leading, len(self.records), self.configuration.statistics.level)

    def disagreement(self, count: int = 3) -> list[Record]:
        """The examples on which the methods' relevance is least alike: lowest mean rank correlation between them."""
        from .scores import rank_correlation
        import torch

        def likeness(record: Record) -> float:
            rows = [torch.tensor(R) for name, R in record["relevance"].items() if name != "random"]
            pairs = [rank_correlation(a, b) for i, a in enumerate(rows) for b in rows[:i]]
            known = [p for p in pairs if p is not None]
            return sum(known) / len(known) if known else 1.0

        return sorted((r for r in self.records if len(r["relevance"]) > 1), key=likeness)[:count]

    def __str__(self) -> str:
        return str(self.table())

    def __repr__(self) -> str:
        return f"Result({len(self.records)} examples, {len(self.methods)} methods, {len(self.measures)} measures)"

    def _repr_html_(self) -> str:
        return self.table().html()
