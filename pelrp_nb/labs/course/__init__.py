"""The exercises and quizzes of the course, one file a lab, in the order of the tutorials."""

from __future__ import annotations

from typing import Any

from ...errors import InputError
from ..exercise import Exercise
from . import (
    activations, added, alibi, attention, conservation, images, judging, linear, own_model, own_rule, quickstart, residuals, rotary,
    whole, word_to_word,
)  # fmt: skip

LABS = {
    "00": quickstart, "01": linear, "02": conservation, "03": activations, "04": attention, "05": residuals, "06": added,
    "07": rotary, "08": alibi, "09": whole, "10": images, "11": judging, "12": own_model, "13": own_rule,
    "14": word_to_word,
}  # fmt: skip
ALL: tuple[Exercise, ...] = tuple(exercise for lab in LABS.values() for exercise in lab.EXERCISES)
_BY_NAME = {exercise.name: exercise for exercise in ALL}


def by_name(name: Any) -> Exercise | None:
    """The exercise of that name, if there is one."""
    return _BY_NAME.get(name) if isinstance(name, str) else None


def names() -> tuple[str, ...]:
    """The names of all exercises, in the order of the course."""
    return tuple(_BY_NAME)


def of_lab(lab: str) -> tuple[Exercise, ...]:
    """The exercises of one lab."""
    return tuple(exercise for exercise in ALL if exercise.lab == lab)


def questions(lab: str) -> tuple[Any, ...]:
    """The questions of a lab's quiz: (question, (right choice, why), (wrong choice, why), ...)."""
    if lab not in LABS:
        raise InputError(f"There must be a lab of that number; got {lab!r}. There are {', '.join(LABS)}.")
    return LABS[lab].QUIZ
