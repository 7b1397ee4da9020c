"""`python -m pelrp_nb labs new|open|grade|list|build|measure|worksheets|binder-check`."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ..errors import InputError
from ..extras import extra
from .course import LABS, of_lab

EXAMPLES = """examples:
  python -m pelrp_nb labs new next-week --labs 01,02,07
  python -m pelrp_nb labs new exam --labs 04 --seed-per-student
  python -m pelrp_nb labs new exam --labs 04 --no-hints --no-links
  python -m pelrp_nb labs open 00
  python -m pelrp_nb labs grade handed-in --jobs 2
  python -m pelrp_nb labs list
  python -m pelrp_nb labs worksheets worksheets
  python -m pelrp_nb labs measure --labs 04,07
"""


def parser() -> argparse.ArgumentParser:
    """The commands of `labs`."""
    root = argparse.ArgumentParser(
        prog="python -m pelrp_nb labs", description="Lab packs: write them, grade them, measure the tutorials.", epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = root.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = commands.add_parser("new", help="student, solution and instructor notebooks, rubric, nbgrader and otter masters")
    new.add_argument("folder", type=Path)
    new.add_argument("--labs", default="01", help="numbers with commas between them, or all")
    new.add_argument("--seed-per-student", action="store_true", help="numbers of one's own, drawn from the student's name")
    new.add_argument("--no-hints", action="store_true", help="no hints below the checks")
    new.add_argument("--no-links", action="store_true", help="no links to Binder and Colab, where the solutions lie too")
    shown = commands.add_parser("open", help="a copy of a tutorial in a folder of yours, in JupyterLab if it is installed")
    shown.add_argument("lab")
    shown.add_argument("--folder", type=Path, default=Path("pelrp_nb-tutorials"), help="where copies go; default: %(default)s")
    shown.add_argument("--only-copy", action="store_true", help="start nothing")
    grade = commands.add_parser("grade", help="grade a folder of notebooks, each in a sandbox")
    grade.add_argument("folder", type=Path)
    grade.add_argument("--out", type=Path, help="where results go; default: the folder `graded` in it")
    grade.add_argument("--jobs", type=int, default=2, help="how many at a time")
    grade.add_argument("--quiet", action="store_true", help="no progress bar")
    grade.add_argument("--seed", type=int, help="draw the cases from this number, as a report gives it: the same cases again")
    commands.add_parser("list", help="the labs and their exercises")
    for name, what in (("build", "write the tutorials from their masters, executed"), ("measure", "seconds and memory of each")):
        one = commands.add_parser(name, help=what)
        one.add_argument("--labs", default="all", help="numbers with commas between them, or all")
    sheets = commands.add_parser("worksheets", help="one printable page for each rule, and the glossary")
    sheets.add_argument("folder", type=Path)
    check = commands.add_parser("binder-check", help="a fresh environment with Binder's pins runs the tutorials in 1.5 GB")
    check.add_argument("--labs", default="all")
    check.add_argument("--folder", type=Path, help="keep the environment here")
    return root


def chosen(text: str) -> list[str]:
    """The labs that --labs names. Raises InputError for one that is not there."""
    from .notebooks import masters

    there = masters()
    labs = list(there) if text == "all" else [part.strip().zfill(2) for part in text.split(",") if part.strip()]
    if unknown := [lab for lab in labs if lab not in there]:
        raise InputError(f"There must be a lab of that number; got {unknown[0]!r}. There are {', '.join(there)}.")
    if not labs:
        raise InputError(f"There must be at least one lab. Type --labs 01,02 or --labs all. There are {', '.join(there)}.")
    return labs


def main(argv: Sequence[str]) -> int:
    """Run one command of `labs`; the exit status."""
    given = parser().parse_args(argv)
    return RUN[given.action](given)


def _new(given: argparse.Namespace) -> int:
    from .notebooks import Contents
    from .pack import write

    contents = Contents(hints=not given.no_hints, links=not given.no_links, own_seed=given.seed_per_student)
    for path in write(given.folder, chosen(given.labs), contents):
        print(f"wrote {path}")
    return 0


def _open(given: argparse.Namespace) -> int:
    from .notebooks import master

    (lab,) = chosen(given.lab)[:1]
    original = master(lab).with_suffix(".ipynb")
    path = given.folder / original.name
    try:
        given.folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():  # what somebody has written in an earlier copy stays
            shutil.copyfile(original, path)
    except OSError as error:
        raise InputError(f"The tutorial must be copied to {path}, and that fails: {error.strerror}. Type --folder FOLDER.") from error
    print(path)
    if given.only_copy:
        return 0
    if find_spec("jupyterlab") is None:
        print(f'JupyterLab is not here: type pip install "pelrp_nb[lab]", or open {path} in the notebook program you have.')
        return 0
    return subprocess.run([sys.executable, "-m", "jupyterlab", str(path)]).returncode


def _grade(given: argparse.Namespace) -> int:
    from .batch import grade_folder
    from .plain_text import readable
    from .submission import left_out

    if given.jobs < 1:
        raise InputError(f"There must be at least one job; got {given.jobs}. Type --jobs 2.")
    out = given.out or given.folder / "graded"
    grades = grade_folder(given.folder, out, jobs=given.jobs, quiet=given.quiet, seed=given.seed)
    for each in grades:
        print(f"{each.points:>3} of {each.most:<3} {readable(each.submission)}{'  (look at it)' * bool(each.private)}")
    if other := left_out(given.folder, out):
        shown = ", ".join(map(readable, other[:10]))
        print(f"left out, since they are no notebooks (.ipynb): {shown}{' ...' * (len(other) > 10)}")
    print(f"wrote {out / 'grades.csv'} and a page for each in {out / 'reports'}")
    return 0


def _list(given: argparse.Namespace) -> int:
    for lab, module in LABS.items():
        print(f"{lab}  {' '.join((module.__doc__ or '').split('. ')[0].split()).rstrip('.').split(': ', 1)[-1]}")
        for exercise in of_lab(lab):
            points = f"{exercise.points} point{'s' * (exercise.points > 1)}"
            print(f"      {exercise.name:<18} {points:<9} {len(exercise.mistakes)} mistakes known")
    return 0


def _build(given: argparse.Namespace) -> int:
    from .execute import execute
    from .notebooks import build, masters

    nbformat = extra("nbformat", "Building the labs")
    for lab in chosen(given.labs):
        path = masters()[lab]
        notebook, seconds, megabytes = execute(build(lab), path.parent)
        nbformat.write(notebook, path.with_suffix(".ipynb"))
        print(f"wrote {path.with_suffix('.ipynb').name}: {seconds:.1f} s, {megabytes} MB")
    return 0


def _measure(given: argparse.Namespace) -> int:
    from .execute import MEGABYTES, SECONDS, measure

    print(f"At most {SECONDS} s and {MEGABYTES} MB each, with one thread.")
    print(f"{'notebook':<24}{'seconds':>9}{'MB':>7}{'words':>7}{'code':>6}")
    costs = []
    for cost in measure(chosen(given.labs)):
        costs.append(cost)
        row = f"{cost.name:<24}{cost.seconds:>9.1f}{cost.megabytes:>7}{cost.words:>7}{cost.cells:>6}"
        print(row + ("" if cost.fits else "   TOO MUCH"), flush=True)
    print(f"{'all':<24}{sum(cost.seconds for cost in costs):>9.1f}{max(cost.megabytes for cost in costs):>7}")
    return 0 if all(cost.fits for cost in costs) else 1


def _worksheets(given: argparse.Namespace) -> int:
    from .worksheets import write

    for path in write(given.folder):
        print(f"wrote {path}")
    return 0


def _binder(given: argparse.Namespace) -> int:
    from .binder import check

    return check(chosen(given.labs), given.folder)


RUN = {
    "new": _new, "open": _open, "grade": _grade, "list": _list, "build": _build, "measure": _measure, "worksheets": _worksheets,
    "binder-check": _binder,
}  # fmt: skip
