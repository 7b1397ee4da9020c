"""Grading that cannot be stopped or fooled: a quick dose of the table in handed_in_hostile.py, and what keeps the rest out."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import handed_in
import handed_in_hostile as hostile
import pytest
from test_labs_grading import QUICK

from pelrp_nb.errors import InputError
from pelrp_nb.labs import batch, course, grading, plain_text, report, sandbox, seat, seccomp, submission, withheld
from pelrp_nb.labs.command import main
from pelrp_nb.labs.verdict import Verdict

DOSE = (
    "together", "answers: a deep tuple", "messages: the seat's own messages: fewer than none", "files: Latin-1",
    "cheats: by another name", "cheats: watched later", "texts: is called in colour",
)  # fmt: skip


@pytest.fixture(scope="module")
def graded(tmp_path_factory, bubblewrap):
    folder = tmp_path_factory.mktemp("hostile")
    kinds = hostile.write(folder / "in", list(DOSE))
    peak = hostile.Peak()
    peak.start()
    grades = batch.grade_folder(folder / "in", folder / "out", bounds=QUICK, quiet=True, seed=7)
    peak.over.set()
    return {"kinds": kinds, "grades": grades, "peak": peak.megabytes, "folder": folder}


def test_nothing_stops_the_run_and_nobody_gets_an_undue_point_without_a_note(graded):
    assert len(graded["grades"]) == len(DOSE)
    assert not [why for grade in graded["grades"] if (why := hostile.undue(graded["kinds"][grade.submission], grade))]


def test_memory_stays_within_a_fifth_of_its_bound(graded):
    assert 100 < graded["peak"] < 1.2 * QUICK.megabytes


def test_names_do_nothing_on_a_terminal_in_a_page_and_in_a_spreadsheet(graded, capsys):
    folder = graded["folder"]
    assert main(["grade", str(folder / "in"), "--out", str(folder / "out"), "--quiet"]) == 0
    written = [capsys.readouterr().out, *(page.read_text(encoding="utf-8") for page in (folder / "out" / "reports").iterdir())]
    assert all(c.isprintable() or c == "\n" for text in written for c in text)
    with (folder / "out" / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == len(DOSE) + 1
    assert not re.search(r"""(^|[;,|\t])[\s"']*(?<!')[=+@＝＋＠]""", "\n".join(cell for row in rows for cell in row), re.MULTILINE)


def test_a_grade_can_be_had_again_from_the_seed_in_its_report(graded):
    assert {grade.seed for grade in graded["grades"]} == {7}
    pages = [page.read_text(encoding="utf-8") for page in (graded["folder"] / "out" / "reports").iterdir()]
    assert all("Drawn from seed 7." in page for page in pages)


def test_what_is_for_the_teacher_alone_stays_off_the_students_page(graded):
    out = graded["folder"] / "out"
    assert "To look at" in (out / "grades.csv").read_text(encoding="utf-8")
    assert not any("To look at" in page.read_text(encoding="utf-8") for page in (out / "reports").iterdir())


