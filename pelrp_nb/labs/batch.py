"""A folder of submissions: several at a time, resumable, with a progress bar."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue

from tqdm import tqdm

from ..errors import InputError
from .grading import Grade, grade
from .report import keep, kept, page, table
from .sandbox import Bounds, refuse_unless_safe
from .submission import Submission, found_in, read


def grade_folder(folder: Path, out: Path, *, jobs: int = 2, bounds: Bounds = Bounds(), quiet: bool = False) -> list[Grade]:  # noqa: B008
    """Grade all notebooks of a folder; writes `grades.csv`, a page for each, and what is needed to go on after a stop.

    Raises SandboxError where no sandbox can be had, InputError where there is nothing to grade or nowhere to write.
    """
    refuse_unless_safe()
    if not folder.is_dir():
        raise InputError(f"There must be a folder of submissions, and there is none at {folder}. Type its path.")
    submissions = [read(path, folder) for path in found_in(folder, out)]
    if not submissions:
        raise InputError(f"There must be notebooks (.ipynb) in {folder}, and there are none.")
    results, pages = prepare(out)
    grades = _all(submissions, results, jobs, bounds, quiet)
    named = Counter(each.who for each in grades if each.who)
    for each in grades:
        if named[each.who] > 1:
            each.notes.append("Another submission gives the same name.")
    for each in grades:
        page(each, pages)
    table(grades, out / "grades.csv")
    return grades


def prepare(out: Path) -> tuple[Path, Path]:
    """The folders for results and pages. Raises InputError if they cannot be made."""
    results, pages = out / "results", out / "reports"
    try:
        for path in (results, pages):
            path.mkdir(parents=True, exist_ok=True)
        probe = results / ".probe"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise InputError(f"Results must be written to {out}, and that fails: {error.strerror}. Type --out FOLDER.") from error
    return results, pages


def _all(submissions: list[Submission], results: Path, jobs: int, bounds: Bounds, quiet: bool) -> list[Grade]:
    """Grades in the order of the submissions; those of an earlier run are taken as they are."""
    found = {each.name: kept(each.name, each.digest, results) for each in submissions}
    free: SimpleQueue[int] = SimpleQueue()
    for slot in range(jobs):
        free.put(slot)

    def one(submission: Submission) -> Grade:
        slot = free.get()
        try:
            result = grade(submission, slot, bounds)
        finally:
            free.put(slot)
        keep(result, results)
        return result

    todo = [each for each in submissions if found[each.name] is None]
    bar = tqdm(total=len(submissions), initial=len(submissions) - len(todo), unit="notebook", disable=quiet or None)
    with bar, ThreadPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(one, each) for each in todo]):
            found[done.result().submission] = done.result()
            bar.update()
    return [result for each in submissions if (result := found[each.name]) is not None]
