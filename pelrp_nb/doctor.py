"""One screen: versions, device, what the host can show, what stands around it, and what to type if something is missing."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from importlib import metadata
from pathlib import Path

from . import environment
from .environment import Line

NOTEBOOK = ("ipython>=7.34",)  # not asked for by pelrp_nb itself, but every notebook has it
HOSTS = {  # host -> what it shows; (documented): read, not tried
    "Google Colab": "pages, tables, figures, widgets (documented)",
    "Binder": "pages, tables, figures, widgets; 1 GB of memory is sure, 2 GB the end (documented)",
    "Kaggle": "pages, tables, figures; widgets not known",
    "VS Code notebook": "pages, tables, figures, widgets (documented)",
    "marimo": "pages, tables, figures, widgets",
    "Jupyter": "pages, tables, figures, widgets",
    "IPython terminal": "coloured text; pages and figures as files: result.to_html(path), result.figure()",
    "terminal": "coloured text; pages and figures as files: result.to_html(path), result.figure()",
}

UNPROVED = " (written for, never run there: check that ledgers close)"


@dataclass(frozen=True)
class Report:
    """What `doctor()` found; prints as one screen."""

    lines: tuple[Line, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing has to be mended."""
        return all(line.well for line in self.lines)

    def __str__(self) -> str:
        width = max(len(line.what) for line in self.lines) + 2
        shown = [f"{line.mark} {line.what:<{width}}{line.found}" for line in self.lines]
        advice = [f"     {line.what}: {line.advice}" for line in self.lines if line.mark == "note"]
        remedies = [f"     {line.what}: {line.remedy}" for line in self.lines if line.mark == "MEND"]
        told = [*(["", "if you need it", *advice] if advice else []), *(["", "to mend it, type", *remedies] if remedies else ["all well"])]
        return "\n".join([*shown, *told])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def doctor() -> Report:
    """Look at this installation, machine and host, and explain one small review as a self check."""
    where = host()
    lines = [Line("python", platform.python_version(), sys.version_info >= (3, 11), "install Python 3.11 or newer")]
    asked = (*requirements(), *NOTEBOOK)
    lines += [version(requirement, pip(where)) for requirement in asked]
    lines += environment.twice((re.split(r"[^\w.-]", requirement)[0] for requirement in asked), pip(where))
    lines += [Line("device", device()), Line("memory", memory()), Line("host", f"{where}: {HOSTS[where]}")]
    lines += [environment.writing(), environment.browser("terminal" not in where), environment.fonts(), environment.network()]
    if not all(line.well for line in lines):
        return Report((*lines, Line("self check", "not run: mend the lines above first", False, "doctor() again")))
    return Report((*lines, self_check()))


def requirements() -> tuple[str, ...]:
    """What the installed pelrp_nb asks for; beside a checkout that is not installed, what its pyproject.toml asks for."""
    try:
        asked = metadata.requires("pelrp_nb") or []
        return tuple(r for r in asked if "extra ==" not in r)
    except metadata.PackageNotFoundError:
        import tomllib

        project = Path(__file__).parent.parent / "pyproject.toml"
        return tuple(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]) if project.is_file() else ()


def version(requirement: str, install: str) -> Line:
    """One package: there, and within its range."""
    from packaging.requirements import Requirement
    from packaging.version import Version

    asked = Requirement(requirement)
    asked.marker = None
    remedy = f'{install} "{asked}"'
    try:
        have = metadata.version(asked.name)
    except metadata.PackageNotFoundError:
        return Line(asked.name, f"missing, {asked.specifier} is needed", False, remedy)
    if asked.specifier.contains(have, prereleases=True):
        return Line(asked.name, have)
    floors = [Version(s.version) for s in asked.specifier if s.operator in (">=", ">", "~=", "==")]
    age = "too old" if any(Version(have) < floor for floor in floors) else "too new"
    return Line(asked.name, f"{have} is {age}, {asked.specifier} is needed", False, remedy)


def pip(where: str) -> str:
    """How to install here: a notebook has a command of its own."""
    return "python -m pip install" if "terminal" in where else "%pip install"


def device() -> str:
    """Where models can run."""
    import torch

    cpu = f"CPU, {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        return f"{torch.cuda.get_device_name()}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free{UNPROVED}; {cpu}"
    return f"Apple MPS, no float64{UNPROVED}; {cpu}" if torch.backends.mps.is_available() else cpu


def memory() -> str:
    """The memory of this machine, and the limit of its container where that is lower."""
    from .engine.memory import cgroup

    def known() -> Iterator[int]:
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        for text in (os.environ.get("MEM_LIMIT", ""), *map(cgroup, ("memory.max", "memory/memory.limit_in_bytes"))):
            if text.strip().isdecimal():
                yield int(text)

    least = min(known(), default=0)
    return f"{least / 2**30:.1f} GiB" if least else "not known"


def host() -> str:
    """What runs this Python: one of HOSTS, told by what each leaves in the environment."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    notebook = type(shell).__name__ == "ZMQInteractiveShell"
    if "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ:
        return "Google Colab"
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return "Kaggle"
    if notebook and any(name in os.environ for name in ("BINDER_SERVICE_HOST", "BINDER_LAUNCH_HOST", "BINDER_REPO_URL")):
        return "Binder"
    if notebook and ("VSCODE_PID" in os.environ or "__vsc_ipynb_file__" in getattr(shell, "user_ns", ())):
        return "VS Code notebook"
    if "marimo" in sys.modules:
        return "marimo"
    return "Jupyter" if notebook else "IPython terminal" if shell is not None else "terminal"


def self_check() -> Line:
    """Explain one small review and look at the ledger."""
    from . import zoo
    from .errors import PelrpError
    from .explain import Options, explain_one

    remedy = "python -m pip install --force-reinstall --no-deps pelrp_nb"
    try:
        model, processor = zoo.load("reviews-rotary")
        found = explain_one(model, "a gorgeous , witty film", processor=processor, options=Options(audit=True))
    except (PelrpError, OSError, ImportError) as error:
        return Line("self check", f"failed: {error}", False, remedy)
    told = found.ledger.verdict if found.ledger.state == "cannot tell" else f"is {found.ledger.verdict}"
    return Line("self check", f"a review explained as {found.target}; its ledger {told}", found.ledger.closed, remedy)
