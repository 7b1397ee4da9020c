"""Parts of a run that can be put into another, and what that did when it was done: estimates beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..amounts import as_drawn
from ..pickling import Portable

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclass(frozen=True)
class Site:
    """One part of a run: "heads" of "layer 0", one head of it, at one place; None: all of them."""

    kind: str
    name: str
    head: int | None = None
    at: int | None = None

    def __str__(self) -> str:
        head = "" if self.head is None else f" head {self.head}"
        kind = {"heads": "", "residual": " stream", "queries": " query", "keys": " key", "values": " value"}.get(self.kind, f" {self.kind}")
        return f"{self.name}{head}{kind}" + ("" if self.at is None else f" at {self.at}")


@dataclass(frozen=True, repr=False)
class Measured(Portable):
    """Sites, what was estimated for each by relevance and by the plain gradient, and what patching it did."""

    sites: tuple[Site, ...]
    names: tuple[str, ...]
    relevance: tuple[float, ...]
    gradient: tuple[float, ...]
    measured: tuple[float, ...]

    @property
    def correlation(self) -> dict[str, float]:
        """Spearman's rank correlation of each estimate with what was measured; nan where there are fewer than three sites."""
        return {by: ranked(getattr(self, by), self.measured) for by in ("relevance", "gradient")}

    def to_frame(self) -> DataFrame:
        """One row per site: relevance, gradient, measured."""
        import pandas as pd

        return pd.DataFrame(
            {
                "site": self.names, "relevance": self.relevance, "gradient": self.gradient, "measured": self.measured,
            }
        )  # fmt: skip

    def figure(self, *, ax: Any = None, size: Any = None) -> Figure:
        """Estimates against what was measured; on the line both are the same."""
        from ..views.patched import scatter

        return scatter(self.to_frame().to_dict("list"), self.correlation, ax, size)

    def __repr__(self) -> str:
        found = self.correlation
        said = ", ".join(f"{rho:.2f} by {by}" for by, rho in found.items())
        return f"Measured({len(self.sites)} sites: rank correlation {said})"

    def _repr_html_(self) -> str:
        from ..views.patched import measured_table

        return measured_table(self.to_frame().to_dict("list"), as_drawn(repr(self)))


def ranked(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's rank correlation; nan where one of both does not vary, or there are fewer than three."""
    if len(one) < 3:
        return float("nan")
    a, b = (ranks(torch.tensor(x, dtype=torch.float64)) for x in (one, other))
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


def ranks(x: torch.Tensor) -> torch.Tensor:
    """Ranks, those of equals averaged."""
    return (x[:, None] > x).double().sum(1) + (x[:, None] == x).double().sum(1) / 2
