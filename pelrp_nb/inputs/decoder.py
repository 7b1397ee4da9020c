"""What the decoder of an encoder-decoder has read: its start token, and the text that it has written so far."""

from __future__ import annotations

from collections.abc import Mapping
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.signature import parameters_of
from ..engine.support import device_of
from ..errors import InputError
from .arguments import RAISED, call, processed
from .model_input import Labels
from .text import needed, of_ids


def has_decoder(model: nn.Module) -> bool:
    """Whether the model has an encoder and a decoder, and takes what the decoder reads."""
    return "decoder_input_ids" in parameters_of(model)


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
    model: nn.Module, tensors: dict[str, Tensor], processor: Any, written: str | None = None, more: Mapping[str, Any] | None = None
) -> tuple[dict[str, Tensor], Labels | None]:
    """The tensors with `decoder_input_ids`, and what those are called.

    `written` is the text that the decoder has written so far.  Of prepared arguments (`more` is given) the decoder reads what the
    model itself would let it read: labels one place later, a copy of the input; its start token where the model would refuse.
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
        rest = processed(tokenizer, "this text", text_target=written, return_tensors="pt")["input_ids"]
        ends = rest.shape[1] and int(rest[0, -1]) == tokenizer.eos_token_id
        ids = torch.cat([start, rest[:, :-1] if ends else rest], 1)
    elif more is not None and (read := read_by_itself(model, {**tensors, **more})) is not None:
        ids = read
    elif writes(model) or "input_ids" not in tensors:
        ids = start
    else:
        ids = torch.cat([start.to(tensors["input_ids"]), tensors["input_ids"][:, :-1]], 1)
    return {**tensors, "decoder_input_ids": ids.to(device)}, of_ids(ids[0].tolist(), processor)


@torch.no_grad()
def read_by_itself(model: nn.Module, given: Mapping[str, Any]) -> Tensor | None:
    """The ids that the model's decoder reads if none are passed; None where the model wants some."""
    heard: list[Tensor] = []

    mine = get_ident()

    def listen(_: nn.Module, args: tuple, kwargs: dict) -> None:
        if get_ident() != mine:  # another thread runs the same model
            return
        ids = kwargs.get("input_ids", args[0] if args else None)
        reads = isinstance(kwargs.get("encoder_hidden_states"), Tensor)  # only a decoder is handed these
        heard.extend([ids] if reads and isinstance(ids, Tensor) and not ids.is_floating_point() else [])

    parts = [m for m in model.modules() if m is not model and "encoder_hidden_states" in parameters_of(m)]
    handles = [part.register_forward_pre_hook(listen, with_kwargs=True) for part in parts]
    try:
        call(model, given)
    except RAISED:
        return None
    finally:
        for handle in handles:
            handle.remove()
    return heard[0].clone() if heard else None
