"""Tables that a command writes into a page, between two lines of it: what a person wrote around them stays."""

from __future__ import annotations

from pathlib import Path

from ..errors import FileError
from .serialisation import put


def put_between(path: Path, tables: str, begin: str, end: str) -> None:
    """Put tables between two lines of a page; a page of them alone where there is none.

    Raises FileError where the page has no such lines, or cannot be written.
    """
    page = path.read_text(encoding="utf-8") if path.exists() else f"{begin}\n{end}\n"
    before, _, rest = page.partition(begin)
    _, there, after = rest.partition(end)
    if not there:
        raise FileError(f"{path} must have the lines {begin} and {end}, between which the tables go. Add them, or name a new file.")
    put(path, f"{before}{begin}\n{tables}\n{end}{after}".encode())
