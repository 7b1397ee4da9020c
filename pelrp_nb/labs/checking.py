"""`labs.check(name, answer)`: run the answer on many cases, compare it with the page of the rule, and say what is wrong."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from difflib import get_close_matches
from typing import Any

from ..errors import InputError
from .course import by_name, names
from .examine import Run, examine
from .exercise import Exercise
from .limits import LEAST, SECONDS, within
from .verdict import Verdict

TRIES = 3  # with the third, a value is told
_TRIES: Counter[str] = Counter()
_HERE: dict[str, Any] = {"seed": 0, "old": ""}


def check(name: str, answer: Any) -> Verdict:
    """Look at an answer; never raises, and never runs longer than about ten seconds.

    Args: `name` of the exercise; `answer` a function, or a value where one is asked for. Random and special cases are
    compared with the reference; each failed try makes the hint more concrete. The result is true where the answer is right.
    """
    exercise = by_name(name)
    if exercise is None:
        return Verdict(str(name), False, _unknown(name) + _HERE["old"], tried=False)
    reveal = exercise.kind != "value" or _TRIES[name] >= TRIES - 1
    found = examine(exercise, _caller(exercise, answer), _HERE["seed"], wrong_kind(exercise, answer), reveal)
    if found.passed:
        _TRIES.pop(name, None)
    elif found.tried:
        _TRIES[name] += 1
    hint = exercise.hints[min(_TRIES[name] - 2, len(exercise.hints) - 1)] if found.tried and _TRIES[name] > 1 else ""
    return Verdict(name, found.passed, found.message + _HERE["old"], hint, found.mistake, found.tried)


def given(name: str) -> tuple[Any, ...]:
    """The numbers of an exercise that asks for a value; everybody's own after `student(...)`."""
    exercise = by_name(name)
    if exercise is None or exercise.kind != "value":
        values = ", ".join(n for n in names() if getattr(by_name(n), "kind", "") == "value")
        raise InputError(f"There must be an exercise with numbers of its own called {name!r}; there are {values}.")
    return exercise.drawn(_HERE["seed"])[0][1]


def student(who: str) -> str:
    """Say who works here: the numbers of `given` then are that student's own. A name or a number, any script."""
    _HERE["seed"] = seed_of(who)
    if not str(who).strip():
        return 'Whose numbers are these? Type your name or number between the quotes of labs.student(""), and run this again.'
    return f"numbers for {' '.join(str(who).split())}".encode("utf-8", "replace").decode()  # a name may hold half a character


def seed_of(who: str) -> int:
    """The seed of one student; the same name gives the same numbers, whatever its spaces and capitals."""
    plain = " ".join(str(who).casefold().split())
    return int.from_bytes(hashlib.sha256(plain.encode("utf-8", "surrogatepass")).digest()[:4], "big") if plain else 0


def start(lab: str, version: str) -> str:
    """The first line of a lab: whether this installation is new enough for the notebook."""
    from packaging.version import Version

    from ..version import __version__

    if Version(__version__) < Version(version):
        _HERE["old"] = (
            f" (This notebook was written for pelrp_nb {version}, and {__version__} is installed: its checks may be missing or "
            f"others. Type: %pip install pelrp_nb=={version}, and restart the kernel.)"
        )
        return f"lab {lab}:{_HERE['old']}"
    _HERE["old"] = ""
    return f"lab {lab}: pelrp_nb is ready"


def wrong_kind(exercise: Exercise, answer: Any) -> str:
    """Why an answer cannot be looked at as it is; nothing if it can."""
    if exercise.kind != "value" and answer is not None and answer is not Ellipsis and not callable(answer):
        return (
            f"It must be a function, and is of type {type(answer).__name__}. Pass the function itself, `{exercise.answer}`, "
            f"not what it returns."
        )
    if exercise.kind == "value" and callable(answer):
        return f"It must be the value itself, and is a function. Call it: `{exercise.answer}(...)`."
    return ""


def _caller(exercise: Exercise, answer: Any) -> Run:
    """An answer as a function of a case's inputs; all cases share the seconds there are."""
    if exercise.kind == "value":
        return lambda inputs: answer
    if answer is None or answer is Ellipsis:
        return lambda inputs: None
    until = time.monotonic() + SECONDS
    return lambda inputs: within(max(until - time.monotonic(), LEAST), lambda: exercise.apply(answer, inputs), SECONDS)


def _unknown(name: Any) -> str:
    nearest = get_close_matches(str(name).casefold(), names(), n=1, cutoff=0.4)
    guess = f" Did you mean {nearest[0]!r}?" if nearest else ""
    from ..version import __version__

    return f"No exercise has this name in pelrp_nb {__version__}.{guess} A newer notebook may need a newer pelrp_nb."
