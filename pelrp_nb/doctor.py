"""One screen: versions, device, what the host can show, and what to type if something is missing."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from dataclasses import dataclass
from html import escape
from importlib import metadata


@dataclass(frozen=True)
class Line:
    """One finding: what, what was found, whether it is well, and what to type if not."""

    what: str
    found: str
    well: bool = True
    remedy: str = ""


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
        shown = []
        for line in self.lines:
            mark = "ok  " if line.well else "MEND"
            shown.append(f"{mark} {line.what:<{width}}{line.found}" + (f"   -> {line.remedy}" if line.remedy else ""))
        return "\n".join([*shown, "all well" if self.healthy else "see the lines marked MEND"])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def doctor() -> Report:
    """Look at this machine, host and installation; explains one small review as a self check."""
    lines = [Line("python", platform.python_version(), sys.version_info >= (3, 11), "")]
    lines += [version(name, needs) for name, needs in requirements()]
    lines += [device(), host(), self_check()]
    return Report(tuple(lines))


def requirements() -> list[tuple[str, str]]:
    """The packages the installed pelrp_nb asks for, with their ranges."""
    try:
        asked = metadata.requires("pelrp_nb") or []
    except metadata.PackageNotFoundError:
        asked = []
    from packaging.requirements import Requirement

    found = [Requirement(r) for r in asked]
    return [(r.name, str(r.specifier)) for r in found if r.marker is None or "extra" not in str(r.marker)]


def version(name: str, needs: str) -> Line:
    """One package: there, and within its range."""
    from packaging.specifiers import SpecifierSet

    try:
        have = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Line(name, "missing", False, f"pip install '{name}{needs}'")
    well = SpecifierSet(needs, prereleases=True).contains(have.split("+")[0])
    return Line(name, have, well, "" if well else f"pip install '{name}{needs}'")


def device() -> Line:
    """Where models can run."""
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        return Line("device", f"{torch.cuda.get_device_name()}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free")
    if torch.backends.mps.is_available():
        return Line("device", "Apple MPS (float32 and below; unproved)")
    return Line("device", f"CPU, {torch.get_num_threads()} threads")


def host() -> Line:
    """What runs this Python, and what it can show."""
    if "google.colab" in sys.modules:
        return Line("host", "Google Colab: pages and tables; widgets through anywidget")
    if os.environ.get("BINDER_SERVICE_HOST") or os.environ.get("BINDER_LAUNCH_HOST"):
        return Line("host", "Binder: pages, tables and widgets; 1 to 2 GB of memory")
    if os.environ.get("VSCODE_PID") or os.environ.get("VSCODE_CWD"):
        return Line("host", "VS Code: pages, tables and widgets")
    if "ipykernel" in sys.modules:
        return Line("host", "Jupyter: pages, tables and widgets")
    can = "matplotlib and pages" if importlib.util.find_spec("matplotlib") else "pages"
    return Line("host", f"terminal: coloured text, {can} (to_html, figure)")


def self_check() -> Line:
    """Explain one small review and look at the ledger."""
    from . import zoo
    from .errors import PelrpError
    from .explain import Options, explain

    try:
        model, processor = zoo.load("reviews-rotary")
        found = explain(model, "a gorgeous , witty film", processor=processor, options=Options(audit=True))
    except (PelrpError, OSError, ImportError) as error:
        return Line("self check", f"failed: {error}", False, "pip install --force-reinstall --no-deps pelrp_nb")
    state = "closed" if found.ledger.closed else "OPEN"
    return Line("self check", f"{found.target}, ledger {state}, gap {abs(found.ledger.gap):.0e}", found.ledger.closed)
