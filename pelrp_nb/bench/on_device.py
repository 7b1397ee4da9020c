"""What must hold on a device other than the CPU, each as a check that says what it found: `bench gpu` runs all of them.

None of them is about speed, but for what the monitor adds to a model's own time.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from .. import zoo
from ..atlas.weights import randomise
from ..composites import PA_LRP, Composite
from ..engine.backward import loss_scaling
from ..engine.options import Options
from ..engine.propagation import propagate
from ..engine.trace import Trace
from ..explain import explain, explain_one
from ..live import broken
from ..live.monitoring import Monitor

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
REVIEWS = ("a gorgeous , witty film", "dull", "not bad , not good , and far too long for what it has to say")
SAME = 1e-4  # of the ledger's scale: two devices sum in another order
ADDS = 0.1  # seconds that the monitor may add to a model's own time
WAITS = ("aten::_local_scalar_dense", "cudaStreamSynchronize", "cudaEventSynchronize", "Memcpy DtoH")


@dataclass(frozen=True)
class Outcome:
    """Whether a check holds, None where it cannot be asked or is only measured; and what was found."""

    holds: bool | None
    told: str


def name_of(dtype: torch.dtype) -> str:
    """As one says it: "bfloat16"."""
    return str(dtype).removeprefix("torch.")


def decoder(device: str, dtype: torch.dtype = torch.float32, attention: str = "sdpa", layers: int = 4) -> tuple[nn.Module, Tensor]:
    """A random Llama of width 256 on the device, and ids for it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=512, hidden_size=256, num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=512, max_position_embeddings=256,
    )  # fmt: skip
    model: Any = randomise(LlamaForCausalLM(config)).requires_grad_(False)
    model.set_attn_implementation(attention)
    ids = torch.randint(5, 512, (1, 48), generator=torch.Generator().manual_seed(1))
    return model.to(device, dtype), ids.to(device)


def walked(model: Any, ids: Tensor, composite: Composite = PA_LRP, **options: Any) -> tuple[Tensor, Trace]:
    """The logits under the rules, and what came back from the highest of the last place."""
    with propagate(model, composite, Options(**options)) as flow:
        logits = model(input_ids=ids, use_cache=False).logits
        return logits.detach(), flow.trace(logits[0, -1, int(logits.detach()[0, -1].argmax())])


def apart(ours: Trace, theirs: Trace) -> float:
    """The largest difference between tokens or positions, as a part of the scale."""
    pairs = ((ours.tokens, theirs.tokens), (ours.positional, theirs.positional))
    return max(float((a.cpu() - b.cpu()).abs().max()) for a, b in pairs) / theirs.ledger.scale


# --- the checks ------------------------------------------------------------------------------------------------------


def forward(device: str) -> Outcome:
    """The forward pass is the model's own, to the bit."""
    moved = []
    for dtype in DTYPES:
        for attention in ("sdpa", "eager"):
            model, ids = decoder(device, dtype, attention)
            with torch.no_grad():
                plain = model(input_ids=ids, use_cache=False).logits
            logits, _ = walked(model, ids)
            if not torch.equal(plain, logits):
                moved.append(f"{name_of(dtype)} {attention} by {float((plain - logits).abs().max()):.1e}")
    return Outcome(not moved, f"moved: {', '.join(moved)}" if moved else "equal to the bit in float32, bfloat16, float16, sdpa and eager")


def ledgers(device: str) -> Outcome:
    """The ledger closes in each precision, and mistakes never close it."""
    told, holds = [], True
    for dtype in DTYPES:
        model, ids = decoder(device, dtype)
        right = walked(model, ids, audit=True)[1].ledger
        wrong = [walked(model, ids, b, audit=True)[1].ledger.state for b in (broken.PLAIN_NORMS, broken.WEIGHTS_AS_FACTORS)]
        holds = holds and right.closed and "closed" not in wrong
        told.append(f"{name_of(dtype)} {right.verdict}, mistakes {' and '.join(wrong)}")
    return Outcome(holds, "; ".join(told))


def widened(device: str) -> Outcome:
    """A walk in float32 over a half model is that of the float32 model."""
    model, ids = decoder(device, torch.bfloat16)
    ours, full = walked(model, ids, audit=True, precision="float32")[1], walked(deepcopy(model).float(), ids, audit=True)[1]
    far = apart(ours, full)
    return Outcome(far <= SAME and ours.ledger.state == full.ledger.state, f"{ours.ledger.verdict}, {far:.0e} of the scale apart")


