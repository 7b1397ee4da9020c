"""`bench stream`: reviews explained into a folder by processes of their own: rate, memory over time, kills (Linux)."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import signal
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..results.folder import Folder

EVERY = 0.05  # seconds between two looks at the processes
FLAT = 1.05  # how much more memory the last quarter may take than the second


def stream(argv: list[str] | None = None) -> int:
    """`bench stream`: held-out reviews, repeated, explained into a folder; by several processes, killed if wanted and begun again."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb bench stream", description=stream.__doc__)
    parser.add_argument("--count", type=int, default=50_000, help="how many reviews (50,000)")
    parser.add_argument("--model", default="reviews-rotary", help="a text model of the zoo (reviews-rotary)")
    parser.add_argument("--shard", type=int, default=512, help="reviews in a shard (512)")
    parser.add_argument("--processes", type=int, default=1, help="how many processes share the folder (1)")
    parser.add_argument("--kills", type=int, default=0, help="so many times a process is killed by SIGKILL, at a random moment (0)")
    parser.add_argument("--seed", type=int, default=0, help="which random moments")
    parser.add_argument("--folder", help="keep the results in this folder, which must be empty")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    if sys.platform != "linux":
        raise InputError("Memory is read from /proc/PID/status, which only Linux has. Run it there.")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as own:
        return report(Run(Path(given.folder or own), given).end(), given)


class Run:
    """Processes at work, looked at until they come to their end; forks of this one, so that no time goes into imports."""

    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        from .. import zoo

        self.folder, self.given = folder, given
        folder.mkdir(parents=True, exist_ok=True)
        self.model, self.tokenizer = zoo.load(given.model)
        texts = [one.text for one in zoo.task("reviews").examples]
        lines = (json.dumps({"text": texts[i % len(texts)]}) + "\n" for i in range(given.count))
        (folder / "reviews.jsonl").write_text("".join(lines), encoding="utf-8")
        rng = random.Random(given.seed)
        self.shards = -(-given.count // given.shard)
        self.kills = sorted(rng.uniform(0, 0.7 * self.shards) for _ in range(given.kills))  # shards that are there, and between two
        self.landed = 0
        self.memory: list[tuple[int, float]] = []  # shards that were there, mebibytes of the largest process
        self.times: list[tuple[float, int]] = []  # seconds, shards

    def end(self) -> Run:
        """Start them, kill them when it is time, start again what was killed; until all have ended well."""
        atwork = [self.process() for _ in range(self.given.processes)]
        start = time.perf_counter()
        while atwork:
            time.sleep(EVERY)
            self.look(atwork, time.perf_counter() - start)
            for process in [p for p in atwork if p.exitcode is not None]:
                atwork.remove(process)
                if process.exitcode == -signal.SIGKILL:
                    self.landed += 1
                    atwork.append(self.process())
                elif process.exitcode:
                    raise InputError(f"A process of the run ended with status {process.exitcode}; what it said stands above.")
        return self

    def process(self) -> Any:
        """One more process at work on the folder."""
        process = multiprocessing.get_context("fork").Process(target=self.explain, daemon=True)
        process.start()
        return process

    def explain(self) -> None:
        """What each process does."""
        from ..streaming.to_folder import explain_to

        there, given = self.folder / "explained", self.folder / "reviews.jsonl"
        explain_to(there, self.model, given, processor=self.tokenizer, shard=self.given.shard, progress=False)

    def look(self, atwork: list[Any], seconds: float) -> None:
        """How far they are, and how much memory they take; one of them is killed where its moment has come."""
        index = self.folder / "explained" / "index"
        there = sum(1 for _ in index.glob("[0-9]*.json")) if index.is_dir() else 0
        if there and (not self.times or there > self.times[-1][1]):
            self.times.append((seconds, there))
            self.memory.append((there, max(map(resident, atwork))))
        shards, between = divmod(self.kills[0], 1) if self.kills else (self.shards, 0)
        if there >= shards and atwork and self.kills:
            self.kills.pop(0)
            time.sleep(between * self.seconds_of_a_shard())
            atwork[0].kill()
            atwork[0].join()  # or the next kill would hit the dead

    def seconds_of_a_shard(self) -> float:
        """How long a shard takes, from what was seen."""
        steps = [b[0] - a[0] for a, b in pairwise(self.times)]
        return statistics.median(steps) if steps else 1.0

    def rate(self) -> float:
        """Reviews a second from the first shard to the last: loading the model is no part of it."""
        (first, few), (last, all_of_them) = self.times[0], self.times[-1]
        return (all_of_them - few) * self.given.shard / (last - first) if last > first else 0.0

    def quarters(self) -> list[float]:
        """The median memory of each quarter of the run, in mebibytes."""
        parts = [[m for n, m in self.memory if k * self.shards / 4 <= n - 1 < (k + 1) * self.shards / 4] for k in range(4)]
        return [statistics.median(part) if part else 0.0 for part in parts]


def resident(process: Any) -> float:
    """Mebibytes that a process has in memory; 0 where it is no more."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)


def checked(folder: Path, count: int) -> list[str]:
    """What is wrong with the folder; nothing if every review is there once, whole, and explained like its twins."""
    from ..results.explanations import Explanations

    found = Explanations.load(folder / "explained")
    table = found.table()
    wrong = []
    if table["index"].tolist() != list(range(count)):
        wrong.append(f"{count} inputs, but {table['index'].nunique()} of them in {len(table)} rows")
    if not found.complete or found.damaged or list((folder / "explained").glob("*/.*.part")):
        wrong.append("the folder is not complete and whole")
    spread = table.groupby("text")["value"].agg(lambda x: x.max() - x.min()).max()
    if spread > 1e-4:
        wrong.append(f"the same review has values {spread:.2g} apart")
    return wrong


def report(run: Run, given: argparse.Namespace) -> int:
    """Rate, memory by quarters, size, and what is wrong."""
    quarters, wrong = run.quarters(), checked(run.folder, given.count)
    size = sum(entry.bytes for entry in Folder(run.folder / "explained").entries())
    growth = quarters[3] / quarters[1] if quarters[1] else 1.0
    said: dict[str, Any] = {
        "model": given.model, "count": given.count, "shard": given.shard, "processes": given.processes, "kills": run.landed,
        "reviews a second": round(run.rate(), 1), "seconds": round(run.times[-1][0], 1), "MiB by quarters": [round(q, 1) for q in quarters],
        "last over second quarter": round(growth, 3), "bytes a review": round(size / given.count), "wrong": wrong,
    }  # fmt: skip
    if given.json:
        print(json.dumps(said))
    else:
        print("\n".join(f"{name:<26}{value}" for name, value in said.items()))
    return 1 if wrong or growth > FLAT else 0
