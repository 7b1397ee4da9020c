"""`labs binder-check`: a fresh environment with Binder's pins, one thread and 1.5 GB, builds and runs the tutorials."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from ..errors import InputError

ON_PYPI = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib"}  # conda-forge's name -> the name there
NOT_THERE = ("python", "pip")
LIMIT = 1500 * 2**20
RUN = (
    "import resource, sys\n"
    f"resource.setrlimit(resource.RLIMIT_DATA, ({LIMIT}, {LIMIT}))\n"
    "from pelrp_nb.labs.command import main\n"
    "sys.exit(main(sys.argv[1:]))"
)


def pins(environment: Path) -> list[str]:
    """The pins of an environment.yml as pip reads them."""
    rows = re.findall(r"^  - ([\w.-]+)=([\w.]+)$", environment.read_text(encoding="utf-8"), re.MULTILINE)
    return [f"{ON_PYPI.get(name, name)}=={version}" for name, version in rows if name not in NOT_THERE]


def resolve(environment: Path) -> bool | None:
    """Whether micromamba resolves the environment; None where it or its channel cannot be had."""
    tool = shutil.which("micromamba") or shutil.which("mamba") or shutil.which("conda")
    if tool is None:
        return None
    asked = [tool, "create", "--dry-run", "--yes", "--name", "pelrp-nb-check", "--file", str(environment)]
    done = subprocess.run(asked, capture_output=True, text=True)
    said = done.stdout + done.stderr
    return None if re.search(r"connect|resolve host|timed out|HTTP", said, re.I) and done.returncode else not done.returncode


def check(labs: list[str], folder: Path | None = None) -> int:
    """Do all of it, and print what was done; the exit status. `folder` keeps the environment."""
    root = Path(__file__).resolve().parent.parent.parent
    environment = root / "binder" / "environment.yml"
    if not environment.is_file():
        raise InputError("binder-check must run in a checkout, where binder/environment.yml is. Type it there.")
    if sys.platform == "win32":
        raise InputError("binder-check runs what Binder runs, under Linux or macOS; this is Windows. Type it there.")
    resolved = resolve(environment)
    told = {None: "not tried: micromamba or conda-forge cannot be had here", True: "resolves", False: "DOES NOT RESOLVE"}
    print(f"conda-forge: {told[resolved]}")
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        there = place / "environment"
        if not (there / "bin" / "python").exists():
            venv.create(there, with_pip=True)
        python = str(there / "bin" / "python")
        path = f"{there / 'bin'}{os.pathsep}{os.environ['PATH']}"
        settings = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        settings.pop("PYTHONPATH", None)
        steps = {
            "the pins install": [python, "-m", "pip", "install", "--quiet", *pins(environment)],
            "postBuild": ["bash", str(root / "binder" / "start"), "bash", str(root / "binder" / "postBuild")],
            "the tutorials": [python, "-c", RUN, "measure", "--labs", ",".join(labs)],
        }
        for what, command in steps.items():
            print(f"{what} ...", flush=True)
            done = subprocess.run(command, cwd=place if what == "the tutorials" else root, env=settings)
            if done.returncode:
                print(f"{what}: FAILED with status {done.returncode}", file=sys.stderr)
                return 1
    return 0 if resolved is not False else 1
