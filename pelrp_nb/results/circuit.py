"""A circuit: the edges from word to word that carry most of a difference, and how much of it they keep alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..pickling import Portable
from .routes import named

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

Edges = Mapping[str, Tensor]


@dataclass(frozen=True)
class Message:
    """What one head hands to the place `at` from the place `source`, and what it is estimated to be worth.

    token, other: what stands at the place that gets it, and at the one that it comes from
    """

    attention: str
    head: int
    at: int
    source: int
    token: str
    other: str
    amount: float

    def __str__(self) -> str:
        return f"{self.attention} head {self.head}: {self.other!r} at {self.source} -> {self.token!r} at {self.at} ({self.amount:+.3g})"


@dataclass(frozen=True, repr=False)
class Circuit(Portable):
    """Edges, and the number that is left when every other edge hands over what it does in the corrupted run.

    messages: the edges, the largest first; tokens: of the clean input; value: what is left; clean, corrupt: the numbers of both runs
    amounts:  attention -> (H, Tq, Tk) what the edges of the circuit are worth, 0 elsewhere
    """

    messages: tuple[Message, ...]
    tokens: tuple[str, ...]
    target: str
    value: float
    clean: float
    corrupt: float
    amounts: Edges

    @classmethod
    def of(cls, edges: Edges, kept: Edges, tokens: Sequence[str], target: str, value: float, clean: float, corrupt: float) -> Circuit:
        """The circuit of the edges that are `kept`."""
        found = []
        for name, keep in kept.items():
            queries, keys = (named(tokens, n) for n in keep.shape[1:])
            for h, i, j in keep.nonzero().tolist():
                found.append(Message(name, h, i, j, str(queries[i]), str(keys[j]), float(edges[name][h, i, j])))
        found.sort(key=lambda one: -abs(one.amount))
        amounts = {name: torch.where(keep, edges[name], 0.0) for name, keep in kept.items()}
        return cls(tuple(found), tuple(tokens), target, value, clean, corrupt, amounts)

    @property
    def faithfulness(self) -> float:
        """What is left, as a part of the difference of the two runs: 0 as corrupted, 1 as clean."""
        return (self.value - self.corrupt) / (self.clean - self.corrupt) if self.clean != self.corrupt else float("nan")

    def to_frame(self) -> DataFrame:
        """One row per edge."""
        import pandas as pd

        return pd.DataFrame([vars(one) for one in self.messages])

    def figure(self, *, ax: Any = None, size: Any = None, colours: Any = None) -> Figure:
        """Tokens along one axis, layers along the other; the edges of the circuit."""
        from ..views.routes_figure import drawn

        levels = [{"name": name, "amounts": x.sum(0).tolist(), "skip": []} for name, x in self.amounts.items() if x.shape[1] == x.shape[2]]
        title = f"{self.target}: {len(self.messages)} edges keep {self.faithfulness:.0%}"
        return drawn([str(token) for token in self.tokens], levels, title, ax, size, colours)

    def __repr__(self) -> str:
        return f"Circuit({len(self.messages)} edges keep {self.faithfulness:.0%} of {self.target} {self.clean:+.4g})"

    def __str__(self) -> str:
        return "\n".join([repr(self), *map(str, self.messages[:20])])

    def _repr_html_(self) -> str:
        from ..views.patched import circuit_table

        return circuit_table([vars(one) for one in self.messages], repr(self))


def count(edges: Edges) -> int:
    """How many edges there are: pairs that no mask hides, of each head."""
    return sum(int((~x.isnan()).sum()) for x in edges.values())


def chosen(edges: Edges, n: int) -> dict[str, Tensor]:
    """By attention (H, Tq, Tk) whether an edge is among the n largest."""
    flat = torch.cat([x.abs().flatten() for x in edges.values()]).nan_to_num(-1.0)
    kept = torch.zeros_like(flat, dtype=torch.bool)
    kept[flat.topk(n).indices] = True
    sizes = [x.numel() for x in edges.values()]
    return {name: part.reshape(x.shape) for (name, x), part in zip(edges.items(), kept.split(sizes), strict=True)}
