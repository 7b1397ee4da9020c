"""What CONTRIBUTING.md says is so: its paths and commands are there, and what it says one must touch is all that one must touch."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from counts import counts, entered_by_one

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ROWS = {cells[1].strip(): " ".join(cells[2:]) for line in TEXT.splitlines() if (cells := line.split("|"))[0] == "" and len(cells) > 3}
# one of each that came late, by the name that everything it needs must use
LATE = {
    "an operation": r"\blog_of_more\b",
    "one that is short for several": r"\bl1_loss\b",
    "a rule": r"\bzplus\b",
    "a method to compare with": r"\bsmooth_grad\b",
    "an exercise": r"\bblow-up\b",
}


def test_paths_and_targets_are_there():
    assert not [path for path in re.findall(r"`((?:pelrp_nb|tests|tutorials)/[\w./]*)`", TEXT) if not (ROOT / path).exists()]
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    for page in (TEXT, (ROOT / "README.md").read_text(encoding="utf-8")):
        assert not set(re.findall(r"(?:^|`)make (\w+)", page, re.M)) - set(targets)


@pytest.mark.parametrize("thing", LATE)
def test_what_one_must_touch_is_what_the_table_says(thing):
    """All files that know the latest of its kind by name lie where the table sends a newcomer; notebooks are made of the tutorials."""
    allowed = tuple(re.findall(r"`([\w./]+)`", ROWS[thing]))
    files = [*(ROOT / "pelrp_nb").rglob("*.py"), *(ROOT / "pelrp_nb").rglob("*.js"), *(ROOT / "tutorials").glob("[0-9]*.py")]
    found = {path.relative_to(ROOT).as_posix() for path in files if re.search(LATE[thing], path.read_text(encoding="utf-8"))}
    assert found and not {name for name in found if not name.startswith(allowed)}
    assert len(found) <= 3


def test_what_a_newcomer_meets_is_what_the_table_says():
    """Circles and the largest file exactly as far as they are laws; what grows by small steps, to a tenth."""
    now = counts() | entered_by_one()
    table = {name: int(ROWS[name].split()[-1].replace(",", "")) for name in (
        "files of the package", "files in circles, that import each other", "lines of the largest file",
        "functions entered", "files entered", "calls",
    )}  # fmt: skip
    assert table.pop("files in circles, that import each other") == now["files in circles"] == now["circles"] == 0
    assert {name: now[name.removesuffix(" of the package")] for name in table} == pytest.approx(table, rel=0.1)


def test_hooks_are_local_and_leave_the_rules_alone(tmp_path):
    """Each hook's own command, on files that it must find fault with or mend, and on a page that it must not touch."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    hooks = {hook["id"]: hook["entry"].split() for hook in config["repos"][0]["hooks"]}
    assert all(command[0].startswith(".venv/bin/") for command in hooks.values())
    page, other = tmp_path / "pelrp_nb" / "rules" / "page.py", tmp_path / "pelrp_nb" / "other.py"
    page.parent.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text(encoding="utf-8"), encoding="utf-8")
    for path in (page, other):
        path.write_text("import os\nx = 1     # aligned\n", encoding="utf-8")
    ran = {name: run(command, tmp_path, page, other) for name, command in hooks.items() if name.startswith("ruff")}
    assert ran == {"ruff-check": 1, "ruff-format": 0}
    assert page.read_text(encoding="utf-8").endswith("1     # aligned\n") and other.read_text(encoding="utf-8").endswith("1  # aligned\n")
    assert hooks["house"][1] == "tests/house.py" and (ROOT / "tests" / "house.py").exists()


def run(command: list[str], folder: Path, *paths: Path) -> int:
    """A hook's command with this Python's tools in place of those of .venv."""
    tool = Path(sys.executable).parent / Path(command[0]).name
    return subprocess.run([str(tool), *command[1:], *map(str, paths)], cwd=folder, capture_output=True, timeout=60).returncode