NAMES = {
    "\x1b[2J": "\\u001b[2J", "a\nb": "a b", "\u202egnp": "\\u202egnp", "\udce9": "\\udce9", "محمد": "محمد", "می\u200cخوا": "می\u200cخوا",
    "👩\u200d🏫": "👩\u200d🏫", "\0": "\\u0000",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_without_what_acts(name):
    assert plain_text.readable(name) == NAMES[name]
    NAMES[name].encode()


FORMULAS = {
    "=1+1": "'=1+1", "x;=1+1": "x;'=1+1", "＝1+1": "'＝1+1", "x|  @SUM": "x|  '@SUM", '"-1': "\"'-1", "a-b": "a-b", "O'Neil": "O'Neil",
    "x\t+1": "x\t'+1", "−1": "'−1",
}  # fmt: skip


@pytest.mark.parametrize("cell", FORMULAS)
def test_no_cell_is_a_formula_by_whatever_it_is_divided(cell):
    assert plain_text.no_formula(cell) == FORMULAS[cell] and plain_text.no_formula(-1) == -1


def test_an_error_of_the_grader_itself_ends_one_submission_and_names_it(monkeypatch, bubblewrap):
    def fails(*_):
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(grading.Sitting, "go_on", fails)
    found = grading.grade(submission.Submission("x", "0", "01", tuple(handed_in.cells())), bounds=QUICK)
    assert found.points == 0 and len(found.verdicts) == 4
    assert found.private == ["To look at: grading it failed with ZeroDivisionError: a fault of ours"]


def test_a_full_disk_is_said_and_what_was_graded_is_kept(tmp_path, monkeypatch, bubblewrap):
    handed_in.write(tmp_path / "in", 3)
    done, write = [], Path.write_text

    def graded(each, *_):
        return grading.Grade(each.name, each.digest, "01", verdicts={name: Verdict(name, False, "") for name in handed_in.POINTS})

    def full(path, *arguments, **options):
        if path.suffix == ".part" and len(done) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done.append(path)
        return write(path, *arguments, **options)

    monkeypatch.setattr(batch, "grade", graded)
    monkeypatch.setattr(Path, "write_text", lambda path, *a, **k: full(path, *a, **k) if path.suffix == ".part" else write(path, *a, **k))
    with pytest.raises(InputError, match=r"No space left on device\. What was graded so far is kept"):
        batch.grade_folder(tmp_path / "in", tmp_path / "out", jobs=1, quiet=True)
    assert len(list((tmp_path / "out" / "results").iterdir())) == 2
    monkeypatch.setattr(Path, "write_text", write)
    assert len(batch.grade_folder(tmp_path / "in", tmp_path / "out", jobs=1, quiet=True)) == 3


def test_a_thousand_submissions_are_one_table_and_a_page_each(tmp_path, monkeypatch, bubblewrap):
    """Graded by something that takes no time; `python tests/handed_in.py 1000` grades them in earnest."""
    for number in range(1000):
        (tmp_path / "in" / f"{number}").mkdir(parents=True)
        (tmp_path / "in" / f"{number}" / "lab_01.ipynb").write_text(handed_in.KINDS["good"][0])
    right = {name: Verdict(name, True, "") for name in handed_in.POINTS}
    monkeypatch.setattr(batch, "grade", lambda each, *_: grading.Grade(each.name, each.digest, "01", verdicts=right))
    grades = batch.grade_folder(tmp_path / "in", tmp_path / "out", jobs=4, quiet=True)
    assert len(grades) == 1000 and {grade.points for grade in grades} == {5}
    assert len(list((tmp_path / "out" / "reports").iterdir())) == 1000


def made(name, who="", lab="01"):
    return grading.Grade(name, "0", lab, who)


def test_the_same_name_is_said_of_two_people_and_not_of_two_labs():
    two = [made("a/lab_01.ipynb", "Ann Lee"), made("b/lab_01.ipynb", " ann  LEE ")]
    batch.compare(two)
    assert two[0].private == ["To look at: another submission for lab 01 gives the same name: b/lab_01.ipynb."]
    apart = [made("a/lab_01.ipynb", "Ann"), made("a/lab_02.ipynb", "Ann", "02"), made("b/lab_01.ipynb"), made("c/lab_01.ipynb")]
    batch.compare(apart)
    assert not any(each.private for each in apart)


def test_two_versions_by_one_student_are_both_graded_and_said():
    two = [made("a/lab_01.ipynb"), made("a/lab_01 (1).ipynb"), made("lab_01.ipynb"), made("mine_01.ipynb")]
    batch.compare(two)
    assert ["lies in the same folder" in " ".join(each.private) for each in two] == [True, True, False, False]


def test_a_resubmission_has_the_page_of_what_it_replaces(tmp_path):
    first, second = (grading.Grade("ann/lab_01.ipynb", digest, "01") for digest in ("a", "b"))
    for each in (first, second):
        each.verdicts = {name: Verdict(name, False, f"version {each.digest}") for name in handed_in.POINTS}
        report.page(each, tmp_path)
    (tmp_path / report.page_name("gone/lab_01.ipynb")).write_text("")
    (tmp_path / "mine.html").write_text("")
    report.clear(tmp_path, [second.submission])
    assert {path.name for path in tmp_path.iterdir()} == {report.page_name("ann/lab_01.ipynb"), "mine.html"}
    assert "version b" in (tmp_path / report.page_name("ann/lab_01.ipynb")).read_text(encoding="utf-8")


def test_a_script_is_graded_and_other_files_are_listed(tmp_path, bubblewrap):
    script = "\n".join(f"# %%\n{cell}" for cell in handed_in.cells())
    (tmp_path / "ann.py").write_text(script)
    (tmp_path / "tools.py").write_text("x = 1")
    found = submission.read(tmp_path / "ann.py", tmp_path)
    assert [path.name for path in submission.found_in(tmp_path, tmp_path / "out")] == ["ann.py"]
    assert submission.left_out(tmp_path, tmp_path / "out") == ["tools.py"]
    assert found.lab == "01" and "It is a script" in found.notes[0]
    assert grading.grade(found, bounds=QUICK).points == handed_in.WHOLE


COLAB = (
    "#@title Answer {run: 'auto'}\n!pip install -q pelrp_nb\n%load_ext autoreload\nfrom pelrp_nb import labs, rules\nimport torch\ntorch?"
)
SAVED = {  # by: its first cell, the metadata of notebook and cells
    "Colab": (COLAB, {"colab": {"provenance": []}, "kernelspec": {"name": "python3"}}, {"id": "x", "colab": {"base_uri": "https://localhost"}}),
    "VS Code": ("%%time\nimport torch\nfrom pelrp_nb import labs, rules\ndisplay(1)", {"language_info": {"name": "python"}},
                {"vscode": {"languageId": "python"}}),
    "JupyterLite": ("import asyncio\nawait asyncio.sleep(0)\nimport torch\nfrom pelrp_nb import labs, rules\n%pip install pelrp_nb",
                    {"kernelspec": {"name": "python", "display_name": "Python (Pyodide)"}}, {"trusted": True}),
}  # fmt: skip


def test_a_notebook_is_read_as_others_save_it(tmp_path, bubblewrap):
    """Each as it is saved, and the first cells of all in one sandbox."""
    starts = []
    for by, (start, about, cell) in SAVED.items():
        made = [{"cell_type": "code", "source": source.splitlines(True), "outputs": [], "execution_count": None, "metadata": cell}
                for source in (start, *handed_in.cells()[1:])]  # fmt: skip
        (tmp_path / f"{by}.ipynb").write_text(json.dumps({"cells": made, "metadata": about, "nbformat": 4, "nbformat_minor": 0}))
        read = submission.read(tmp_path / f"{by}.ipynb", tmp_path)
        assert read.lab == "01" and read.cells == (start, *handed_in.cells()[1:]) and not read.notes
        starts.append(start)
    found = grading.grade(submission.Submission("x", "0", "01", (*starts, *handed_in.cells()[1:])), bounds=QUICK)
    assert found.points == handed_in.WHOLE and not found.notes and not found.private, found


@pytest.mark.parametrize(
    "source", ["x = '''\n%a\n!b\n'''", "f = 'a?'", "%%timeit\ny = 1", "a = !ls\nb = %time 1\nx?\n?x\ny = 2", "%%bash\nls"]
)
def test_lines_that_only_a_notebook_understands_are_left_out_and_no_others(source):
    space: dict = {}
    exec(compile(seat.plain(source), "cell", "exec"), space)
    assert space.get("x", "%a\n!b").count("%a") == 1 and ("y" in space) == ("y =" in source)


def test_what_stands_in_for_the_course_knows_names_and_no_answers(monkeypatch):
    monkeypatch.setattr(withheld, "_BY_NAME", {})
    withheld.tell(withheld.told(course.ALL))
    assert withheld.names() == course.names() and withheld.questions("01") == ()
    for exercise in course.ALL:
        there = withheld.by_name(exercise.name)
        assert (there.lab, there.answer, there.kind) == (exercise.lab, exercise.answer, exercise.kind)
        assert there.reference() is None and not list(there.cases(None)) and not there.mistakes and not any(there.hints)


def test_every_copy_of_the_answers_in_reach_is_hidden(tmp_path):
    labs = tmp_path / "lib" / "python3.11" / "site-packages" / "pelrp_nb" / "labs"
    for name in ("course", "masters"):
        (labs / name).mkdir(parents=True)
    hidden = sandbox.answers([str(tmp_path)])
    assert hidden >= {str(labs / "course"), str(labs / "masters"), str(sandbox.PACKAGE / "labs" / "course")}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_of_system_calls_refuses_what_it_names_and_nothing_else(machine):
    """The kernel's small machine, run here by hand for every number and argument that matters."""
    at, kind = seccomp.MACHINES[machine]
    steps = seccomp.program(machine)

    def answer(number, arguments=(0,) * 6, kind=kind):
        data = {seccomp.NUMBER: number, seccomp.MACHINE: kind, **{seccomp.ARGUMENT + 8 * i: x for i, x in enumerate(arguments)}}
        place, held = 0, 0
        while True:
            code, yes, no, operand = steps[place]
            place += 1
            if code == seccomp.RETURN:
                return operand
            if code == seccomp.LOAD:
                held = data[operand]
            elif code == seccomp.AND:
                held &= operand
            else:
                holds = {seccomp.EQUAL: held == operand, seccomp.AT_LEAST: held >= operand, seccomp.ANY_BIT: bool(held & operand)}[code]
                place += yes if holds else no

    refused = {pair[at] for pair in seccomp.REFUSED.values() if pair[at]}
    special = {pair[at] for pair in (seccomp.CLONE, seccomp.CLONE3, seccomp.MMAP, seccomp.SOCKET, seccomp.PRCTL)}
    assert all((answer(n) == seccomp.ALLOW) == (n not in refused) for n in set(range(500)) - special)
    assert answer(0, kind=1) == seccomp.KILL and answer(seccomp.CLONE3[at]) == seccomp.FAIL | errno.ENOSYS
    assert (answer(0x40000000 + 1) == seccomp.FAIL | errno.ENOSYS) == (at == 0)
    no = seccomp.FAIL | errno.EPERM
    assert [answer(seccomp.CLONE[at], (flags, 0)) for flags in (0x3D0F00, 0x11, 0x10000000)] == [seccomp.ALLOW, no, no]
    flags = {0x22: seccomp.ALLOW, 0x02: seccomp.ALLOW, 0x01: seccomp.ALLOW, 0x21: no, 0x23: no, 0x122: no, 0x40022: no}
    assert {each: answer(seccomp.MMAP[at], (0, 0, 0, each)) for each in flags} == flags
    assert [answer(seccomp.SOCKET[at], (family,)) == seccomp.ALLOW for family in (1, 2, 10, 16, 17, 40)] == [True] * 4 + [False] * 2
    assert answer(seccomp.PRCTL[at], (4,)) == no and answer(seccomp.PRCTL[at], (15,)) == seccomp.ALLOW


def test_a_processor_without_a_filter_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(seccomp.platform, "machine", lambda: "riscv64")
    with pytest.raises(OSError, match="no filter of system calls is written for riscv64"):
        seccomp.install()


def test_a_teacher_who_is_not_root_grades_as_well(tmp_path, bubblewrap):
    """In a namespace of users where nobody is root: bubblewrap makes the sandboxes in one of their own."""
    hostile.write(tmp_path / "in", ["together"])
    inside = "import os, sys\nfrom pelrp_nb.labs.command import main\nassert os.geteuid() == 1000\nsys.exit(main(sys.argv[1:]))"
    nobody = [
        "bwrap",
        "--unshare-user",
        "--uid",
        "1000",
        "--gid",
        "1000",
        "--dev-bind",
        "/",
        "/",
        "--setenv",
        "XDG_STATE_HOME",
        str(tmp_path),
    ]
    asked = [*nobody, sys.executable, "-c", inside, "grade", str(tmp_path / "in"), "--quiet"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert "5 of 5" in done.stdout and "look at it" not in done.stdout
