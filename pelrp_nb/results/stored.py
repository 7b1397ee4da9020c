"""Explanations in a folder: a sequence that reads one shard at a time, when it is asked for what stands in it.

found = Explanations.load("folder")
found[40_000], found["a7"]             by its number, or by its name if the source had names
for result in found: ...               one shard in memory at a time
found.table(), found.aggregate("token")
"""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ..errors import CallError, InputError, RowError
from ..inputs.rows import Skipped
from .as_promised import WRONG, fitting
from .aggregate import By, aggregate
from .columns import explanation_of
from .folder import Entry, Folder

if TYPE_CHECKING:
    from pandas import DataFrame

PLAIN = ["index", "id", "question", "skipped", "text", "target", "value", "verdict", "gap"]  # columns that are read without the rest


class Stored(Sequence[Any]):
    """The answers that stand in a folder, in the order of the inputs; read when they are asked for.

    numbers: the number of the input that each answers; complete: whether all inputs of the run are there
    """

    def __init__(self, path: str | os.PathLike, several: Callable[[Any], Any], without: frozenset[int] = frozenset()) -> None:
        self.folder, self._several, self._without = Folder(path), several, without
        self.configuration = self.folder.configuration()
        self._entries = [entry for entry in self.folder.entries() if entry.number not in without]
        self._starts = [0]
        for entry in self._entries:
            self._starts.append(self._starts[-1] + entry.inputs)
        self._read: tuple[int, list[Any]] | None = None

    @property
    def complete(self) -> bool:
        """Whether all inputs of the run are here."""
        return self.folder.inputs == len(self)

    @property
    def numbers(self) -> list[int]:
        """The number of the input that each answers."""
        return [entry.first + k for entry in self._entries for k in range(entry.inputs)]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, at: Any) -> Any:
        """One by its number or its name; some by a slice, as a list in memory."""
        if isinstance(at, str):
            return self[self._named(at)]
        if isinstance(at, slice):
            return self._several(self[i] for i in range(*at.indices(len(self))))
        if not hasattr(at, "__index__"):
            raise CallError(f"A stored explanation goes by its number or its name, got {at!r}. Type found[0], or found[:10].")
        number = at.__index__() + (len(self) if at.__index__() < 0 else 0)
        if not 0 <= number < len(self):
            raise RowError(f"There are {len(self)} explanations, and number {at} was asked for. Type found[0] or found[-1].")
        k = bisect_right(self._starts, number) - 1
        return self._shard(k)[number - self._starts[k]]

    def __iter__(self) -> Iterator[Any]:
        for k in range(len(self._entries)):
            yield from self._shard(k)

    def _named(self, name: str) -> int:
        for k, entry in enumerate(self._entries):
            ids = self.folder.table(entry, ["index", "id"]).to_pylist()
            found = next((row["index"] for row in ids if row["id"] == name), None)
            if found is not None:
                return self._starts[k] + found - entry.first
        raise InputError(f"No explanation here is called {name!r}. Type found.table()['id'] for all names, or a number.")

    def _shard(self, k: int) -> list[Any]:
        """The answers in a shard; the last one that was read is remembered."""
        if self._read is None or self._read[0] != k:
            self._read = None  # one at a time in memory
            self._read = (k, self._answers(self._entries[k]))
        return self._read[1]

    def _answers(self, entry: Entry) -> list[Any]:
        table = self.folder.table(entry)
        try:
            double = str(table.schema.field("content").type.value_type) == "double"
            found = [self._answer(list(rows), double) for _, rows in groupby(table.to_pylist(), key=lambda row: row["index"])]
            if len(found) != entry.inputs:
                raise ValueError(f"it answers {len(found)} inputs where the index says {entry.inputs}")
            return found
        except WRONG as error:
            raise self.folder.refusal(entry, f"holds what is no explanation: {error}") from error

    def _answer(self, rows: Sequence[dict[str, Any]], double: bool) -> Any:
        first = rows[0]
        if first["skipped"] is not None:
            return fitting(Skipped(first["index"], **json.loads(first["skipped"])))
        if first["question"] is None:
            return fitting(explanation_of(first, double))
        return self._several(fitting(explanation_of(row, double)) for row in rows if row["question"] >= 0)

    # --- all of them ---------------------------------------------------------------------------------------------------

    @property
    def damaged(self) -> list[str]:
        """The shards that are not as they were written."""
        return [entry.name for entry in self._entries if not self.folder.is_whole(entry)]

    def whole(self) -> Stored:
        """The same without the shards that are damaged."""
        wrong = {entry.number for entry in self._entries if not self.folder.is_whole(entry)}
        return Stored(self.folder.path, self._several, self._without | wrong)

    @property
    def skipped(self) -> list[Skipped]:
        """The inputs that could not be explained, and why."""
        rows = (row for entry in self._entries for row in self.folder.table(entry, ["index", "skipped"]).to_pylist())
        return [Skipped(row["index"], **json.loads(row["skipped"])) for row in rows if row["skipped"] is not None]

    def table(self) -> DataFrame:
        """One line per explanation: index, id, question, text, target, value, ledger's verdict, gap; why it was skipped."""
        import pandas as pd

        frames = [self.folder.table(entry, PLAIN).to_pandas() for entry in self._entries]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=PLAIN)

    def aggregate(self, by: By = "token", share: bool = False) -> DataFrame:
        """Means over all of them, shard by shard: see `pelrp_nb.aggregate`."""
        return aggregate(self, by, share)

    def __repr__(self) -> str:
        total = self.folder.inputs
        state = "complete" if self.complete else f"{len(self)} of {'an unknown number of' if total is None else total}"
        return f"Stored({str(self.folder.path)!r}: {len(self)} inputs in {len(self._entries)} shards, {state})"
