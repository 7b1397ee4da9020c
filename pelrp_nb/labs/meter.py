"""What a process and all that it started take: processor time, time asleep, memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 3  # seconds asleep for each second of processor time that a step may take
STARVED = 0.1  # what a second counts in which it wanted a processor and got none
LONGEST = 0.25  # seconds that one look can add, whatever the clock says
APART = 0.05  # seconds between two looks


@dataclass
class Meter:
    """Seconds of processor time that something may take, or `PATIENCE` times as many asleep."""

    seconds: float
    worked: float = 0.0
    waited: float = 0.0

    def add(self, worked: float, waited: float) -> None:
        """Put down what was taken since the last look."""
        self.worked, self.waited = self.worked + worked, self.waited + waited

    @property
    def over(self) -> bool:
        """Whether more was taken than there is."""
        return self.worked > self.seconds or self.waited > PATIENCE * self.seconds


class Pulse:
    """Processor time and time asleep since the last look.

    A busy machine takes no time away: while a process wants a processor, the clock counts `STARVED`. A clock that jumps, and a
    grader that was itself stopped, add at most `LONGEST` seconds.
    """

    def __init__(self, pid: int) -> None:
        self.pid, self.at, self.before = pid, time.monotonic(), worked(pid)

    def just_now(self) -> bool:
        """Whether the last look was so short a time ago that another is not worth it."""
        return 0 <= time.monotonic() - self.at < APART

    def beat(self) -> tuple[float, float]:
        """(seconds worked, seconds waited) since the last call."""
        now, done = time.monotonic(), worked(self.pid)
        passed = min(max(now - self.at, 0.0), LONGEST)
        took = max(done - self.before, 0.0)
        self.at, self.before = now, max(done, self.before)
        return took, passed if asleep(self.pid) else passed * STARVED


def worked(pid: int) -> float:
    """Seconds of processor time taken by a process, all that it started, and those of them that have ended."""
    return sum(sum(map(int, _state(f"{each}")[11:15])) for each in family(pid)) / os.sysconf("SC_CLK_TCK")


def asleep(pid: int) -> bool:
    """Whether no thread of a process and of what it started runs, or would run if there were a processor."""
    return all(_state(f"{each}/task/{thread}")[:1] != ["R"] for each in family(pid) for thread in _listed(f"/proc/{each}/task"))


def _state(which: str) -> list[str]:
    """What the system says of a process or thread, from its state onwards; nothing if it is gone."""
    try:
        return Path(f"/proc/{which}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # gone meanwhile
        return []


def family(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    for thread in _listed(f"/proc/{pid}/task"):
        try:
            children = Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
        except OSError:  # gone meanwhile
            continue
        for child in children:
            yield from family(int(child))


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


def names_in(folder: str, pid: int) -> int:
    """How many files and folders a process has made in a file system of its own, as far as one may look."""
    found = [0]
    for each in family(pid):
        with suppress(OSError):
            inside = os.statvfs(f"/proc/{each}/root{folder}")
            found.append(inside.f_files - inside.f_ffree if inside.f_fsid != os.statvfs("/").f_fsid else 0)
    return found[-1]


def resident(pid: int) -> int:
    """Bytes of memory a process holds."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
