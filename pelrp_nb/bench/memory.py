"""`bench memory`: the bytes that `plan` expects beside what an explanation takes, each case in a fresh process (Linux)."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import torch
from torch import Tensor

from ..composites import PA_LRP
from ..engine.propagation import Options, propagate
from ..errors import InputError
from ..plan import plan
from .engine import peak, smallest, subject

CASES: dict[str, dict[str, Any]] = {
    "sdpa": {},
    "sdpa, audited": {"audit": True},
    "eager": {"attention": "eager"},
    "heads apart": {"detail": {"heads"}},
    "checkpoint": {"checkpoint": True},
    "long": {"tokens": 2},
}
WITHIN = (0.7, 1.5)                              # estimate over measured


def memory(argv: list[str] | None = None) -> int:
    """`bench memory`: the bytes that `plan` expects over the peak measured in a fresh process."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb bench memory", description=memory.__doc__)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--peak", choices=list(CASES), help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.peak:
        print(case(given.peak, given, measured=True))
        return 0
    if sys.platform != "linux":
        raise InputError("Peak memory is read from /proc/self/status, which only Linux has. Run it there.")
    command = [sys.executable, "-m", "pelrp_nb", "bench", "memory"]
    command += [f"--{name}={getattr(given, name)}" for name in ("layers", "width", "tokens")]
    found = {name: (case(name, given, measured=False), smallest([*command, "--peak", name])) for name in CASES}
    if given.json:
        print(json.dumps({name: {"estimate": e, "measured": m, "ratio": e / m} for name, (e, m) in found.items()}))
    else:
        print(f"random Llama, width {given.width}, {given.layers} layers, {given.tokens} tokens, float32")
        print(f"{'case':<16}{'estimate':>12}{'measured':>12}{'ratio':>8}")
        for name, (e, m) in found.items():
            print(f"{name:<16}{e / 2**20:>8.1f} MiB{m / 2**20:>8.1f} MiB{e / m:>8.2f}")
    return 0 if all(WITHIN[0] < e / m < WITHIN[1] for e, m in found.values()) else 1


def case(name: str, given: argparse.Namespace, measured: bool) -> int:
    """Bytes that one case takes in this process, or that `plan` expects."""
    asked = dict(CASES[name])
    model = subject(given.layers, given.width, asked.pop("attention", "sdpa"))
    tokens = given.tokens * asked.pop("tokens", 1)
    options = Options(**asked)

    def explained(ids: Tensor) -> None:
        with propagate(model, PA_LRP, options) as flow:
            flow.trace(model(input_ids=ids, use_cache=False).logits[0, -1, 7])

    if measured:
        return peak(explained, tokens)
    return plan(model, {"input_ids": torch.randint(0, 32_000, (1, tokens))}, options=options).peak
