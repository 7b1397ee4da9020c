"""`bench memory`: the bytes that `plan` expects beside what an explanation takes, each case in a fresh process (Linux)."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import torch
from torch import Tensor, nn

from ..composites import PA_LRP
from ..engine.options import Options
from ..engine.propagation import propagate
from ..errors import InputError
from ..inputs.encode import quiet
from ..plan import plan
from .engine import peak, smallest

CASES: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama, eager": {"attention": "eager"},
    "llama, audited": {"audit": True},
    "llama, heads apart": {"detail": {"heads"}},
    "llama, checkpoint": {"checkpoint": True},
    "llama, long": {"tokens": 2},
    "gpt2": {"family": "gpt2"},
    "gpt2, checkpoint": {"family": "gpt2", "checkpoint": True},
    "bert": {"family": "bert"},
    "bert, eager": {"family": "bert", "attention": "eager"},
}
VOCABULARY = 2000
WITHIN = (0.7, 1.5)  # estimate over measured


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
        print(f"random models, width {given.width}, {given.layers} layers, {given.tokens} tokens, float32")
        print(f"{'case':<20}{'estimate':>12}{'measured':>12}{'ratio':>8}")
        for name, (e, m) in found.items():
            print(f"{name:<20}{e / 2**20:>8.1f} MiB{m / 2**20:>8.1f} MiB{e / m:>8.2f}")
    return 0 if all(WITHIN[0] < e / m < WITHIN[1] for e, m in found.values()) else 1


def model_of(family: str, layers: int, width: int, attention: str) -> nn.Module:
    """A random model of that family, 12 heads, vocabulary of 2,000, frozen weights, float32."""
    import transformers as t

    torch.manual_seed(0)
    heads: dict[str, Any] = {"num_hidden_layers": layers, "num_attention_heads": 12}
    heads |= {"max_position_embeddings": 2048, "vocab_size": VOCABULARY}
    inner: dict[str, Any] = {"hidden_size": width, "intermediate_size": 4 * width}
    made = {
        "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**heads, **inner, num_key_value_heads=4)),
        "gpt2": lambda: t.GPT2LMHeadModel(
            t.GPT2Config(n_layer=layers, n_head=12, n_embd=width, n_positions=2048, vocab_size=VOCABULARY)),
        "bert": lambda: t.BertForSequenceClassification(t.BertConfig(**heads, **inner)),
    }  # fmt: skip
    model = made[family]().eval().requires_grad_(False)
    model.set_attn_implementation(attention)
    return model


def case(name: str, given: argparse.Namespace, measured: bool) -> int:
    """Bytes that one case takes in this process, or that `plan` expects."""
    asked = dict(CASES[name])
    model = model_of(asked.pop("family", "llama"), given.layers, given.width, asked.pop("attention", "sdpa"))
    tokens = given.tokens * asked.pop("tokens", 1)
    options = Options(**asked)

    def explained(ids: Tensor) -> None:
        with propagate(model, PA_LRP, options) as flow:
            logits = model(input_ids=ids, **quiet(model)).logits
            flow.trace(logits.flatten()[-1])

    if measured:
        return peak(explained, tokens, VOCABULARY)
    return plan(model, {"input_ids": torch.randint(0, VOCABULARY, (1, tokens))}, options=options).peak
