"""A process that sees no network and no file of anybody, and can write nothing but its own memory: bubblewrap or not at all."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

from ..errors import PelrpError
from .channel import LINE
from .meter import Meter, Pulse, memory, names_in, shared_out

PACKAGE = Path(__file__).resolve().parent.parent
INSTALL = "On Debian and Ubuntu type: apt-get install bubblewrap"
HOME = "/home/student"
NAMES = 20_000  # files and folders that may be made: each takes memory, an empty one too
UNPRIVILEGED = 61_000  # first of the user ids that nobody has


class SandboxError(PelrpError, RuntimeError):
    """Submissions cannot be run safely here, so they are not run."""


class Ended(Exception):
    """The sandbox is no more, with the reason: "time", "memory", "output" or "ended"."""


@dataclass(frozen=True)
class Bounds:
    """What one submission may take.

    start, cell, answer, total: seconds of processor time until the first message, for one cell, one answer, and for all in
                                all; asleep it may take three times as many, and a busy machine takes none away
    megabytes, output:          memory of all its processes, and what it may send back
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
    course = str(PACKAGE / "labs" / "course")
    empty = [word for path in sorted(answers(seen)) for word in ("--size", "65536", "--tmpfs", path)]
    reading += [*empty, "--ro-bind", str(PACKAGE / "labs" / "withheld.py"), f"{course}/__init__.py"]
    user = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if os.geteuid() == 0 else ["--unshare-user"]
    apart = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try", "--die-with-parent",
             "--new-session", "--cap-drop", "ALL", *user]  # fmt: skip
    own = ["--proc", "/proc", "--dev", "/dev", "--size", str(2**20), "--perms", "1777", "--tmpfs", "/dev/shm", "--remount-ro", "/dev",
           "--size", str(16 * 2**20), "--perms", "1777", "--tmpfs", HOME, "--remount-ro", "/"]  # fmt: skip
    settings = {
        "HOME": HOME, "TMPDIR": HOME, "MPLCONFIGDIR": HOME, "MPLBACKEND": "agg", "PYTHONPATH": str(PACKAGE.parent),
        "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "LANG": "C.UTF-8",
    }  # fmt: skip
    environment = [word for name, value in settings.items() for word in ("--setenv", name, value)]
    seat = [interpreter(), "-s", "-B", "-m", "pelrp_nb.labs.seat", str(UNPRIVILEGED + slot), str(megabytes)]
    return ["bwrap", *apart, *reading, *own, "--clearenv", *environment, "--", *seat]


def interpreter() -> str:
    """This Python where the sandbox shows it, for an environment that is reached through a link as well."""
    here, prefix = Path(sys.executable), Path(sys.prefix)
    return str(prefix.resolve() / here.relative_to(prefix)) if here.is_relative_to(prefix) else str(here)


def answers(seen: Iterable[str]) -> set[str]:
    """The folders with answers to exercises in what a submission may read: nothing of them is there for it."""
    installed = (Path(root).glob(f"{local}lib*/python3*/*-packages/pelrp_nb/labs") for root in seen for local in ("", "local/"))
    copies = {PACKAGE / "labs", *chain.from_iterable(installed)}
    return {str(labs / name) for labs in copies for name in ("course", "masters") if (labs / name).is_dir()}


@cache
def refuse_unless_safe() -> None:
    """Raise SandboxError where no sandbox can be had; grading unprotected is not offered."""
    if sys.platform != "linux" or shutil.which("bwrap") is None:
        raise SandboxError(f"Grading must run every submission in a sandbox, and bubblewrap (bwrap) is not here. {INSTALL}")
    done = subprocess.run([*command(0, Bounds().megabytes), "try"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise SandboxError(
            f"Grading must run every submission in a sandbox, and none can be made here: {why[0]}. Allow user namespaces (sysctl "
            "kernel.unprivileged_userns_clone=1; on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0), or grade on a machine of "
            "your own."
        )


class Sandbox:
    """One running seat; use it in a `with`, which ends every process in it."""

    def __init__(self, slot: int, bounds: Bounds, total: Meter) -> None:
        refuse_unless_safe()
        self.bounds, self.total, self.buffer, self.received = bounds, total, b"", 0
        self.process = subprocess.Popen(
            command(slot, bounds.megabytes), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdin is not None and self.process.stdout is not None  # both are pipes
        self.into, self.out = self.process.stdin, self.process.stdout
        os.set_blocking(self.into.fileno(), False)
        self.pulse = Pulse(self.process.pid)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()  # all else in its namespace goes with it
        self.process.wait()
        for pipe in (self.into, self.out):
            with suppress(OSError):  # unsent bytes for a process that is gone
                pipe.close()

    def send(self, raw: bytes, meter: Meter) -> None:
        """One line into the sandbox, which must take it before its time is up. Raises Ended."""
        into = self.into.fileno()
        while raw:
            _, ready, _ = select.select([], [into], [], 0.2)
            if ready:
                try:
                    raw = raw[os.write(into, raw) :]
                except OSError as error:
                    raise Ended("ended") from error
            elif why := self.beyond(meter):
                self._end(why)

    def receive(self, meter: Meter) -> bytes:
        """One line out of it, before its time is up. Raises Ended with the reason, and by then the sandbox is no more."""
        out = self.out.fileno()
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([out], [], [], 0.2)
            if ready:
                chunk = os.read(out, 2**16)
                self.received += len(chunk)
                self.buffer += chunk
                if not chunk:
                    self._end("ended")
            why = self.beyond(meter)
            if why and (why != "time" or b"\n" not in self.buffer):  # an answer that is there came in time
                self._end(why)
        first, _, self.buffer = self.buffer.partition(b"\n")
        return first

    def beyond(self, meter: Meter) -> str:
        """Which bound of this step, or of all in all, is passed; nothing if none is."""
        if len(self.buffer) > LINE or self.received > self.bounds.output * 2**20:
            return "output"
        if self.pulse.just_now():
            return ""
        taken = self.pulse.beat()
        for each in (meter, self.total):
            each.add(*taken)
        return "memory" if self.too_large() else "time" if meter.over or self.total.over else ""

    def too_large(self) -> bool:
        """Whether more memory is in use inside than may be."""
        pid, most = self.process.pid, self.bounds.megabytes * 2**20
        return (memory(pid) > most and shared_out(pid) > most) or names_in(HOME, pid) > NAMES

    def _end(self, why: str) -> None:
        self.process.kill()
        raise Ended(why)
