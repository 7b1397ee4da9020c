"""What putting parts of a corrupted run into a clean one does: estimated for all parts at once, measured for the largest.

found = pelrp_nb.patch(model, clean, corrupt, processor=tokenizer, metric=("moon", "fish"))
found.table()                     a row for each head: by relevance, by the plain gradient
found.true(20)                    the 20 largest measured, and how well estimates agree with that
found.circuit(5)                  the five edges that carry most, and what is left of the number when all else is corrupted
found.figure(), found.explore()
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from ..amounts import HYPHEN, signed
from ..errors import FileError, InputError
from ..pickling import Portable
from .circuit import Circuit, chosen, count
from .measured import Measured, Site
from .routes import is_number, named
from .serialisation import read, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from ..views.sheet import Sheet
    from ..views.widget import View

Amounts = Mapping[str, Mapping[str, Tensor]]
GONE = "The model is not kept with a saved result. Type patch(model, clean, corrupt, ...) again."


class Measures(Protocol):
    """Who can run the model once more."""

    def effects(self, sites: Sequence[Site]) -> list[float]:
        """By how much the number changes with each site as it is in the corrupted run."""

    def left(self, circuits: Sequence[Mapping[str, Tensor]]) -> list[float]:
        """The numbers when all but these edges hand over what they do in the corrupted run."""


@dataclass(frozen=True, repr=False)
class Patch(Portable):
    """The estimated effect of putting each part of the corrupted run into the clean one, in units of the metric.

    tokens, other: what stands at the places of the clean and of the corrupted input
    target:    the metric; clean, corrupt: its values in both runs
    relevance: kind of site -> name -> (H, T): each head at each place ((1, T) of branches and streams), by relevance
    gradient:  the same by the plain gradient
    edges:     attention -> (H, Tq, Tk): what a head's message from one place to another is worth; nan where a mask hides it
    notes:     what must be said with it
    measures:  the model, to measure what is estimated; None in a result that was saved
    """

    tokens: tuple[str, ...]
    other: tuple[str, ...]
    target: str
    clean: float
    corrupt: float
    relevance: Amounts
    gradient: Amounts
    edges: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()
    measures: Measures | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of sites that were asked for."""
        return tuple(self.relevance)

    def sites(self, places: bool = False, kind: str | None = None) -> list[Site]:
        """Every site, over all places or at each. Raises InputError for a kind that was not asked for."""
        if kind is not None and kind not in self.relevance:
            raise InputError(f"There are {', '.join(self.kinds)}, not {kind!r}. Type patch(model, ..., sites={kind!r}).")
        found = []
        for one in self.kinds if kind is None else (kind,):
            for name, amounts in self.relevance[one].items():
                for head in range(len(amounts)) if one in HEADED else (None,):
                    found += [Site(one, name, head, at) for at in (range(amounts.shape[-1]) if places else (None,))]
        return found

    def of(self, site: Site, by: str = "relevance") -> float:
        """The estimate of one site."""
        amounts = (self.relevance if by == "relevance" else self.gradient)[site.kind][site.name][site.head or 0]
        return float(amounts.sum() if site.at is None else amounts[site.at])

    def table(self, places: bool = False, kind: str | None = None) -> DataFrame:
        """One row per site, the largest first: kind, name, head, place and token, by relevance, by the plain gradient."""
        import pandas as pd

        rows = [
            {
                "kind": site.kind, "name": site.name, "head": site.head,
                **({"at": site.at, "token": self._token(site)} if places else {}),
                "relevance": self.of(site), "gradient": self.of(site, "gradient"),
            }
            for site in self.sites(places, kind)
        ]  # fmt: skip
        frame = pd.DataFrame(rows)
        return frame.sort_values("relevance", key=abs, ascending=False, kind="stable", ignore_index=True)

    def to_frame(self) -> DataFrame:
        """`table` of every site at every place."""
        return self.table(places=True)

    def _token(self, site: Site) -> str:
        T = self.relevance[site.kind][site.name].shape[-1]
        return str(named(self.tokens, T)[site.at or 0])

    def true(self, k: int = 20, *, places: bool = False, kind: str | None = None) -> Measured:
        """The k sites with the largest estimates, patched: what the number does then, beside its estimates.

        Over all places, or at each place. Raises InputError for a number that is none, or a result without its model.
        """
        if not is_number(k) or k < 1:
            raise InputError(f"k must be a number of sites from 1, got {k!r}. Type true(20).")
        largest = sorted(self.sites(places, kind), key=lambda site: -abs(self.of(site)))[:k]
        effects = self._measures.effects(largest)
        names = tuple(str(site) + ("" if site.at is None else f" {self._token(site)!r}") for site in largest)
        relevance, gradient = (tuple(self.of(site, by) for site in largest) for by in ("relevance", "gradient"))
        return Measured(tuple(largest), names, relevance, gradient, tuple(effects))

    def circuit(self, n: int) -> Circuit:
        """The n edges from word to word with the largest estimates, and what is left of the number when all else is corrupted.

        Every other edge hands over what it hands over in the corrupted run; tokens, MLPs and what is skipped on stay clean.
        Raises InputError where there are fewer edges than that.
        """
        whole = count(self.edges)
        if not is_number(n) or not 1 <= n <= whole:
            raise InputError(
                f"A circuit has 1 to {whole} edges here, which is all that the model has on this input; got {n!r}. Type circuit(5)."
            )
        kept = chosen(self.edges, n)
        (value,) = self._measures.left([kept])
        return Circuit.of(self.edges, kept, self.tokens, self.target, value, self.clean, self.corrupt)

    @property
    def _measures(self) -> Measures:
        if self.measures is None:
            raise InputError(GONE)
        return self.measures

    # --- shown -----------------------------------------------------------------------------------------------------------

    def plain(self) -> dict[str, Any]:
        """The same without tensors: what every view draws."""

        def lists(found: Amounts) -> dict[str, Any]:
            return {kind: {name: x.tolist() for name, x in each.items()} for kind, each in found.items()}

        return {
            "tokens": list(self.tokens), "other": list(self.other), "target": self.target, "clean": self.clean, "corrupt": self.corrupt,
            "relevance": lists(self.relevance), "gradient": lists(self.gradient), "notes": list(self.notes),
        }  # fmt: skip

    def figure(self, kind: str | None = None, *, ax: Axes | None = None, size: Any = None, colours: Any = None) -> Figure:
        """Sites by places, in colour: a row for each head, or branch. Raises InputError for a kind that was not asked for."""
        from ..views.patched import draw

        kind = self.kinds[0] if kind is None else kind
        self.sites(kind=kind)
        return draw(self.plain(), kind, ax, size, colours)

    def sheet(self) -> Sheet:
        """The same as a view that is not drawn yet: a cell of a notebook, a file, or a widget."""
        from ..views.patched import sheet

        return sheet(self.plain())

    def explore(self, **state: Any) -> View:
        """The live view, an ipywidget. Raises ImportError where the widget library is missing, and says what to type."""
        return self.sheet().explore(**state)

    def to_html(self, path: str | os.PathLike | None = None) -> str | None:
        """An interactive page in one file that needs no network; written to `path`, or returned as text if there is none."""
        return self.sheet().to_html(path)

    def _repr_html_(self) -> str:
        return self.sheet()._repr_html_()

    def __repr__(self) -> str:
        largest = sorted(self.sites(), key=lambda site: -abs(self.of(site)))[:3]
        shown = ", ".join(f"{site} {signed(self.of(site), 3, HYPHEN)}" for site in largest)
        return f"Patch({self.target} {signed(self.clean, 4, HYPHEN)}, corrupted {signed(self.corrupt, 4, HYPHEN)}: {shown})"

    # --- files -----------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike) -> None:
        """Write it to one file, .npz or .safetensors, without the model. Raises FileError."""
        lists = {name: list(getattr(self, name)) for name in LISTS}
        rest = {name: getattr(self, name) for name in ("target", "clean", "corrupt", "relevance", "gradient", "edges")}
        write(path, {"patch": {**rest, **lists}})

    @classmethod
    def load(cls, path: str | os.PathLike) -> Patch:
        """What `save` wrote. Raises FileError for anything else."""
        tree = read(path)
        if "patch" not in tree:
            raise FileError(f"{path} must hold a patch, and holds something else. Type pelrp_nb.Explanation.load({str(path)!r}).")
        return cls(**{**tree["patch"], **{name: tuple(tree["patch"][name]) for name in LISTS}})

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"measures": None}


HEADED = ("heads", "queries", "keys", "values")
LISTS = ("tokens", "other", "notes")
