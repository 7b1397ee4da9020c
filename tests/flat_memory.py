"""Many explanations, one after the other, in flat memory: `python tests/flat_memory.py 2000`.

Texts of 4 to 40 random words on a rotary model of the zoo.  What is remembered from one to the next is bounded, so after the first
tenth the process takes no more than `LIMIT` further bytes at its peak, and collecting what is unreachable finds no tensor.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
from pathlib import Path

import torch
from fuzz import most_memory

import pelrp_nb

LIMIT = 32 * 2**20


def held() -> int:
    """The memory that the process holds now, in bytes; its peak where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return most_memory()


def explained(count: int, seed: int = 0) -> list[int]:
    """Explain so many texts; the memory held after each tenth of them."""
    model, tokenizer = pelrp_nb.zoo.load("reviews-rotary")
    rng, words, found = random.Random(seed), len(tokenizer), []
    for number in range(count):
        ids = torch.tensor([[rng.randrange(5, words) for _ in range(rng.randrange(4, 40))]])
        assert pelrp_nb.explain(model, {"input_ids": ids}).ledger.closed
        if (number + 1) % max(count // 10, 1) == 0:
            gc.collect()
            found.append(held())
            print(f"{number + 1}: {found[-1] / 2**20:.0f} MiB", file=sys.stderr, flush=True)
    return found


def main(count: int) -> int:
    """Print how much memory was held; 1 if it grew."""
    found = explained(count)
    more = max(found) - found[0]
    print(json.dumps({"explanations": count, "MiB after a tenth": round(found[0] / 2**20, 1), "MiB more at most": round(more / 2**20, 1)}))
    return int(more > LIMIT)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main(*map(int, sys.argv[1:] or ["2000"])))