def numbers(device: str) -> Outcome:
    """The numbers are those of the CPU: a random Llama in float32, and trained models of the zoo."""
    far = {"random Llama": apart(walked(*decoder(device))[1], walked(*decoder("cpu"))[1])}
    for name in ("reviews-rotary", "reviews-learnable"):
        model, processor = zoo.load(name)
        theirs = explain_one(model, REVIEWS[0], processor=processor)
        ours = explain_one(deepcopy(model).to(device), REVIEWS[0], processor=processor)
        far[name] = float((ours.relevance().cpu() - theirs.relevance()).abs().max()) / theirs.ledger.scale
    told = ", ".join(f"{name} {part:.0e}" for name, part in far.items())
    return Outcome(all(part <= SAME for part in far.values()), f"apart from the CPU's, of the scale: {told}")


def kernels(device: str) -> Outcome:
    """Each kernel of fused attention explains or is refused; what is refused says so."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    told, holds = [], True
    for backend in (SDPBackend.MATH, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION):
        model, ids = decoder(device, torch.bfloat16)
        with warnings.catch_warnings(), sdpa_kernel([backend]):
            warnings.simplefilter("ignore")  # torch says why a kernel is not for these arguments
            try:
                ledger = walked(model, ids, audit=True)[1].ledger
            except RuntimeError as error:
                told.append(f"{backend.name.lower()} refused ({str(error).splitlines()[0][:60]})")
                continue
        holds = holds and ledger.closed
        told.append(f"{backend.name.lower()} {ledger.verdict}")
    return Outcome(holds, "; ".join(told))


def rows(device: str) -> Outcome:
    """Rows of a padded batch are explained as if alone."""
    model, processor = zoo.load("reviews-rotary")
    model = deepcopy(model).to(device)
    together: Any = explain(model, list(REVIEWS), processor=processor)
    alone = [explain_one(model, text, processor=processor) for text in REVIEWS]
    far = max(float((a.relevance() - b.relevance()).abs().max()) / b.ledger.scale for a, b in zip(together, alone, strict=True))
    return Outcome(far <= SAME and all(e.ledger.closed for e in together), f"{len(alone)} texts, {far:.0e} of the scale apart")


def checkpointing(device: str) -> Outcome:
    """Layers that run again give the same relevance."""
    model, ids = decoder(device)
    far = apart(walked(model, ids, checkpoint=True)[1], walked(model, ids)[1])
    return Outcome(far <= SAME, f"{far:.0e} of the scale apart")


def waits(device: str) -> Outcome:
    """Nothing on the way back waits for the device, as a profiler counts it."""
    found: dict[str, int] = {}
    model, ids = decoder(device, torch.bfloat16)
    walk = loss_scaling.gradients
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if device.startswith("cuda") else []

    def watched(*given: Any) -> Any:
        with torch.profiler.profile(activities=kinds) as seen:
            out = walk(*given)
        for event in seen.key_averages():
            if event.key.startswith(WAITS):
                found[event.key] = found.get(event.key, 0) + event.count
        return out

    walked(model, ids)
    with patch.object(loss_scaling, "gradients", watched):
        walked(model, ids)
    told = ", ".join(f"{count} times {name}" for name, count in found.items())
    return Outcome(not found, told or "no synchronisation inside the walk")


def monitor(device: str) -> Outcome:
    """From pressing run to the data of the stepper: little more than the explanation itself."""
    model, processor = zoo.load("reviews-rotary")
    model = deepcopy(model).to(device)
    view = Monitor(model, processor, text=REVIEWS[0])
    own, whole = [], []
    for _ in range(5):
        start = time.perf_counter()
        explain_one(model, REVIEWS[0], processor=processor)
        middle = time.perf_counter()
        view.run()
        view.ask_walk({})
        own.append(middle - start)
        whole.append(time.perf_counter() - middle)
    added = statistics.median(whole) - statistics.median(own)
    closed = view.result is not None and view.result.ledger.closed
    return Outcome(closed if device == "cpu" else closed and added < ADDS, f"{1000 * added:.0f} ms beyond the explanation's own time")


CHECKS: dict[str, Callable[[str], Outcome]] = {
    "forward": forward, "ledger": ledgers, "widened": widened, "numbers": numbers, "kernels": kernels, "batch": rows,
    "checkpoint": checkpointing, "waits": waits, "monitor": monitor,
}  # fmt: skip


def checked(name: str, device: str) -> Outcome:
    """One check; an error is told as what it is."""
    try:
        return CHECKS[name](device)
    except Exception as error:  # one that breaks must not hide what the others say
        return Outcome(False, f"{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ''}")
