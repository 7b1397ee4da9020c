"""`labs new`: everything a teacher needs for next week, in one folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..extras import extra
from .course import by_name, of_lab
from .notebooks import CHECK, Contents, build, links, master

CELL = {"schema_version": 3, "task": False}


def write(folder: Path, labs: list[str], contents: Contents = Contents()) -> list[Path]:  # noqa: B008, frozen
    """Write the pack; the files written.

    student/, solution/, instructor/: a notebook for each lab; nbgrader/source/ and otter/: the same for those graders;
    rubric.md and README.md. Raises InputError where something lies in the folder already, or nothing can be written there.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"A pack must go into a new or empty folder, and {folder} has something in it. Type another name.")
    written = []
    try:
        for lab in labs:
            for path, notebook in _notebooks(lab, contents):
                written.append(_save(folder / path, notebook))
        for name, text in (("rubric.md", rubric(labs)), ("README.md", read_me(labs, contents))):
            (folder / name).write_text(text, encoding="utf-8")
            written.append(folder / name)
    except OSError as error:
        raise InputError(f"A pack must be written to {folder}, and that fails: {error.strerror}. Type another folder.") from error
    return written


def _notebooks(lab: str, contents: Contents) -> Iterator[tuple[Path, Any]]:
    name = f"lab_{lab}.ipynb"
    for kind in ("student", "solution", "instructor"):
        yield Path(kind) / name, build(lab, kind, contents)
    yield Path("nbgrader") / "source" / f"lab_{lab}" / name, for_nbgrader(lab, contents)
    yield Path("otter") / f"lab_{lab}" / name, for_otter(lab, contents)


def _save(path: Path, notebook: Any) -> Path:
    nbformat = extra("nbformat", "Writing a lab")
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def for_nbgrader(lab: str, contents: Contents = Contents()) -> Any:  # noqa: B008, frozen
    """A notebook with nbgrader's metadata: answers are solution cells, checks are locked tests with points."""
    notebook = marked(lab, contents)
    waiting: Any = None
    for cell in notebook.cells:
        exercise = by_name(cell.metadata.get("pelrp", {}).get("exercise"))
        if "# BEGIN SOLUTION" in cell.source:
            waiting = cell
        elif exercise is not None:
            answer = {"grade": False, "grade_id": f"{exercise.name}-answer", "locked": False, "solution": True}
            waiting.metadata["nbgrader"] = {**CELL, **answer}
            test = {"grade": True, "grade_id": exercise.name, "locked": True, "points": exercise.points, "solution": False}
            cell.metadata["nbgrader"] = {**CELL, **test}
            cell.source = asserted(cell.source)
    return notebook


def for_otter(lab: str, contents: Contents = Contents()) -> Any:  # noqa: B008, frozen
    """A notebook with otter's raw cells around each question."""
    nbformat = extra("nbformat", "Writing a lab")

    def raw(text: str) -> Any:
        return nbformat.v4.new_raw_cell(text)

    notebook = marked(lab, contents)
    cells: list[Any] = [raw(f"# ASSIGNMENT CONFIG\nname: lab_{lab}\ncheck_all_cell: true")]
    answer: list[Any] = []
    for cell in notebook.cells:
        exercise = by_name(cell.metadata.get("pelrp", {}).get("exercise"))
        if "# BEGIN SOLUTION" in cell.source:
            answer = [cell]
        elif exercise is not None:
            cell.source = asserted(cell.source)
            cells += [
                raw(f"# BEGIN QUESTION\nname: {exercise.name.replace('-', '_')}\npoints: {exercise.points}"),
                nbformat.v4.new_markdown_cell(f"*{exercise.name}*"),
                raw("# BEGIN SOLUTION"), *answer, raw("# END SOLUTION"), raw("# BEGIN TESTS"), cell, raw("# END TESTS"),
                raw("# END QUESTION"),
            ]  # fmt: skip
        else:
            cells.append(cell)
    notebook.cells = cells
    return notebook


def marked(lab: str, contents: Contents = Contents()) -> Any:  # noqa: B008, frozen
    """The student's notebook with the answers between `# BEGIN SOLUTION` and `# END SOLUTION`, which those graders take out."""
    jupytext = extra("jupytext", "Writing a lab")
    notebook = build(lab, "student", contents)
    answers = [cell.source for cell in jupytext.read(master(lab)).cells if "# BEGIN SOLUTION" in cell.source]
    places = [cell for cell in notebook.cells if cell.metadata.get("pelrp", {}).get("role") == "answer"]
    for cell, source in zip(places, answers, strict=True):
        cell.source = source
    return notebook


def asserted(source: str) -> str:
    """A check that raises with its own message."""
    found = CHECK.search(source)
    return source if found is None else f"verdict = {source[found.start() :].strip()}\nassert verdict, verdict"


def rubric(labs: list[str]) -> str:
    """What each exercise is worth, and which mistakes are named."""
    lines = ["# Rubric", "", "Points are given by `python -m pelrp_nb labs grade`: all or nothing for an exercise."]
    for lab in labs:
        total = sum(exercise.points for exercise in of_lab(lab))
        lines += ["", f"## Lab {lab}, {total} points", "", "| exercise | points | mistakes that are named |", "|---|---|---|"]
        for exercise in of_lab(lab):
            lines.append(f"| {exercise.name} | {exercise.points} | {', '.join(mistake.name for mistake in exercise.mistakes)} |")
    return "\n".join(lines) + "\n"


def read_me(labs: list[str], contents: Contents) -> str:
    """How to hand the pack out and how to grade it."""
    lines = [
        "# Lab pack", "",
        "- `student/` hand these out; `solution/` hand these out afterwards; `instructor/` for you.",
        "- Students need Python 3.11 and pelrp_nb with a notebook program (`pip install 'pelrp_nb[lab]'`), or a browser where there "
        "are links below. How long a lab takes stands at its top; nobody has been timed.",
        "- Collect the notebooks in one folder, a folder for each student if you like; unpack what came as a zip. Files may have any "
        "name: the lab is told by its checks.",
        "- Type `python -m pelrp_nb labs grade FOLDER`. Each notebook runs in a sandbox of its own (bubblewrap, on Linux). In "
        "`FOLDER/graded` there are then `grades.csv`, for you, and in `reports/` a page for each notebook, to hand back. A run that "
        "was stopped goes on where it was: type the same again.",
        "- `nbgrader/source/` and `otter/` hold the same labs for those graders (tried: nbgrader 0.9.6, otter-grader 7.0.0). Type "
        "`nbgrader generate_assignment lab_NN --create` in `nbgrader/`, or "
        "`otter assign lab_NN.ipynb dist` in a folder of `otter/`.",
    ]  # fmt: skip
    if contents.own_seed:
        lines.append("- Each student writes a name or number into the first cell; the numbers of some exercises follow from it.")
    if contents.links:
        lines += ["", "| lab | in a browser, solutions included |", "|---|---|"]
        lines += [f"| {lab} | {links(master(lab).stem)} |" for lab in labs]
    return "\n".join(lines) + "\n"
