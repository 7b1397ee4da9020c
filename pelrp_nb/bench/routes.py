"""`bench routes`: processor time and peak memory of an explanation with routes, over an audited one of the same text."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..composites import PA_LRP
from ..engine.options import Options
from ..engine.propagation import propagate
from .engine import peak, smallest, subject

ARMS = {"audited": Options(audit=True), "routes": Options(detail=frozenset({"routes"}))}
GOALS = {"time": 2.0, "memory": 1.5}


def routes(argv: list[str] | None = None) -> int:
    """`bench routes`: processor time and memory of routes, over those of an audited explanation."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb bench routes", description=routes.__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="alternating rounds (4)")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--attention", choices=("sdpa", "eager"), default="sdpa")
    parser.add_argument("--no-memory", action="store_true", help="skip the fresh processes that measure memory")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--peak", choices=list(ARMS), help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    run = explained(given)
    if given.peak:
        print(peak(lambda ids: run(given.peak, ids), given.tokens))
        return 0
    found = {"time": times(given, run)}
    if not given.no_memory and sys.platform == "linux":
        sizes = {name: fresh(name, given) for name in ARMS}
        found["memory"] = sizes["routes"] / sizes["audited"]
    if given.json:
        print(json.dumps({**found, **{name: getattr(given, name) for name in ("layers", "width", "tokens", "attention")}}))
    else:
        print(f"random Llama, width {given.width}, {given.layers} layers of 12 heads, {given.tokens} tokens, float32, {given.attention}")
        for name, ratio in found.items():
            print(f"{name:<8}{ratio:>7.2f} of an audited explanation   (wanted: at most {GOALS[name]})")
    return 0 if all(ratio <= GOALS[name] for name, ratio in found.items()) else 1


def explained(given: argparse.Namespace) -> Callable[[str, Tensor], Any]:
    """One explanation of the last logit, with the options of an arm."""
    model = subject(given.layers, given.width)
    model.set_attn_implementation(given.attention)

    def run(name: str, ids: Tensor) -> Any:
        with propagate(model, PA_LRP, ARMS[name]) as flow:
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits
            return flow.trace(logits[0, -1, 7])

    return run


def times(given: argparse.Namespace, run: Callable[[str, Tensor], Any]) -> float:
    """Smallest processor seconds over alternating rounds, routes over audited."""
    ids = torch.randint(0, 32_000, (1, given.tokens), generator=torch.Generator().manual_seed(1))
    best = dict.fromkeys(ARMS, float("inf"))
    for name in ARMS:
        run(name, ids[:, :16])
    for _ in range(given.rounds):
        for name in ARMS:
            start = time.process_time()
            run(name, ids)
            best[name] = min(best[name], time.process_time() - start)
    return best["routes"] / best["audited"]


def fresh(name: str, given: argparse.Namespace) -> int:
    """Peak memory of one arm, in a process of its own."""
    command = [sys.executable, "-m", "pelrp_nb", "bench", "routes", "--peak", name, "--attention", given.attention]
    return smallest([*command, *(f"--{what}={getattr(given, what)}" for what in ("layers", "width", "tokens"))])
