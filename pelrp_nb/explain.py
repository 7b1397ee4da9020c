"""explain(model, inputs) -> Explanation: one forward pass, one backward pass, every unit of the logit accounted for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn

from .calls import fitting
from .composites import Composite, as_composite
from .engine.leaving import Leaving
from .engine.support import inspect
from .engine.propagation import Propagation, propagate
from .engine.options import Options, as_options
from .engine.trace import Trace
from .engine.trace import Visible
from .errors import CallError, InputError, PelrpError
from .inputs.encode import encode_all, quiet
from .inputs.padding import Padding, fill_of, grouped, harmless, of_row, padded
from .results.build import Told, common, explanation
from .results.explanation import Explanation
from .results.explanations import Explanations
from .targets.resolve import Asked, answer, ask

__all__ = ["Options", "explain"]

ROUNDS = {"float64": 1e-7, "float32": 1e-5}  # the part of a ledger's scale that rounding takes at most
MEANT = {  # keywords that people try -> what to type
    **dict.fromkeys(("method", "methods", "rule", "rules", "lrp"), "composite={}"),
    **{name: f"processor={name}" for name in ("tokenizer", "image_processor", "feature_extractor", "preprocessor")},
    **dict.fromkeys(("label", "labels", "token", "target_class", "class_index", "output"), "target={}"),
    **dict.fromkeys(("foil", "versus", "against", "baseline"), "contrast={}"),
    **dict.fromkeys(("text", "texts", "prompt", "image", "images", "audio", "input"), "explain(model, {}) with it in the second place"),
    **dict.fromkeys(
        ("input_ids", "attention_mask", "pixel_values", "inputs_embeds"),
        'explain(model, {{"input_ids": ...}}) with all of them in one mapping',
    ),
    **{one.name: f"options=pelrp_nb.Options({one.name}={{}})" for one in fields(Options)},
    "device": "explain(model.to({}), inputs): it runs where the model is",
    "batch_size": "it without: inputs are batched by their lengths",
}


@fitting(MEANT)
def explain(
    model: nn.Module,
    inputs: Any,
    *,
    processor: Any = None,
    target: Any = None,
    contrast: Any = None,
    composite: Composite | str = "pa-lrp",
    options: Options | None = None,
) -> Explanation | Explanations:
    """Which tokens, positions and layers carry the model's answer.

        explain(model, "a gorgeous , witty film", processor=tokenizer, target="positive")

    Args:
        model: a transformers model (any torch model that returns logits) in eval mode, a pipeline, or a SentenceTransformer.
        inputs: a text; a pair of texts (a tuple); a conversation (messages with role and content); a picture (PIL, path or array);
            sound (samples); a mapping for the processor (text, text_pair, images, audio, labels) or of tensors.  A list of them, or
            tensors with several rows, is explained in padded batches: each row as if it were alone.
        processor: the model's tokenizer, image processor or processor.
        target: what to explain; None is the highest logit. See `pelrp_nb.target`.
        contrast: like `target`; the difference target - contrast is explained.
        composite: which rule for which operation: "pa-lrp", "attn-lrp", "cp-lrp" ..., or a Composite.
        options: detail, audit, watch. See `Options`.

    Returns:
        An Explanation; for several inputs Explanations, a list in their order; for `target.every`, `generated` and `read` such a
        list per input.

    Raises:
        InputError, TargetError: the input or target does not fit the model. ModelError: the model hides its operations.
        RuleError: an operation has no rule. The model is left as it was, whatever happens.

    Source: Bakish et al. 2025 (arXiv 2506.02138), Achtibat et al. 2024 (arXiv 2402.05602).
    """
    composite, options = as_composite(composite), as_options(options)
    model, processor = of_pipeline(model, processor)
    if isinstance(inputs, nn.Module):
        raise CallError(f"The model comes first, and {type(inputs).__name__} came second. Type explain(model, inputs).")
    with Leaving(), ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        inspect(model)
        rows, several = encode_all(model, inputs, processor)
        asked = ask(model, rows, target, contrast, several, processor)
        found = Run(model, processor, composite, options).all(asked)
    answers = Explanations(Explanations(a) if one.several else a[0] for a, one in zip(found, asked, strict=True))
    return answers if several else answers[0]


def explain_one(model: nn.Module, inputs: Any, **given: Any) -> Explanation:
    """`explain` for one input and one target, which give one explanation. Raises InputError where there are several."""
    found = explain(model, inputs, **given)
    if not isinstance(found, Explanation):
        raise InputError(f"There must be one input and one target here, but they give {len(found)} explanations. Type explain(model, ...).")
    return found


def of_pipeline(model: Any, processor: Any) -> tuple[Any, Any]:
    """The model and processor of a transformers pipeline or a SentenceTransformer; anything else as it is."""
    if isinstance(model, nn.Sequential) and hasattr(model[0], "auto_model") and hasattr(model, "tokenizer"):
        return model[0].auto_model, model.tokenizer if processor is None else processor
    if isinstance(model, nn.Module) or not (hasattr(model, "model") and hasattr(model, "preprocess")):
        return model, processor
    parts = ("processor", "tokenizer", "image_processor", "feature_extractor")
    held = next((p for name in parts if (p := getattr(model, name, None)) is not None), None)
    return model.model, held if processor is None else processor


@dataclass(frozen=True)
class Run:
    """One call of `explain`: batch after batch."""

    model: nn.Module
    processor: Any
    composite: Composite
    options: Options

    def all(self, asked: Sequence[Asked]) -> list[list[Explanation]]:
        """The answers to every input, in order; inputs of similar length share a batch where padding is harmless."""
        from tqdm.auto import tqdm

        rows = [a.row for a in asked]
        padding = Padding("right", False, fill_of(self.model, self.processor))
        batches = grouped(rows, True)
        if max(map(len, batches)) > 1:
            way = harmless(self.model, rows, batches, self.processor)
            padding, batches = (way, batches) if way is not None else (padding, grouped(rows, False))
        found: list[list[Explanation]] = [[] for _ in rows]
        for batch in tqdm(batches, desc="explain", unit="batch", leave=False, disable=len(batches) < 2):
            for i, answers in zip(batch, self.batch([asked[i] for i in batch], padding), strict=True):
                found[i] = answers
        return found

    def batch(self, asked: Sequence[Asked], padding: Padding) -> list[list[Explanation]]:
        """The answers to the inputs of one batch; one by one where the model or the books cannot keep its rows apart."""
        try:
            return self.together(asked, padding)
        except PelrpError:
            raise
        except Together:
            pass
        except (ValueError, RuntimeError, IndexError, NotImplementedError):
            if len(asked) == 1:
                raise
        return [self.together([one], padding)[0] for one in asked]

    def together(self, asked: Sequence[Asked], padding: Padding) -> list[list[Explanation]]:
        """One forward pass; one backward pass for the first questions of all rows, one for the second ones, and so on."""
        B = len(asked)
        batch = padded(self.model, [a.row for a in asked], padding)
        found: list[list[Explanation]] = [[] for _ in asked]
        with propagate(self.model, self.composite, self.options) as flow:
            output = self.model(**batch.tensors, **quiet(self.model))
            picked = all(q.picks for one in asked for q in one.questions)
            with torch._C.DisableTorchFunction() if picked else nullcontext():  # what a function of the user's does has rules
                rows = (of_row(output, i, B, visible) for i, visible in enumerate(batch.visible))
                chosen = [[answer(q, own, self.model, self.processor, spoken(one)) for q in one.questions]
                          for one, own in zip(asked, rows, strict=True)]  # fmt: skip
            about, last = common(flow), max(map(len, chosen))
            for k in range(last):
                here = [c[k] if k < len(c) else None for c in chosen]
                cuts = [seen(a, k, v) for a, v in zip(asked, batch.visible, strict=True)]
                traces = flow.traces([h and h[0] for h in here], keep=k + 1 < last, visible=cuts)
                if B > 1 and mixed(flow, traces):
                    raise Together
                with torch._C.DisableTorchFunction():  # arithmetic on results is none of the model's: nothing is noted on them
                    for one, trace, h, answers in zip(asked, traces, here, found, strict=True):
                        if trace is not None and h is not None:
                            told = Told(one.row, one.questions[k].upto, h[1], float(h[0].detach()))
                            answers.append(explanation(flow, told, trace, about))
        return found


class Together(Exception):
    """A batch whose rows the books cannot keep apart."""


def mixed(flow: Propagation, traces: Sequence[Trace | None]) -> bool:
    """Whether amounts may be in the wrong row's books: they came in another order (experts), and a gap is more than rounding."""
    ledgers = [t.ledger for t in traces if t is not None]
    return flow.account.mixed and any(not abs(x.gap) <= max(ROUNDS.get(x.precision, 0.0) * x.scale, x.rounding) for x in ledgers)


def spoken(asked: Asked) -> tuple[str, ...]:
    """The tokens that logits belong to: the decoder's where there is one."""
    labels = asked.row.labels.get("decoder") or next(iter(asked.row.labels.values()), None)
    return labels.tokens if labels is not None else ()


def seen(asked: Asked, k: int, visible: Any) -> dict[str, Visible]:
    """The places that the answer to question k covers, by stream: no padding, and nothing after what its place could see."""
    found = dict(visible)
    upto = asked.questions[k].upto if k < len(asked.questions) else None
    if upto is not None:
        stream, T = upto
        name = "decoder_input_ids" if stream == "decoder" else asked.row.main
        place = found.get(stream) or Visible(n := asked.row.tensors[name].shape[1], torch.arange(n))
        found[stream] = Visible(place.length, place.at[:T])
    return found
