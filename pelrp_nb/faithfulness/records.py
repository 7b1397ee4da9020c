"""The file of results: JSON lines, the configuration first, then one line per example, appended whole or not at all.

A run that was killed is resumed from it: what stands in it is not done again, a torn last line is cut off, and a file of another
configuration is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from ..errors import FileError
from .settings import Configuration, lines

FORMAT, VERSION = "pelrp_nb.faithfulness", 1
Record = dict[str, Any]
BINARY = getattr(os, "O_BINARY", 0)  # Windows would write \r\n for the end of a line, and the bytes are counted
There = Literal["refuse", "replace", "resume"]  # what to do with a file that is there


class Records:
    """The records of a run, in memory and, where a path is given, in a file.

    found: all that are known, also from the files that other processes of the run wrote beside this one
    """

    def __init__(self, path: str | os.PathLike | None, header: Mapping[str, Any], there: There = "refuse") -> None:
        self.path = None if path is None else Path(path)
        self.header = dict(header)
        self.found: dict[int, Record] = {}
        self._own: set[int] = set()
        self._file: int | None = None
        if self.path is not None:
            self._open(there)

    def _open(self, there: There) -> None:
        """Take up the file that is there, replace it or refuse it; then open it to append."""
        path = self.path
        assert path is not None
        if path.is_dir() or not path.parent.is_dir():
            raise FileError(f"{path} must be the name of a file in a folder that exists. Type another path, or mkdir -p first.")
        full = path.is_file() and path.stat().st_size > 0
        if full and there == "refuse":
            raise FileError(f"{path} exists. Type --resume to go on with it, or another name.")
        if full and there == "replace":
            path.unlink()
            full = False
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | BINARY, 0o644)
        except OSError as error:
            raise FileError(f"{path} must be writable, and the system said: {error.strerror}. Type another path.") from error
        whole = self._read(path) if full else 0
        self._own = set(self.found)
        if full:
            os.ftruncate(self._file, whole)
        if not whole:
            self._append(self.header)
        if there == "resume":
            self._look_beside(path)

    def _look_beside(self, path: Path) -> None:
        """Take what other processes of the same run wrote into files of their own."""
        stem = path.with_suffix("") if path.suffix[1:].isdecimal() else path
        for other in (stem, *sorted(stem.parent.glob(f"{stem.name}.*"))):
            if other != path and other.is_file() and (other == stem or other.suffix[1:].isdecimal()):
                with suppress(FileError):  # of another run: not ours to read
                    self._read(other)

    def _read(self, path: Path) -> int:
        """Take what stands in the file; the number of bytes up to the end of its last whole line."""
        raw = path.read_bytes()
        whole = raw.rfind(b"\n") + 1
        if not whole:
            return 0
        try:
            header, *records = (json.loads(line) for line in raw[:whole].splitlines())
        except ValueError as error:
            raise FileError(f"{path} must hold JSON lines, and one cannot be read: {error}. Type another path.") from error
        refuse_other(path, header, self.header)
        for record in records:
            self.found.setdefault(int(record["index"]), record)
        return whole

    def add(self, record: Record) -> None:
        """Keep a record; one that is there already is not counted twice."""
        index = record["index"]
        if self._file is not None and index not in self._own:
            self._append(record)
            self._own.add(index)
        self.found.setdefault(index, record)

    def _append(self, value: Mapping[str, Any]) -> None:
        """One line in one write, on the disk when this returns; else the file is as before and FileError is raised."""
        assert self._file is not None
        line = (json.dumps(value, ensure_ascii=True, allow_nan=False) + "\n").encode()
        before = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)
            if written < len(line):
                written += os.write(self._file, line[written:])
            with suppress(OSError):  # not every file system can
                os.fsync(self._file)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, before)
            raise FileError(
                f"{self.path} cannot be written: {error.strerror}. The examples before are safe in it; "
                "make room and type the same command with --resume."
            ) from error

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def merge(self, others: Iterable[Record], keep: bool) -> None:
        """Take the records that other processes made; `keep` them in this file too."""
        for record in sorted(others, key=lambda record: record["index"]):
            if keep:
                self.add(record)
            self.found.setdefault(record["index"], record)


def header_of(configuration: Configuration, methods: Iterable[str], weights: str) -> dict[str, Any]:
    """The first line: what must be the same for results to stand in one file."""
    return {
        "format": FORMAT, "version": VERSION, "fingerprint": configuration.fingerprint, "weights": weights,
        "methods": list(methods), "configuration": configuration.plain(),
    }  # fmt: skip


def refuse_other(path: Path, there: Any, ours: Mapping[str, Any]) -> None:
    """Raises FileError where a file belongs to another configuration, model or program."""
    if not isinstance(there, dict) or there.get("format") != FORMAT:
        raise FileError(f"{path} must be a file of results, and is something else. Type another path.")
    if there == dict(ours):
        return
    was, now = (dict(lines(x)) for x in (there, ours))
    other = [f"{k} was {was.get(k)}, is {now.get(k)}" for k in sorted(was | now) if was.get(k) != now.get(k) and k != "fingerprint"]
    raise FileError(
        f"{path} belongs to another configuration, and results are never mixed: {'; '.join(other[:6])}. "
        "Type another path, or the configuration it was begun with."
    )
