"""Movie review sentences with human ratings, read and split in the same way on every machine.

The sentences and their ratings come from C.J. Hutto and Eric Gilbert, "VADER: A Parsimonious Rule-based Model for
Sentiment Analysis of Social Media Text", ICWSM 2014 (MIT licence). They travel in the source archive of the Python
package vaderSentiment 3.3.2. Which sentences are held out is a matter of their sha256 alone.

    python -m pelrp_nb.zoo.data OUT [--archive FILE]        writes the sentences that travel with this package
"""

from __future__ import annotations

import argparse
import hashlib
import html
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ZooError

PACKAGE = "vaderSentiment==3.3.2"
CREDIT = "C.J. Hutto and Eric Gilbert, VADER, ICWSM 2014"
LICENSE = "MIT"
LABELS = ("negative", "positive")
THRESHOLD = 0.5  # sentences rated nearer to zero than this are nobody's example
HELD_OUT = 15  # per cent of all sentences
VALIDATION = 8  # per cent of the sentences that are not held out
PACKAGED = 300  # held-out sentences that travel with the package, half of each label

_INNER = "hutto_ICWSM_2014.tar.gz"
_MEMBER = "movieReviewSnippets_GroundTruth.txt"
_MEMBER_SHA256 = "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350"
_HEADER = "text\tlabel\trating"
_COMMAND = f"python -m pip download --no-deps --no-binary :all: {PACKAGE}"


@dataclass(frozen=True)
class Sentence:
    """One sentence, what it says of the film (0 negative, 1 positive), and the mean of its human ratings (-4 to 4)."""

    text: str
    label: int
    rating: float


@dataclass(frozen=True)
class Split:
    """The sentences to learn from, those to stop by, and those never looked at before the end."""

    train: tuple[Sentence, ...]
    validation: tuple[Sentence, ...]
    held_out: tuple[Sentence, ...]


def sentences(archive: str | Path | None = None) -> list[Sentence]:
    """All sentences of an archive, or of a table as `write` makes it; without a name the archive is fetched once."""
    path = Path(archive) if archive is not None else fetch()
    if not path.is_file():
        raise ZooError(f"The archive must be a file, but there is none at {path}. To get it, type:\n    {_COMMAND}")
    if not _is_archive(path):
        return read(path)
    text = _dig(path.read_bytes(), path.name)
    if hashlib.sha256(text).hexdigest() != _MEMBER_SHA256:
        raise ZooError(
            f"{_MEMBER} in {path} is not the file of {PACKAGE} (its sha256 differs), so the split would differ too. "
            f"To get the right one, type:\n    {_COMMAND}"
        )
    return _rated(text.decode("utf-8"))


def split(found: Iterable[Sentence]) -> Split:
    """Deal the sentences out by the sha256 of their text."""
    dealt: dict[str, list[Sentence]] = {"train": [], "validation": [], "held_out": []}
    for sentence in found:
        first, second = _percent(sentence.text)
        dealt["held_out" if first < HELD_OUT else "validation" if second < VALIDATION else "train"].append(sentence)
    return Split(**{part: tuple(some) for part, some in dealt.items()})


def packaged(held_out: Sequence[Sentence], count: int = PACKAGED) -> list[Sentence]:
    """Half of each label, the first in the order of their hashes: no model has a say in it."""
    order = sorted(held_out, key=lambda sentence: _digest(sentence.text))
    chosen = {s for label in range(len(LABELS)) for s in [s for s in order if s.label == label][: count // len(LABELS)]}
    return [sentence for sentence in order if sentence in chosen]


def read(path: Path) -> list[Sentence]:
    """A table of sentences: a header line, then text, label and rating between tabs."""
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines()
        if header != _HEADER:
            raise ValueError(f"its first line is {header[:60]!r}")
        rows = [line.split("\t") for line in lines if line]
        return [Sentence(text, int(label), float(rating)) for text, label, rating in rows]
    except (ValueError, OSError) as error:
        raise ZooError(
            f"{path} must be an archive or a table with the header text, label, rating between tabs, but {error}. "
            f"To get the archive, type:\n    {_COMMAND}"
        ) from error


def write(found: Iterable[Sentence], path: Path) -> None:
    """Write sentences as the table that `read` reads."""
    lines = [_HEADER, *(f"{s.text}\t{s.label}\t{s.rating:.4f}" for s in found)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def cached_archive() -> Path:
    """Where the archive lies once it was fetched."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pelrp_nb" / "vaderSentiment-3.3.2.tar.gz"


def fetch() -> Path:
    """The archive in the user's cache folder, fetched by pip the first time."""
    kept = cached_archive()
    if kept.is_file():
        return kept
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*_COMMAND.split()[1:], "--quiet", "--retries", "1", "--timeout", "20", "--dest", folder]
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, errors="replace", check=False)
        files = sorted(Path(folder).glob("*.tar.gz"))
        if done.returncode or not files:
            last = (done.stderr.strip().splitlines() or ["no file came"])[-1]
            raise ZooError(
                f"The review sentences could not be fetched: {last}\nWhere there is a network, type:\n    {_COMMAND}\n"
                "and pass the file it leaves: python -m pelrp_nb.zoo.train NAME --archive FILE"
            )
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(files[0], kept)
    return kept


def _is_archive(path: Path) -> bool:
    """Whether it begins like an archive; a broken one does too, and is refused when it is opened."""
    try:
        return tarfile.is_tarfile(path)
    except EOFError:
        return True


def _dig(archive: bytes, name: str) -> bytes:
    """The text file in the archive, or in the archive inside it."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            for member in opened.getmembers():
                inside = opened.extractfile(member) if member.name.endswith((_MEMBER, _INNER)) else None
                if inside is not None:
                    return inside.read() if member.name.endswith(_MEMBER) else _dig(inside.read(), _INNER)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ZooError(f"{name} is damaged: {error}. To get it again, type:\n    {_COMMAND}") from error
    raise ZooError(f"{name} must contain {_MEMBER}, but does not. To get the right archive, type:\n    {_COMMAND}")


def _rated(text: str) -> list[Sentence]:
    """Clean the lines `number, rating, sentence`, drop the undecided and what says the same twice."""
    found: dict[str, Sentence] = {}
    for line in text.splitlines():
        _, rating, raw = line.split("\t")
        clean = " ".join(unicodedata.normalize("NFC", html.unescape(raw)).replace("''", '"').split())
        if abs(float(rating)) > THRESHOLD and clean not in found:
            found[clean] = Sentence(clean, int(float(rating) > 0), float(rating))
    return list(found.values())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _percent(text: str) -> tuple[int, int]:
    """Two independent numbers below 100."""
    digest = _digest(text)
    return int(digest[:8], 16) % 100, int(digest[8:16], 16) % 100


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the held-out sentences that travel with the package."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb.zoo.data", description=main.__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="the table to write")
    parser.add_argument("--archive", type=Path, metavar="FILE", help=f"the source archive of {PACKAGE}")
    given = parser.parse_args(arguments)
    write(packaged(split(sentences(given.archive)).held_out), given.out)


if __name__ == "__main__":
    main()
