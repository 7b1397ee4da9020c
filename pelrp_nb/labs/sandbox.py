"""A process that sees no network and no file of anybody, and can write nothing but its own memory: bubblewrap or not at all."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..errors import PelrpError
from .channel import LINE

PACKAGE = Path(__file__).resolve().parent.parent
INSTALL = "On Debian and Ubuntu type: apt-get install bubblewrap"
HOME = "/home/student"
UNPRIVILEGED = 61_000  # first of the user ids that nobody has
PATIENCE = 3  # seconds by the clock for each second of processor time that a step may take


class SandboxError(PelrpError, RuntimeError):
    """Submissions cannot be run safely here, so they are not run."""


class Ended(Exception):
    """The sandbox is no more, with the reason: "time", "memory", "output" or "ended"."""


@dataclass(frozen=True)
class Bounds:
    """What one submission may take.

    cell, answer: seconds of processor time for one cell, and for one answer (by the clock `PATIENCE` times as many: a busy
                  machine takes no points away); start: likewise until the first message; total: seconds by the clock for all
    megabytes:    memory of all its processes; output: megabytes it may send back
    """

    cell: float = 20.0
    answer: float = 10.0
    start: float = 60.0
    total: float = 180.0
    megabytes: int = 1500
    output: int = 64


def command(slot: int, megabytes: int) -> list[str]:
    """bubblewrap around the seat: system and packages to read, an empty home of 16 MB to write, no network."""
    seen = dict.fromkeys(str(Path(p).resolve()) for p in ("/usr", sys.base_prefix, sys.prefix) if Path(p).exists())
    seen[str(PACKAGE)] = None
    above = sorted({str(parent) for path in (*seen, HOME) for parent in Path(path).parents} - {"/"})
    reading = [word for path in above for word in ("--perms", "0755", "--dir", path)]
    reading += [word for path in seen for word in ("--ro-bind", path, path)]
    for path in ("/bin", "/lib", "/lib64", "/etc/ld.so.cache"):
        there = Path(path)
        reading += ["--symlink", os.readlink(path), path] if there.is_symlink() else ["--ro-bind-try", path, path]
    user = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if os.geteuid() == 0 else ["--unshare-user"]
    apart = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try", "--die-with-parent",
             "--new-session", "--cap-drop", "ALL", *user]  # fmt: skip
    own = ["--proc", "/proc", "--dev", "/dev", "--size", str(16 * 2**20), "--perms", "1777", "--tmpfs", HOME, "--remount-ro", "/"]
    settings = {
        "HOME": HOME, "TMPDIR": HOME, "MPLCONFIGDIR": HOME, "MPLBACKEND": "agg", "PYTHONPATH": str(PACKAGE.parent),
        "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "LANG": "C.UTF-8",
    }  # fmt: skip
    environment = [word for name, value in settings.items() for word in ("--setenv", name, value)]
    seat = [sys.executable, "-s", "-B", "-m", "pelrp_nb.labs.seat", str(UNPRIVILEGED + slot), str(megabytes)]
    return ["bwrap", *apart, *reading, *own, "--clearenv", *environment, "--", *seat]


@cache
def refuse_unless_safe() -> None:
    """Raise SandboxError where no sandbox can be had; grading unprotected is not offered."""
    if sys.platform != "linux" or shutil.which("bwrap") is None:
        raise SandboxError(f"Grading must run every submission in a sandbox, and bubblewrap (bwrap) is not here. {INSTALL}")
    test = [*command(0, 0)[: command(0, 0).index("--")], "--", "/usr/bin/true"]
    done = subprocess.run(test, capture_output=True, text=True, timeout=60)
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise SandboxError(
            f"Grading must run every submission in a sandbox, and bubblewrap cannot make one here: {why[0]}. Allow user "
            "namespaces (sysctl kernel.unprivileged_userns_clone=1), or grade on a machine of your own."
        )


class Sandbox:
    """One running seat; use it in a `with`, which ends every process in it."""

    def __init__(self, slot: int, bounds: Bounds, until: float) -> None:
        refuse_unless_safe()
        self.bounds, self.until, self.buffer, self.received = bounds, until, b"", 0
        self.process = subprocess.Popen(
            command(slot, bounds.megabytes), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdin is not None and self.process.stdout is not None  # both are pipes
        self.into, self.out = self.process.stdin, self.process.stdout

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()  # all else in its namespace goes with it
        self.process.wait()
        for pipe in (self.into, self.out):
            with suppress(OSError):  # unsent bytes for a process that is gone
                pipe.close()

    def send(self, raw: bytes) -> None:
        """One line into the sandbox. Raises Ended."""
        try:
            self.into.write(raw)
            self.into.flush()
        except OSError as error:
            raise Ended("ended") from error

    def receive(self, seconds: float) -> bytes:
        """One line out of it. Raises Ended with the reason, and by then the sandbox is no more.

        `seconds` are of processor time; what only waits has `PATIENCE` times as many by the clock.
        """
        until = min(time.monotonic() + PATIENCE * seconds, self.until)
        most = worked(self.process.pid) + seconds
        out = self.out.fileno()
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([out], [], [], 0.2)
            if self.too_large():
                self._end("memory")
            if time.monotonic() > until or worked(self.process.pid) > most:
                self._end("time")
            if ready:
                chunk = os.read(out, 2**16)
                self.received += len(chunk)
                self.buffer += chunk
                if not chunk:
                    self._end("ended")
            if len(self.buffer) > LINE or self.received > self.bounds.output * 2**20:
                self._end("output")
        first, _, self.buffer = self.buffer.partition(b"\n")
        return first

    def too_large(self) -> bool:
        """Whether more memory is in use inside than may be."""
        pid, most = self.process.pid, self.bounds.megabytes * 2**20
        return memory(pid) > most and shared_out(pid) > most

    def _end(self, why: str) -> None:
        self.process.kill()
        raise Ended(why)


def memory(pid: int) -> int:
    """Bytes in use by a process and all that it started, at most: pages they share are counted again for each."""
    return sum(resident(each) for each in family(pid))


def shared_out(pid: int) -> int:
    """The same, with each shared page counted once; slower."""

    def proportional(each: int) -> int:
        try:
            text = Path(f"/proc/{each}/smaps_rollup").read_text()
        except OSError:  # gone meanwhile, or not ours to read
            return resident(each)
        return sum(int(row.split()[1]) * 1024 for row in text.splitlines() if row.startswith("Pss:"))

    return sum(proportional(each) for each in family(pid))


def worked(pid: int) -> float:
    """Seconds of processor time taken by a process, all that it started, and those of them that have ended."""
    return sum(map(_ticks, family(pid))) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    """The processor time of one process and of its ended children, in ticks of the system's clock."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # gone meanwhile
        return 0
    return sum(int(field) for field in after_name[11:15])


def family(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from family(int(child))
    except OSError:  # gone meanwhile
        return


def resident(pid: int) -> int:
    """Bytes of memory a process holds."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
