"""Several explanations: a list that shows itself, with tables over all of it.

    found = explain(model, texts, processor=tokenizer)
    found[3], found[:10], found["a dull film"]          one by its number or its name, some of them
    found.table()                                       a row for each: text, target, value, ledger
    found.to_frame(), found.aggregate("token")          a row for each token; means over all
    found.matrix(), found.compare()                     relevance as one array; side by side
    found.explore(), found.to_html("all.html")          tiles, sorted and filtered
    found.figure(), found.written()                     what was written against what stood before it
    found.save("all.npz"), Explanations.load("all.npz")

For several inputs with several targets each it is a list of such lists; tables and files take them as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import CallError, InputError, RowError
from ..inputs.rows import Skipped
from .aggregate import By, aggregate, flat
from .arrays import Rows, listed
from .as_promised import as_promised, fitting
from .matrix import Part, parts_of, rows_of
from .dtypes import converted, known
from .explanation import Explanation
from .reductions import REDUCTIONS, Reduction
from .serialisation import AGAIN, read, write
from .shown import written

if TYPE_CHECKING:
    from pandas import DataFrame

    from matplotlib.figure import Figure

    from ..views.sheet import Sheet
    from ..views.widget import View

MANY = "several"  # what a file of several explanations holds
LINE = ("row", "text", "target", "value", "method", "tokens", "largest", "positional_share", "closed", "ledger", "gap", "notes")
TOKEN = ("token", "start", "end", "special", "semantic", "positional", *REDUCTIONS)  # what `Explanation.to_frame` has at most


class Explanations(list[Any]):
    """Explanations in the order of their inputs, or of their targets; a list like any other, and more."""

    def __getitem__(self, at: Any) -> Any:
        """One by its number or by its name (`names`), some by a slice, by numbers or by one flag for each."""
        if isinstance(at, str):
            return list.__getitem__(self, _named(at, self.names))
        if isinstance(at, slice):
            return Explanations(list.__getitem__(self, at))
        numbers = at.tolist() if hasattr(at, "tolist") else at
        if not isinstance(numbers, list | tuple):
            return self._one(numbers)
        numbers = [one.item() if hasattr(one, "item") and getattr(one, "ndim", 0) == 0 else one for one in numbers]
        if numbers and all(isinstance(one, bool) for one in numbers):
            if len(numbers) != len(self):
                raise InputError(f"There must be one flag for each explanation, {len(self)}, got {len(numbers)}. Type found[[0, 2]].")
            numbers = [i for i, wanted in enumerate(numbers) if wanted]
        return Explanations(self._one(i) for i in numbers)

    def _one(self, number: Any) -> Any:
        if not hasattr(number, "__index__"):
            raise CallError(f"An explanation goes by its number or its name, got {number!r}. Type found[0], or found[:10].")
        if not -len(self) <= number < len(self):
            raise RowError(f"There are {len(self)} explanations, and number {number} was asked for. Type found[0] or found[-1].")
        return list.__getitem__(self, number)

    if not TYPE_CHECKING:  # a type checker is to know what there is

        def __getattr__(self, name: str) -> Any:
            if not name.startswith("_") and (hasattr(Explanation, name) or name in Explanation.__dataclass_fields__):
                raise AttributeError(
                    f"`{name}` is of one explanation, and these are {len(self)}. Type found[0].{name}, or [e.{name} for e in found]."
                )
            raise AttributeError(f"Explanations has no `{name}`. Type found[0] for the first, or found.table() for all.")

    @property
    def flat(self) -> list[Explanation]:
        """All of them in one list."""
        return list(flat(self))

    @property
    def names(self) -> list[str]:
        """What each is told from the others by: its text, target, method or model, or several of these."""
        from ..views.sheets import apart

        firsts = {i: next(flat(one)) for i, one in enumerate(self) if not isinstance(one, Skipped)}
        facts = (_text, lambda e: e.target, lambda e: e.method, lambda e: e.model)
        told = dict(zip(firsts, apart([[fact(e) for e in firsts.values()] for fact in facts]), strict=True))
        return [told.get(i, f"input {i}, skipped") for i in range(len(self))]

    @property
    def skipped(self) -> list[Skipped]:
        """The inputs that could not be explained, and why."""
        return [one for one in self if isinstance(one, Skipped)]

    def _placed(self) -> Iterator[tuple[int, Explanation]]:
        """Each with the number of its row."""
        for i, one in enumerate(self):
            yield from ((i, found) for found in flat(one))

    def _shown(self, most: int | None) -> tuple[list[Any], list[str]]:
        """The first ones without tensors, and how each of all is reached: `[0]`, or `[0][1]`."""
        places = []
        for i, one in enumerate(self):
            if not isinstance(one, Skipped):
                places += [f"[{i}][{k}]" for k in range(len(one))] if isinstance(one, list) else [f"[{i}]"]
        return [e.plain() for e in islice(flat(self), most)], places

    # --- numbers -------------------------------------------------------------------------------------------------------

    def table(self) -> DataFrame:
        """One line per explanation: row, text, target, value, method, tokens, the largest, share of positions, ledger, gap, notes.

        Beside a data frame of one's own:

            found = explain(model, list(frame["review"]), processor=tokenizer, options=Options(on_error="skip"))
            frame.reset_index(drop=True).join(found.table().set_index("row")[["target", "value", "largest"]])
        """
        import pandas as pd

        lines = []
        for i, e in self._placed():
            R = e.relevance()
            largest = e.tokens[int(R.abs().argmax())] if len(R) else None
            lines.append(
                {
                    "row": i, "text": _text(e), "target": e.target, "value": e.value, "method": e.method, "tokens": len(e.tokens),
                    "largest": largest, "positional_share": e.positional_share, "closed": e.ledger.closed,
                    "ledger": e.ledger.verdict, "gap": e.ledger.gap, "notes": "; ".join(e.notes),
                }
            )  # fmt: skip
        return pd.DataFrame(lines, columns=list(LINE))

    def to_frame(self) -> DataFrame:
        """One line per token of each: row, target, stream where there are several, then what `Explanation.to_frame` has."""
        import pandas as pd

        frames = []
        for i, e in self._placed():
            for stream, part in (e.streams or {"": e}).items():
                frame = part.to_frame()
                if e.streams:
                    frame.insert(0, "stream", stream)
                frame.insert(0, "target", e.target)
                frame.insert(0, "row", i)
                frames.append(frame)
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["row", "target", *TOKEN])

    def aggregate(self, by: By = "token", share: bool = False) -> DataFrame:
        """Means over all of them: see `pelrp_nb.aggregate`."""
        return aggregate(self, by, share)

    def matrix(self, reduction: Reduction = "signed", part: Part = "both") -> Rows:
        """(N, T) the relevance of each token in each explanation, nan where one has no such place; rows by `names`.

        part: "both", or "content" or "position" alone.  Columns are the tokens where all have the same (targets or methods of one text,
        what is written next), else their numbers.  Raises InputError where there is no explanation, or no such part.
        """
        return rows_of(self.flat, tuple(Explanations(self.flat).names), reduction, part)

    # --- shown ---------------------------------------------------------------------------------------------------------

    def compare(self, names: Sequence[str] | None = None) -> Sheet:
        """All of them side by side, with differences and linked hover. Raises InputError where there is none."""
        from ..views import compare

        return compare(self.flat, names)

    def figure(self, part: Part | None = None, *, ax: Any = None, size: Any = None, colours: Any = None) -> Figure:
        """What was written against what stood before it, content and position side by side in the same colours; or one `part` alone."""
        from ..views.written import draw

        return draw(*parts_of(self), part, ax, size, colours)

    def written(self) -> Sheet:
        """The same as a view: one heat map, stepped through token by token, content and position apart.

        explain(model, text, processor=tokenizer, target=target.generated(12)).written()
        """
        from ..views.written import sheet

        parts, rows, columns = parts_of(self)
        return sheet(parts, rows, columns, f"{len(rows)} answers, by what stood before them")

    def sheet(self, most: int | None = None) -> Sheet:
        """All of them, or the first `most`, as a view that is not drawn yet: a tile for each, sorted and filtered in the page."""
        from ..views.several import sheet

        return sheet(*self._shown(most), [str(one) for one in self.skipped], whole=most is None)

    def explore(self, **state: Any) -> View:
        """The live view: `explore(sort="value", find="dull")`. Raises MissingError where the widget library is missing."""
        return self.sheet().explore(**state)

    def to_html(self, path: str | os.PathLike | None = None) -> str | None:
        """One page of all of them, the skipped inputs too; written to `path`, or returned as text if there is none.

        A tile for each, sorted and filtered in the page; each opens as its card. Where no scripts run the first 50 are a table.
        """
        return written(self.sheet(), path, "explanations.html")

    def to_dict(self) -> list[Any]:
        """Each as plain data that JSON takes; a list in it for each list in this one."""
        return [one.to_dict() for one in self]

    def to_latex(self, kind: str = "words", reduction: Reduction = "signed") -> str:
        """All of them one after another: see `Explanation.to_latex`."""
        return "\n".join(e.to_latex(kind, reduction) for e in self.flat)

    def __repr__(self) -> str:
        from ..views.several import SHOWN, lines

        return "\n".join([lines(*self._shown(SHOWN)), *map(str, self.skipped)])

    __str__ = __repr__

    def _repr_html_(self) -> str:
        from ..views.several import CELL

        shown = self.sheet(CELL)
        return shown._repr_html_() if shown.data["items"] else shown.table

    def to(self, dtype: torch.dtype | str) -> Explanations:
        """All of them with their numbers in "float16", "float32" or "float64": see `Explanation.to`."""
        return converted(self, known(dtype))

    # --- files ---------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike) -> None:
        """Write all of them to one .npz or .safetensors file, whole or not at all: see `Explanation.save`."""
        write(path, {MANY: _trees(self)})

    @classmethod
    def load(cls, path: str | os.PathLike) -> Any:
        """What `save` wrote, equal to what was saved; a file of one explanation is a list of one.

        Of a folder that `explain_to` made: a sequence that reads its shards when they are asked for, see `Stored`.
        Raises FileError as `Explanation.load` does.
        """
        if Path(path).is_dir():
            from .stored import Stored

            return Stored(path, cls)
        tree = read(path)
        with as_promised(path, "whole explanations", AGAIN):
            return _grown(tree.get(MANY, [tree]))


def _trees(found: Sequence[Any]) -> list[Any]:
    return [_trees(one) if isinstance(one, list) else one._tree() for one in found]


def _grown(trees: Sequence[Any]) -> Explanations:
    def one(tree: Any) -> Any:
        if isinstance(tree, list):
            return _grown(tree)
        return fitting(Skipped(**tree["skipped"]) if "skipped" in tree else Explanation._grown(tree))

    return Explanations(map(one, trees))


def _text(e: Explanation) -> str:
    """The text that was given, else the tokens."""
    given = e.card.get("text")
    return given if isinstance(given, str) and given else e.text or " ".join(e.tokens)


def _named(name: str, names: Sequence[str]) -> int:
    """The number of the one of that name."""
    found = [i for i, one in enumerate(names) if one == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{name!r} must name one explanation; {', '.join(map(str, found))} are called so. Type found[{found[0]}].")
    near = get_close_matches(name, names, 1, 0.0)
    hint = f"Type found[{near[0]!r}], or a number." if near else "There is none at all."
    raise InputError(f"No explanation is called {name!r}; they are {listed([repr(one) for one in names], 4)}. {hint}")
