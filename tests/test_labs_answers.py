"""Every exercise takes right answers of any style, and refuses wrong ones that students write: `answers/*.txt` has both, as source."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from einops import rearrange, reduce
from torch.nn.functional import silu

from pelrp_nb import labs
from pelrp_nb.labs import checking, course
from pelrp_nb.labs.compare import leak
from pelrp_nb.labs.course import quickstart
from pelrp_nb.labs.examine import examine
from pelrp_nb.labs.exercise import Exercise
from pelrp_nb.labs.limits import Problem, said
from pelrp_nb.verbs import freeze, route, scale

SPACE = {
    "Fraction": Fraction, "freeze": freeze, "math": math, "np": np, "rearrange": rearrange, "reduce": reduce, "route": route,
    "scale": scale, "silu": silu, "statistics": statistics, "torch": torch,
}  # fmt: skip
HEAD = re.compile(r"# ([\w-]+) \((.*)\)")
RIGHT, WRONG, SEEDS = 4, 6, 3


def tables() -> Iterator[tuple[str, str, bool, str]]:
    """(exercise, its arguments, whether the answer is right, source) of every answer: `+` or `-`, and lines that go on are indented."""
    for path in sorted((Path(__file__).parent / "answers").glob("*.txt")):
        for block in path.read_text(encoding="utf-8").split("\n\n"):
            head, *lines = block.strip("\n").split("\n")
            name, arguments = HEAD.fullmatch(head).groups()
            sources: list[list[str]] = []
            for line in lines:
                if line[0] in "+-":
                    sources.append([line])
                else:
                    sources[-1].append(line)
            for source in sources:
                text = "\n".join(line[2:] for line in source)
                yield name, arguments, source[0][0] == "+", text


ANSWERS = list(tables())


def function(arguments: str, source: str) -> Callable[..., Any]:
    """An answer as what a student defines: an expression, or lines that end in a return."""
    if "\n" not in source:
        source = f"return {source}"
    body = "\n".join(f"    {line}" for line in source.split("\n"))
    space = dict(SPACE)
    if not arguments:
        space |= {"before": quickstart.exchanged(), "other": quickstart.explained()}
    exec(f"def answer({arguments}):\n{body}", space)
    return space["answer"]


def judged(exercise: Exercise, answer: Callable[..., Any], seed: int) -> Any:
    def run(inputs: tuple[Any, ...]) -> Any:
        try:
            return exercise.apply(answer, inputs)
        except Exception as error:
            raise Problem(said(error)) from error

    return examine(exercise, run, seed)


@pytest.mark.parametrize(("name", "arguments", "right", "source"), ANSWERS, ids=lambda x: x if x in course.names() else "")
def test_right_answers_pass_and_wrong_ones_do_not(name, arguments, right, source):
    exercise = course.by_name(name)
    for seed in range(SEEDS):
        verdict = judged(exercise, function(arguments, source), seed)
        assert verdict.passed == right, (source, verdict)


def test_every_exercise_has_four_right_answers_and_six_wrong_ones():
    for exercise in course.ALL:
        of_it = [right for name, _, right, _ in ANSWERS if name == exercise.name]
        wrong = len(of_it) - sum(of_it) + len(exercise.mistakes)  # the mistakes it names are tested beside it
        assert sum(of_it) >= RIGHT and wrong >= WRONG, (exercise.name, of_it, wrong)


def test_four_significant_digits_are_enough_for_every_student(monkeypatch):
    """Of 500 draws of numbers 371 were refused."""
    exercise = course.by_name("by-hand")
    for seed in range(500):
        ((_, inputs),) = exercise.drawn(seed)
        rounded = [float(f"{value:.4g}") for value in exercise.reference(*inputs).tolist()]
        assert examine(exercise, lambda _, answer=rounded: answer, seed), seed


@pytest.fixture
def fresh(monkeypatch):
    """No tries left from another test."""
    monkeypatch.setattr(checking, "_TRIES", type(checking._TRIES)())
    monkeypatch.setattr(checking, "_HERE", {"seed": 0, "old": ""})


def test_a_value_is_told_with_the_third_try_only(fresh):
    right = f"{float(course.by_name('position-part').reference()):.4f}"
    messages = [labs.check("position-part", 0.7).message for _ in range(3)]
    assert [right in message for message in messages] == [False, False, True]


def test_vanished_is_said_of_sums_that_mean_something():
    R = torch.tensor([5.0, -4.9], dtype=torch.float64)
    whole, half = [R.abs()], [R.abs() / 2]
    assert "vanished" in leak(R.abs(), half, whole, "nobody") and "appeared" in leak(R.abs(), [R.abs() * 2], whole, "nobody")
    assert not re.search("vanished|appeared", leak(R, [R / 2], [R], "nobody"))  # 0.1 is what is left of 9.9
    assert not re.search("vanished|appeared", leak(R.abs(), [-R.abs()], whole, "nobody"))


def test_a_sparse_answer_is_looked_at(fresh):
    right = course.by_name("shares").reference
    assert labs.check("shares", lambda x, weight: right(x, weight).to_sparse())
    assert not labs.check("shares", lambda x, weight: weight.to_sparse())


def test_seconds_are_shared_by_all_cases(fresh, monkeypatch):
    """An answer that sleeps in every case ends after the seconds of one."""
    import time

    monkeypatch.setattr(checking, "SECONDS", 0.6)
    right, began = course.by_name("epsilon").reference, time.monotonic()
    verdict = labs.check("epsilon", lambda *inputs: time.sleep(0.25) or right(*inputs))
    assert not verdict and "for all cases" in verdict.message and time.monotonic() - began < 0.25 * len(course.by_name("epsilon").drawn(0))
