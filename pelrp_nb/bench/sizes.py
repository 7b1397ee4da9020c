"""`bench sizes`: what plan, audit, checkpointing and the ledger cost on models of the sizes that people have (Linux).

Random weights; a few of the equal layers stand for all of them, since both sides of each ratio grow with their number.  Time is
that of the processor, the smallest of alternating rounds; memory is that of a fresh process for each arm.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..composites import Composite, as_composite
from ..engine.options import Options
from ..errors import InputError
from ..explain import explain
from ..inputs.encode import quiet
from ..plan import plan
from ..targets.kept import at_places
from .engine import above, smallest

VOCABULARY = 32_000
PIXELS = 224


@dataclass(frozen=True)
class Size:
    """A shape that people have, and how much of it is built: layers, tokens (None: a picture)."""

    what: str
    layers: int
    tokens: int | None
    composite: str = "pa-lrp"
    inner: dict[str, Any] = field(default_factory=dict)


SIZES = {
    "llama-1b": Size("Llama, width 2,048, bfloat16", 2, 128),
    "llama-512": Size("Llama, width 512", 4, 2048),
    "bert": Size("BERT, width 768", 12, 128),
    "vit": Size("ViT-B/16", 12, None),
    "vit-vision": Size("ViT-B/16, PA_LRP_VISION", 12, None, "pa-lrp-vision"),
    "t5": Size("T5, width 512, 8 + 8", 8, 128),
    "experts": Size("Mixtral, width 512, 8 experts", 4, 128),
}
ARMS = {
    "plain": "forward and backward, gradients of what is looked up alone",
    "explain": "explain(...)",
    "no ledger": "Options(ledger=False)",
    "audit": "Options(audit=True)",
    "checkpoint": "Options(checkpoint=True)",
    "plan": "plan(...), from a forward pass alone",
}
OPTIONS = {"no ledger": Options(ledger=False), "audit": Options(audit=True), "checkpoint": Options(checkpoint=True)}


def sizes(argv: list[str] | None = None) -> int:
    """`bench sizes`: time and memory of what people ask for, on random models of the sizes that they have."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb bench sizes", description=sizes.__doc__)
    parser.add_argument("--only", default=",".join(SIZES), metavar="NAMES", help="some of " + ", ".join(SIZES))
    parser.add_argument("--rounds", type=int, default=2, help="alternating rounds (2)")
    parser.add_argument("--layers", type=int, help="how many layers instead of each size's own")
    parser.add_argument("--tokens", type=int, help="how many tokens instead of each size's own")
    parser.add_argument("--arms", default=",".join(ARMS), metavar="ARMS", help="some of " + ", ".join(ARMS))
    parser.add_argument("--no-time", action="store_true")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--peak", choices=list(ARMS), help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    named = given.only.split(",")
    if unknown := [name for name in named if name not in SIZES]:
        raise InputError(f"A size must be one of {', '.join(SIZES)}; got {', '.join(unknown)}. Type --only bert,vit.")
    torch.set_num_threads(1)
    if given.peak:
        print(peak(as_given(named[0], given), given.peak))
        return 0
    if sys.platform != "linux" and not given.no_memory:
        raise InputError("Peak memory is read from /proc/self/status, which only Linux has. Type --no-memory.")
    found = {name: measured(name, given, given.arms.split(",")) for name in named}
    print(json.dumps(found)) if given.json else report(found)
    return 0


def as_given(name: str, given: argparse.Namespace) -> Size:
    """A size, with the layers and tokens that were asked for."""
    size = SIZES[name]
    tokens = size.tokens if size.tokens is None else given.tokens or size.tokens
    return replace(size, layers=given.layers or size.layers, tokens=tokens)


def model_of(size: Size) -> Any:
    """The random model, frozen, in eval mode, sdpa."""
    import transformers as t

    torch.manual_seed(0)
    n, long = size.layers, max(size.tokens or 0, 2048)
    heads: dict[str, Any] = {"num_hidden_layers": n, "vocab_size": VOCABULARY, "max_position_embeddings": long}
    classes: dict[str, Any] = {"num_labels": 1000}
    made: dict[str, Callable[[], Any]] = {
        "Llama, width 2,048, bfloat16": lambda: t.LlamaForCausalLM(
            t.LlamaConfig(**heads, hidden_size=2048, intermediate_size=8192, num_attention_heads=32, num_key_value_heads=8)
        ).bfloat16(),
        "Llama, width 512": lambda: t.LlamaForCausalLM(
            t.LlamaConfig(**heads, hidden_size=512, intermediate_size=1376, num_attention_heads=8, num_key_value_heads=8)),
        "BERT, width 768": lambda: t.BertForSequenceClassification(t.BertConfig(**heads)),
        "ViT-B/16": lambda: t.ViTForImageClassification(t.ViTConfig(num_hidden_layers=n, **classes)),
        "T5, width 512, 8 + 8": lambda: t.T5ForConditionalGeneration(
            t.T5Config(num_layers=n, num_decoder_layers=n, vocab_size=VOCABULARY)),
        "Mixtral, width 512, 8 experts": lambda: t.MixtralForCausalLM(
            t.MixtralConfig(**heads, hidden_size=512, intermediate_size=1792, num_attention_heads=8, num_key_value_heads=4,
                            num_local_experts=8)),
    }  # fmt: skip
    model: Any = made[size.what.removesuffix(", PA_LRP_VISION")]().eval().requires_grad_(False)
    model.set_attn_implementation("sdpa")
    return model


