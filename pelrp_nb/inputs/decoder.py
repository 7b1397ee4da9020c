"""What the decoder of an encoder-decoder has read: its start token, and the text that it has written so far."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.streams import Streams
from ..engine.support import device_of
from ..errors import InputError
from .model_input import Labels
from .text import needed, of_ids

ABSENT = -100  # how labels say that a place does not count


def has_decoder(model: nn.Module) -> bool:
    """Whether the model has an encoder and a decoder, and takes what the decoder reads."""
    return "decoder" in Streams(model).names and "decoder_input_ids" in inspect.signature(model.forward).parameters


def writes(model: nn.Module) -> bool:
    """Whether the decoder writes text, rather than reading the input a second time to classify it."""
    return has_decoder(model) and bool(getattr(model, "can_generate", bool)())


def start_of(model: nn.Module) -> int:
    """The id that the decoder begins with."""
    for config in (getattr(model, "generation_config", None), model.config, getattr(model.config, "decoder", None)):
        for name in ("decoder_start_token_id", "bos_token_id"):
            found = getattr(config, name, None)
            if isinstance(found, int):
                return found
    raise InputError(
        f"{type(model).__name__} does not say what its decoder begins with (config.decoder_start_token_id). "
        "Pass decoder_input_ids in a mapping."
    )


def add_decoder(
    model: nn.Module, tensors: dict[str, Tensor], processor: Any, written: str | None = None, labels: Tensor | None = None
) -> tuple[dict[str, Tensor], Labels | None]:
    """The tensors with `decoder_input_ids`, and what those are called.

    `written` is the text that the decoder has written so far; `labels` (1, T) are ids that it is to write, read one place later.
    """
    if not has_decoder(model):
        return tensors, None
    device = device_of(model)
    if "decoder_input_ids" in tensors or "decoder_inputs_embeds" in tensors:
        ids = tensors.get("decoder_input_ids")
        return tensors, None if ids is None else of_ids(ids[0].tolist(), processor)
    start = torch.tensor([[start_of(model)]])
    if written is not None:
        tokenizer = needed(model, processor)
        rest = tokenizer(text_target=written, return_tensors="pt")["input_ids"]
        ends = rest.shape[1] and int(rest[0, -1]) == tokenizer.eos_token_id
        ids = torch.cat([start, rest[:, :-1] if ends else rest], 1)
    elif labels is not None:
        ids = torch.cat([start.to(labels), labels[:, :-1]], 1)
        ids = ids.masked_fill(ids == ABSENT, start_of(model))
    elif writes(model) or "input_ids" not in tensors:
        ids = start
    else:
        ids = torch.cat([start.to(tensors["input_ids"]), tensors["input_ids"][:, :-1]], 1)
    return {**tensors, "decoder_input_ids": ids.to(device)}, of_ids(ids[0].tolist(), processor)
