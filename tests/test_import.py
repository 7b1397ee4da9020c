"""What an import costs, and what it does not do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def fresh(code: str, *flags: str) -> str:
    """What a new Python prints for that code."""
    done = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("package", ["transformers", "ipywidgets", "anywidget", "matplotlib", "pandas", "IPython", "rich"])
def test_import_does_not_load(package, loaded):
    assert package not in loaded


def test_import_loads_torch(loaded):
    assert "torch" in loaded


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    return set(fresh("import sys, pelrp_nb; print(*sys.modules)").split())


def test_import_warns_of_nothing_of_ours_and_every_public_name_is_there():
    code = "import warnings, torch; warnings.simplefilter('error'); import pelrp_nb; warnings.resetwarnings(); "
    fresh(code + "[getattr(pelrp_nb, name) for name in pelrp_nb.__all__]")


def test_public_names_stay_what_they_are():
    """`explain` and `doctor` are functions, and modules of the same name: importing those must not replace them."""
    code = "import pelrp_nb, pelrp_nb.__main__, pelrp_nb.explain, pelrp_nb.doctor; import pelrp_nb.target as t; "
    code += "print(callable(pelrp_nb.explain), callable(pelrp_nb.doctor), pelrp_nb.target is t)"
    assert fresh(code).split() == ["True", "True", "True"]
