"""explain(model, inputs) -> Explanation: one forward pass, one backward pass, every unit of the logit accounted for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields, replace
from typing import Any

import torch
from torch import nn

from .batches import Run
from .calls import fitting
from .composites import Composite, as_composite
from .engine.leaving import Leaving
from .engine.support import inspect
from .engine.options import Options, as_options
from .errors import CallError, InputError
from .inputs.encode import encode_all
from .inputs.rows import Errors, Skipped
from .results.explanation import Explanation
from .results.explanations import Explanations

__all__ = ["Options", "Skipped", "explain"]

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
            sound (samples); a mapping for the processor (text, text_pair, images, audio, labels), or of all that `forward` takes:
            tensors, arrays, lists, numbers, flags; a tensor or array for a module of one input.  A list or column of them, or
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

    def read() -> tuple[list[Any], Errors]:
        rows, several = encode_all(model, inputs, processor, options.truncation, Errors(False, options.on_error))
        return rows, Errors(several, options.on_error)

    answers, several = answered(Run(model, processor, composite, options), read, target, contrast)
    return answers if several else answers[0]


def answered(
    run: Run, read: Callable[[], tuple[list[Any], Errors]], target: Any, contrast: Any, done: Callable[[int], Any] | None = None
) -> tuple[Explanations, bool]:
    """The answers to every input that `read` gives, in order, and whether there may be several; `done` as in `Run.all`.

    The model is left as it was, whatever happens.
    """
    with Leaving(), ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        inspect(run.model)
        rows, errors = read()
        run = replace(run, errors=errors)
        asked = run.ask(rows, target, contrast, errors.several)
        found = run.all(asked, done)
    pairs = zip(found, asked, strict=True)
    answers = Explanations(a if isinstance(a, Skipped) else Explanations(a) if one.several else a[0] for a, one in pairs)
    return answers, errors.several


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
