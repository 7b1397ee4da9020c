"""What is saved by sharing: several targets of one forward pass, several texts of one batch; ratios of alternating rounds."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from ..explain import explain
from ..targets import target
from .engine import subject

GOALS = {"targets": 0.65, "batch": 0.5}


def targets(argv: list[str] | None = None) -> int:
    """`bench targets`: K targets from one forward pass beside K separate explanations."""
    given = options("targets", targets.__doc__, argv, tokens=128, count=8)
    model = subject(given.layers, given.width)
    x = {"input_ids": torch.randint(0, 32_000, (1, given.tokens), generator=torch.Generator().manual_seed(1))}
    wanted = [target.token(i) for i in range(given.count)]
    arms: dict[str, Callable[[], Any]] = {
        "apart": lambda: [explain(model, x, target=t) for t in wanted],
        "shared": lambda: explain(model, x, target=target.every(wanted)),
    }
    what = f"{given.count} targets of one text of {given.tokens} tokens: one forward pass for all, beside one for each"
    return report("targets", measured(arms, given.rounds), what, given)


def batch(argv: list[str] | None = None) -> int:
    """`bench batch`: padded texts in one batch beside the same texts one by one."""
    given = options("batch", batch.__doc__, argv, tokens=16, count=16)
    model = subject(given.layers, given.width)
    rng = torch.Generator().manual_seed(1)
    lengths = torch.randint(given.tokens // 4, given.tokens + 1, (given.count,), generator=rng).tolist()
    rows = [{"input_ids": torch.randint(0, 32_000, (1, n), generator=rng)} for n in lengths]
    arms: dict[str, Callable[[], Any]] = {
        "apart": lambda: [explain(model, row, target=7) for row in rows],
        "shared": lambda: explain(model, rows, target=7),
    }
    what = f"{given.count} texts of {min(lengths)} to {max(lengths)} tokens: one padded batch, beside one by one"
    return report("batch", measured(arms, given.rounds), what, given)


def options(name: str, what: str | None, argv: list[str] | None, tokens: int, count: int) -> argparse.Namespace:
    """The options that both share."""
    parser = argparse.ArgumentParser(prog=f"python -m pelrp_nb bench {name}", description=what)
    parser.add_argument("--rounds", type=int, default=4, help="alternating rounds (4)")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--tokens", type=int, default=tokens, help=f"tokens of the longest text ({tokens})")
    parser.add_argument("--count", type=int, default=count, help=f"how many texts, or targets of one ({count})")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    if given.threads:
        torch.set_num_threads(given.threads)
    return given


def measured(arms: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Smallest seconds of each arm over alternating rounds, after one that does not count."""
    from tqdm.auto import tqdm

    best = dict.fromkeys(arms, float("inf"))
    for count in tqdm(range(rounds + 1), desc="rounds", file=sys.stderr):
        for name, run in arms.items():
            start = time.perf_counter()
            run()
            if count:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def report(name: str, best: dict[str, float], what: str, given: argparse.Namespace) -> int:
    """The ratio, its goal, and what it was measured on."""
    ratio = best["shared"] / best["apart"]
    where = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    if given.json:
        print(json.dumps({"ratio": ratio, "goal": GOALS[name], "machine": where, "layers": given.layers, "tokens": given.tokens}))
    else:
        print(f"random Llama, width {given.width}, {given.layers} layers, float32, sdpa; {where}")
        print(f"{what}: {ratio:.3f} of the time (at most {GOALS[name]} wanted)")
    return 0
