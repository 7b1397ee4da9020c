"""Where many inputs come from: a list, an iterator, a file, a table, a data set; each with its number, its place and its name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from .files import Columns, Read, count_of, read_of

TEXT = "text"  # the column that is read where none is named


@dataclass(frozen=True)
class Item:
    """One input of many.

    given: what `explain` takes, or the error where it cannot be read; where: "line 7 of reviews.csv", or ""; id: its own name
    """

    number: int
    given: Any
    where: str = ""
    id: str | None = None


@dataclass(frozen=True)
class Source:
    """Many inputs, and which columns hold what.

        Source("reviews.csv", text="review", id="key")
        Source(datasets.load_dataset("owner/name", split="test"), text="premise", pair="hypothesis")

    data: the path of a .jsonl, .json, .csv, .tsv or .parquet file, a datasets.Dataset, a data frame; or a list or an iterator
        of what `explain` takes, and of rows where `text` or `id` is named
    text: the column of the text, "text" if there is one; pair: of a second text; id: of a name that no other row has
    """

    data: Any
    text: str | None = None
    pair: str | None = None
    id: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.data, str | bytes) and not Path(str(self.data)).suffix:
            raise InputError(f"There must be many inputs, or the path of a file of them, got {self.data!r}. Type [{self.data!r}] for one.")
        if isinstance(self.data, Mapping) or not isinstance(self.data, str | Path | Iterable):
            came = type(self.data).__name__
            raise InputError(f"There must be many inputs: a list, an iterator, a file or a data set; got {came}. Type [input] for one.")

    @property
    def once(self) -> bool:
        """Whether it can be read only once, as an iterator."""
        return isinstance(self.data, Iterator)

    @property
    def count(self) -> int | None:
        """How many inputs there are; None where nobody knows. Raises InputError where the file is not there."""
        if isinstance(self.data, str | Path):
            return count_of(Path(self.data))
        return len(self.data) if isinstance(self.data, Sized) else None

    @property
    def named(self) -> bool:
        """Whether it holds rows of named columns."""
        return bool(self.text or self.pair or self.id or isinstance(self.data, str | Path) or hasattr(self.data, "column_names"))

    def items(self) -> Iterator[Item]:
        """One after the other, from the first. Raises InputError where the file is not there or lacks a column."""
        if hasattr(self.data, "iloc") and hasattr(self.data, "columns"):  # a data frame
            names = list(map(str, self.data.columns))
            rows = (dict(zip(names, row, strict=True)) for row in self.data.itertuples(index=False, name=None))
            return self._of_rows((f"row {i}", row) for i, row in enumerate(rows))
        if isinstance(self.data, str | Path):
            return self._of_rows(read_of(Path(self.data)))
        if self.named:
            return self._of_rows((f"row {i}", row) for i, row in enumerate(self.data))
        return (Item(number, given) for number, given in enumerate(self.data))

    def _of_rows(self, rows: Iterable[Read]) -> Iterator[Item]:
        met: dict[bytes, str] = {}  # of each name 16 bytes, and where it stood
        columns: set[str] = set()
        for number, (where, row) in enumerate(rows):
            if isinstance(row, Mapping) and not columns:
                columns = set(row)
                self._check(columns, where)
            given, name = (row, None) if isinstance(row, InputError) else self._of_row(row, met, where)
            yield Item(number, given, where, name)

    def _check(self, columns: set[str], where: str) -> None:
        """Raise InputError where the first row lacks a column."""
        for role, column in (("text", self.text or TEXT), ("pair", self.pair), ("id", self.id)):
            if column is not None and column not in columns:
                raise InputError(
                    f"There must be a column {column!r}, and {where} has {', '.join(sorted(columns))}. "
                    f'Type Source(..., {role}="the column"), or --{role} on the command line.'
                )

    def _of_row(self, row: Any, met: dict[bytes, str], where: str) -> tuple[Any, str | None]:
        """The input of one row, or what is wrong with it; and its name."""
        if not isinstance(row, Mapping):
            return InputError(f"a row of named columns must stand here, got {type(row).__name__}."), None
        found = [_cell(row, column) for column in (self.text or TEXT, self.pair) if column is not None]
        wrong = next((x for x in found if isinstance(x, InputError)), None)
        name = None if self.id is None or row.get(self.id) is None else str(row[self.id])
        if self.id is not None and wrong is None:
            wrong = _known(name, self.id, met, where)
        return wrong or (found[0] if self.pair is None else tuple(found)), name


def _cell(row: Columns, column: str) -> Any:
    found = row.get(column)
    return InputError(f"column {column!r} must hold a text, and is empty.") if found is None or found != found else found


def _known(name: str | None, column: str, met: dict[bytes, str], where: str) -> InputError | None:
    """What is wrong with a name: that there is none, or that another row has it."""
    if name is None:
        return InputError(f"column {column!r} must name the row, and is empty.")
    key = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    if key in met:
        return InputError(f"no two rows may have one name, and {name!r} in column {column!r} is also that of {met[key]}.")
    met[key] = where
    return None


def as_source(given: Any) -> Source:
    """A Source of whatever came."""
    return given if isinstance(given, Source) else Source(given)
