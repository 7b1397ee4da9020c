"""Grading: every kind of submission gets what it is worth, and nothing that it does reaches outside its sandbox."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import handed_in
import pytest
import torch

from pelrp_nb.errors import InputError
from pelrp_nb.labs import batch, channel, grading, meter, report, sandbox, submission
from pelrp_nb.labs.command import main
from pelrp_nb.labs.limits import Problem
from pelrp_nb.labs.sandbox import Bounds, SandboxError
from pelrp_nb.labs.verdict import Verdict

QUICK = Bounds(cell=3, answer=1.5)


def hashes(*folders: Path) -> dict[str, str]:
    """The sha256 of every file in some folders."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def graded(tmp_path_factory, bubblewrap):
    """Twelve submissions, one of each of the worst kinds, graded; with hashes of what must not change."""
    folder = tmp_path_factory.mktemp("course")
    handed, out, secret = folder / "handed in", folder / "graded", folder / "secret.txt"
    due = handed_in.write(handed, 12)
    secret.write_text("nobody may read this")
    watched = (handed, sandbox.PACKAGE, Path(torch.__file__).parent / "nn")
    before = hashes(*watched)
    grades = batch.grade_folder(handed, out, jobs=2, bounds=QUICK, quiet=True)
    return {"due": due, "grades": grades, "before": before, "after": hashes(*watched), "handed": handed, "out": out}


def kind(name: str) -> str:
    return list(handed_in.KINDS)[int(name.split("/")[0].split()[-1]) % len(handed_in.KINDS)]


def test_all_are_graded_right(graded):
    found = {grade.submission: grade.points for grade in graded["grades"]}
    wrong = {kind(name): (found[name], due) for name, due in graded["due"].items() if found[name] != due}
    assert not wrong and len(found) == 12
    assert sum("hostile" in kind(name) for name in found) >= 6


def test_nothing_outside_the_sandbox_changed(graded):
    assert graded["before"] == graded["after"]
    assert not list(Path("/").glob("written"))


def test_no_process_is_left(graded):
    assert [pid for pid in meter.family(os.getpid()) if b"pelrp_nb.labs.seat" in Path(f"/proc/{pid}/cmdline").read_bytes()] == []


def test_the_table_and_the_pages_are_readable(graded):
    with (graded["out"] / "grades.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert {row["submission"].removeprefix("'"): int(row["points"]) for row in rows} == graded["due"]
    assert all(row["of"] == "5" for row in rows)
    assert not any(cell[:1] in "=+-@" for row in rows for cell in row.values() if cell)
    pages = list((graded["out"] / "reports").iterdir())
    assert len(pages) == 12
    told = next(page for page in pages if "李雷" in page.name).read_text(encoding="utf-8")
    assert "The bias is missing in z" in told and "3 of 5 points" in told


def test_a_forger_is_noted(graded):
    grades = {kind(grade.submission): grade for grade in graded["grades"]}
    assert "it wrote to the grader's channel" in " ".join(grades["hostile: forges messages"].private)
    assert "did not finish in time" in " ".join(grades["hostile: prints without end"].notes)
    assert all(not grade.private for name, grade in grades.items() if "hostile" not in name)


def test_a_run_goes_on_where_it_was(graded, monkeypatch):
    def never(*_):
        raise AssertionError("graded again")

    monkeypatch.setattr(batch, "grade", never)
    again = batch.grade_folder(graded["handed"], graded["out"], quiet=True)
    assert [grade.points for grade in again] == [grade.points for grade in graded["grades"]]


KILLED = """
import os, signal, sys
from pathlib import Path
from pelrp_nb.labs import batch
keep, kept = batch.keep, []
def keeps(*result):
    keep(*result)
    kept.append(result)
    if len(kept) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
batch.keep = keeps
batch.grade_folder(Path(sys.argv[1]), Path(sys.argv[2]), jobs=1, quiet=True)
"""


def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path, bubblewrap, monkeypatch):
    """As a machine that restarts kills it: at once, after two of three."""
    for number, kind in enumerate(("broken: not JSON", "broken: empty", "broken: no cells")):
        (tmp_path / "in" / f"{number}").mkdir(parents=True)
        (tmp_path / "in" / f"{number}" / "lab_01.ipynb").write_text(handed_in.KINDS[kind][0])
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "in"), str(tmp_path / "out")], capture_output=True)
    assert done.returncode == -signal.SIGKILL and not (tmp_path / "out" / "grades.csv").exists()
    graded, grade = [], batch.grade
    monkeypatch.setattr(batch, "grade", lambda each, *how: graded.append(each.name) or grade(each, *how))
    grades = batch.grade_folder(tmp_path / "in", tmp_path / "out", jobs=1, quiet=True)
    assert [each.points for each in grades] == [0, 0, 0] and graded == ["2/lab_01.ipynb"]


