"""What an exchange costs beside one explanation: ratios of processor time, over alternating rounds."""

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
from .engine import subject

GOALS = {"causal": 2.0, "both ways": 2.5}  # 8 partners, 512 tokens, 12 layers, width 768


def exchange(argv: list[str] | None = None) -> int:
    """`bench exchange`: positions of each token exchanged with those of some others, beside one explanation."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb bench exchange", description=exchange.__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds (3)")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--partners", type=int, default=8, help="of each token; 0: all of them")
    parser.add_argument("--model", choices=list(GOALS), help="only this one")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    ratios = {name: ratio(name, given) for name in ([given.model] if given.model else GOALS)}
    if given.json:
        print(json.dumps({"ratios": ratios, **{name: getattr(given, name) for name in ("layers", "width", "tokens", "partners")}}))
        return 0
    partners = given.partners or "all"
    print(f"exchange with {partners} partners beside one explanation: width {given.width}, {given.layers} layers, {given.tokens} tokens")
    for name, found in ratios.items():
        print(f"{name:<12}{found:>8.2f}   (at most {GOALS[name]} with 8 partners at 512 tokens)")
    return 0


def ratio(name: str, given: argparse.Namespace) -> float:
    """Processor time of an exchange over that of an explanation, the smallest of each."""
    from tqdm.auto import tqdm

    model = subject(given.layers, given.width) if name == "causal" else encoder(given.layers, given.width, given.tokens)
    x = {"input_ids": torch.randint(5, 32_000, (1, given.tokens), generator=torch.Generator().manual_seed(1))}
    runs: dict[str, Callable[[], Any]] = {
        "explain": lambda: explain(model, x, target=score),
        "exchange": lambda: exchanged(model, x, target=score, partners=given.partners or None),
    }
    best = dict.fromkeys(runs, float("inf"))
    for run in runs.values():
        run()
    for _ in tqdm(range(given.rounds), desc=name, file=sys.stderr):
        for arm, run in runs.items():
            start = time.process_time()
            run()
            best[arm] = min(best[arm], time.process_time() - start)
    return best["exchange"] / best["explain"]


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
