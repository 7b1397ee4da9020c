"""One process for each architecture, a few at a time: a crash, a hang or a lack of memory stops one of them only."""

from __future__ import annotations

import multiprocessing as mp
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from .names import Entry
from .trial import Row, run

GIGABYTES = 6  # of memory that one architecture may take (Linux)


@dataclass
class Job:
    """A process that is at work."""

    entry: Entry
    process: Any
    answer: Connection
    started: float


def rows(entries: list[Entry], jobs: int, limit: float, method: str = "pa-lrp") -> Iterator[dict[str, Any]]:
    """A row for each entry as it is done, explained by the composite of that name; `limit` seconds for each, `jobs` at a time."""
    context: Any = mp.get_context("forkserver" if sys.platform != "win32" else "spawn")
    if sys.platform != "win32":
        context.set_forkserver_preload([f"{__package__}.preload"])
    waiting: list[Entry] = list(reversed(entries))
    running: list[Job] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(begin(context, waiting.pop(), method))
            wait([job.answer for job in running], timeout=1.0)
            for job in list(running):
                row = finished(job, limit)
                if row is not None:
                    running.remove(job)
                    yield row
    finally:
        for job in running:
            end(job)


def begin(context: Any, entry: Entry, method: str) -> Job:
    """Start a process."""
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(entry, there, method), daemon=True)
    process.start()
    there.close()
    return Job(entry, process, here, time.monotonic())


def work(entry: Entry, answer: Connection, method: str) -> None:
    """In the process: one thread, memory limited where the system can do that, then the trial."""
    import torch

    torch.set_num_threads(1)
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (GIGABYTES << 30, GIGABYTES << 30))
    answer.send(run(entry, method=method))


def finished(job: Job, limit: float) -> dict[str, Any] | None:
    """The row of a process that answered, died or took too long; None while it works."""
    if job.answer.poll():
        try:
            row = job.answer.recv()
        except EOFError:
            job.process.join(5)
            row = lost(job, f"its process ended with status {job.process.exitcode}")
    elif time.monotonic() - job.started > limit:
        row = lost(job, f"it took more than {limit:.0f} s")
    else:
        return None
    end(job)
    return row


def lost(job: Job, reason: str) -> dict[str, Any]:
    """The row of an architecture that never answered."""
    entry = job.entry
    return asdict(Row(entry.kind, entry.name, entry.model, entry.option, "lost", reason, seconds=time.monotonic() - job.started))


def end(job: Job) -> None:
    """Stop a process that may still run."""
    if job.process.is_alive():
        job.process.kill()
    job.process.join(5)
    job.answer.close()
