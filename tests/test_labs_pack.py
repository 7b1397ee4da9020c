"""What a teacher and a student start from: packs with and without hints, tutorials that open from an installed package."""

from __future__ import annotations

import re
import subprocess
import sys

import nbformat
import pytest

from pelrp_nb import labs
from pelrp_nb.errors import InputError
from pelrp_nb.labs import checking, course, notebooks
from pelrp_nb.labs.command import main


def prose(lab: str, contents: notebooks.Contents = notebooks.Contents()) -> str:  # noqa: B008
    return "\n".join(cell.source for cell in notebooks.build(lab, "student", contents).cells)


def test_a_pack_without_hints_and_links_holds_none(tmp_path):
    folder = tmp_path / "exam"
    assert main(["new", str(folder), "--labs", "01", "--no-hints", "--no-links"]) == 0
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 7
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not [word for word in ("Hint 1", "mybinder", "colab.research") if word in text], path
    assert "Hint 1" in prose("01") and "mybinder" in prose("01")


@pytest.mark.parametrize("exercise", course.ALL, ids=lambda exercise: exercise.name)
def test_no_hint_is_a_piece_of_the_solution(exercise):
    """Names and calls may stand in a hint, the formula of the answer may not."""
    written = "".join(notebooks.solution(exercise, notebooks.master(exercise.lab)).split())
    pieces = ["".join(code.split()) for hint in exercise.hints for code in re.findall(r"`([^`]+)`", hint)]
    assert not [code for code in pieces if len(code) > 15 and code in written]


def test_a_student_of_a_pack_with_seeds_is_asked_for_a_name(monkeypatch):
    monkeypatch.setattr(checking, "_HERE", {"seed": 0, "old": ""})
    asks = prose("01", notebooks.Contents(own_seed=True))
    assert 'print(labs.student(""))' in asks and "labs.student" not in prose("01")
    assert "Type your name" in labs.student(" ") and labs.student("Zoë") == "numbers for Zoë"


def test_a_tutorial_is_copied_and_opened_and_an_earlier_copy_stays(tmp_path, capsys, monkeypatch):
    started = []
    monkeypatch.setattr(subprocess, "run", lambda asked: started.append(asked) or subprocess.CompletedProcess(asked, 0))
    assert main(["open", "0", "--folder", str(tmp_path / "mine")]) == 0
    path = tmp_path / "mine" / "00_quickstart.ipynb"
    assert started == [[sys.executable, "-m", "jupyterlab", str(path)]] and nbformat.read(path, 4).cells
    path.write_text("my work")
    assert main(["open", "00", "--folder", str(tmp_path / "mine"), "--only-copy"]) == 0
    assert path.read_text() == "my work" and capsys.readouterr().out.splitlines() == [str(path)] * 2
    with pytest.raises(InputError, match="'77'"):
        main(["open", "77"])
