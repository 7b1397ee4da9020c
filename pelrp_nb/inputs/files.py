"""Rows of tables in files, one after the other: a file is never read as a whole, and a row that cannot be read is told by its line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import InputError
from ..extras import extra

Columns = Mapping[str, Any]
Read = tuple[str, Columns | InputError]  # where a row stands ("line 7 of reviews.csv"), and the row or what is wrong with it
SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")


def rows_of(path: Path) -> Iterator[Columns]:
    """The rows of a csv, tsv, json, jsonl or parquet file, in order.

    Raises InputError where it is none of these, or a line of it cannot be read.
    """
    return map(_whole, read_of(path))


def read_of(path: Path) -> Iterator[Read]:
    """The same, each with its line; one that cannot be read is an InputError in its place."""
    kind = _kind(path)
    readers = {".csv": _table, ".tsv": _table, ".jsonl": _lines, ".json": _array, ".parquet": _parquet}
    return readers[kind](path)


def count_of(path: Path) -> int:
    """How many rows a file has, none of them made: for the time that is left."""
    kind = _kind(path)
    if kind == ".parquet":
        parquet = extra("pyarrow.parquet", "A parquet file")
        with _told(path):
            return parquet.read_metadata(path).num_rows
    if kind == ".jsonl":
        with open(path, "rb") as file:
            return sum(1 for line in file if line.strip())
    return sum(1 for _ in read_of(path))


def _kind(path: Path) -> str:
    """The ending of a file that is there and can be read."""
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise InputError(f"A data file must end in {', '.join(SUFFIXES)}; got {path.name}.")
    if not path.is_file():
        raise InputError(f"There must be a file {path}, and there is none.")
    return kind


def _whole(read: Read) -> Columns:
    where, row = read
    if isinstance(row, InputError):
        raise InputError(f"{where[:1].upper()}{where[1:]} {row}") from row
    return row


def _table(path: Path) -> Iterator[Read]:
    csv.field_size_limit(2**31 - 1)
    name = path.name
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        header: list[str] | None = None
        while True:
            line = rows.line_num + 1
            try:
                cells = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield f"line {line} of {name}", InputError(f"must be a row of a table, but {error}.")
                continue
            if not cells:
                continue
            if header is None:
                header = cells
                continue
            yield f"line {line} of {name}", _row(header, cells)


def _row(header: list[str], cells: list[str]) -> Columns | InputError:
    """The cells by the names of their columns."""
    if len(cells) != len(header):
        return InputError(f"must have {len(header)} cells as the first line has, and has {len(cells)}.")
    if any("\udc80" <= letter <= "\udcff" for cell in cells for letter in cell):
        return InputError("must be a table in UTF-8, and holds other bytes. Convert the file first: iconv -t utf-8.")
    return dict(zip(header, cells, strict=True))


def _lines(path: Path) -> Iterator[Read]:
    with open(path, "rb") as file:
        yield from _objects(file, path.name)


def _objects(file: BinaryIO, name: str) -> Iterator[Read]:
    for number, line in enumerate(file, 1):
        if line.strip():
            yield f"line {number} of {name}", _object(line)


def _object(line: bytes) -> Columns | InputError:
    """The object that a line holds."""
    try:
        row = json.loads(line.decode("utf-8"))
    except ValueError as error:  # no UTF-8 is one, too
        return InputError(f"must be JSON, but {error}.")
    return row if isinstance(row, dict) else InputError(f"must be a JSON object, got {type(row).__name__}.")


def _array(path: Path) -> Iterator[Read]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        yield from _lines(path)
        return
    for number, row in enumerate([rows] if isinstance(rows, dict) else rows, 1):
        fits = isinstance(row, dict)
        yield f"row {number} of {path.name}", row if fits else InputError(f"must be a JSON object, got {type(row).__name__}.")


def _parquet(path: Path) -> Iterator[Read]:
    parquet, number = extra("pyarrow.parquet", "A parquet file"), 0
    with _told(path), parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=64):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number} of {path.name}", row


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What pyarrow says of a file that is damaged, as an InputError with its name."""
    try:
        yield
    except (OSError, ValueError) as error:  # pyarrow's own are kinds of these
        said = str(error).split("\n")[0].rstrip(".")
        raise InputError(f"{path} must be a Parquet file, and cannot be read as one: {said}.") from error
