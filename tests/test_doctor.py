"""`doctor()` has a sentence for every way in which the surroundings can be poor, and what to type where that helps."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import webbrowser
from importlib import import_module, metadata
from pathlib import Path

import matplotlib
import pytest

from pelrp_nb import doctor, environment

ROOT = Path(__file__).resolve().parent.parent
checked = import_module(doctor.__module__)  # the module, whose name the function bears


@pytest.fixture
def told(monkeypatch):
    """The lines of a report by what they are about, the self check left out: it has a test of its own."""
    monkeypatch.setattr(checked, "self_check", lambda: checked.Line("self check", "left out"))

    def told() -> dict[str, list[environment.Line]]:
        found: dict[str, list[environment.Line]] = {}
        for line in doctor().lines:
            found.setdefault(line.what, []).append(line)
        return found

    return told


def installed(folder: Path, name: str, version: str) -> None:
    """What an installer leaves of a package, as far as its version is read."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")


def test_without_write_access(told, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    (line,) = told()["writing"]
    assert line.mark == "note" and "explanations work" in line.found
    assert line.advice == f'name another: result.to_html("{Path(tempfile.gettempdir(), "why.html").as_posix()}")'


def test_without_a_temporary_folder(told, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    (line,) = told()["writing"]
    assert line.mark == "MEND" and str(tmp_path) in line.found and "MPLCONFIGDIR" in line.remedy


def test_without_a_browser(told, monkeypatch):
    def none(using: str | None = None) -> webbrowser.BaseBrowser:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", none)
    (line,) = told()["browser"]
    assert line.mark == "note" and line.found.startswith("none here") and "to_html" in line.advice
    assert environment.browser(notebook=True).mark == "ok  "


def test_without_fonts(told):
    with matplotlib.rc_context({"font.family": ["A font that nobody has"]}):
        (line,) = told()["fonts"]
        assert line.mark == "note" and "as codes" in line.found and "font.family" in line.advice
    (line,) = told()["fonts"]
    assert line.mark == "ok  " and "Latin, Greek, Cyrillic" in line.found


@pytest.mark.parametrize(("name", "version"), [("ipywidgets", "7.5.1"), ("numpy", "1.26.4")])
def test_with_an_old_package(told, tmp_path, monkeypatch, name, version):
    installed(tmp_path, name, version)
    monkeypatch.syspath_prepend(tmp_path)
    found = told()
    old = found[name][0]
    assert old.mark == "MEND" and old.found.startswith(f"{version} is too old") and f'install "{name}' in old.remedy
    assert found["self check"][0].found.startswith("not run")


def test_with_two_versions_of_torch(told, tmp_path, monkeypatch):
    """As in an environment that sees the system's packages: the first is used, and all is well."""
    assert [line.mark for line in told()["torch"]] == ["ok  "]
    installed(tmp_path, "torch", "2.6.0")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    line = told()["torch"][-1]
    assert line.mark == "note" and f"2.6.0 in {tmp_path}; the first is used" in line.found and metadata.version("torch") in line.found
    assert "uninstall -y torch" in line.advice


def test_with_two_versions_of_einops_in_one_folder(told, tmp_path, monkeypatch):
    for version in ("0.8.1", "0.8.2"):
        installed(tmp_path, "einops", version)
    monkeypatch.syspath_prepend(tmp_path)
    line = told()["einops"][-1]
    assert line.mark == "MEND" and f"in {tmp_path}" in line.found and "until it finds none" in line.remedy


def test_with_a_version_that_was_installed_since(told, monkeypatch):
    monkeypatch.setattr(sys.modules["einops"], "__version__", "0.1.0")
    line = told()["einops"][-1]
    assert line.mark == "MEND" and line.found.startswith("0.1.0 runs here") and "restart the kernel" in line.remedy


def test_behind_a_proxy(told, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("https_proxy", "http://somebody:secret@proxy.invalid:3128")
    (line,) = told()["network"]
    assert line.mark == "note" and "through a proxy (https" in line.found and "SSL_CERT_FILE" in line.advice
    assert "secret" not in line.found + line.advice


def test_offline(told, monkeypatch):
    for name in ("HF_HUB_OFFLINE", *(name for name in os.environ if name.lower().endswith("_proxy"))):
        monkeypatch.delenv(name, raising=False)
    asked = []

    def unreachable(self: socket.socket, address: tuple[str, int]) -> None:
        asked.append((self.type, address[0]))
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", unreachable)
    (line,) = told()["network"]
    assert line.mark == "note" and line.found.startswith("offline") and "HF_HUB_OFFLINE" in line.advice
    assert {kind for kind, _ in asked} == {socket.SOCK_DGRAM}, "a datagram's way is chosen without sending anything"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert told()["network"][0].found.startswith("left alone")


def test_advice_is_no_fault():
    report = checked.Report((environment.Line("browser", "none here", advice="open the file elsewhere"), environment.Line("python", "3")))
    assert report.healthy
    assert re.fullmatch(
        r"note browser +none here\nok   python +3\n\nif you need it\n     browser: open the file elsewhere\nall well", str(report)
    )


def test_a_machine_that_may_be_read_only_and_has_neither_browser_nor_network(bubblewrap, tmp_path):
    """For real: every file system read-only but the one for temporary files, no network, nothing on the path."""
    room = str(tmp_path)  # not /tmp: the checkout itself may lie there
    ready = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", room, "--unshare-net", "--chdir", "/"]
    given = {"PATH": "/nowhere", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": room}
    clean = ["--clearenv", *(part for name, value in given.items() for part in ("--setenv", name, value))]
    command = [*ready, *clean, sys.executable, "-B", "-m", "pelrp_nb", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("writing", "browser", "network"):
        assert re.search(rf"^note {name} ", done.stdout, re.M) and re.search(rf"^     {name}: ", done.stdout, re.M), name
    assert "its ledger is closed" in done.stdout and done.stdout.strip().endswith("all well")
