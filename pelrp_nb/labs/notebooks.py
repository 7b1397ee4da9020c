"""Student, solution, instructor and tutorial notebooks from one master.

A master is a jupytext percent file in `tutorials/`. Answers stand between `# BEGIN SOLUTION` and `# END SOLUTION`, in the spelling
that nbgrader and otter read too; a check stands right below. Hints come from the exercise, so they are written once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import InputError
from ..extras import extra
from .course import LABS, by_name
from .exercise import Exercise


@dataclass(frozen=True)
class Contents:
    """What a notebook for students holds beside its text.

    hints: folded below each check; links: to Binder and Colab, where the tutorial with its solutions lies
    own_seed: a line for the student's name, from which the numbers are drawn
    """

    hints: bool = True
    links: bool = True
    own_seed: bool = False


REPOSITORY = "pelrp-nb/pelrp_nb"  # on GitHub; the badges point to its release
Kind = Literal["tutorial", "student", "solution", "instructor"]
CHECK = re.compile(r"labs\.check\(\s*[\"']([^\"']+)[\"']")
REGION = re.compile(r"^([ \t]*)# BEGIN SOLUTION\n(.*?)^[ \t]*# END SOLUTION[^\n]*\n?", re.DOTALL | re.MULTILINE)
MARK = re.compile(r"^[ \t]*# (BEGIN|END) SOLUTION[^\n]*\n?", re.MULTILINE)


def masters() -> dict[str, Path]:
    """The master of each lab, by its number: beside the package in a checkout, inside it where it was installed."""
    here = Path(__file__).resolve().parent
    for folder in (here / "masters", here.parent.parent / "tutorials"):
        found = {path.name[:2]: path for path in sorted(folder.glob("[0-9][0-9]_*.py")) if path.name[:2] in LABS}
        if found:
            return found
    raise InputError("The masters of the labs must lie in tutorials/, and are not there. Install pelrp_nb again.")


def master(lab: str) -> Path:
    """The master of one lab. Raises InputError for a number that has none."""
    found = masters()
    if lab not in found:
        raise InputError(f"There must be a lab of that number; got {lab!r}. There are {', '.join(found)}.")
    return found[lab]


def build(lab: str, kind: Kind = "tutorial", contents: Contents = Contents()) -> Any:
    """The notebook of a lab, not executed.

    tutorial: stubs, folded hints and solutions, the cell for teachers; student: the same without solutions and that cell;
    solution: answers filled in; instructor: answers, what each exercise is worth, and the mistakes that are recognised.
    """
    from ..version import __version__

    jupytext, nbformat = extra("jupytext", "Building a lab"), extra("nbformat", "Building a lab")
    path = master(lab)
    read = jupytext.read(path)
    kept = {name: value for name, value in read.metadata.items() if name != "jupytext"}
    metadata = {**kept, "pelrp": {"lab": lab, "version": __version__, "kind": kind}}
    cells: list[dict[str, Any]] = []
    for number, cell in enumerate(read.cells):
        if "teachers" in cell.metadata.get("tags", []) and kind not in ("tutorial", "instructor"):
            continue
        cells += _cells(cell, lab, kind, contents.hints)
        if number == 0:
            if contents.links:
                cells[-1]["source"] = with_links(cells[-1]["source"], path.stem)
            cells.append(_code(opening(lab, contents.own_seed), role="start"))
    for number, cell in enumerate(cells):
        cell["id"] = hashlib.sha256(f"{number} {cell['source']}".encode()).hexdigest()[:8]
    return nbformat.from_dict({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def _cells(cell: Any, lab: str, kind: Kind, hints: bool) -> list[dict[str, Any]]:
    """What becomes of one cell of the master."""
    tags = list(cell.metadata.get("tags", []))
    if cell.cell_type != "code":
        return [{"cell_type": "markdown", "metadata": {"tags": tags} if tags else {}, "source": cell.source}]
    checked = CHECK.search(cell.source)
    exercise = by_name(checked[1]) if checked else None
    if "# BEGIN SOLUTION" in cell.source:
        source = stub(cell.source) if kind in ("tutorial", "student") else MARK.sub("", cell.source + "\n").rstrip()
        return [_code(source, tags, role="answer")]
    made = [_code(cell.source, tags, **({"role": "check", "exercise": exercise.name} if exercise else {}))]
    if exercise is not None:
        below = folded(exercise, master(lab), kind, hints)
        made += [{"cell_type": "markdown", "metadata": {}, "source": below}] if below else []
    return made


def _code(source: str, tags: Sequence[str] = (), **about: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"tags": list(tags)} if tags else {}
    metadata |= {"pelrp": about} if about else {}
    return {"cell_type": "code", "metadata": metadata, "source": source, "outputs": [], "execution_count": None}


def stub(source: str) -> str:
    """A cell without its answer: `...` in a function, nothing at the top level."""

    def replaced(found: re.Match[str]) -> str:
        return f"{found[1]}...  # write your code here\n" if found[1] else "# write your answer here\n"

    return REGION.sub(replaced, source + "\n").rstrip()


def solution(exercise: Exercise, path: Path) -> str:
    """The answer to an exercise, as the master has it."""
    jupytext = extra("jupytext", "Building a lab")
    latest = ""
    for cell in jupytext.read(path).cells:
        if "# BEGIN SOLUTION" in cell.source:
            latest = MARK.sub("", cell.source + "\n").rstrip()
        found = CHECK.search(cell.source) if cell.cell_type == "code" else None
        if found and found[1] == exercise.name:
            return latest
    raise InputError(f"{path.name} must check {exercise.name!r} below its answer, and does not.")


def folded(exercise: Exercise, path: Path, kind: Kind, hints: bool = True) -> str:
    """What stands folded below a check."""
    parts = []
    if hints and kind in ("tutorial", "student"):
        parts += [_fold(f"Hint {number}", hint) for number, hint in enumerate(exercise.hints, 1)]
    if kind == "tutorial":
        parts.append(_fold("Solution", f"```python\n{solution(exercise, path)}\n```"))
    if kind == "instructor":
        rows = "\n".join(f"- **{mistake.name}**: {mistake.says}" for mistake in exercise.mistakes)
        parts.append(_fold(f"{exercise.name}: {exercise.points} point{'s' * (exercise.points > 1)}; mistakes that are named", rows))
    return "\n\n".join(parts)


def _fold(summary: str, text: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{text}\n\n</details>"


def with_links(title: str, stem: str) -> str:
    """The title cell with links to Binder and Colab, pinned to the release."""
    first, _, rest = title.partition("\n")
    return f"{first}\n\n{links(stem)}\n{rest}"


def links(stem: str) -> str:
    """The badges of one tutorial, as text, since pictures would have to be fetched."""
    from ..version import __version__

    binder = f"https://mybinder.org/v2/gh/{REPOSITORY}/v{__version__}?labpath=tutorials%2F{stem}.ipynb"
    colab = f"https://colab.research.google.com/github/{REPOSITORY}/blob/v{__version__}/tutorials/{stem}.ipynb"
    return f"[Open in Binder]({binder}) · [Open in Colab]({colab})"


def opening(lab: str, own_seed: bool = False) -> str:
    """The first cell: pelrp_nb is here, or is fetched where that is usual, and is new enough."""
    from ..version import __version__

    lines = [
        "try:",
        "    from pelrp_nb import labs",
        "except ImportError:  # Colab and Kaggle bring PyTorch, not pelrp_nb; what is in range there stays as it is",
        f"    %pip install -q pelrp_nb=={__version__}",
        "    import pelrp_nb",
        "    from pelrp_nb import labs",
        "    print(pelrp_nb.doctor())",
    ]
    if own_seed:
        lines.append('print(labs.student(""))  # your name or number between the quotes; your numbers follow from it')
    return "\n".join([*lines, f'labs.start("{lab}", "{__version__}")'])
