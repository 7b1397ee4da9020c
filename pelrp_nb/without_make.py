"""`python -m pelrp_nb demo` and `test`: what `make demo` and `make test` do, where there is no make (Windows)."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from .errors import InputError

EXAMPLES = """examples:
  python -m pelrp_nb demo
  python -m pelrp_nb test
  python -m pelrp_nb test tests/test_rules.py -k softmax
"""
NEEDED = ("pytest", "nbval", "xdist")
SETTINGS = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
WHOLE = ("--dist", "loadscope", "--nbval", "--nbval-current-env", "--nbval-sanitize-with", "tutorials/sanitize.cfg", "tests", "tutorials")


def commands(add: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    """Both commands; what follows `test` is handed on to pytest."""
    add("demo", "explain a held-out review sentence, audited, and write demo.html", EXAMPLES)
    test = add("test", "all tests of a checkout, as make test runs them; what follows goes to pytest", EXAMPLES)
    test.add_argument("rest", nargs=argparse.REMAINDER, help="what pytest shall be given instead of everything")


def command_line(rest: list[str], jobs: int) -> list[str]:
    """What pytest is called with: the whole suite on several processes, or what was asked for on one."""
    return [sys.executable, "-m", "pytest", *(rest or ["-n", str(jobs), *WHOLE])]


def run(given: argparse.Namespace) -> int:
    """Run the tests of a checkout; pytest's own exit status.

    Raises InputError outside a checkout and where a package for testing is missing.
    """
    root = Path(__file__).resolve().parent.parent
    if not (root / "tests" / "conftest.py").is_file():
        raise InputError(
            "The tests lie in a checkout, and this is an installation without them. Type python -m pelrp_nb doctor for a self check, "
            "or clone the repository and type the command there."
        )
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(f'The tests need {", ".join(missing)}. Type python -m pip install -c constraints.txt -e ".[test,lab,teach]".')
    command = command_line(given.rest, min(os.cpu_count() or 1, 4))
    return subprocess.run(command, cwd=root, env={**os.environ, **SETTINGS}).returncode
