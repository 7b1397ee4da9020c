"""`bench texts`: what `explain` of a batch of short texts costs beside a plain gradient of it, tokenising on both sides."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..engine.options import Options
from ..explain import explain
from ..inputs.encode import quiet
from ..inputs.grouping import TOKENS, beginning, cut
from .calls import entered

ARMS = {
    "plain": "tokenise, forward, backward: gradients of the token vectors alone",
    "by length": "plain in the batches that explain makes, which are cut by length",
    "mode": "plain under a torch function mode that does nothing",
    "no ledger": "explain(..., options=Options(ledger=False))",
    "explain": "explain(...)",
}
GOALS = {"reviews-rotary": {"no ledger": 1.25, "explain": 1.5}, "minilm": {"no ledger": 1.08, "explain": 1.2}}
Runs = Mapping[str, Callable[[], Any]]


def texts(argv: list[str] | None = None) -> int:
    """`bench texts`: explanations of short texts in one call, beside a plain forward and backward pass of the same batch."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb bench texts", description=texts.__doc__)
    parser.add_argument("--model", default="reviews-rotary", help='a text model of the zoo, or "minilm": random, BERT 6 x 384')
    parser.add_argument("--count", type=int, default=64, help="how many held-out reviews (64)")
    parser.add_argument("--rounds", type=int, default=12, help="alternating rounds (12)")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        runs = arms(given.model, given.count)
        seconds = timed(runs, given.rounds)
        calls = {name: entered(runs[name]).calls / given.count for name in ("no ledger", "explain")}
    finally:
        torch.set_num_threads(threads)
    report(seconds, calls, given)
    return 0


def arms(name: str, count: int) -> Runs:
    """One pass over all the texts, by each arm."""
    from .. import zoo

    found = [one.text for one in zoo.task("reviews").examples[:count]]
    model, tokenizer = zoo.load("reviews-rotary" if name == "minilm" else name)
    model = minilm(len(tokenizer)) if name == "minilm" else model.requires_grad_(False)
    return {
        "plain": partial(gradient, model, tokenizer, found),
        "by length": partial(by_length, model, tokenizer, found),
        "mode": partial(watched, partial(gradient, model, tokenizer, found)),
        "no ledger": partial(explain, model, found, processor=tokenizer, options=Options(ledger=False)),
        "explain": partial(explain, model, found, processor=tokenizer),
    }


def minilm(vocabulary: int) -> Any:
    """A random classifier of MiniLM's shape: BERT, 6 layers, width 384, frozen weights, float32, sdpa."""
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(vocab_size=vocabulary, hidden_size=384, intermediate_size=1536, num_hidden_layers=6, num_attention_heads=12)
    return BertForSequenceClassification(config).eval().requires_grad_(False)


def gradient(model: Any, tokenizer: Any, found: Sequence[str]) -> Tensor:
    """The highest logit of each text, walked back to its token vectors by autograd alone."""
    return walked(model, tokenizer(list(found), return_tensors="pt", padding=True))


def by_length(model: Any, tokenizer: Any, found: Sequence[str]) -> list[Tensor]:
    """The same, but that the texts are sorted and cut into batches as `explain` cuts them."""
    rows = sorted(tokenizer(list(found))["input_ids"], key=len)
    cuts = cut([len(row) for row in rows], TOKENS, beginning(model))
    return [walked(model, tokenizer.pad({"input_ids": rows[a:b]}, return_tensors="pt")) for a, b in cuts]


def walked(model: Any, x: Mapping[str, Tensor]) -> Tensor:
    """Forward and backward through one batch."""
    leaves: list[Tensor] = []

    def leaf(module: Any, args: tuple, out: Tensor) -> Tensor:
        leaves.append(out.detach().requires_grad_())
        return leaves[0]

    hook = model.get_input_embeddings().register_forward_hook(leaf)
    try:
        logits = model(input_ids=x["input_ids"], attention_mask=x["attention_mask"], **quiet(model)).logits
    finally:
        hook.remove()
    return torch.autograd.grad(logits.amax(-1).sum(), leaves)[0]


class Nothing(TorchFunctionMode):
    """Hands every call on: what a mode costs whatever it does."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return func(*args, **(kwargs or {}))


def watched(run: Callable[[], Any]) -> Any:
    """A run under the empty mode."""
    with Nothing():
        return run()


def timed(runs: Runs, rounds: int) -> dict[str, list[float]]:
    """Seconds of this process's processor time, round after round, each arm in every round; two first rounds do not count."""
    from tqdm.auto import tqdm

    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for count in tqdm(range(rounds + 2), desc="rounds", file=sys.stderr):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if count > 1:
                seconds[name].append(time.process_time() - start)
    return seconds


def spread(seconds: Mapping[str, Sequence[float]], name: str) -> tuple[float, float, float]:
    """The ratio of smallest times to the plain arm's, and the lower and upper quartile of the rounds' own ratios."""
    own = sorted(one / plain for one, plain in zip(seconds[name], seconds["plain"], strict=True))
    low, _, high = statistics.quantiles(own, n=4) if len(own) > 1 else (own[0],) * 3
    return min(seconds[name]) / min(seconds["plain"]), low, high


def report(seconds: Mapping[str, Sequence[float]], calls: Mapping[str, float], given: argparse.Namespace) -> None:
    """Ratios, their spread, and the Python calls of the package for each text."""
    found = {name: spread(seconds, name) for name in ARMS}
    where = f"{platform.machine()}, 1 thread, torch {torch.__version__}"
    if given.json:
        ratios = {name: dict(zip(("ratio", "low", "high"), one, strict=True)) for name, one in found.items()}
        print(json.dumps({"model": given.model, "count": given.count, "time": ratios, "calls a text": calls, "machine": where}))
        return
    print(f"{given.count} held-out reviews in one call, {given.model}, float32; {where}; {given.rounds} rounds")
    print(f"{'arm':<11}{'ratio':>7}{'quartiles':>15}{'calls a text':>14}{'wanted':>8}   what")
    for name, (ratio, low, high) in found.items():
        wanted = GOALS.get(given.model, {}).get(name, "")
        entries = f"{calls[name]:,.0f}" if name in calls else ""
        print(f"{name:<11}{ratio:>7.3f}{f'{low:.2f} - {high:.2f}':>15}{entries:>14}{wanted:>8}   {ARMS[name]}")
