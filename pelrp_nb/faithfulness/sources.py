"""Rows of datasets of the hub, streamed; those of local files are read by `inputs/files.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError
from ..extras import extra
from ..inputs.files import Columns


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
