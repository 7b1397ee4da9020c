"""What was handed in: a notebook's code cells, whatever has become of the notebook."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .course import LABS, of_lab

LARGEST = 20 * 2**20
CHECKED = re.compile(r"labs\.check\(\s*[\"']([^\"']+)")
CELL = re.compile(r"^# %%.*$", re.MULTILINE)


@dataclass(frozen=True)
class Submission:
    """One file that was handed in.

    name:   its path below the folder of submissions
    digest: sha256 of its bytes
    lab:    its number, "" if it cannot be told
    cells:  the source of its code cells, in order
    notes:  what is odd about it
    """

    name: str
    digest: str
    lab: str
    cells: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def found_in(folder: Path, out: Path) -> list[Path]:
    """All submissions in a folder and below it, in order: notebooks, and scripts that check an exercise.

    No links, no hidden folders, not the results.
    """
    return [path for path in _visible(folder, out) if _handed_in(path)]


def left_out(folder: Path, out: Path) -> list[str]:
    """The other files of the folder, which somebody may have meant as a submission."""
    return [path.relative_to(folder).as_posix() for path in _visible(folder, out) if not _handed_in(path)]


def _handed_in(path: Path) -> bool:
    if path.is_symlink():
        return False
    return path.suffix == ".ipynb" or (path.suffix == ".py" and CHECKED.search(_script(path)) is not None)


def _script(path: Path) -> str:
    """The text of a script; nothing if it cannot be had."""
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.stat().st_size <= LARGEST else ""
    except OSError:
        return ""


def _visible(folder: Path, out: Path) -> list[Path]:
    def visible(path: Path) -> bool:
        return not any(part.startswith(".") for part in path.relative_to(folder).parts) and not path.is_relative_to(out)

    return sorted(path for path in folder.rglob("*") if path.is_file() and visible(path))


def read(path: Path, folder: Path) -> Submission:
    """A submission from its file; never raises for what is in it."""
    name = path.relative_to(folder).as_posix()
    try:
        if path.stat().st_size > LARGEST:
            return Submission(name, "", _lab_in(path.name), (), ("The file is larger than 20 MB and was not opened.",))
        raw = path.read_bytes()
    except OSError as error:
        return Submission(name, "", _lab_in(path.name), (), (f"The file cannot be read: {error.strerror}.",))
    digest = hashlib.sha256(raw).hexdigest()
    if path.suffix == ".py":
        cells = tuple(CELL.split(raw.decode(errors="replace")))
        lab = next(iter(_labs_of(cells)), "") or _lab_in(path.name)
        return Submission(name, digest, lab, cells, ("It is a script, not a notebook; its cells are told by lines that begin with # %%.",))
    try:
        notebook = json.loads(raw)
        cells = tuple(_sources(notebook))
        about = notebook.get("metadata", {}).get("pelrp", {})
    except (ValueError, RecursionError):
        text = "The file is empty." if not raw.strip() else "The file is not a notebook: it is not JSON."
        return Submission(name, digest, _lab_in(path.name), (), (text,))
    except (AttributeError, TypeError, KeyError):
        text = "The file is JSON, but not a notebook of format 4. If it is an older one, open it in Jupyter and save it again."
        return Submission(name, digest, _lab_in(path.name), (), (text,))
    about = about if isinstance(about, dict) else {}
    said, checked = str(about.get("lab", "")), _labs_of(cells)
    lab = said if said in LABS and (not checked or said in checked) else next(iter(checked), "") or _lab_in(path.name)
    return Submission(name, digest, lab, cells, tuple(_odd(cells, about, lab)))


def _sources(notebook: dict[str, Any]) -> Iterator[str]:
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            source = cell.get("source", "")
            yield source if isinstance(source, str) else "".join(map(str, source))


def _labs_of(cells: tuple[str, ...]) -> list[str]:
    """The labs whose exercises the cells check, the one with most of them first."""
    checked = set(CHECKED.findall("\n".join(cells)))
    number = {lab: len(checked & {exercise.name for exercise in of_lab(lab)}) for lab in LABS}
    return sorted((lab for lab in LABS if number[lab]), key=lambda lab: -number[lab])


def _lab_in(filename: str) -> str:
    return next((lab for lab in re.findall(r"(?<!\d)\d\d(?!\d)", filename) if lab in LABS), "")


def _odd(cells: tuple[str, ...], about: dict[str, Any], lab: str) -> Iterator[str]:
    from ..version import __version__

    if not any(cell.strip() for cell in cells):
        yield "There is no code in it."
    if not lab:
        yield "It cannot be told which lab this is: nothing in it is checked, and its name has no number of a lab."
    said = str(about.get("lab", lab))
    if lab and said != lab:
        yield f"It says that it is lab {said[:20]}, and was graded as lab {lab}, whose exercises it checks."
    made_for = str(about.get("version", __version__))
    if made_for != __version__:
        yield f"It was made for pelrp_nb {made_for[:20]}, and graded by {__version__}."
