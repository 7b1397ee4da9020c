"""A folder of submissions: several at a time, resumable, with a progress bar."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path, PurePosixPath
from queue import SimpleQueue

from tqdm import tqdm

from ..errors import InputError
from .grading import Grade, grade
from .plain_text import readable
from .report import clear, keep, kept, page, signing_key, table
from .sandbox import Bounds, refuse_unless_safe
from .submission import Submission, found_in, read


def grade_folder(
    folder: Path,
    out: Path,
    *,
    jobs: int = 2,
    bounds: Bounds = Bounds(),  # noqa: B008, frozen
    quiet: bool = False,
    seed: int | None = None,
) -> list[Grade]:
    """Grade all submissions of a folder; writes `grades.csv`, a page for each, and what is needed to go on after a stop.

    Raises SandboxError where no sandbox can be had, InputError where there is nothing to grade or nowhere to write.
    """
    refuse_unless_safe()
    if folder.is_file():
        raise InputError(
            f"There must be a folder of submissions, and {folder} is a file. Unpack or move it into a folder, and type its path."
        )
    if not folder.is_dir():
        raise InputError(f"There must be a folder of submissions, and there is none at {folder}. Type its path.")
    submissions = [read(path, folder) for path in found_in(folder, out)]
    if not submissions:
        raise InputError(f"There must be notebooks (.ipynb) in {folder}, and there are none.")
    results, pages = prepare(out)
    try:
        grades = _all(submissions, results, (jobs, bounds, quiet, seed))
        compare(grades)
        for each in grades:
            page(each, pages)
        clear(pages, (each.submission for each in grades))
        table(grades, out / "grades.csv")
    except OSError as error:
        told = f"Results must be written to {out}, and that fails: {error.strerror}."
        raise InputError(f"{told} What was graded so far is kept there. Make room, and type the same again.") from error
    return grades


def compare(grades: list[Grade]) -> None:
    """Note submissions for the same lab that look like one student's, or bear another's name."""
    named, folders = defaultdict(list), defaultdict(list)
    for each in grades:
        parent = PurePosixPath(each.submission).parent
        if each.lab and each.who:
            named[each.lab, " ".join(each.who.casefold().split())].append(each)
        if each.lab and parent.name:
            folders[each.lab, parent].append(each)
    for groups, what in ((folders, "lies in the same folder, and both are in the table"), (named, "gives the same name")):
        for (lab, _), alike in groups.items():
            for each in alike:
                if others := [readable(other.submission, 80) for other in alike if other is not each]:
                    each.look_at(f"another submission for lab {lab} {what}: {', '.join(others[:3])}.")


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


def _all(submissions: list[Submission], results: Path, how: tuple[int, Bounds, bool, int | None]) -> list[Grade]:
    """Grades in the order of the submissions; those that an earlier run signed are taken as they are."""
    (jobs, bounds, quiet, seed), signing = how, signing_key()
    found = {each.name: kept(each.name, each.digest, results, signing) for each in submissions}
    free: SimpleQueue[int] = SimpleQueue()
    for slot in range(jobs):
        free.put(slot)

    def one(submission: Submission) -> Grade:
        slot = free.get()
        try:
            result = grade(submission, slot, bounds, seed)
        finally:
            free.put(slot)
        keep(result, results, signing)
        return result

    todo = [each for each in submissions if (was := found[each.name]) is None or seed not in (None, was.seed)]
    bar = tqdm(total=len(submissions), initial=len(submissions) - len(todo), unit="notebook", disable=quiet or None)
    with bar, ThreadPoolExecutor(jobs) as pool:
        try:
            for done in as_completed([pool.submit(one, each) for each in todo]):
                found[done.result().submission] = done.result()
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [result for each in submissions if (result := found[each.name]) is not None]
