"""explain(model, inputs) -> Explanation: one forward pass, one backward pass, every unit of the logit accounted for."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import target as targets
from .composites import PA_LRP, Composite, title
from .engine import images
from .engine.encode import Encoded, encode, quiet
from .engine.inspection import inspect
from .engine.propagation import Flow, Options, propagate
from .engine.trace import Trace
from .errors import InputError, TargetError
from .explanation import Explanation

__all__ = ["Options", "explain"]


def explain(
    model: nn.Module,
    inputs: Any,
    *,
    processor: Any = None,
    target: Any = None,
    contrast: Any = None,
    composite: Composite = PA_LRP,
    options: Options | None = None,
) -> Explanation | list[Explanation]:
    """Which tokens, positions and layers carry the model's answer.

    Args:
        model: a transformers model (any torch model that returns logits), in eval mode.
        inputs: a text, several texts, or a mapping of tensors (a batch of one).
        processor: the model's tokenizer.
        target: what to explain; None is the highest logit. See `pelrp_nb.target`.
        contrast: like `target`; the difference target - contrast is explained.
        composite: which rule for which operation: PA_LRP, ATTN_LRP, CP_LRP or a `replace` of one.
        options: detail, audit, watch. See `Options`.

    Returns:
        An Explanation; a list of them for several inputs or for `target.every`.

    Raises:
        InputError, TargetError: the input or target does not fit the model. ModelError: the model hides its operations.
        RuleError: an operation has no rule. The model is left as it was, whatever happens.

    Source: Bakish et al. 2025 (arXiv 2506.02138), Achtibat et al. 2024 (arXiv 2402.05602).
    """
    options = options or Options()
    if isinstance(inputs, Sequence) and not isinstance(inputs, str):
        return _several(model, inputs, processor, target, contrast, composite, options)
    if isinstance(target, targets.Each) or isinstance(contrast, targets.Each):
        raise TargetError("target.each gives one target per input, but there is one input. Type target=... itself.")
    wanted = target.targets if isinstance(target, targets.Every) else (target,)
    foils = contrast.targets if isinstance(contrast, targets.Every) else (contrast,) * len(wanted)
    if len(foils) != len(wanted):
        raise TargetError(f"There must be as many contrasts as targets; got {len(foils)} for {len(wanted)}.")
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        inspect(model)
        encoded = encode(model, inputs, processor)
        found = _run(model, encoded, processor, wanted, foils, composite, options)
    return found if isinstance(target, targets.Every) else found[0]


def _several(
    model: nn.Module, inputs: Sequence, processor: Any, target: Any, contrast: Any, composite: Composite, options: Options
) -> list[Explanation]:
    """One explanation per input, in order."""
    if not inputs:
        raise InputError("There is no input in the list. Type at least one text.")

    def one_each(x: Any, what: str) -> Sequence:
        if not isinstance(x, targets.Each):
            return [x] * len(inputs)
        if len(x.targets) != len(inputs):
            raise TargetError(f"{what}: there must be one per input; got {len(x.targets)} for {len(inputs)} inputs.")
        return x.targets

    rows = zip(inputs, one_each(target, "target.each"), one_each(contrast, "contrast"), strict=True)
    found: list[Explanation] = []
    for x, t, c in rows:
        result = explain(model, x, processor=processor, target=t, contrast=c, composite=composite, options=options)
        found += result if isinstance(result, list) else [result]
    return found


def _run(
    model: nn.Module, encoded: Encoded, processor: Any, wanted: Sequence, foils: Sequence, composite: Composite, options: Options
) -> list[Explanation]:
    with propagate(model, composite, options) as flow:
        output = model(**encoded.tensors, **quiet(model))
        chosen = [_difference(t, c, output, model, processor, encoded.length) for t, c in zip(wanted, foils, strict=True)]
        found = []
        for i, (value, text) in enumerate(chosen):
            trace = flow.trace(value, keep=i + 1 < len(chosen))
            card = _card(model, encoded, text, composite, options)
            found.append(_explanation(flow, encoded, trace, text, float(value.detach()), card))
    return found


def _difference(t: Any, c: Any, output: Any, model: nn.Module, processor: Any, length: int | None) -> tuple[Tensor, str]:
    """The scalar and its name; with a contrast, the difference of two."""
    first = targets.choose(t, output, model, processor, length)
    if c is None:
        return first.value, first.text
    second = targets.choose(c, output, model, processor, length)
    if second.text == first.text and not callable(t):
        raise TargetError(f"Target and contrast are the same, {first.text}; their difference is zero. Type another contrast.")
    return first.value - second.value, f"{first.text} rather than {second.text}"


def _card(model: nn.Module, encoded: Encoded, text: str, composite: Composite, options: Options) -> dict[str, Any]:
    """All that is needed to run it again."""
    import transformers

    parameter = next(model.parameters())
    config = getattr(model, "config", None)
    return {
        "model": Path(getattr(config, "_name_or_path", "")).name or type(model).__name__,
        "class": type(model).__name__,
        "text": encoded.text,
        "target": text,
        "method": title(composite),
        "composite": repr(composite),
        "audit": options.audit,
        "detail": sorted(options.detail),
        "attention": getattr(config, "_attn_implementation", None),
        "dtype": str(parameter.dtype).removeprefix("torch."),
        "device": parameter.device.type,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__},
    }


def _explanation(flow: Flow, encoded: Encoded, trace: Trace, text: str, value: float, card: dict[str, Any]) -> Explanation:
    """The trace with its tokens."""
    semantic, reductions, more = trace.semantic, dict(trace.reductions), {"positional": trace.positional}
    tokens, special = encoded.tokens, encoded.special
    if trace.tokens.dim() == 3:
        semantic, reductions, tokens, special, more = images.by_patch(flow, trace)
    elif not tokens:
        tokens, special = tuple(str(i) for i in range(len(semantic))), (False,) * len(semantic)
    return Explanation(
        tokens=tokens, target=text, value=value, semantic=semantic,
        sinks=tuple(s.name for s in trace.sinks), sink_kinds=tuple(s.kind for s in trace.sinks),
        boundaries=trace.boundaries, ledger=trace.ledger, card=card, reductions=reductions, offsets=encoded.offsets,
        text=encoded.text, special=special, word_ids=encoded.words, detail=dict(trace.detail), **more,
    )  # fmt: skip
