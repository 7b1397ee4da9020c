"""Two pages of the atlas side by side: what was lost, what was won, and where other positions were found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import FileError
from .expected import CHANGED
from .table import HEADER

Name = tuple[str, str, str]  # kind, name, class
Found = Mapping[Name, tuple[str, str]]  # verdict, positions found


def found_in(path: Path) -> Found:
    """What a page says of each architecture. Raises FileError if it is none."""
    try:
        found = dict(lines(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path} must be a page of the atlas, and {error}. Type --compare OLD.md NEW.md.") from error
    if not found:
        raise FileError(f"{path} must be a page of the atlas, as --out writes it; no table of it is there. Type --compare OLD.md NEW.md.")
    return found


def lines(text: str) -> Iterator[tuple[Name, tuple[str, str]]]:
    """The rows of a page's tables."""
    kind = ""
    for row in text.splitlines():
        kind = row[3:].partition(" (")[0] if row.startswith("## ") else kind
        cells = tuple(cell.strip() for cell in row[1:-1].split(" | ")) if row.startswith("| ") else ()
        if len(cells) == len(HEADER) and cells != HEADER:
            yield (kind, cells[0], cells[1]), (cells[3], cells[4])


def differences(old: Found, new: Found) -> tuple[list[str], bool]:
    """What differs, a line each, and whether something closed was lost."""
    told, lost = [], False
    for name in dict.fromkeys((*old, *new)):
        (before, had), (now, has) = (found.get(name, ("not listed", "")) for found in (old, new))
        where = f"{name[1]} ({name[0]}, {name[2]})"
        if before != now:
            lost = lost or before == "closed"
            told.append(f"{where}: {before}, now {now}")
        if had != has and before == now == "closed":
            why = CHANGED.get(f"{name[0]}/{name[1]}", "not explained")
            told.append(f"{where}: {had or 'none'}, now {has or 'none'}: {why}")
    return told, lost
