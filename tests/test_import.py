"""What an import costs, and what it does not do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def fresh(code: str, arguments: Sequence[str] = ()) -> str:
    """What a new Python prints for that code."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def modules() -> frozenset[str]:
    """What `import pelrp_nb` loads."""
    return frozenset(fresh("import sys, pelrp_nb; print(*sys.modules)").split())


@pytest.mark.parametrize("package", ["transformers", "ipywidgets", "anywidget", "matplotlib", "pandas", "IPython", "rich"])
def test_import_does_not_load(package):
    assert package not in modules()


def test_import_loads_torch():
    assert "torch" in modules()


def test_import_warns_of_nothing_of_ours_and_every_public_name_is_there():
    code = "import warnings, torch; warnings.simplefilter('error'); import pelrp_nb; warnings.resetwarnings(); "
    fresh(code + "[getattr(pelrp_nb, name) for name in pelrp_nb.__all__]")


def test_public_names_stay_what_they_are():
    """`explain` and `doctor` are functions, and modules of the same name: importing those must not replace them."""
    code = "import pelrp_nb, pelrp_nb.__main__, pelrp_nb.explain, pelrp_nb.doctor; import pelrp_nb.target as t; "
    code += "print(callable(pelrp_nb.explain), callable(pelrp_nb.doctor), pelrp_nb.target is t)"
    assert fresh(code).split() == ["True", "True", "True"]