def test_what_was_never_written_is_not_told_to_be_run_again(bubblewrap):
    code = [handed_in.IMPORTS, handed_in.STUB, 'labs.check("shares", shares)']
    verdict = grading.grade(submission.Submission("x", "0", "01", tuple(code)), bounds=QUICK).verdicts["shares"]
    assert not verdict and "`shares` gives nothing back" in verdict.message and "run this again" not in verdict.message


def test_a_changed_submission_is_graded_again(graded, tmp_path):
    one = submission.read(next(graded["handed"].rglob("*.ipynb")), graded["handed"])
    results, signing = graded["out"] / "results", report.signing_key()
    assert report.kept(one.name, one.digest, results, signing) is not None
    assert report.kept(one.name, "0" * 64, results, signing) is None
    assert report.kept(one.name, one.digest, results, b"another teacher's") is None
    for text in ("{ half a fi", "[]", '{"grade": 1, "signature": 2}'):
        (tmp_path / f"{report.key('a', 'b')}.json").write_text(text)
        assert report.kept("a", "b", tmp_path, signing) is None


def test_a_result_that_somebody_else_wrote_is_not_taken(tmp_path, monkeypatch):
    """A student hands in a folder with full points in it, at the place and under the name where the grader keeps them."""
    wished = grading.Grade("ann/lab_01.ipynb", "0" * 64, "01", verdicts={"epsilon": Verdict("epsilon", True, "right")})
    report.keep(wished, tmp_path, b"guessed")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    own = report.signing_key()
    assert own == report.signing_key() and len(own) == 32
    assert report.kept("ann/lab_01.ipynb", "0" * 64, tmp_path, own) is None
    report.keep(wished, tmp_path, own)
    kept = report.kept("ann/lab_01.ipynb", "0" * 64, tmp_path, own)
    assert kept == wished
    path = tmp_path / f"{report.key(wished.submission, wished.digest)}.json"
    path.write_text(path.read_text().replace("points", "points ").replace("right", "wrong"))
    assert report.kept("ann/lab_01.ipynb", "0" * 64, tmp_path, own) is None
    assert stat.S_IMODE((tmp_path / "state" / "pelrp_nb" / "grading.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("named", [name for name in handed_in.KINDS if name.startswith("partial")][2:6])
def test_a_notebook_that_was_taken_apart_is_graded(named, bubblewrap):
    text, points = handed_in.KINDS[named]
    cells = tuple("".join(cell["source"]) for cell in json.loads(text)["cells"])
    found = grading.grade(submission.Submission("x", "0", "01", cells), bounds=QUICK)
    assert found.points == points, found


def test_inside_there_is_no_network_no_neighbour_and_no_way_back(bubblewrap):
    """What a seat sees: its own empty home, no user's files, no processes but its own, no network but its own loopback."""
    look = (
        "import os, socket\n"
        "raise ValueError(repr((os.listdir('/home/student'), [p for p in os.listdir('/proc') if p.isdigit()].__len__() < 6, "
        "os.listdir('/sys') if os.path.exists('/sys') else [], socket.if_nameindex(), os.getuid() != 0)))"
    )
    found = grading.grade(submission.Submission("x", "0", "01", (look,)), bounds=QUICK)
    assert "([], True, [], [(1, 'lo')], True)" in " ".join(found.notes), found.notes


def test_an_environment_that_is_reached_through_a_link_grades_as_well(bubblewrap, tmp_path, monkeypatch):
    link = tmp_path / "environment"
    link.symlink_to(sys.prefix)
    monkeypatch.setattr(sys, "executable", str(link / Path(sys.executable).relative_to(sys.prefix)))
    monkeypatch.setattr(sys, "prefix", str(link))
    sandbox.refuse_unless_safe.__wrapped__()


def test_values_belong_to_the_student_who_signed(bubblewrap):
    signed = [handed_in.IMPORTS, "labs.student('Zoë')", *handed_in.cells()[1:3]]
    other = [handed_in.IMPORTS, *handed_in.cells()[1:3], "labs.student('Zoë')"]
    right, wrong = (grading.grade(submission.Submission("x", "0", "01", tuple(cells)), bounds=QUICK) for cells in (signed, other))
    assert right.verdicts["by-hand"] and not wrong.verdicts["by-hand"] and right.who == "Zoë"


SLOW = "import time\ndef shares(x, weight):\n    {}\n    c = x * weight\n    return c / c.sum(1, keepdim=True)"


def test_time_is_that_of_the_processor_so_that_a_busy_machine_takes_no_points_away(bubblewrap):
    """An answer that waits longer than it may work is right; one that works as long is not."""
    waits, works = (SLOW.format(how) for how in ("time.sleep(0.8)", "for _ in range(10**9): pass"))
    bounds = Bounds(cell=6, answer=0.5)
    for answer, right in ((waits, True), (works, False)):
        cells = tuple(handed_in.cells(by_hand=None, epsilon=None, bias_keeps=None, shares=answer))
        found = grading.grade(submission.Submission("x", "0", "01", cells), bounds=bounds)
        assert bool(found.verdicts["shares"]) == right, found


def test_a_second_without_a_processor_counts_a_tenth_and_a_jump_of_the_clock_nothing(monkeypatch):
    now, awake = [0.0], [True]
    monkeypatch.setattr(meter, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(meter, "worked", lambda pid: 0.0)
    monkeypatch.setattr(meter, "asleep", lambda pid: not awake[0])
    pulse, starved, slept, jumped = meter.Pulse(1), meter.Meter(1), meter.Meter(1), meter.Meter(1)

    def looks(found, times, step):
        for _ in range(times):
            now[0] += step
            found.add(*pulse.beat())
        return found.over

    assert not looks(starved, 145, 0.2) and looks(starved, 10, 0.2)
    awake[0] = False
    assert not looks(slept, 14, 0.2) and looks(slept, 2, 0.2)
    assert not looks(jumped, 1, 1e9) and not looks(jumped, 1, -1e9) and not looks(jumped, 4, 1e9)


@pytest.mark.parametrize(("code", "sleeps"), [("import time; time.sleep(600)", True), ("while True: pass", False)])
def test_a_process_is_asleep_unless_something_it_started_works(code, sleeps):
    with subprocess.Popen(["sh", "-c", f"{sys.executable} -c '{code}' & wait"], start_new_session=True) as process:
        try:
            assert within(60, lambda: len(list(meter.family(process.pid))) == 2)
            assert within(60, lambda: meter.asleep(process.pid) == sleeps)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def within(seconds, holds):
    """Whether something comes to hold in so many seconds."""
    end = time.monotonic() + seconds
    while not (there := holds()) and time.monotonic() < end:
        time.sleep(0.05)
    return there


def test_a_seat_that_reads_nothing_is_left_in_time(bubblewrap):
    """The process stops itself, so that what it is sent fills the pipe."""
    stops = "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)"
    cells = ("pass", stops, f"'{'x' * 2**20}'", *handed_in.cells(epsilon=None))
    found = grading.grade(submission.Submission("x", "0", "01", cells), bounds=Bounds(cell=1, answer=1))
    assert found.points == 3 and "In cell 2: It did not finish in time." in " ".join(found.notes), found


def test_without_a_sandbox_nothing_is_run(monkeypatch, tmp_path):
    handed_in.write(tmp_path / "in", 2)
    sandbox.refuse_unless_safe.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    try:
        with pytest.raises(SandboxError, match="bubblewrap"):
            main(["grade", str(tmp_path / "in"), "--quiet"])
    finally:
        sandbox.refuse_unless_safe.cache_clear()
    assert not (tmp_path / "in" / "graded").exists()


def test_folders_that_cannot_be_graded(tmp_path, bubblewrap, monkeypatch):
    with pytest.raises(InputError, match="must be a folder"):
        main(["grade", str(tmp_path / "none")])
    with pytest.raises(InputError, match="must be notebooks"):
        main(["grade", str(tmp_path)])
    (tmp_path / "a.ipynb").write_text("")
    with pytest.raises(InputError, match="at least one job"):
        main(["grade", str(tmp_path), "--jobs", "0"])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file\\. Unpack or move it into a folder"):
        main(["grade", str(tmp_path / "file")])
    with pytest.raises(InputError, match="--out FOLDER"):
        main(["grade", str(tmp_path), "--out", str(tmp_path / "file" / "below")])


FILES = {
    "empty": (b"", "is empty"), "not JSON": (b"{", "it is not JSON"),
    "a list": (b"[1]", "is JSON, but"), "no cells": (b"{}", "is JSON, but"),
    "deep": (b"[" * 100_000, "it is not JSON"), "not UTF-8": (b"\xff\xfe\x00", "it is not JSON"),
    "cells of nothing": (b'{"cells": [{}]}', "is JSON, but"), "metadata of nothing": (b'{"cells": [], "metadata": []}', "is JSON, but"),
    "format 3": (b'{"nbformat": 3, "worksheets": []}', "open it in Jupyter and save it again"),
}  # fmt: skip


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_is_no_notebook_is_said_to_be_none(what, tmp_path):
    raw, said = FILES[what]
    (tmp_path / "lab_07 – Ünal.ipynb").write_bytes(raw)
    found = submission.read(tmp_path / "lab_07 – Ünal.ipynb", tmp_path)
    assert said in " ".join(found.notes) and found.lab == "07" and not found.cells
    assert grading.grade(found).points == 0


def test_links_hidden_folders_and_results_are_not_submissions(tmp_path):
    for name in ("a/x.ipynb", ".ipynb_checkpoints/x.ipynb", "graded/x.ipynb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "link.ipynb").symlink_to(tmp_path / "a" / "x.ipynb")
    (tmp_path / "a" / "answers.py").write_text("x = 1")
    assert submission.left_out(tmp_path, tmp_path / "graded") == ["a/answers.py", "link.ipynb"]
    assert submission.found_in(tmp_path, tmp_path / "graded") == [tmp_path / "a" / "x.ipynb"]


def test_the_lab_is_told_by_its_checks():
    assert submission._labs_of(('labs.check("rotary", f)', 'labs.check("turn", f)', 'labs.check("gate", f)')) == ["07", "03"]
    assert submission._labs_of(("labs.check('nothing', f)",)) == []


def test_a_wrong_lab_in_its_metadata_is_put_right_and_said(tmp_path):
    (tmp_path / "x.ipynb").write_text(handed_in.notebook(handed_in.cells(), lab="07"), encoding="utf-8")
    found = submission.read(tmp_path / "x.ipynb", tmp_path)
    assert found.lab == "01" and "says that it is lab 07, and was graded as lab 01" in " ".join(found.notes)


def test_what_is_missing_is_named(bubblewrap):
    """Without its imports and with an answer under another name that nothing checks."""
    renamed = [handed_in.GOOD["epsilon"].replace("my_epsilon", "meine"), handed_in.GOOD["shares"], "torch.ones(1)"]
    found = grading.grade(submission.Submission("x", "0", "01", tuple(renamed)), bounds=QUICK)
    assert "nothing in the notebook is called `my_epsilon`" in found.verdicts["epsilon"].message and found.verdicts["shares"]
    assert found.notes == ["Not defined where it is used: torch (cell 3). What defines it is missing, failed, or stands below."]


VALUES = (torch.randn(2, 3), torch.tensor(1), torch.tensor([True]), torch.randn(2) * 1j, (1, [2.5, "x"]), None, torch.empty(0, 2))
VALUES += (torch.eye(3).to_sparse(),)


@pytest.mark.parametrize("value", VALUES)
def test_the_channel_carries_values(value):
    found = channel.decode(json.loads(channel.line({"x": channel.encode(value)}))["x"])
    if isinstance(value, torch.Tensor):
        assert torch.allclose(found.to(value.dtype), value.to_dense()) and found.shape == value.shape
    else:
        assert found == value


NO_VALUES = ({"shape": [2], "type": "object", "data": ""}, {"shape": [-1], "type": "int64", "data": ""}, ["x"], {})


@pytest.mark.parametrize("bad", NO_VALUES)
def test_the_channel_carries_nothing_else(bad):
    with pytest.raises(ValueError):
        channel.decode(bad)
    with pytest.raises(Problem):
        channel.encode(lambda: 0)
    with pytest.raises(ValueError):
        channel.message(b"[" * 100_000)


def test_the_command_line_prints_every_result(graded, capsys):
    assert main(["grade", str(graded["handed"]), "--out", str(graded["out"]), "--quiet"]) == 0
    assert capsys.readouterr().out.count("lab_01.ipynb") == 12
