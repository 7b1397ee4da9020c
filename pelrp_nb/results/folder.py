"""A folder of shards: each whole or not there, with its checksum, made by one process at a time, all of one configuration.

run.json              what all shards have in common: model, target, composite ... ; the first process writes it
shards/00000.parquet  the answers to inputs 0 to 511
index/00000.json      its checksum, its rows, and which inputs they answer: a shard without this is not there yet
claims/00000.lock     locked by the process that makes the shard; the system unlocks it when that process is no more
complete.json         how many inputs there are, when all shards are there
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import FileError
from ..extras import extra
from .as_promised import as_promised, fitting
from .serialisation import contents, put

FORMAT, VERSION = "pelrp_nb.explanations", 1
ROOMS = ("shards", "index", "claims")
PACKED, SMALL = 100, 256 * 2**20  # a shard may unpack to so many times its size, or to so many bytes
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Entry:
    """What the index says of a shard: its number, the first input and how many, its rows, and checksums of its inputs and its file."""

    number: int
    first: int
    inputs: int
    rows: int
    given: str
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """The shard's file in its folder."""
        return f"shards/{self.number:05}.parquet"


class Folder:
    """Where the shards of a run stand."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path).absolute()  # whoever changes the working folder later

    # --- written ---------------------------------------------------------------------------------------------------

    def begin(self, configuration: Mapping[str, Any], resume: bool) -> None:
        """Make the folder, or take up the run that is in it.

        Raises FileError where it holds something else, a run of another configuration, or any run if not `resume`.
        """
        path = self.path
        if path.exists() and not path.is_dir():
            raise FileError(f"{path} must be a folder, and is a file. Type another path.")
        try:
            if path.is_dir() and not self._ours() and (strange := self._strange()):
                raise FileError(f"{path} must be empty or hold a run, and holds {strange}. Type another folder.")
            for part in ROOMS:
                (path / part).mkdir(parents=True, exist_ok=True)
            with FileLock(path / "claims" / "run.lock"):
                there = self.configuration() if self._ours() else None
                if there is None:
                    ours = {"format": FORMAT, "version": VERSION, "configuration": configuration}
                    put(path / "run.json", json.dumps(ours, indent=1).encode())
        except OSError as error:
            raise FileError(f"{path} must be writable, and the system said: {error.strerror}. Type another folder.") from error
        if there is not None and not resume:
            raise FileError(f"{path} holds a run already. Type resume=True to go on with it, or another folder.")
        if there is not None:
            refuse_other(path, there, json.loads(json.dumps(configuration)))

    @contextmanager
    def claim(self, number: int, wait: bool = False) -> Iterator[bool]:
        """Whether this process may make the shard, as long as the `with` lasts; `wait` until it may."""
        lock = FileLock(self.path / "claims" / f"{number:05}.lock")
        try:
            lock.acquire(blocking=wait, poll_interval=0.5)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def add(self, entry: Entry, raw: bytes) -> None:
        """A shard and then its line of the index, each whole and on the disk when this returns.

        Raises FileError where they cannot be written; what was there before is still whole.
        """
        try:
            put(self.path / entry.name, raw)
            put(self._line(entry.number), json.dumps(asdict(entry)).encode())
        except FileError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno not in FULL:
                raise
            raise FileError(
                f"The disk of {self.path} is full: {cause.strerror}. The shards before are whole and kept; make room and type the same "
                "again, and it goes on from there."
            ) from error

    def finish(self, inputs: int) -> None:
        """Say that all shards are there, and take away what killed processes left."""
        put(self.path / "complete.json", json.dumps({"inputs": inputs}).encode())
        for left in self.path.glob("*/.*.part"):
            left.unlink(missing_ok=True)

    # --- read ------------------------------------------------------------------------------------------------------

    def configuration(self) -> dict[str, Any]:
        """What all shards have in common. Raises FileError where the folder holds no run."""
        said = self._json(self.path / "run.json")
        if said.get("format") != FORMAT:
            raise FileError(f"{self.path} must be a folder that explain_to made, and is none. Type the path of one.")
        if said.get("version") != VERSION:
            came = said.get("version")
            raise FileError(f"{self.path} must be of format {VERSION}, and is of format {came}. Type pip install --upgrade pelrp_nb")
        if not isinstance(said.get("configuration"), dict):
            raise FileError(
                f"{self.path / 'run.json'} must hold the configuration of a run, and is damaged. Type the path of another folder."
            )
        return said["configuration"]

    def entry(self, number: int) -> Entry | None:
        """What the index says of a shard; None if it is not there yet."""
        line = self._line(number)
        if not line.is_file():
            return None
        found = self._entry(number)
        there = self.path / found.name
        return found if there.is_file() and there.stat().st_size == found.bytes else None

    def entries(self) -> list[Entry]:
        """The shards that the index names, in order."""
        names = sorted(int(line.stem) for line in (self.path / "index").glob("[0-9]*.json") if line.stem.isdecimal())
        return [self._entry(number) for number in names]

    @property
    def inputs(self) -> int | None:
        """How many inputs there are; None while the run is not complete."""
        done = self.path / "complete.json"
        if not done.is_file():
            return None
        said = self._json(done).get("inputs")
        if not isinstance(said, int):
            raise FileError(f"{done} must say how many inputs there are, and is damaged. Delete it, and type the same run again.")
        return said

    def raw(self, entry: Entry) -> bytes:
        """A shard's bytes. Raises FileError, with the shard's name, where they are not those that were written."""
        try:
            raw = contents(self.path / entry.name, "")
            wrong = None if hashlib.sha256(raw).hexdigest() == entry.sha256 else "is not as it was written: its checksum is another"
        except FileError as error:
            wrong = f"cannot be read: {error}"
        if wrong is None:
            return raw
        raise self.refusal(entry, wrong)

    def refusal(self, entry: Entry, wrong: str) -> FileError:
        """The error for a shard with which something is wrong."""
        return FileError(
            f"The shard {self.path / entry.name} {wrong}. Inputs {entry.first} to {entry.first + entry.inputs - 1} stand in it; the "
            "others can be read: Explanations.load(path).whole(). To make it again delete it and type the same run."
        )

    def is_whole(self, entry: Entry) -> bool:
        """Whether a shard is as it was written."""
        try:
            return bool(self.raw(entry))
        except FileError:
            return False

    def table(self, entry: Entry, columns: list[str] | None = None) -> Any:
        """The rows of a shard as a pyarrow table. Raises FileError, with the shard's name, where it is damaged."""
        raw, parquet = self.raw(entry), extra("pyarrow.parquet", "A folder of explanations")
        try:
            file = parquet.ParquetFile(io.BytesIO(raw))
            groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
            said = sum(max(c.total_uncompressed_size, c.num_values) for g in groups for c in map(g.column, range(g.num_columns)))
            if said > max(PACKED * len(raw), SMALL):
                raise ValueError(f"it would unpack to {said / 2**20:,.0f} MiB")
            return file.read(columns=columns)
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:  # pyarrow's own are ValueErrors and OSErrors
            raise self.refusal(entry, f"cannot be read as one: {error}") from error

    def _strange(self) -> str | None:
        """What no run leaves, not even one that has only just begun: the name of a file or a folder."""
        unknown = [one.name for one in self.path.iterdir() if one.name not in (*ROOMS, "run.json") and one.suffix != ".part"]
        unknown += [f"{room}/{one.name}" for room in ("shards", "index") for one in (self.path / room).glob("*")]
        return None if self._ours() else min(unknown, default=None)

    def _ours(self) -> bool:
        return (self.path / "run.json").is_file()

    def _line(self, number: int) -> Path:
        return self.path / "index" / f"{number:05}.json"

    def _entry(self, number: int) -> Entry:
        line = self._line(number)
        with as_promised(line, "a line of the index", "Delete it, and type the same run again."):
            found = fitting(Entry(**self._json(line)))
            if found.number != number or min(found.first, found.inputs, found.rows) < 0:
                raise ValueError("its numbers cannot be")
            return found

    def _json(self, path: Path) -> dict[str, Any]:
        try:
            found = json.loads(contents(path, "Type the folder that explain_to made.").decode())
        except (ValueError, RecursionError) as error:
            raise FileError(f"{path} must be JSON, and cannot be read as it: {error}.") from error
        if not isinstance(found, dict):
            raise FileError(f"{path} must be a JSON object, and is a {type(found).__name__}.")
        return found


def packed(table: Any) -> bytes:
    """A table as the bytes of a Parquet file."""
    file = io.BytesIO()
    extra("pyarrow.parquet", "A folder of explanations").write_table(table, file, compression="zstd")
    return file.getvalue()


def refuse_other(path: Path, there: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Raise FileError where a folder belongs to another configuration, and say which setting differs."""
    other = [f"{name} was {there.get(name)}, is {ours.get(name)}" for name in {**there, **ours} if there.get(name) != ours.get(name)]
    if other:
        raise FileError(
            f"{path} was made with another configuration, and results are never mixed: {'; '.join(other)}. Type another folder, or the "
            "configuration it was begun with."
        )
