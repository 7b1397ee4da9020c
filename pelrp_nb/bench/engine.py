"""Benchmarks are commands: `python -m pelrp_nb bench engine` compares arms in alternating rounds and prints ratios.

Machines are shared and noisy, so single times mean little: every round runs every arm, and the smallest times are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..composites import PA_LRP
from ..engine.options import Options
from ..engine.propagation import propagate
from .peer import subject

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ARMS = {
    "plain": "forward and backward, input gradients only",
    "sinks": "the engine, position sinks included",
    "full": "the engine, sinks, boundaries and fast ledger",
    "checkpoint": "the same, each layer run again in the backward pass",
}
GOALS = {"sinks": 1.05, "full": 1.10}
AT_ONCE = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # freed memory goes back: else the allocator's reserve is measured too


def arm(name: str, model: PreTrainedModel, ids: Tensor) -> Callable[[], Any]:
    """One explanation of the last logit, by that arm."""

    def plain() -> Tensor:
        vectors = model.get_input_embeddings()(ids).detach().requires_grad_()
        logits = model(inputs_embeds=vectors, use_cache=False, logits_to_keep=1).logits
        return torch.autograd.grad(logits[0, -1, 7], vectors)[0]

    def bent() -> Any:
        with propagate(model, PA_LRP, Options(ledger=name != "sinks", checkpoint=name == "checkpoint")) as flow:
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits
            return flow.trace(logits[0, -1, 7])

    return plain if name == "plain" else bent


def peak(run: Callable[[Tensor], Any], tokens: int, vocabulary: int = 32_000) -> int:
    """Bytes above the loaded model at the peak of one explanation, in this process (Linux)."""
    ids = torch.randint(0, vocabulary, (1, tokens))
    run(ids[:, :8])
    return above(lambda: run(ids))


def above(run: Callable[[], Any]) -> int:
    """Bytes by which this process grows at the peak of a run (Linux)."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")

    def status(field: str) -> int:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))

    before = status("VmRSS")
    run()
    return status("VmHWM") - before


def engine(argv: list[str] | None = None) -> int:
    """`bench engine`: time and memory of the engine beside a plain gradient."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb bench engine", description=engine.__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="alternating rounds (8)")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    parser.add_argument("--no-memory", action="store_true", help="skip the fresh processes that measure memory")
    parser.add_argument("--first", action="store_true", help="the first explanation of a model, and of a length, beside later ones")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--peak", choices=list(ARMS), help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.peak:
        model = subject(given.layers, given.width)
        print(peak(lambda ids: arm(given.peak, model, ids)(), given.tokens))
        return 0
    if given.threads:
        torch.set_num_threads(given.threads)
    if given.first:
        found = first_times(given)
        print(json.dumps(found) if given.json else "\n".join(f"{name} {ratio:.2f}" for name, ratio in found.items()))
        return 0
    best = times(given)
    memory = {} if given.no_memory or sys.platform != "linux" else {name: fresh(name, given) for name in ARMS}
    report(best, memory, given)
    return 0


def times(given: argparse.Namespace) -> dict[str, float]:
    """Smallest seconds of each arm over alternating rounds: of the processor where one thread computes, else of the clock."""
    from tqdm.auto import tqdm

    model = subject(given.layers, given.width)
    ids = torch.randint(0, 32_000, (1, given.tokens), generator=torch.Generator().manual_seed(1))
    runs = {name: arm(name, model, ids) for name in ARMS}
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for run in runs.values():
        run()
    best = dict.fromkeys(ARMS, float("inf"))
    for _ in tqdm(range(given.rounds), desc="rounds", file=sys.stderr):
        for name, run in runs.items():
            start = clock()
            run()
            best[name] = min(best[name], clock() - start)
    return best


def first_times(given: argparse.Namespace) -> dict[str, float]:
    """Processor time of the first explanation of a model, and of a text of a new length, over later ones; the smallest of all rounds."""
    from tqdm.auto import tqdm

    def timed(model: PreTrainedModel, tokens: int) -> float:
        ids = torch.randint(0, 32_000, (1, tokens), generator=torch.Generator().manual_seed(1))
        start = time.process_time()
        arm("full", model, ids)()
        return time.process_time() - start

    for _ in range(2):  # what is loaded once in a process
        timed(subject(1, 192), 8)
    best = dict.fromkeys(("a new model", "a new length", "later"), float("inf"))
    for _ in tqdm(range(given.rounds), desc="rounds", file=sys.stderr):
        model = subject(given.layers, given.width)
        for name, more in (("a new model", 0), ("later", 0), ("later", 0), ("a new length", 1), ("later", 1)):
            best[name] = min(best[name], timed(model, given.tokens + more))
    return {name: best[name] / best["later"] for name in best}


def fresh(name: str, given: argparse.Namespace) -> int:
    """Peak memory of one arm."""
    command = [sys.executable, "-m", "pelrp_nb", "bench", "engine", "--peak", name]
    command += ["--layers", str(given.layers), "--width", str(given.width), "--tokens", str(given.tokens)]
    return smallest(command)


def smallest(command: list[str], runs: int = 2) -> int:
    """The last number that a command prints, the smallest of some fresh processes; freed memory goes back to the system at once."""
    done = [subprocess.run(command, capture_output=True, text=True, check=True, env=AT_ONCE) for _ in range(runs)]
    return min(int(one.stdout.split()[-1]) for one in done)


def report(best: dict[str, float], memory: dict[str, int], given: argparse.Namespace) -> None:
    """Ratios to plain, and what they were measured on."""
    ratios = {name: best[name] / best["plain"] for name in ARMS}
    ratio_memory = {name: memory[name] / memory["plain"] for name in memory}
    where = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    if given.json:
        measured = {"time": ratios, "memory": ratio_memory, "machine": where}
        print(json.dumps({**measured, "layers": given.layers, "tokens": given.tokens}))
        return
    print(f"random Llama, width {given.width}, {given.layers} layers, {given.tokens} tokens, float32, sdpa; {where}")
    print(f"{'arm':<12}{'time':>8}{'memory':>9}   what")
    for name, what in ARMS.items():
        kept = f"{ratio_memory[name]:.3f}" if memory else "-"
        print(f"{name:<12}{ratios[name]:>8.3f}{kept:>9}   {what}")
