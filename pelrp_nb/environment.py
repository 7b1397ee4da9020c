"""What stands around the package and may be missing: a place to write, a browser, fonts, a network; and packages that are there twice."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import warnings
import webbrowser
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.request import getproxies

NOWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))  # addresses that stand for no machine (RFC 5737, RFC 3849)
TEMPORARY = "TEMP and MPLCONFIGDIR" if os.name == "nt" else "TMPDIR and MPLCONFIGDIR"
CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")  # the lightest first
APPLICATIONS = ("/Applications/Chromium.app/Contents/MacOS/Chromium", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
PROGRAMS = ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")
NAMED = (
    'matplotlib.rcParams["font.family"] = ["DejaVu Sans"], or another font that is installed (the package fonts-dejavu-core has this one)'
)
SCRIPTS = {"Latin": "aé", "Greek": "αΩ", "Cyrillic": "жЯ", "Hebrew": "אש", "Arabic": "عب", "Devanagari": "कह", "Chinese": "中文",
           "Japanese": "かナ", "Korean": "한글"}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One finding: what, what was found, whether it is well, what to type if not; and advice for what is well and may surprise."""

    what: str
    found: str
    well: bool = True
    remedy: str = ""
    advice: str = ""

    @property
    def mark(self) -> str:
        """How it is listed."""
        return "MEND" if not self.well else "note" if self.advice else "ok  "


def writing() -> Line:
    """Whether results can be written here, and whether anything can be written at all."""
    here, elsewhere = writable("."), writable(temporary())
    if here and elsewhere:
        return Line("writing", "this folder and the temporary one")
    if elsewhere:
        said = "explanations work, but nothing can be written into this folder"
        return Line("writing", said, advice=f'name another: result.to_html("{Path(temporary(), "why.html").as_posix()}")')
    said = f"the temporary folder ({temporary()}) cannot be written to, which models and figures need"
    return Line("writing", said, False, f"in the environment, set {TEMPORARY} to a folder that you may write to, and start Python again")


def temporary() -> str:
    """The folder for temporary files, or the one that is asked for first where none can be written to."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return os.environ.get("TMPDIR", "/tmp")


def writable(folder: str) -> bool:
    """Whether a file can be made in a folder; tried, since rights alone do not say it."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def browser(notebook: bool) -> Line:
    """What would show a page."""
    if notebook:
        return Line("browser", "the one that shows this notebook")
    try:
        webbrowser.get()
    except webbrowser.Error:
        advice = 'result.to_html("why.html"), and open the file where there is a browser; or result.figure().savefig("why.pdf")'
        return Line("browser", "none here; pages are files that need nothing else, figures need no browser", advice=advice)
    return Line("browser", "there is one")


def chromium() -> str | None:
    """The program of a Chromium or Chrome that a script can drive: on the path, or where macOS and Windows put it."""
    windows = [Path(os.environ.get(name, "nowhere")) / "Google/Chrome/Application/chrome.exe" for name in PROGRAMS]
    there = (path for path in (*(Path(app) for app in APPLICATIONS), *windows) if path.is_file())
    return next((found for name in CHROMIUM if (found := shutil.which(name))), None) or next(map(str, there), None)


def fonts() -> Line:
    """Which scripts a figure can print; a page takes the fonts of its browser."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a cache that cannot be kept: the line on writing says it
            from .views.look import drawable

            there = [name for name, letters in SCRIPTS.items() if drawable(letters) == letters]
    except (ImportError, OSError, RuntimeError) as error:
        why = str(error).strip().split("\n")[0]
        return Line(
            "fonts", f"no figure can be printed, matplotlib does not start: {why}", False, "doctor() again, after what stands above"
        )
    if "Latin" not in there:
        return Line("fonts", "none of those that matplotlib is told to use is here: figures print all but ASCII as codes", advice=NAMED)
    others = ", ".join(name for name in SCRIPTS if name not in there)
    return Line("fonts", f"figures print {', '.join(there)}" + (f"; as codes, until a font is named: {others}" if others else ""))


def network() -> Line:
    """Whether anything could be fetched; nothing is sent to find it out, and nothing that was not named is ever fetched."""
    through = sorted(kind for kind in getproxies() if kind in ("http", "https", "all"))
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return Line("network", "left alone (HF_HUB_OFFLINE): from_pretrained finds what was fetched before, the zoo is in the package")
    if through:
        said = f"through a proxy ({', '.join(through)}); the zoo is in the package and needs none"
        own = "if from_pretrained or pip complains of a certificate: set SSL_CERT_FILE and REQUESTS_CA_BUNDLE to that of the proxy"
        return Line("network", said, advice=own)
    if not any(routed(*address) for address in NOWHERE):
        said = "offline: the zoo and the course are in the package, from_pretrained finds only what was fetched before"
        return Line("network", said, advice="set HF_HUB_OFFLINE to 1, so that from_pretrained does not wait for an answer")
    return Line("network", "there is a way out; nothing is fetched that you have not named")


def routed(family: int, address: str) -> bool:
    """Whether this machine knows a way to an address outside; choosing the way sends nothing."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as way:
            way.connect((address, 9))
            return True
    except OSError:
        return False


def twice(names: Iterable[str], install: str) -> list[Line]:
    """A line for each package that is there in two versions, or runs in another one than is installed now."""
    return [line for name in names if (line := versions(name, install)) is not None]


def versions(name: str, install: str) -> Line | None:
    """What is the matter with the versions of a package, if anything is.

    Of several folders the first on the path is the one that is imported, as an environment's own is before the system's; two versions in
    one folder are an installation that went wrong.
    """
    there: dict[str, list[str]] = {}
    for one in metadata.distributions(name=name):
        there.setdefault(str(one.locate_file("")), []).append(one.version)
    told = ", ".join(f"{' and '.join(each)} in {folder}" for folder, each in there.items())
    away = f"{install.replace('install', 'uninstall -y')} {name}"
    if any(len(set(each)) > 1 for each in there.values()):
        return Line(name, f"there in two versions: {told}", False, f"{away}, until it finds none; then {install} {name}")
    first = next(iter(there.values()), [""])[0]
    runs = getattr(sys.modules.get(name), "__version__", None)
    if first and runs is not None and str(runs).split("+")[0] != first.split("+")[0]:
        return Line(name, f"{runs} runs here, and {first} is installed", False, "restart the kernel, or start Python again")
    if len({each[0] for each in there.values()}) > 1:
        return Line(name, f"there in two versions: {told}; the first is used", advice=f"if that is not the one you meant, {away}")
    return None
