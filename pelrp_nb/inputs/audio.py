"""Sound through a feature extractor; frames named by their number, seconds as their place."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn

from ..errors import InputError
from .arguments import processed, refuse_unheard
from .convert import in_numpy, is_array, like_weights
from .model_input import Labels
from .text import accepted, tokenizer_of

NAMES = ("input_features", "input_values")


def extractor_of(processor: Any) -> Any:
    """The feature extractor that a processor is or holds; None without one."""
    inner = getattr(processor, "feature_extractor", None)
    if inner is not None:
        return inner
    names = getattr(processor, "model_input_names", ())
    return processor if set(NAMES) & set(names) and tokenizer_of(processor) is None else None


def is_sound(x: Any) -> bool:
    """Whether x is a row of samples."""
    return is_array(x) and x.ndim == 1


def from_sound(model: nn.Module, samples: Any, processor: Any, rate: int | None) -> tuple[dict[str, Tensor], float | None]:
    """Tensors of one recording, and how many seconds they hold; without a rate, the one that the extractor expects."""
    refuse_unheard(model, "Sound, or an array of one axis,", NAMES)
    worker = extractor_of(processor)
    if worker is None:
        raise InputError(
            f"Sound needs the feature extractor that {type(model).__name__} was trained with. "
            "Type processor=AutoProcessor.from_pretrained(name), or pass dict(input_features=...)."
        )
    expected = getattr(worker, "sampling_rate", None)
    if rate is not None and expected is not None and rate != expected:
        raise InputError(f"The model hears {expected} samples a second, got {rate}. Resample the recording first.")
    if isinstance(samples, Tensor):
        samples = in_numpy(samples)
    takes_rate = "sampling_rate" in inspect.signature(type(worker).__call__).parameters
    made = processed(worker, "this recording", samples, return_tensors="pt", **({"sampling_rate": expected} if takes_rate else {}))
    tensors = accepted(model, {k: v for k, v in made.items() if k in NAMES})
    tensors = {k: like_weights(model, v) for k, v in tensors.items()}
    step = getattr(worker, "hop_length", 1) if "input_features" in tensors else 1
    return tensors, next(iter(tensors.values())).shape[-1] * step / expected if expected else None


def frames(T: int, seconds: float | None = None) -> Labels:
    """Names of T frames; `text` says how long one is, if it is known how many seconds all of them last."""
    tokens = tuple(f"frame {i}" for i in range(T))
    return Labels(tokens, (False,) * T, None if seconds is None else f"{T} frames of {seconds / T:g} seconds")
