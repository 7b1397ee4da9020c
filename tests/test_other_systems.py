"""Windows and macOS, by reading: what is only on Linux is asked for nowhere else, and the package works where it is taken away.

Nothing of this was run on either system; a Linux without what Windows has not is the nearest thing at hand.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pelrp_nb import environment

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pelrp_nb"
FILES = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
LINUX = ("labs/sandbox.py", "labs/seat.py", "labs/seccomp.py", "labs/meter.py")  # grading: refused by name elsewhere
MISSING = {"fcntl", "grp", "pty", "pwd", "resource", "termios"}
ONLY_POSIX = {
    "fork", "forkpty", "getegid", "geteuid", "getgid", "getuid", "getpgid", "killpg", "mkfifo", "nice", "openpty", "setsid", "setuid",
    "statvfs", "sysconf", "sysconf_names", "uname", "wait", "getloadavg", "sched_getaffinity",
}  # fmt: skip


def nodes(kind: type, *but: str) -> Iterator[tuple[str, ast.AST]]:
    for name, tree in FILES.items():
        yield from ((name, node) for node in ast.walk(tree) if isinstance(node, kind) and name not in but)


def called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def test_what_windows_has_not_is_imported_nowhere_at_the_top():
    at_the_top = [(name, node) for name, tree in FILES.items() if name not in LINUX for node in tree.body]
    found = [
        (name, alias.name) for name, node in at_the_top if isinstance(node, ast.Import) for alias in node.names if alias.name in MISSING
    ]
    assert len(at_the_top) > 3000 and not found
    assert not [name for name, node in at_the_top if isinstance(node, ast.ImportFrom) and node.module in MISSING]


def test_what_os_has_on_some_systems_only_is_asked_for_first():
    """Files that use it test `hasattr`, or lie where only Linux comes by."""
    uses = {name for name, node in nodes(ast.Attribute, *LINUX) if getattr(node.value, "id", "") == "os" and node.attr in ONLY_POSIX}
    sources = {name: (PACKAGE / name).read_text(encoding="utf-8") for name in uses}
    assert uses and not [name for name, text in sources.items() if 'hasattr(os, "sysconf")' not in text and "/proc/" not in text]


def test_text_is_utf_8_whatever_the_system_prefers():
    """Outside of the files of the kernel, which are ASCII."""
    silent = []
    for name, node in nodes(ast.Call):
        opens = isinstance(node.func, ast.Name) and called(node) == "open" and "b" not in str(getattr(node.args[-1], "value", ""))
        if (opens or called(node) in ("read_text", "write_text")) and not any(k.arg == "encoding" for k in node.keywords):
            silent.append((name, ast.unparse(node)))
    assert not [(name, said) for name, said in silent if not re.search(r"/proc/|file\.read_text\(\)|write_text\(''\)", said)]


def test_nothing_is_put_together_with_slashes_or_left_to_a_shell():
    assert not [(name, node.lineno) for name, node in nodes(ast.Call) if any(k.arg in ("shell", "preexec_fn") for k in node.keywords)]
    assert not [(name, node.lineno) for name, node in nodes(ast.Call) if called(node) in ("system", "popen")]


def test_processes_are_spawned_where_there_is_no_fork():
    forked = [name for name, node in nodes(ast.Constant, *LINUX) if node.value in ("fork", "forkserver")]
    assert set(forked) == {"atlas/pool.py", "bench/stream.py"}
    assert '"forkserver" if sys.platform != "win32" else "spawn"' in (PACKAGE / "atlas/pool.py").read_text(encoding="utf-8")
    assert "which only Linux has" in (PACKAGE / "bench/stream.py").read_text(encoding="utf-8")


WITHOUT = """
import os, signal, sys
import torch, transformers, matplotlib.pyplot, pandas, ipywidgets, anywidget, safetensors.torch, PIL.Image, tempfile, subprocess, filelock
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
for name in {missing!r}:
    sys.modules[name] = None                                           # as on Windows: importing it fails
for name in {posix!r}:
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGALRM", "SIGHUP", "alarm", "pthread_kill"):
    delattr(signal, name)
import importlib, pkgutil
import pelrp_nb
only = {linux!r}
for module in pkgutil.walk_packages(pelrp_nb.__path__, "pelrp_nb."):
    if not module.name.endswith("__main__") and module.name not in only:
        importlib.import_module(module.name)
model, tokenizer = pelrp_nb.zoo.load("reviews-rotary")
found = pelrp_nb.explain(model, "a gorgeous , witty film", processor=tokenizer)
assert found.ledger.closed
found.to_html("why.html")
found.save("why.npz")
assert pelrp_nb.Explanation.load("why.npz").tokens == found.tokens
report = pelrp_nb.doctor()
assert report.healthy, report
from pelrp_nb.labs.sandbox import SandboxError, refuse_unless_safe
sys.platform = "win32"
try:
    refuse_unless_safe()
except SandboxError as error:
    print(error)
"""


def test_the_package_works_without_what_windows_has_not(tmp_path):
    """Every room is imported, a review explained, drawn, saved and loaded, doctor() asked; grading is refused by name."""
    only = [f"pelrp_nb.{name.removesuffix('.py').replace('/', '.')}" for name in LINUX if name.endswith("seat.py")]
    code = WITHOUT.format(missing=sorted(MISSING), posix=sorted(ONLY_POSIX), linux=only)
    given = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "cp1252"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, encoding="cp1252", cwd=tmp_path, env=given, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "sandbox" in done.stdout


def test_what_a_console_has_no_letter_for_is_printed_as_its_code(tmp_path):
    given = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "pelrp_nb", "explain", "a gorgeous , witty film"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="ascii", cwd=tmp_path, env=given, timeout=300)
    assert done.returncode == 0, done.stderr
    assert r"\u201cpositive\u201d" in done.stdout


@pytest.mark.parametrize("place", ["Applications/Chromium.app/Contents/MacOS/Chromium", "Google/Chrome/Application/chrome.exe"])
def test_chromium_is_found_where_macos_and_windows_put_it(tmp_path, monkeypatch, place):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in environment.PROGRAMS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(environment, "APPLICATIONS", (str(tmp_path / "Applications/Chromium.app/Contents/MacOS/Chromium"),))
    assert environment.chromium() is None
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).touch()
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert environment.chromium() == str(tmp_path / place)