def input_of(size: Size) -> dict[str, Tensor]:
    """Random tokens, or a random picture."""
    rng = torch.Generator().manual_seed(1)
    if size.tokens is None:
        return {"pixel_values": torch.randn(1, 3, PIXELS, PIXELS, generator=rng)}
    x = {"input_ids": torch.randint(3, VOCABULARY, (1, size.tokens), generator=rng)}
    if size.what.startswith("T5"):
        x["decoder_input_ids"] = torch.randint(3, VOCABULARY, (1, max(size.tokens // 4, 2)), generator=rng)
    return x


def run_of(arm: str, model: Any, x: dict[str, Tensor], composite: Composite) -> Callable[[], Any]:
    """One run of that arm."""
    if arm == "plan":
        return lambda: plan(model, x, composite=composite)
    if arm != "plain":
        return lambda: explain(model, x, composite=composite, options=OPTIONS.get(arm, Options()))
    return lambda: gradient(model, x)


def gradient(model: Any, x: dict[str, Tensor]) -> Any:
    """The last place's highest logit walked back by autograd alone to token vectors, or to the picture."""
    if "pixel_values" in x:
        pixels = x["pixel_values"].detach().requires_grad_()
        return torch.autograd.grad(model(pixel_values=pixels).logits.max(), pixels)[0]
    leaves: list[Tensor] = []

    def leaf(module: nn.Module, args: tuple, out: Tensor) -> Tensor:
        leaves.append(out.detach().requires_grad_())
        return leaves[-1]

    tables = [m for m in model.modules() if isinstance(m, nn.Embedding) and m.num_embeddings == VOCABULARY]
    hooks = [table.register_forward_hook(leaf) for table in tables]
    try:
        logits = model(**x, **quiet(model), **at_places(model, x, [len(x["input_ids"][0]) - 1])).logits
    finally:
        for hook in hooks:
            hook.remove()
    return torch.autograd.grad((logits[0, -1] if logits.dim() == 3 else logits[0]).max(), leaves)


def peak(size: Size, arm: str) -> int:
    """Bytes above the loaded model at the peak of one run of an arm, in this process; for "plan" the bytes that it expects."""
    model, x, composite = model_of(size), input_of(size), as_composite(size.composite)
    if arm == "plan":
        return plan(model, x, composite=composite).peak
    few = input_of(replace(size, tokens=size.tokens and 8))
    run_of(arm, model, few, composite)()
    return above(run_of(arm, model, x, composite))


def measured(name: str, given: argparse.Namespace, arms: Sequence[str]) -> dict[str, Any]:
    """Bytes and seconds of one size, by arm."""
    size = as_given(name, given)
    found: dict[str, Any] = {"what": size.what, "layers": size.layers, "tokens": size.tokens}
    if not given.no_memory:
        command = [sys.executable, "-m", "pelrp_nb", "bench", "sizes", "--only", name, "--layers", str(size.layers)]
        command += ["--tokens", str(size.tokens)] if size.tokens else []
        found["bytes"] = {arm: smallest([*command, "--peak", arm], runs=1) for arm in arms}
    if not given.no_time:
        found["seconds"] = timed(size, given.rounds, arms)
    return found


def timed(size: Size, rounds: int, arms: Sequence[str]) -> dict[str, float]:
    """Smallest seconds of the processor of each arm."""
    model, x, composite = model_of(size), input_of(size), as_composite(size.composite)
    runs = {arm: run_of(arm, model, x, composite) for arm in arms}
    best = dict.fromkeys(arms, float("inf"))
    for _ in range(rounds):
        for arm, run in runs.items():
            start = time.process_time()
            run()
            best[arm] = min(best[arm], time.process_time() - start)
    return best


def report(found: dict[str, dict[str, Any]]) -> None:
    """A line for each size: what each arm takes in units of plain, and what the estimate is of what it takes."""
    shown = {"plan (time)" if arm == "plan" else arm: arm for arm in ARMS if arm != "plain"}
    print("time and peak memory over those of a plain forward and backward pass; estimate: plan's bytes over the peak of explain")
    print(f"{'size':<46}{'':<8}" + "".join(f"{name:>13}" for name in shown) + f"{'estimate':>13}")
    for one in found.values():
        what = f"{one['what']}, {one['layers']} layers" + (f", {one['tokens']} tokens" if one["tokens"] else "")
        for kind, by in (("time", one.get("seconds", {})), ("memory", one.get("bytes", {}))):
            cells = [ratio(by, arm, "plain") if (kind, arm) != ("memory", "plan") else "" for arm in shown.values()]
            cells.append(ratio(by, "plan", "explain") if kind == "memory" else "")
            if by:
                print(f"{what:<46}{kind:<8}" + "".join(f"{cell:>13}" for cell in cells))
                what = ""


def ratio(by: dict[str, float], arm: str, to: str) -> str:
    """One arm over another; a line where one of them did not run."""
    return f"{by[arm] / by[to]:.2f}" if arm in by and to in by else "-"
