"""One arm of `bench peers`, a process of its own: some patch transformers for the rest of their process, and want another version of it.

    python pelrp_nb/bench/peer.py lxt --layers 12 --width 768 --tokens 512 --runs 3

prints one line of JSON: the smallest of some processor times, the relevance of each token, the versions.  Only torch and
transformers are needed, and what the arm measures.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Run = Callable[[], Tensor]  # the relevance of each token, (T,)
TOKEN = 7  # whose logit at the last place is explained


def subject(layers: int, width: int) -> PreTrainedModel:
    """A random Llama: 12 heads, 4 key/value heads, vocabulary 32,000, frozen weights, sdpa, float32."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=12, num_key_value_heads=4, vocab_size=32_000,
        intermediate_size=width * 8 // 3 // 64 * 64, max_position_embeddings=2048,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    model.set_attn_implementation("sdpa")
    return model


def logit(model: PreTrainedModel, vectors: Any) -> Any:
    """The explained number."""
    return model(inputs_embeds=vectors, use_cache=False, logits_to_keep=1).logits[0, -1, TOKEN]


def plain(model: PreTrainedModel, vectors: Tensor) -> Run:
    """Input times gradient: a forward and a backward pass."""

    def run() -> Tensor:
        x = vectors.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(logit(model, x), x)
        return (x * gradient).sum(-1)[0].detach()

    return run


def ours(model: PreTrainedModel, vectors: Tensor, ledger: bool = False) -> Run:
    """AttnLRP by this package's engine."""
    from pelrp_nb.composites import ATTN_LRP
    from pelrp_nb.engine.options import Options
    from pelrp_nb.engine.propagation import propagate

    def run() -> Tensor:
        with propagate(model, ATTN_LRP, Options(ledger=ledger)) as flow:
            return flow.trace(logit(model, vectors)).semantic

    return run


def booked(model: PreTrainedModel, vectors: Tensor) -> Run:
    """The same with boundaries and the ledger."""
    return ours(model, vectors, ledger=True)


def lxt(model: PreTrainedModel, vectors: Tensor) -> Run:
    """AttnLRP by lxt, which patches the classes of Llama."""
    from lxt.efficient import monkey_patch
    from transformers.models.llama import modeling_llama

    monkey_patch(modeling_llama)
    return plain(model, vectors)


def autolrp(model: PreTrainedModel, vectors: Tensor) -> Run:
    """AttnLRP as autoLRP has it, which wraps the input; its relevance adds up to a part of one."""
    import autolrp as it

    def run() -> Tensor:
        x = it.tensor(vectors)
        value = logit(model, x)
        value.lrp(config=it.LRPConfig(rule={**it.BASE, **it.ATTNLRP}))
        return (x.relevance.sum(-1)[0] * float(value)).detach()

    return run


def captum(model: PreTrainedModel, vectors: Tensor) -> Run:
    """Integrated gradients by captum in 20 steps from zero: it has no LRP for transformers."""
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(lambda x: logit(model, x).reshape(1))
    return lambda: method.attribute(vectors, n_steps=20, internal_batch_size=1).sum(-1)[0].detach()


ARMS = {"plain": plain, "pelrp_nb": ours, "pelrp_nb, ledger": booked, "lxt": lxt, "autolrp": autolrp, "captum": captum}


def main() -> None:
    """Measure one arm; one that is not installed says what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arm", choices=list(ARMS))
    for name in ("layers", "width", "tokens", "runs"):
        parser.add_argument(f"--{name}", type=int, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = subject(given.layers, given.width)
    ids = torch.randint(0, 32_000, (1, given.tokens), generator=torch.Generator().manual_seed(1))
    try:
        run = ARMS[given.arm](model, model.get_input_embeddings()(ids).detach())
    except ImportError as error:
        print(json.dumps({"missing": str(error)}))
        return
    relevance, best = run().tolist(), float("inf")
    for _ in range(given.runs):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    found = {name: metadata.version(name) for name in ("torch", "transformers", given.arm) if installed(name)}
    print(json.dumps({"seconds": best, "relevance": relevance, "versions": found}))


def installed(name: str) -> bool:
    """Whether a package is there."""
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


if __name__ == "__main__":
    main()
