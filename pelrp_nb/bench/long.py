"""`bench long`: time and memory of one explanation against the number of tokens, beside a plain forward and backward pass (Linux).

Each number is that of a fresh process with one run; the time of both is fitted as a + b T + c T^2, in which attention is c.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..explain import explain
from ..plan import plan
from .engine import AT_ONCE, above
from .peer import plain

SHAPES: dict[str, dict[str, Any]] = {
    "stories260k": {"hidden_size": 64, "num_hidden_layers": 5, "num_attention_heads": 8, "num_key_value_heads": 4,
                    "intermediate_size": 172, "vocab_size": 512},
    "width-512": {"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 8,
                  "intermediate_size": 1376, "vocab_size": 32_000},
}  # fmt: skip
TOKENS = (1024, 2048, 4096, 8192)
MOST = 6 * 2**30  # bytes at 8,192 tokens


def long(argv: list[str] | None = None) -> int:
    """`bench long`: time and memory against the number of tokens, up to 8,192."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb bench long", description=long.__doc__)
    parser.add_argument("--only", default=",".join(SHAPES), metavar="NAMES", help="some of " + ", ".join(SHAPES))
    parser.add_argument("--tokens", default=",".join(map(str, TOKENS)), help="numbers of tokens (1024,2048,4096,8192)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--arm", choices=["plain", "explain", "plan"], help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    named, counts = given.only.split(","), [int(n) for n in given.tokens.split(",")]
    if unknown := [name for name in named if name not in SHAPES]:
        raise InputError(f"A shape must be one of {', '.join(SHAPES)}; got {', '.join(unknown)}. Type --only width-512.")
    if sys.platform != "linux":
        raise InputError("Peak memory is read from /proc/self/status, which only Linux has. Type bench engine --no-memory.")
    if given.arm:
        print(json.dumps(once(given.arm, named[0], counts[0])))
        return 0
    found = {name: {arm: [fresh(arm, name, T) for T in counts] for arm in ("plain", "explain", "plan")} for name in named}
    print(json.dumps(found)) if given.json else report(found, counts)
    return 0


def once(arm: str, name: str, tokens: int) -> tuple[float, int]:
    """Processor seconds and bytes above the loaded model of one run, after a short one; of "plan" the bytes that it expects."""
    import transformers as t

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = t.LlamaConfig(**SHAPES[name], max_position_embeddings=tokens)
    model: Any = t.LlamaForCausalLM(config).eval().requires_grad_(False)
    ids = torch.randint(3, SHAPES[name]["vocab_size"], (1, tokens), generator=torch.Generator().manual_seed(1))
    runs: dict[str, Callable[[Tensor], Any]] = {
        "plain": lambda ids: plain(model, model.get_input_embeddings()(ids).detach())(),
        "explain": lambda ids: explain(model, {"input_ids": ids}),
        "plan": lambda ids: plan(model, {"input_ids": ids}).peak,
    }
    runs[arm](ids[:, :8])
    kept, seconds = [], []

    def measured() -> None:
        start = time.process_time()
        kept.append(runs[arm](ids))
        seconds.append(time.process_time() - start)

    taken = above(measured)
    return seconds[0], kept[0] if arm == "plan" else taken


def fresh(arm: str, name: str, tokens: int) -> tuple[float, int]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "pelrp_nb", "bench", "long", "--arm", arm, "--only", name, "--tokens", str(tokens)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=AT_ONCE)
    seconds, taken = json.loads(done.stdout.splitlines()[-1])
    return seconds, taken


def report(found: dict[str, dict[str, list[tuple[float, int]]]], counts: Sequence[int]) -> None:
    """A line for each number of tokens, then what was fitted."""
    for name, arms in found.items():
        print(f"random Llama of the shape {name}, float32, sdpa, one thread")
        print(f"{'tokens':>8}{'plain':>10}{'explain':>10}{'ratio':>8}{'plan':>8}{'memory':>12}{'of plain':>10}{'expected':>10}")
        for T, (bare, less), (ours, more), (planned, expected) in zip(counts, arms["plain"], arms["explain"], arms["plan"], strict=True):
            print(f"{T:>8,}{bare:>9.1f}s{ours:>9.1f}s{ours / bare:>8.2f}{planned / ours:>8.2f}"
                  f"{more / 2**20:>8.0f} MiB{more / less:>10.2f}{expected / more:>10.2f}")  # fmt: skip
        if counts[-1] >= 8192:
            print(f"{'within' if arms['explain'][-1][1] <= MOST else 'beyond'} 6 GB at {counts[-1]:,} tokens")
        if len(counts) > 2:
            a, b = (fitted(counts, [seconds for seconds, _ in arms[arm]]) for arm in ("plain", "explain"))
            print(f"seconds per (1,000 tokens)^2: plain {a:.3f}, explain {b:.3f}")


def fitted(counts: Sequence[int], seconds: Sequence[float]) -> float:
    """c of a + b T + c T^2, T in thousands of tokens, by least squares."""
    return float(np.polyfit(np.array(counts) / 1000, seconds, 2)[0])
