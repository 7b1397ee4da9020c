"""What a teacher and a student read: one table of all, one page for each."""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import json
import os
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from html import escape
from pathlib import Path

from ..views.table import coded
from .course import of_lab
from .exercise import Exercise
from .grading import Grade
from .plain_text import no_formula, readable
from .verdict import Verdict

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46em;margin:2em auto;padding:0 1em;color:#222;background:#fff}"
    "h2{font-size:1em;margin:1.2em 0 .2em}p{margin:.2em 0}.right{border-left:4px solid #2a7f62;padding-left:.8em}"
    ".not{border-left:4px solid #b35806;padding-left:.8em}"
)


def keep(grade: Grade, folder: Path, signing: bytes) -> None:
    """Write one result so that an interrupted run can go on from there; signed, so that nobody else can have written it."""
    text = json.dumps(asdict(grade))
    signature = hmac.new(signing, text.encode(), "sha256").hexdigest()
    write(folder / f"{key(grade.submission, grade.digest)}.json", json.dumps({"grade": text, "signature": signature}))


def kept(name: str, digest: str, folder: Path, signing: bytes) -> Grade | None:
    """The result of an earlier run for the same file under the same name, if there is one that this grader signed."""
    path = folder / f"{key(name, digest)}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        text = str(found["grade"])
        if not hmac.compare_digest(str(found["signature"]), hmac.new(signing, text.encode(), "sha256").hexdigest()):
            return None
        told = json.loads(text)
        told["verdicts"] = {name: Verdict(**verdict) for name, verdict in told["verdicts"].items()}
        return Grade(**told)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def signing_key() -> bytes:
    """What this teacher's results are signed with: made once, kept in the home, readable by nobody else.

    Where no home can be written, results of an earlier run are not taken.
    """
    path = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "pelrp_nb" / "grading.key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
        found = path.read_bytes()
    except (OSError, RuntimeError):
        found = b""
    return found if len(found) == 32 else secrets.token_bytes(32)


def write(path: Path, text: str, encoding: str = "utf-8") -> None:
    """A whole file or none: what is written half goes away."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(text, encoding=encoding, errors="backslashreplace", newline="")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def key(name: str, digest: str) -> str:
    """Under what a result is kept: name, bytes and version of the checks."""
    from ..version import __version__

    return hashlib.sha256(f"{name}\n{digest}\n{__version__}".encode(errors="surrogatepass")).hexdigest()[:24]


def table(grades: list[Grade], path: Path) -> None:
    """All results as CSV: one line a submission, one column an exercise."""
    labs = sorted({grade.lab for grade in grades if grade.lab})
    exercises = [exercise for lab in labs for exercise in of_lab(lab)]
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    titles = ["submission", "student", "lab", "points", "of", *(e.name for e in exercises), "notes", "for the teacher alone", "seed"]
    writer.writerow(titles)
    for grade in grades:
        cells = [_points(grade, e) if e.lab == grade.lab else "" for e in exercises]
        about = [readable(grade.submission), grade.who, grade.lab, grade.points, grade.most]
        told = [" ".join(grade.notes), " ".join(grade.private), grade.seed]
        writer.writerow([no_formula(cell) for cell in (*about, *cells, *told)])
    write(path, text.getvalue(), "utf-8-sig")


def _points(grade: Grade, exercise: Exercise) -> int:
    return exercise.points if grade.verdicts.get(exercise.name) else 0


def page(grade: Grade, folder: Path) -> Path:
    """A page for one student, without what is for the teacher alone; where it was written."""
    parts = [f"<h1>Lab {escape(grade.lab) or 'unknown'}: {grade.points} of {grade.most} points</h1>"]
    parts.append(f"<p>{escape(readable(grade.submission))}{f' · {escape(grade.who)}' if grade.who else ''}</p>")
    for exercise in of_lab(grade.lab):
        verdict = grade.verdicts[exercise.name]
        state, points = ("right", exercise.points) if verdict else ("not", 0)
        hint = "" if verdict or verdict.mistake or not verdict.tried else f" Hint: {exercise.hints[0]}"
        heading = f"<h2>{escape(exercise.name)}: {points} of {exercise.points}</h2>"
        parts.append(f'<div class="{state}">{heading}<p>{coded(escape(verdict.message + hint))}</p></div>')
    if grade.notes:
        parts.append("<h2>Notes</h2><ul>" + "".join(f"<li>{coded(escape(note))}</li>" for note in grade.notes) + "</ul>")
    parts.append(f"<p>Drawn from seed {grade.seed}.</p>")
    path = folder / page_name(grade.submission)
    head = f'<meta charset="utf-8"><title>{escape(readable(grade.submission))}</title><style>{STYLE}</style>'
    write(path, f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>')
    return path


def page_name(submission: str) -> str:
    """What the page of a submission is called: the same for every version of it."""
    shown = re.sub(r"[^\w.\-]+", "_", re.sub(r"\.(ipynb|py)$", "", readable(submission)))[-60:]
    return f"{shown}-{hashlib.sha256(submission.encode(errors='surrogatepass')).hexdigest()[:8]}.html"


def clear(folder: Path, submissions: Iterable[str]) -> None:
    """Take away the pages of an earlier run whose submissions are gone."""
    there = {page_name(each) for each in submissions}
    for path in folder.glob("*.html"):
        if path.name not in there and re.search(r"-[0-9a-f]{8}\.html$", path.name):
            path.unlink()
