"""One answer on many cases: is it right, and if not, which mistake is it, what leaked, where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .compare import difference, leak, parts, same
from .exercise import Case, Exercise
from .limits import NOTHING, TOO_LONG, UNWRITTEN, Problem
from .verdict import Verdict

Run = Callable[[tuple[Any, ...]], Any]
Found = list[Any] | str  # the parts of an answer, or why there are none


def examine(exercise: Exercise, run: Run, seed: int = 0, refusal: str = "", reveal: bool = True) -> Verdict:
    """The verdict on `run`, which takes a case's inputs and gives the answer to it, or raises Problem.

    `seed` draws the cases; `refusal`, if there is one, is the verdict; `reveal`: whether a wrong value is told the right one.
    """
    if refusal:
        return Verdict(exercise.name, False, refusal)
    cases = exercise.drawn(seed)
    want = [exercise.open(inputs, parts(exercise.apply(exercise.reference, inputs))) for _, inputs in cases]
    got = _collect(exercise, run, cases, want)
    if all(found in (NOTHING, UNWRITTEN) for found in got):
        text = f"Nothing to look at yet: write `{exercise.answer}` and run this again."
        return Verdict(exercise.name, False, text, tried=False)
    right = [not isinstance(g, str) and _same(exercise, g, w) for g, w in zip(got, want, strict=False)]
    if len(right) == len(cases) and all(right):
        return Verdict(exercise.name, True, f"Equal to the reference on {len(cases)} case{'s' if len(cases) > 1 else ''}.")
    return _wrong(exercise, cases, got, want, right, reveal)


def _same(exercise: Exercise, ours: list[Any], theirs: list[Any]) -> bool:
    return same(ours, theirs, by_hand=exercise.kind == "value", within=exercise.within)


def _collect(exercise: Exercise, run: Run, cases: list[Case], want: list[list[Any]]) -> list[Found]:
    """The answer to each case, or why there is none; after one that never ended the others are not asked."""
    got: list[Found] = []
    for (_, inputs), due in zip(cases, want, strict=True):
        try:
            answer = run(inputs)
        except Problem as problem:
            got.append(str(problem))
            if str(problem).startswith(TOO_LONG):
                break
            continue
        try:
            got.append(exercise.open(inputs, parts(answer, due)))
        except Problem as problem:
            got.append(str(problem))
        except Exception as error:  # an answer whose parts cannot even be looked at
            got.append(f"It cannot be looked at: {type(error).__name__}.")
    return got


def _wrong(exercise: Exercise, cases: list[Case], got: list[Found], want: list[Any], right: list[bool], reveal: bool) -> Verdict:
    """Name the mistake if it is known, else say what leaked and where."""
    mistake = next((m for m in exercise.mistakes if _makes(exercise, m.answer, cases, got, want)), None)
    i = right.index(False)
    label, inputs = cases[i]
    lines = [mistake.says] if mistake else []
    found, due = got[i], want[i]
    if isinstance(found, str):
        lines.append(found)
    elif exercise.keeper and _shapes(found) == _shapes(due):
        lines.append(leak(inputs[0], found, due, exercise.keeper))
        if not mistake:
            lines.append(difference(found, due, reveal))
    else:
        lines.append(difference(found, due, reveal))
    if len(cases) > 1:
        lines.append(f"({sum(right)} of {len(cases)} cases right; this was {label}.)")
    return Verdict(exercise.name, False, " ".join(dict.fromkeys(lines)), mistake=mistake.name if mistake else "")


def _shapes(answer: list[Any]) -> list[Any]:
    return [getattr(part, "shape", None) for part in answer]


def _makes(exercise: Exercise, wrong: Any, cases: list[Case], got: list[Found], want: list[Any]) -> bool:
    """Whether the answer is this wrong one: equal to it on every case, and not right on every case."""
    differs = False
    for (_, inputs), ours, right in zip(cases, got, want, strict=False):
        try:
            theirs: Any = exercise.open(inputs, parts(exercise.apply(wrong, inputs), right))
        except Exception:  # some mistakes raise on some cases: so must the answer
            if not isinstance(ours, str):
                return False
            differs = True
            continue
        if isinstance(ours, str) or not _same(exercise, ours, theirs):
            return False
        differs = differs or not _same(exercise, theirs, right)
    return differs
