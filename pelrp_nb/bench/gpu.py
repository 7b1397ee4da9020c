"""`bench gpu`: everything that must hold on a GPU, and what it costs there, by one command of some minutes."""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import InputError
from . import on_device
from .engine import arm

SHAPES: dict[str, dict[str, int]] = {  # Llama's
    "1 billion": {"hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
                  "intermediate_size": 8192, "vocab_size": 128_256},
    "8 billion": {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
                  "intermediate_size": 14_336, "vocab_size": 128_256},
}  # fmt: skip
TINY = {"tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                 "intermediate_size": 128, "vocab_size": 256}}  # fmt: skip
TOKENS = (128, 512, 2048, 8192)
ARMS = ("plain", "sinks", "full", "checkpoint")


@dataclass(frozen=True)
class Cost:
    """What one arm took at one size: the smallest seconds, bytes at the peak above the weights (None on a CPU), or why it has none."""

    shape: str
    tokens: int
    arm: str
    seconds: float | None = None
    peak: int | None = None
    why: str = ""


def gpu(argv: list[str] | None = None) -> int:
    """`bench gpu`: checks on the device, then time and memory beside a plain gradient, then texts per second; 1 if a check fails."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb bench gpu", description=gpu.__doc__)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, cpu (cuda)")
    parser.add_argument("--minutes", type=float, default=8.0, help="what has not begun by then is left out (8)")
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds (3)")
    parser.add_argument("--small", action="store_true", help="a tiny model and short texts, to see the command run")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    given = parser.parse_args(argv)
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("There must be a CUDA device, and torch sees none. Type python -m pelrp_nb bench gpu --device cpu --small.")
    end = time.monotonic() + 60 * given.minutes
    say: Callable[[str], None] = (lambda text: None) if given.json else lambda text: print(text, flush=True)
    say(machine(given.device))
    outcomes = checks(given.device, say)
    costs = list(measured(given, end, say))
    speeds = texts_per_second(given, end, say)
    failed = [name for name, (outcome, _) in outcomes.items() if outcome.holds is False]
    if given.json:
        found = {name: {"holds": o.holds, "told": o.told, "seconds": seconds} for name, (o, seconds) in outcomes.items()}
        rows = [vars(cost) for cost in costs]
        print(json.dumps({"machine": machine(given.device), "checks": found, "costs": rows, "texts per second": speeds}))
    say(f"failed: {', '.join(failed)}" if failed else "every check holds")
    return 1 if failed else 0


def machine(device: str) -> str:
    """What it runs on."""
    import transformers

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return f"{name}; torch {torch.__version__}, transformers {transformers.__version__}"


def checks(device: str, say: Callable[[str], None]) -> dict[str, tuple[on_device.Outcome, float]]:
    """Every check with its seconds, told as it ends."""
    found = {}
    for name in on_device.CHECKS:
        start = time.perf_counter()
        outcome = on_device.checked(name, device)
        found[name] = outcome, time.perf_counter() - start
        word = {True: "ok", False: "FAILED", None: "-"}[outcome.holds]
        say(f"{word:<7}{name:<12}{found[name][1]:>6.1f} s   {outcome.told}")
    return found


# --- cost ------------------------------------------------------------------------------------------------------------


def measured(given: argparse.Namespace, end: float, say: Callable[[str], None]) -> Iterator[Cost]:
    """Time and memory of each arm at each size, a table as it grows."""
    say(f"{'Llama':<11}{'tokens':>7}" + "".join(f"{name:>24}" for name in ARMS) + "   seconds (of plain), peak (of plain)")
    for shape, sizes in (TINY if given.small else SHAPES).items():
        model: Any = None
        for tokens in (16, 32) if given.small else TOKENS:
            if time.monotonic() > end:
                found = [Cost(shape, tokens, name, why="no time left") for name in ARMS]
            else:
                model = model or llama(sizes, given.device)
                found = compared(model, shape, tokens, given)
            say(f"{shape:<11}{tokens:>7}" + "".join(f"{told(cost, found[0]):>24}" for cost in found))
            yield from found
        del model
        emptied(given.device)


def llama(sizes: dict[str, int], device: str) -> Any:
    """A random Llama in bfloat16, its weights frozen, made on the device."""
    from transformers import LlamaConfig, LlamaForCausalLM

    before = torch.get_default_dtype()
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(LlamaConfig(max_position_embeddings=max(TOKENS), **sizes))  # type: ignore[arg-type]
    finally:
        torch.set_default_dtype(before)
    model.set_attn_implementation("sdpa")
    return model.eval().requires_grad_(False)


def compared(model: Any, shape: str, tokens: int, given: argparse.Namespace) -> list[Cost]:
    """Every arm at one size, in alternating rounds; one that has no room is left out from then on."""
    ids = torch.randint(0, model.config.vocab_size, (1, tokens), generator=torch.Generator().manual_seed(1)).to(given.device)
    best: dict[str, float] = dict.fromkeys(ARMS, float("inf"))
    peaks, why = dict.fromkeys(ARMS, 0), dict.fromkeys(ARMS, "")
    runs = {name: arm(name, model, ids) for name in ARMS}
    for count in range(given.rounds + 1):  # the first one warms up
        for name, run in runs.items():
            if why[name]:
                continue
            try:
                seconds, peak = once(run, given.device)
            except torch.OutOfMemoryError:
                why[name] = "no room"
                emptied(given.device)
                continue
            best[name] = min(best[name], seconds) if count else best[name]
            peaks[name] = max(peaks[name], peak)
    cpu = not given.device.startswith("cuda")
    return [
        Cost(shape, tokens, name, why=why[name]) if why[name] else Cost(shape, tokens, name, best[name], None if cpu else peaks[name])
        for name in ARMS
    ]


def once(run: Callable[[], Any], device: str) -> tuple[float, int]:
    """Seconds of one run, and bytes at its peak above what was there before."""
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device) if cuda else 0
    start = time.perf_counter()
    out = run()
    if cuda:
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - start
    del out
    return seconds, torch.cuda.max_memory_allocated(device) - before if cuda else 0


def told(cost: Cost, plain: Cost) -> str:
    """One cell: `0.123 (1.06) 2.1 GB (1.02)`."""
    if cost.seconds is None:
        return cost.why
    text = f"{cost.seconds:.3f}"
    if plain.seconds and cost is not plain:
        text += f" ({cost.seconds / plain.seconds:.2f})"
    if cost.peak is not None:
        text += f" {cost.peak / 1e9:.1f} GB"
        text += f" ({cost.peak / plain.peak:.2f})" if plain.peak and cost is not plain else ""
    return text


def emptied(device: str) -> None:
    """Give memory back to the device."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def texts_per_second(given: argparse.Namespace, end: float, say: Callable[[str], None]) -> dict[str, float]:
    """Held-out reviews explained in batches, tokenising included."""
    from .. import zoo
    from ..explain import explain

    model, processor = zoo.load("reviews-rotary")
    found: dict[str, float] = {}
    texts = [one.text for one in zoo.task("reviews").examples[: 8 if given.small else 512]]
    for dtype in (torch.float32, torch.bfloat16):
        here = deepcopy(model).to(given.device, dtype).requires_grad_(False)
        for size in (4,) if given.small else (16, 64, 256):
            if time.monotonic() > end:
                continue
            explain(here, texts[:size], processor=processor)
            start = time.perf_counter()
            for at in range(0, len(texts), size):
                explain(here, texts[at : at + size], processor=processor)
            name = f"{on_device.name_of(dtype)}, batches of {size}"
            found[name] = len(texts) / (time.perf_counter() - start)
            say(f"{found[name]:>8.0f} texts a second: reviews-rotary, {name}")
    return found
