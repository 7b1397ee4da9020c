"""`labs grade`: run each submission in a sandbox of its own, ask it for answers to fresh cases, and judge them out here."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .channel import decode, encode, line, message
from .checking import seed_of
from .course import ALL, by_name, of_lab
from .examine import examine
from .exercise import Exercise
from .limits import NOTHING, TOO_LONG, Problem
from .meter import Meter
from .plain_text import readable
from .sandbox import Bounds, Ended, Sandbox, SandboxError
from .submission import Submission
from .verdict import Verdict
from .withheld import told

LIVES = 6  # sandboxes for one submission: one that dies is begun again without the culprit
CANDIDATES = 3
MOST_NOTES, MOST_GIVEN = 20, 200
UNDEFINED = re.compile(r"NameError: name '(\w+)' is not defined")
NOTHING_BACK = "Nothing to look at: `{}` gives nothing back. It was left as it was handed out, or it has no `return`."
UNREACHED = "It was not reached: the notebook kept ending its process, or took too long."
NAMELESS = "It asks for a name and was given none, so its numbers are those of nobody."
WHY = {
    "time": f"{TOO_LONG} in time.", "memory": "It wanted more memory than there is.", "output": "It sent back far too much.",
    "ended": "It ended the whole process.",
}  # fmt: skip


@dataclass
class Grade:
    """What a submission is worth.

    who:      what the student calls herself in the notebook, if she does
    verdicts: by exercise
    notes:    cells that failed and the like, for student and teacher
    private:  for the teacher alone: what to look at
    seed:     what the cases were drawn from; with the same seed the same cases are asked
    """

    submission: str
    digest: str
    lab: str
    who: str = ""
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    private: list[str] = field(default_factory=list)
    seed: int = 0

    def note(self, text: str) -> None:
        """Remember something, once."""
        _put(self.notes, text)

    def look_at(self, text: str) -> None:
        """Remember something for the teacher, once."""
        _put(self.private, f"To look at: {text}")

    @property
    def points(self) -> int:
        """The points of all exercises that are right."""
        return sum(exercise.points for exercise in of_lab(self.lab) if self.verdicts.get(exercise.name))

    @property
    def most(self) -> int:
        """The points there are."""
        return sum(exercise.points for exercise in of_lab(self.lab))


def _put(notes: list[str], text: str) -> None:
    if text not in notes and len(notes) < MOST_NOTES:
        notes.append(text)


def grade(submission: Submission, slot: int = 0, bounds: Bounds = Bounds(), seed: int | None = None) -> Grade:  # noqa: B008, frozen
    """Grade one submission; `slot` keeps those that run at the same time apart, `seed` repeats the cases of an earlier run.

    What a submission holds or does is never an error here: it ends in its own notes.
    """
    drawn = secrets.randbits(31) if seed is None else seed  # nobody inside can know the cases
    found = Grade(submission.name, submission.digest, submission.lab, notes=list(submission.notes), seed=drawn)
    if submission.lab and any(cell.strip() for cell in submission.cells):
        sitting = Sitting(submission, found, bounds)
        try:
            for _ in range(LIVES):
                if sitting.left() and not sitting.total.over:
                    with Sandbox(slot, bounds, sitting.total) as box:
                        sitting.go_on(box)
            unreached = UNREACHED
        except SandboxError:
            raise
        except Exception as error:
            unreached = f"It could not be graded: {type(error).__name__}."
            found.look_at(f"grading it failed with {type(error).__name__}: {readable(error)}")
        for exercise in sitting.left():
            found.verdicts[exercise.name] = Verdict(exercise.name, False, unreached)
        found.notes += list(sitting.complaints())
    for exercise in of_lab(submission.lab):
        found.verdicts.setdefault(exercise.name, missing(exercise))
    return found


def missing(exercise: Exercise) -> Verdict:
    """What is said of an exercise that nothing was handed in for."""
    what = f"nothing in the notebook is called `{exercise.answer}`, and no check of {exercise.name!r} was given anything"
    return Verdict(exercise.name, False, f"Nothing was handed in: {what}.", tried=False)


class Sitting:
    """One submission through as many sandboxes as it takes."""

    def __init__(self, submission: Submission, found: Grade, bounds: Bounds) -> None:
        self.submission, self.found, self.bounds = submission, found, bounds
        self.skip: set[int] = set()
        self.total = Meter(bounds.total)
        self.exercises = of_lab(submission.lab)
        self.raised: dict[str, set[int]] = {}  # error -> the cells that raised it
        self.token = ""  # what the seat's own messages carry
        self.given = 0  # how often numbers were asked for

    def left(self) -> list[Exercise]:
        """The exercises that have no verdict yet."""
        return [exercise for exercise in self.exercises if exercise.name not in self.found.verdicts]

    def go_on(self, box: Sandbox) -> None:
        """Run the cells, then ask for what is left; what ends the sandbox is left out next time."""
        cell = [-1]
        try:
            handed = self.play(box, cell)
        except Ended as ended:
            self.skip.add(cell[0])
            where = f"cell {cell[0] + 1}" if cell[0] >= 0 else "the start"
            self.found.note(f"In {where}: {WHY[str(ended)]} It was left out and the rest graded.")
            return
        for exercise in self.left():
            try:
                self.found.verdicts[exercise.name] = self.judge(box, exercise, handed.get(exercise.name, 0))
            except Ended as ended:
                self.found.verdicts[exercise.name] = Verdict(exercise.name, False, WHY[str(ended)])
                return

    def play(self, box: Sandbox, cell: list[int]) -> dict[str, int]:
        """Have the cells run; how many answers there are for each exercise. `cell` is the one that runs."""
        self.token, self.given = secrets.token_hex(16), 0
        first = {"token": self.token, "cells": self.submission.cells, "skip": sorted(self.skip), "lab": self.submission.lab}
        meter = Meter(self.bounds.start)
        box.send(line({**first, "exercises": told(ALL)}), meter)
        while True:
            said = self.hear(box, meter)
            if _whole(said.get("cell")) and said["cell"] < len(self.submission.cells):
                meter = meter if said["cell"] == cell[0] else Meter(self.bounds.cell)
                cell[0] = said["cell"]
                if "error" in said:
                    self.raised.setdefault(readable(said["error"], 200), set()).add(cell[0] + 1)
            elif isinstance(said.get("done"), dict):
                self.found.who = readable(said.get("who", ""), 200)
                if said.get("signed") and not self.found.who:
                    self.found.note(NAMELESS)
                return {str(name): n for name, n in said["done"].items() if _whole(n)}

    def judge(self, box: Sandbox, exercise: Exercise, candidates: int) -> Verdict:
        """The best verdict on what may be meant as the answer: the last thing handed in, an earlier one, or one by name."""
        if not candidates:
            return missing(exercise)
        seed = seed_of(self.found.who) if exercise.kind == "value" else self.found.seed
        first = None
        for candidate in range(min(candidates, CANDIDATES)):
            verdict = examine(exercise, partial(self.ask, box, exercise, candidate), seed)
            if verdict:
                return verdict
            if first is None and verdict.tried:  # a wrong verdict is False as a truth
                first = verdict
        return Verdict(exercise.name, False, NOTHING_BACK.format(exercise.answer), tried=False) if first is None else first

    def ask(self, box: Sandbox, exercise: Exercise, candidate: int, inputs: tuple[Any, ...]) -> Any:
        """The answer to one case. Raises Problem with what the student's code did instead, Ended if it did worse."""
        number = secrets.token_hex(8)
        question = {"id": number, "exercise": exercise.name, "name": exercise.answer, "candidate": candidate}
        meter = Meter(self.bounds.answer)
        box.send(line({**question, "inputs": encode(inputs)}), meter)
        while True:
            said = self.hear(box, meter)
            if said.get("id") != number:
                continue
            if "problem" in said:
                raise Problem(readable(said["problem"], 600))
            try:
                answer = decode(said.get("answer"))
            except Exception as error:  # whatever it is, it is no answer
                raise Problem("It cannot be looked at.") from error
            if answer is None:
                raise Problem(NOTHING)
            return answer

    def hear(self, box: Sandbox, meter: Meter) -> dict[str, Any]:
        """The next message of the seat that is for the caller.

        Numbers that a cell asks for are given here, and what was seen of it is noted. Lines that do not carry the seat's token
        were written by somebody else.
        """
        while True:
            try:
                said = message(box.receive(meter))
            except ValueError:
                said = {}
            if said.get("token") != self.token:
                self.found.look_at("it wrote to the grader's channel.")
            elif "given" in said:
                self.given += 1
                if self.given > MOST_GIVEN:
                    raise Ended("output")
                box.send(line(numbers(said["given"], said.get("who"))), meter)
            elif "calls" in said:
                called = readable(", ".join(map(str, said["calls"])) if isinstance(said["calls"], list) else said["calls"])
                self.found.look_at(f"the answer to {readable(said.get('exercise'), 80)} calls {called}.")
            elif "reaches" in said:
                self.found.look_at(f"it {readable(said['reaches'], 80)}.")
            else:
                return said

    def complaints(self) -> Iterator[str]:
        """What cells raised, an error at a time; names that were not there in one sentence."""
        lost = []
        for error, cells in list(self.raised.items())[:20]:
            where = f"cell{'s' * (len(cells) > 1)} {', '.join(str(cell) for cell in sorted(cells))}"
            if name := UNDEFINED.fullmatch(error):
                lost.append(f"{name[1]} ({where})")
            else:
                yield f"{where.capitalize()} raised {error}"
        if lost:
            yield f"Not defined where it is used: {', '.join(lost)}. What defines it is missing, failed, or stands below."


def numbers(name: Any, who: Any) -> dict[str, Any]:
    """What `labs.given(name)` gives this student, or why it gives nothing."""
    exercise = by_name(name)
    if exercise is None or exercise.kind != "value":
        return {"problem": f"There must be an exercise with numbers of its own called {readable(name, 80)!r}."}
    return {"inputs": encode(exercise.drawn(seed_of(readable(who or "", 200)))[0][1])}


def _whole(value: Any) -> bool:
    """Whether it is a whole number from 0 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
