"""A run that is killed at random moments and resumed: python kill_and_resume.py FOLDER KILLS. The test runs it; so may you.

Each run is a fork of this process, so that no time goes into imports; SIGKILL comes anywhere in the time a whole run takes.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from pelrp_nb import zoo
from pelrp_nb.faithfulness import Configuration, Output, load, measure

SETTINGS = Configuration(methods=("random", "pa-lrp-signed"), protocols=("gain", "pruning"))
COUNT = 8


def run(path: Path, seconds: float | None) -> bool:
    """One run in a fork, killed after some seconds; whether it came to its end."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        result = measure(*MODEL, EXAMPLES, SETTINGS, output=Output(path, "resume"))
        path.with_suffix(".table").write_text(result.table().csv())
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFEXITED(status)


if __name__ == "__main__":
    torch.set_num_threads(1)
    MODEL, EXAMPLES = zoo.load("reviews-rotary"), list(load("reviews", COUNT))
    folder, kills = Path(sys.argv[1]), int(sys.argv[2])
    start = time.perf_counter()
    assert run(folder / "whole.jsonl", None)
    whole = time.perf_counter() - start
    rng, landed = random.Random(0), 0
    for _ in range(kills):
        landed += not run(folder / "killed.jsonl", rng.uniform(0.05, 0.9) * whole / kills * 1.5)
    assert run(folder / "killed.jsonl", None)
    print(f"{landed} of {kills} kills landed")
    first, second = ((folder / f"{name}.jsonl").read_text() for name in ("whole", "killed"))
    assert first == second, "the files differ"
    assert (folder / "whole.table").read_text() == (folder / "killed.table").read_text(), "the tables differ"
