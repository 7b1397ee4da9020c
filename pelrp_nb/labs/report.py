"""What a teacher and a student read: one table of all, one page for each."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from dataclasses import asdict
from html import escape
from pathlib import Path

from .course import of_lab
from .exercise import Exercise
from .grading import Grade
from .verdict import Verdict

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46em;margin:2em auto;padding:0 1em;color:#222;background:#fff}"
    "h2{font-size:1em;margin:1.2em 0 .2em}p{margin:.2em 0}.right{border-left:4px solid #2a7f62;padding-left:.8em}"
    ".not{border-left:4px solid #b35806;padding-left:.8em}"
)


def keep(grade: Grade, folder: Path) -> None:
    """Write one result so that an interrupted run can go on from there."""
    target = folder / f"{key(grade.submission, grade.digest)}.json"
    part = target.with_suffix(".part")
    part.write_text(json.dumps(asdict(grade), ensure_ascii=False, indent=1), encoding="utf-8")
    part.replace(target)


def kept(name: str, digest: str, folder: Path) -> Grade | None:
    """The result of an earlier run for the same file under the same name, if there is one."""
    path = folder / f"{key(name, digest)}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        found["verdicts"] = {name: Verdict(**verdict) for name, verdict in found["verdicts"].items()}
        return Grade(**found)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def key(name: str, digest: str) -> str:
    """Under what a result is kept: name, bytes and version of the checks."""
    from ..version import __version__

    return hashlib.sha256(f"{name}\n{digest}\n{__version__}".encode()).hexdigest()[:24]


def table(grades: list[Grade], path: Path) -> None:
    """All results as CSV: one line a submission, one column an exercise."""
    labs = sorted({grade.lab for grade in grades if grade.lab})
    exercises = [exercise for lab in labs for exercise in of_lab(lab)]
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["submission", "student", "lab", "points", "of", *(e.name for e in exercises), "notes"])
        for grade in grades:
            cells = [_points(grade, e) if e.lab == grade.lab else "" for e in exercises]
            row = [grade.submission, grade.who, grade.lab, grade.points, grade.most, *cells, " ".join(grade.notes)]
            writer.writerow([harmless(cell) for cell in row])


def _points(grade: Grade, exercise: Exercise) -> int:
    return exercise.points if grade.verdicts.get(exercise.name) else 0


def harmless(cell: object) -> object:
    """A text that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def page(grade: Grade, folder: Path) -> Path:
    """A readable page for one student; where it was written."""
    parts = [f"<h1>Lab {escape(grade.lab) or 'unknown'}: {grade.points} of {grade.most} points</h1>"]
    parts.append(f"<p>{escape(grade.submission)}{f' · {escape(grade.who)}' if grade.who else ''}</p>")
    for exercise in of_lab(grade.lab):
        verdict = grade.verdicts[exercise.name]
        state, points = ("right", exercise.points) if verdict else ("not", 0)
        hint = "" if verdict or verdict.mistake or not verdict.tried else f" Hint: {exercise.hints[0]}"
        heading = f"<h2>{escape(exercise.name)}: {points} of {exercise.points}</h2>"
        parts.append(f'<div class="{state}">{heading}<p>{escape(verdict.message + hint)}</p></div>')
    if grade.notes:
        parts.append("<h2>Notes</h2><ul>" + "".join(f"<li>{escape(note)}</li>" for note in grade.notes) + "</ul>")
    shown = re.sub(r"[^\w.\-]+", "_", grade.submission.removesuffix(".ipynb"))[-80:]
    path = folder / f"{shown}-{key(grade.submission, grade.digest)[:8]}.html"
    title = f"<title>{escape(grade.submission)}</title>"
    path.write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{title}<style>{STYLE}</style></head>'
        f"<body>{''.join(parts)}</body></html>", encoding="utf-8",
    )  # fmt: skip
    return path
