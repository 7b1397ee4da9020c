"""`python -m pelrp_nb bench faithfulness`: perturbed variants in batches against one by one, and what an example costs."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from .. import zoo
from .data import load
from .examples import Example
from .runner import measure
from .settings import Configuration


def main(argv: Sequence[str] | None = None) -> int:
    """Ratios of alternating runs, and a straight line through the cost of more and more examples."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb bench faithfulness", description=main.__doc__)
    parser.add_argument("--model", default="reviews-rotary")
    parser.add_argument("--data", default="reviews")
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds (3)")
    parser.add_argument("--examples", type=int, default=8, help="examples per run (8)")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    if given.threads:
        torch.set_num_threads(given.threads)
    model, processor = zoo.load(given.model)
    examples = list(load(given.data, 4 * given.examples))
    fast = Configuration(methods=("random",), protocols=("pruning", "generation", "gain", "positions"))
    slow = replace(fast, batch=1, together=1)

    def seconds(configuration: Configuration, some: Sequence[Example]) -> float:
        start = time.perf_counter()
        measure(model, processor, some, configuration)
        return time.perf_counter() - start

    few = examples[: given.examples]
    seconds(fast, few[:2])
    rounds = [(seconds(fast, few), seconds(slow, few)) for _ in range(given.rounds)]
    best = [min(column) for column in zip(*rounds, strict=True)]
    counts = [given.examples * k for k in (1, 2, 3, 4)]
    costs = [min(seconds(fast, examples[:n]) for _ in range(given.rounds)) for n in counts]
    slope, start, fit = line(counts, costs)
    found = {
        "batched": len(few) / best[0], "one_by_one": len(few) / best[1], "ratio": best[1] / best[0],
        "ratios": [b / a for a, b in rounds], "seconds_per_example": slope, "start": start, "r2": fit,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
    }  # fmt: skip
    report(given, counts, fast.batch, found)
    return 0


def report(given: argparse.Namespace, counts: list[int], batch: int, found: dict[str, Any]) -> None:
    """Everything as JSON, or in three lines."""
    if given.json:
        print(json.dumps(found))
        return
    print(f"{given.model}, perturbation of {given.examples} examples, all variants of pruning, generation, gain and positions")
    print(f"in batches of {batch}: {found['ratio']:.1f} times the examples per second of one by one", end="")
    print(f" (rounds: {', '.join(f'{r:.1f}' for r in found['ratios'])}); {found['machine']}")
    cost = f"{found['start']:.2f} s + {found['seconds_per_example']:.3f} s an example, R2 = {found['r2']:.4f}"
    print(f"cost of {', '.join(map(str, counts))} examples: a line with {cost}")


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """Slope, start and R2 of the least-squares line through the points."""
    slope, start = np.polyfit(x, y, 1)
    rest = np.asarray(y) - (slope * np.asarray(x) + start)
    spread = np.asarray(y) - np.mean(y)
    return float(slope), float(start), float(1 - (rest**2).sum() / (spread**2).sum())
