"""Rows of local files and of datasets of the hub, one after the other: a file is never read as a whole."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..extras import extra

Columns = Mapping[str, Any]
SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")


def rows_of(path: Path) -> Iterator[Columns]:
    """The rows of a csv, tsv, json, jsonl or parquet file, in order.

    Raises InputError where it is none of these, or a line of it cannot be read.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise InputError(f"A data file must end in {', '.join(SUFFIXES)}; got {path.name}.")
    if not path.is_file():
        raise InputError(f"There must be a file {path}, and there is none.")
    readers = {".csv": _table, ".tsv": _table, ".jsonl": _lines, ".json": _array, ".parquet": _parquet}
    return readers[kind](path)


def _table(path: Path) -> Iterator[Columns]:
    csv.field_size_limit(2**31 - 1)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} must be a table in UTF-8, but {error}.") from error


def _lines(path: Path) -> Iterator[Columns]:
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"Line {number} of {path} must be JSON, but {error}.") from error
            if not isinstance(row, dict):
                raise InputError(f"Line {number} of {path} must be a JSON object, got {type(row).__name__}.")
            yield row


def _array(path: Path) -> Iterator[Columns]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        yield from _lines(path)
        return
    if isinstance(rows, dict):
        rows = [rows]
    yield from rows


def _parquet(path: Path) -> Iterator[Columns]:
    with extra("pyarrow.parquet", "A parquet file").ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=64):
            yield from batch.to_pylist()


def of_the_hub(name: str, split: str) -> Iterator[Columns]:
    """The rows of a dataset of the hub, or of a folder that `datasets` knows, streamed.

    `owner/name:configuration` picks one of several.
    Raises InputError where the package `datasets` is missing or finds no such data.
    """
    datasets = extra("datasets", "A dataset of the hub")
    path, _, part = name.partition(":")
    try:
        if Path(path).is_dir() and (Path(path) / "dataset_info.json").exists():
            found = datasets.load_from_disk(path)
        else:
            found = datasets.load_dataset(path, part or None, split=split, streaming=True)
    except Exception as error:  # network, names, formats: each library below has errors of its own
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{name!r} must be a dataset with the split {split!r}, but loading it failed: {reason}") from error
    yield from found
