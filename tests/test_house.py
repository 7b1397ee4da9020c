"""The lint command of the house can fail, the wheel is whole."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path

import house
import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pelrp_nb"
PLANTED = {  # file, what it holds, the line that breaks the law
    "views take plain data": ("pelrp_nb/views/tokens.py", "import numpy\nfrom ..engine import leaves\n", 2),
    "rules know no models": ("pelrp_nb/rules/epsilon.py", "def forward(x):\n    from transformers import AutoModel\n", 2),
    "a file of the package": ("pelrp_nb/long.py", "\n" * 300, 300),
    "a function": ("tests/test_long.py", '\ndef short():\n    """' + "\\n" * 50 + '"""\n\ndef long():\n' + "    1\n" * 40, 5),
    "a name": ("pelrp_nb/names.py", "\n\nclass manager:\n    pass\n", 3),
    "docstrings are calm": ("pelrp_nb/loud.py", '"""Relevance is back!"""\n', 1),
    "no path of one machine": ("README.md", "Type:\ncd /ho" + "me/someone/pelrp_nb\n", 2),
    "no host of a package registry": ("binder/start.sh", "pip install -i https://py" + "pi.org/simple\n", 1),
    "no unfinished work": ("pelrp_nb/views/js/view.js", "a\nb\n// TO" + "DO\n", 3),
    "no mark of a conflict": ("tutorials/02.ipynb", '{\n "cells": [\n<<<' + "<<<< ours\n", 3),
    "no word of the workshop": ("tutorials/00.ipynb", '{"source": "said the CE' + 'O"}\n', 1),
}


def test_lint_finds_what_breaks_a_law_and_nothing_else(tmp_path, capsys):
    """One planted line for every law, told by file and line; the same house without them is in order."""
    calm = {"pelrp_nb/fine.py": '"""Calm."""\n', "README.md": "Calm.\n"}
    files = {name: text for name, text, _ in PLANTED.values()}
    for root, contents in ((tmp_path / "calm", calm), (tmp_path / "broken", files)):
        for name, text in contents.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
    assert house.main(tmp_path / "calm") == 0
    capsys.readouterr()
    assert house.main(tmp_path / "broken") == 1
    said = capsys.readouterr().out.splitlines()
    assert sorted(line.split(" (here")[0].split(": ")[0] for line in said) == sorted(f"{name}:{n}" for name, _, n in PLANTED.values())
    assert all(any(line.startswith(f"{name}:{n}: {what}") for line in said) for what, (name, _, n) in PLANTED.items())
    assert all(any(law.startswith(what) for what in PLANTED) for law in house.LAWS)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("dist")
    return zipfile.ZipFile(next(WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])))


def test_wheel_is_whole_and_small(wheel):
    """All that lies in the package travels with it, models included, in under 15 MB; nothing else does."""
    there = {name for name in wheel.namelist() if ".dist-info/" not in name}
    ours = {p.relative_to(ROOT).as_posix() for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    course = ROOT / "tutorials"  # masters to build packs from, and the notebooks that `labs open` copies
    ours |= {f"pelrp_nb/labs/masters/{p.relative_to(course).as_posix()}" for p in course.rglob("*") if p.is_file()}
    assert there == ours
    assert {"pelrp_nb/py.typed", "pelrp_nb/zoo/models/reviews-rotary/model.safetensors"} <= there
    assert Path(wheel.filename).stat().st_size < 15e6


def test_version_is_said_once():
    import pelrp_nb

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == pelrp_nb.__version__
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
