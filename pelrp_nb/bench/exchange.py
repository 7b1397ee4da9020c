"""What an exchange costs beside one explanation: ratios of processor time, over alternating rounds, and of memory."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from ..exchange import exchange as exchanged
from ..explain import explain
from .engine import peak, smallest, subject

CASES = {"causal": ("causal", 512, 8, 2.0), "both ways": ("encoder", 512, 8, 2.5), "all pairs": ("encoder", 128, 0, 4.0)}
MEMORY = 1.3  # at most, over that of an explanation


def exchange(argv: list[str] | None = None) -> int:
    """`bench exchange`: positions of each token exchanged with those of others, beside one explanation."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb bench exchange", description=exchange.__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds (3)")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--case", choices=list(CASES), help="only this one")
    parser.add_argument("--no-memory", action="store_true", help="skip the fresh processes that measure memory (Linux)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--peak", choices=["explain", "exchange"], help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.peak:
        runs = runs_of(given.case, given)
        print(peak(lambda ids: runs[given.peak](ids), CASES[given.case][1]))
        return 0
    cases = [given.case] if given.case else list(CASES)
    time_of = {name: ratio(name, given) for name in cases}
    memory_of = {} if given.no_memory or sys.platform != "linux" else {name: memory(name, given) for name in cases}
    if given.json:
        print(json.dumps({"time": time_of, "memory": memory_of, "layers": given.layers, "width": given.width}))
        return 0
    print(f"exchange beside one explanation: random models, width {given.width}, {given.layers} layers, float32, sdpa")
    print(f"{'case':<11}{'tokens':>7}{'partners':>9}{'time':>7}{'at most':>9}{'memory':>8}{'at most':>9}")
    for name in cases:
        _, tokens, partners, most = CASES[name]
        kept = f"{memory_of[name]:.2f}" if name in memory_of else "-"
        print(f"{name:<11}{tokens:>7}{partners or 'all':>9}{time_of[name]:>7.2f}{most:>9}{kept:>8}{MEMORY:>9}")
    return 0


def runs_of(name: str, given: argparse.Namespace) -> dict[str, Callable[[torch.Tensor], Any]]:
    """What is compared, each a function of token ids (1, tokens)."""
    kind, tokens, partners, _ = CASES[name]
    model = subject(given.layers, given.width) if kind == "causal" else encoder(given.layers, given.width, tokens)
    return {
        "explain": lambda ids: explain(model, {"input_ids": ids}, target=score),
        "exchange": lambda ids: exchanged(model, {"input_ids": ids}, target=score, partners=partners or None),
    }


def ratio(name: str, given: argparse.Namespace) -> float:
    """Processor time of an exchange over that of an explanation, the smallest of each over alternating rounds."""
    from tqdm.auto import tqdm

    runs = runs_of(name, given)
    ids = torch.randint(5, 32_000, (1, CASES[name][1]), generator=torch.Generator().manual_seed(1))
    best = dict.fromkeys(runs, float("inf"))
    for run in runs.values():
        run(ids)
    for _ in tqdm(range(given.rounds), desc=name, file=sys.stderr):
        for arm, run in runs.items():
            start = time.process_time()
            run(ids)
            best[arm] = min(best[arm], time.process_time() - start)
    return best["exchange"] / best["explain"]


def memory(name: str, given: argparse.Namespace) -> float:
    """Peak memory above the loaded model, of an exchange over that of an explanation, in fresh processes."""
    command = [sys.executable, "-m", "pelrp_nb", "bench", "exchange", "--case", name]
    command += ["--layers", str(given.layers), "--width", str(given.width), "--peak"]
    return smallest([*command, "exchange"]) / smallest([*command, "explain"])


def score(output: Any) -> torch.Tensor:
    """One logit of the last place."""
    return output.logits[0, -1, 7]


def encoder(layers: int, width: int, tokens: int) -> Any:
    """A random rotary encoder in which every token sees every other: sdpa, float32."""
    from transformers import EsmConfig, EsmForMaskedLM

    torch.manual_seed(0)
    config = EsmConfig(
        vocab_size=32_000, hidden_size=width, num_hidden_layers=layers, num_attention_heads=12, intermediate_size=width * 4,
        position_embedding_type="rotary", max_position_embeddings=tokens + 2, pad_token_id=1, mask_token_id=2, token_dropout=False,
    )  # fmt: skip
    return EsmForMaskedLM(config).eval().requires_grad_(False)
