"""Checks of exercises: the right answer passes, every known mistake is named, and nothing a student writes breaks the notebook."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from pelrp_nb import labs, rules
from pelrp_nb.errors import InputError
from pelrp_nb.labs import checking, course, limits
from pelrp_nb.labs.examine import examine

EXERCISES = course.ALL
MISTAKES = [(exercise, mistake) for exercise in EXERCISES for mistake in exercise.mistakes]


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """No tries, no name, no old version left from another test."""
    monkeypatch.setattr(checking, "_TRIES", type(checking._TRIES)())
    monkeypatch.setattr(checking, "_HERE", {"seed": 0, "old": ""})


def answered(exercise, answer, seed=0):
    return examine(exercise, lambda inputs: exercise.apply(answer, inputs), seed)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)
def test_the_reference_passes(exercise):
    assert all(answered(exercise, exercise.reference, seed) for seed in range(3))


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES, ids=lambda x: x.name)
def test_a_known_mistake_is_named(exercise, mistake):
    """Wrong by every draw of numbers, and told by its own name and sentence."""
    for seed in range(2):
        verdict = answered(exercise, mistake.answer, seed)
        assert not verdict and verdict.mistake == mistake.name
        assert mistake.says in verdict.message


def test_every_exercise_knows_three_mistakes_and_two_hints():
    assert all(len(exercise.mistakes) >= 3 and len(exercise.hints) == 2 for exercise in EXERCISES)
    assert len({exercise.name for exercise in EXERCISES}) == len(EXERCISES)
    assert all(3 <= len(course.of_lab(lab)) <= 5 for lab in course.LABS)


def test_the_message_says_what_leaked_and_where():
    def without_bias(R, x, weight, bias, eps):
        return rules.epsilon.relevance(R, x, weight=weight, eps=eps)[0]

    said = labs.check("epsilon", without_bias).message
    assert "The bias is missing in z" in said and "Sum in" in said and "at the bias or eps" in said


def test_an_unknown_mistake_is_placed():
    verdict = labs.check("shares", lambda x, weight: x * weight / (x * weight).sum(1, keepdim=True) + torch.eye(*weight.shape))
    assert not verdict and not verdict.mistake and "at [0, 0]" in verdict.message and "must be" in verdict.message


def test_hints_grow_more_concrete():
    hints = [labs.check("shares", lambda x, weight: x).hint for _ in range(4)]
    first, second = course.by_name("shares").hints
    assert hints == ["", first, second, second]
    assert labs.check("shares", course.by_name("shares").reference).hint == ""


def test_a_stub_is_no_try():
    assert not labs.check("shares", None).tried and not labs.check("shares", lambda x, weight: ...).tried
    assert labs.check("shares", lambda x, weight: x).hint == ""


BROKEN = {
    "raises": (lambda *a: 1 / 0, "ZeroDivisionError"),
    "leaves": (lambda *a: exit(3), "SystemExit"),
    "interrupts": (lambda *a: (_ for _ in ()).throw(KeyboardInterrupt), "generator"),
    "too few arguments": (lambda R: R, "TypeError"),
    "a dict": (lambda *a: {"a": 1}, "of type dict"),
    "a text": (lambda *a: "epsilon", "must give 1 result"),
    "a wrong shape": (lambda R, *a: R, "must have the shape"),
    "complex": (lambda R, x, *a: x * 1j, "must be"),
    "not a number": (lambda R, x, *a: x * float("nan"), "NaN"),
    "itself": (lambda *a: test_a_stub_is_no_try, "of type function"),
    "a class": (lambda *a: object, "of type type"),
    "no function": (3, "must be a function"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_nothing_breaks_the_notebook(how, monkeypatch):
    monkeypatch.setitem(course._BY_NAME, "epsilon", course.by_name("epsilon"))
    answer, said = BROKEN[how]
    verdict = labs.check("epsilon", answer)
    assert not verdict and (said in verdict.message or how in ("a text",)), verdict


@pytest.mark.parametrize("stubborn", [False, True], ids=["an endless loop", "an endless loop that catches everything"])
def test_an_endless_loop_ends(stubborn, monkeypatch):
    monkeypatch.setattr(checking, "SECONDS", 0.3)
    over = threading.Event()

    def loops(*inputs):
        while not over.is_set():
            try:
                time.sleep(0.01)
            except BaseException:
                if not stubborn:
                    raise

    began = time.monotonic()
    verdict = labs.check("epsilon", loops)
    over.set()
    assert not verdict and "did not finish" in verdict.message and time.monotonic() - began < 5


def test_it_works_outside_the_main_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(labs.check("epsilon", course.by_name("epsilon").reference)))
    thread.start()
    thread.join()
    assert found[0].passed


def test_answers_need_not_be_tensors():
    x, weight, R = labs.given("by-hand")
    right = course.by_name("by-hand").reference(x, weight, R)
    for answer in (right, right.float(), right.tolist(), tuple(right.tolist()), np.asarray(right)):
        assert labs.check("by-hand", answer)
    assert labs.check("by-hand", [round(value, 4) for value in right.tolist()])


def test_answers_do_not_change_the_cases():
    """A function that writes into its inputs sees copies."""

    def careless(R, x, weight, bias, eps):
        result = course.by_name("epsilon").reference(R, x, weight, bias, eps)
        for tensor in (R, x, weight, bias):
            tensor.zero_()
        return result

    assert labs.check("epsilon", careless)


def test_numbers_belong_to_a_student():
    anonymous = labs.given("by-hand")
    labs.student("李雷")
    own = labs.given("by-hand")
    assert not all(torch.equal(a, b) for a, b in zip(anonymous, own, strict=True))
    labs.student("  ANN   lee ")
    first = labs.given("by-hand")
    labs.student("Ann Lee")
    assert all(torch.equal(a, b) for a, b in zip(first, labs.given("by-hand"), strict=True))
    with pytest.raises(ValueError, match="by-hand"):
        labs.given("epsilon")


def test_a_name_of_half_characters_has_numbers_too_and_can_be_printed():
    half = chr(0xD800)
    labs.student(f"{half} Ann")
    first = labs.given("by-hand")
    assert labs.student(half).encode() == b"numbers for ?"
    assert not all(torch.equal(a, b) for a, b in zip(first, labs.given("by-hand"), strict=True))


def test_an_old_version_says_so():
    assert "99.0" in labs.start("01", "99.0")
    assert "written for pelrp_nb 99.0" in labs.check("shares", None).message
    assert labs.start("01", "0.0.1") == "lab 01: pelrp_nb is ready"


def test_an_unknown_exercise_names_the_nearest():
    verdict = labs.check("epsilom", None)
    assert not verdict and "'epsilon'" in verdict.message
    assert not labs.check(7, None) and not labs.check(None, None)


def test_a_verdict_is_text_and_a_note():
    verdict = labs.Verdict("x", False, "<b>", "look & see")
    assert repr(verdict) == "x: not yet. <b>\nHint: look & see"
    assert "&lt;b&gt;" in verdict._repr_html_() and "<b>" not in verdict._repr_html_()


@pytest.mark.parametrize("lab", course.LABS)
def test_every_choice_of_a_quiz_explains_itself(lab):
    quiz = labs.quiz(lab)
    assert len(quiz.questions) >= 3
    for number, question in enumerate(quiz.questions, 1):
        assert [choice.right for choice in question.choices].count(True) == 1 and len(question.choices) >= 3
        assert all(choice.why for choice in question.choices)
        right = [quiz.choose(number, letter).startswith("Right") for letter in "abc"]
        assert right == [choice.right for choice in question.choices]
    shown = quiz._repr_html_()
    assert "<script" not in shown and shown.count("<details") == sum(len(q.choices) for q in quiz.questions)
    assert "There are questions" in quiz.choose(99, "a") and "There are questions" in quiz.choose(1, "")


def test_the_right_choice_does_not_stand_in_one_place():
    places = [[c.right for c in q.choices].index(True) for lab in course.LABS for q in labs.quiz(lab).questions]
    assert all(places.count(place) >= 5 for place in range(3))
    with pytest.raises(InputError, match="00, 01"):
        labs.quiz("77")


def test_what_runs_too_long_is_stopped():
    with pytest.raises(limits.Problem, match="did not finish"):
        limits.within(0.2, lambda: time.sleep(1))
    with pytest.raises(limits.Problem, match="ValueError"):
        limits.within(5, lambda: int("x"))
    assert limits.within(5, lambda: 3) == 3
