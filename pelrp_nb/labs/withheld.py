"""What stands in the place of the course inside the sandbox: exercises by name, without answers, cases, mistakes, hints.

It is mounted over `course/__init__.py`, so its imports are full names.
"""

from __future__ import annotations

from typing import Any

from pelrp_nb.labs.exercise import Exercise

LABS: dict[str, Any] = {}
_BY_NAME: dict[str, Exercise] = {}


def tell(exercises: list[dict[str, Any]]) -> None:
    """Take what the grader says of each exercise: its name, lab, answer, kind."""
    for each in exercises:
        _BY_NAME[each["name"]] = Exercise(reference=_nothing, cases=lambda rng: (), mistakes=(), hints=("", ""), **each)


def told(exercises: tuple[Exercise, ...]) -> list[dict[str, Any]]:
    """What the grader says of them."""
    return [{"name": each.name, "lab": each.lab, "answer": each.answer, "kind": each.kind} for each in exercises]


def _nothing(*inputs: Any) -> None:
    """No answer is here."""


def by_name(name: Any) -> Exercise | None:
    """The exercise of that name, if there is one."""
    return _BY_NAME.get(name) if isinstance(name, str) else None


def names() -> tuple[str, ...]:
    """The names of all exercises."""
    return tuple(_BY_NAME)


def of_lab(lab: str) -> tuple[Exercise, ...]:
    """The exercises of one lab."""
    return tuple(exercise for exercise in _BY_NAME.values() if exercise.lab == lab)


def questions(lab: str) -> tuple[Any, ...]:
    """No questions: a quiz is not graded."""
    return ()
