"""The package as it is installed: its rooms, its version, what an extra brings, and how short its help is."""

from __future__ import annotations

import inspect
import pydoc
import sys
import tomllib
from pathlib import Path

import pytest
from test_import import fresh, modules

import pelrp_nb
from pelrp_nb.__main__ import main
from pelrp_nb.errors import InputError, MissingError, PelrpError
from pelrp_nb.extras import EXTRAS, IMPORTED, extra
from pelrp_nb.labs.command import main as labs

ROOT = Path(__file__).resolve().parent.parent
OPTIONAL = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


# in an order in which none brings one that comes later
ROOMS = ("errors", "reference", "target", "zoo", "views", "live", "labs", "atlas", "faithfulness", "bench")


def test_a_room_is_there_when_it_is_touched_and_not_before():
    code = "import sys, pelrp_nb\nfor room in sys.argv[1:]:\n    before = f'pelrp_nb.{room}' in sys.modules\n    "
    code += "print(room, room in dir(pelrp_nb), before, getattr(pelrp_nb, room).__name__)"
    told = [line.split() for line in fresh(code, arguments=ROOMS).splitlines()]
    assert told == [[room, "True", str(f"pelrp_nb.{room}" in modules()), f"pelrp_nb.{room}"] for room in ROOMS]


def test_heavy_rooms_are_not_loaded_by_the_import():
    heavy = ("faithfulness", "labs", "bench", "atlas", "live", "zoo", "reference", "target")
    assert not {f"pelrp_nb.{room}" for room in heavy} & modules()


def test_a_name_that_is_not_there_is_told_what_is():
    with pytest.raises(AttributeError, match="pelrp_nb has no 'explian'; did you mean explain"):
        pelrp_nb.explian  # noqa: B018


def test_every_public_name_is_listed_and_reached():
    assert set(pelrp_nb.__all__) < set(dir(pelrp_nb)) and all(getattr(pelrp_nb, name) is not None for name in dir(pelrp_nb))


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as done:
        main(["--version"])
    assert done.value.code == 0 and capsys.readouterr().out == f"pelrp_nb {pelrp_nb.__version__}\n"


@pytest.mark.parametrize("package", EXTRAS)
def test_an_extra_brings_what_it_is_named_for(package):
    assert any(line.startswith(f"{package}>=") for line in OPTIONAL[EXTRAS[package]])


@pytest.mark.parametrize("package", EXTRAS)
def test_a_missing_package_is_told_with_its_extra(package, monkeypatch):
    module = {name: imported for imported, name in IMPORTED.items()}.get(package, package)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingError) as caught:
        extra(module, "A thing")
    line = f'A thing needs the package {package}, and it is not installed. Type pip install "pelrp_nb[{EXTRAS[package]}]".'
    assert str(caught.value) == line and isinstance(caught.value, InputError) and isinstance(caught.value, ImportError)


LACKING = {  # what is used -> (the package that is not there, the extra)
    "labs": ("nbformat", "teach", lambda: labs(["new", "folder", "--labs", "01"])),
    "captum": ("captum.attr", "compare", lambda: pelrp_nb.faithfulness.gradients.captum("Saliency")),
    "digits": ("sklearn.datasets", "train", lambda: pelrp_nb.zoo.scenes.digits(held_out=False)),
    "a table": ("pyarrow.parquet", "parquet", lambda: list(pelrp_nb.faithfulness.load("mine.parquet"))),
}


@pytest.mark.parametrize("what", LACKING)
def test_whoever_needs_an_extra_says_so(what, monkeypatch, tmp_path):
    package, name, use = LACKING[what]
    monkeypatch.chdir(tmp_path)
    Path("mine.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PelrpError, match=rf'Type pip install "pelrp_nb\[{name}\]"\.'):
        use()


def test_a_command_without_its_extra_ends_in_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "nbformat", None)
    monkeypatch.chdir(tmp_path)
    assert main(["labs", "new", "folder", "--labs", "01"]) == 2
    assert 'pip install "pelrp_nb[teach]"' in capsys.readouterr().err


@pytest.mark.parametrize("function", ["explain", "plan", "propagate", "compare_methods", "aggregate"])
def test_help_fits_on_a_screen(function):
    told = pydoc.plain(pydoc.render_doc(getattr(pelrp_nb, function)))
    assert len(told.splitlines()) <= 45 and max(map(len, told.splitlines()[2:3])) <= 260, told


def test_the_signature_of_explain_is_that_which_one_types():
    assert list(inspect.signature(pelrp_nb.explain).parameters) == [
        "model", "inputs", "processor", "target", "contrast", "composite", "options",
    ]  # fmt: skip
    assert inspect.signature(pelrp_nb.explain).parameters["composite"].default == "pa-lrp"
