"""Each line in its room: imports run one way, views know no torch, files stay small, words stay out."""

from __future__ import annotations

import ast
import re
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pelrp_nb"
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [*MODULES, *sorted((ROOT / "tests").glob("*.py"))]
ROOMS = (                                        # a room may import those before it
    {"errors", "verbs"},
    {"rules"},
    {"composites", "pages"},
    {"ledger", "views"},
    {"reference", "engine", "archive", "words"},
    {"explanation", "naming"},
    {"target"},
    {"similar", "continuation"},
    {"questions", "answers"},
    {"explain", "plan"},
    {"zoo", "atlas", "aggregate"},
    {"faithfulness", "live"},
    {"labs"},
    {"bench", "doctor"},
    {"__main__", "__init__"},
)
RANK = {name: rank for rank, names in enumerate(ROOMS) for name in names}


def inside(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room(path: Path) -> str:
    """The part of the house a file belongs to: `rules`, `explain`, ..."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path) -> Iterator[str]:
    """Every module a file imports, anywhere in it, by its full name."""
    here = ("pelrp_nb", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: len(here) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def rooms_imported(path: Path) -> set[str]:
    names = (name.split(".") for name in imported(path) if name.startswith("pelrp_nb."))
    return {parts[1] for parts in names if parts[1] in RANK} - {room(path)}


def test_every_room_has_a_place():
    assert {room(path) for path in MODULES} <= set(RANK)


@pytest.mark.parametrize("path", MODULES, ids=inside)
def test_imports_run_one_way(path):
    against = {name for name in rooms_imported(path) if RANK[name] >= RANK[room(path)]}
    assert not against, f"{inside(path)} may import rooms before `{room(path)}` only, not {against}"


@pytest.mark.parametrize("path", [p for p in MODULES if room(p) == "views"], ids=inside)
def test_views_take_plain_data(path):
    assert not {name.split(".")[0] for name in imported(path)} & {"torch", "transformers"}
    assert not rooms_imported(path)


@pytest.mark.parametrize("path", [p for p in MODULES if room(p) == "rules"], ids=inside)
def test_rules_know_no_models(path):
    assert not {name.split(".")[0] for name in imported(path)} & {"transformers", "ipywidgets", "anywidget", "matplotlib"}


@pytest.mark.parametrize("path", MODULES, ids=inside)
def test_files_are_small(path):
    assert path.read_text(encoding="utf-8").count("\n") < 400


@pytest.mark.parametrize("path", SOURCES, ids=inside)
def test_functions_are_small(path):
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno + 1 >= 60
    ]
    assert not long


@pytest.mark.parametrize("path", MODULES, ids=inside)
def test_names_say_what_they_mean(path):
    vague = re.compile(r"(^|_)(helpers?|utils?|manager|relprop|cam|misc)(_|$)", re.I)
    names = [path.stem]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
    assert not [name for name in names if vague.search(name)]


@pytest.mark.parametrize("path", MODULES, ids=inside)
def test_docstrings_are_calm(path):
    """No exclamation marks, no pictures."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node) or ""
            assert not re.search(r"\w!(\s|$)|[\U0001F300-\U0001FAFF\u2600-\u27BF]", text), text


# Written in pieces, or this file would find itself.
FORBIDDEN = {
    "a path of one machine": r"(?<![\w.:])/(work|farm|ro" + r"ot|home/\w+)/|(?<![\w.])/tm" + r"p/\w",
    "the host of a package registry": r"(pypi|pythonhosted|npmjs|debian)\.o" + "rg",
    "unfinished work": r"\b(TO" + "DO|FIX" + "ME|XX" + r"X)\b|for n" + r"ow\b",
    "the workshop": r"\bCE" + r"O\b|this work" + r"place|before-st" + "op|maintainer's ses" + "sion",
}


def prose() -> list[Path]:
    """Every file that people read."""
    kinds = {".py", ".md", ".ipynb", ".toml", ".yml", ".yaml", ".sh", ".js", ".css", ".cfg", ".json", ""}
    files = [path for folder in ("pelrp_nb", "tests", "tutorials", "binder", ".ci") for path in (ROOT / folder).rglob("*")]
    hidden = ("__pycache__", ".ipynb_checkpoints", "tokenizer.json")
    return [p for p in (*files, *ROOT.glob("*")) if p.is_file() and p.suffix in kinds and not any(h in p.parts for h in hidden)]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_words_that_stay_out(what):
    found = []
    for path in prose():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if '"image/png"' not in line and re.search(FORBIDDEN[what], line):
                found.append(f"{inside(path)}:{number} {line.strip()[:100]}")
    assert not found, what


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("dist")
    return zipfile.ZipFile(next(WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])))


def test_wheel_is_whole_and_small(wheel):
    """All that lies in the package travels with it, models included, in under 15 MB; nothing else does."""
    there = {name for name in wheel.namelist() if ".dist-info/" not in name}
    ours = {inside(p) for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    ours |= {f"pelrp_nb/labs/masters/{p.name}" for p in (ROOT / "tutorials").glob("[0-9]*.py")}
    assert there == ours
    assert {"pelrp_nb/py.typed", "pelrp_nb/zoo/models/reviews-rotary/model.safetensors"} <= there
    assert Path(wheel.filename).stat().st_size < 15e6


def test_version_is_said_once():
    import pelrp_nb

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == pelrp_nb.__version__
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
