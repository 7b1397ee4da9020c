"""From what the user has to what the model takes: each kind of input by its own page, all checked here."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.streams import Streams
from ..errors import InputError
from . import audio, image_processor
from .decoder import add_decoder, has_decoder, writes
from .model_input import MAIN, Encoded, Labels
from .tensors import from_tensors
from .text import from_messages, from_text, from_texts, of_ids, table_of

RAW = ("text", "text_pair", "images", "audio", "sampling_rate", "labels")


def encode_all(model: nn.Module, given: Any, processor: Any) -> tuple[list[Encoded], bool]:
    """Every input as the model takes it, and whether there may be several: then the answer is a list, even of one."""
    if isinstance(given, Mapping) and any(name in given for name in MAIN):
        found = from_tensors(model, given, processor)
        return checked(model, found), len(found) > 1
    if image_processor.is_batch(given):
        given = list(given)
    if isinstance(given, Sequence) and not isinstance(given, str | bytes) and not is_one(given):
        if not len(given):
            raise InputError("There is no input in the list. Type at least one text.")
        texts = encode_texts(model, given, processor) if all(isinstance(x, str) for x in given) else None
        return texts or [encode(model, x, processor) for x in given], True
    return [encode(model, given, processor)], False


def encode_texts(model: nn.Module, texts: Sequence[str], processor: Any) -> list[Encoded] | None:
    """Several texts from one call of the tokenizer; None where each must be read by itself."""
    found = None if has_decoder(model) else from_texts(model, texts, processor)
    if found is None:
        return None
    stream = Streams(model).of_input("input_ids")
    return checked(model, [Encoded(tensors, {stream: labels}, given=labels.text) for tensors, labels in found])


def is_one(given: Sequence) -> bool:
    """Whether a sequence is one input: a pair of texts, a conversation."""
    pair = isinstance(given, tuple) and len(given) == 2 and all(isinstance(x, str) for x in given)
    return pair or is_conversation(given)


def is_conversation(given: Any) -> bool:
    """Whether these are messages with roles."""
    return isinstance(given, Sequence) and bool(given) and all(isinstance(m, Mapping) and "role" in m for m in given)


def encode(model: nn.Module, given: Any, processor: Any) -> Encoded:
    """One input, checked against the model.

    Raises InputError for empty or too long text, a missing or foreign processor, tensors elsewhere, cached prefixes.
    """
    if isinstance(given, Mapping) and any(name in given for name in MAIN):
        found = from_tensors(model, given, processor)
        if len(found) > 1:
            raise InputError(f"There must be one input here, got a batch of {len(found)}. Type explain(model, that batch).")
        return checked(model, found)[0]
    if isinstance(given, Mapping):
        return checked(model, [from_mapping(model, given, processor)])[0]
    if image_processor.is_picture(given, processor):
        return checked(model, [from_mapping(model, {"images": given}, processor)])[0]
    if audio.is_sound(given):
        return checked(model, [from_mapping(model, {"audio": given}, processor)])[0]
    if isinstance(given, str):
        return checked(model, [from_mapping(model, {"text": given}, processor)])[0]
    if isinstance(given, Sequence) and is_conversation(given):
        tensors, labels = from_messages(model, given, processor)
        return checked(model, [assembled(model, tensors, labels, processor)])[0]
    if isinstance(given, tuple) and is_one(given):
        second = "labels" if writes(model) else "text_pair"
        return checked(model, [from_mapping(model, {"text": given[0], second: given[1]}, processor)])[0]
    raise InputError(
        f"An input must be a text or a mapping of tensors (or a picture, sound, a pair of texts, messages), got "
        f'{type(given).__name__}. Type explain(model, "some text", processor=tokenizer).'
    )


def from_mapping(model: nn.Module, given: Mapping[str, Any], processor: Any) -> Encoded:
    """Texts, pictures and sound by name, together: what a processor takes."""
    strange = [k for k in given if k not in RAW]
    if strange or not {"text", "images", "audio"} & set(given):
        came = ", ".join(map(str, given)) or "nothing"
        raise InputError(
            f"The mapping must hold one of {', '.join(MAIN)}, or text, images or audio for the processor; got {came}. "
            "Type dict(input_ids=ids)."
        )
    tensors: dict[str, Tensor] = {}
    labels = None
    more: dict[str, Any] = {}
    if "text" in given:
        tensors, labels = from_text(model, given["text"], processor, given.get("text_pair"))
    if "images" in given:
        seen, more["picture"] = image_processor.from_picture(model, given["images"], processor, given.get("text"))
        more["cropped"] = bool(getattr(image_processor.image_processor_of(processor), "do_center_crop", False))
        tensors |= seen
    if "audio" in given:
        heard, more["seconds"] = audio.from_sound(model, given["audio"], processor, given.get("sampling_rate"))
        tensors |= heard
    if labels is not None and tensors["input_ids"].shape[1] != len(labels.tokens):  # the processor made room for the picture
        labels = of_ids(tensors["input_ids"][0].tolist(), processor)
    return replace(assembled(model, tensors, labels, processor, given.get("labels")), **more)


def assembled(model: nn.Module, tensors: dict[str, Tensor], labels: Labels | None, processor: Any, written: str | None = None) -> Encoded:
    """The input with what its decoder reads; labels by stream."""
    streams = Streams(model)
    tensors, decoder = add_decoder(model, tensors, processor, written)
    by = {} if labels is None else {streams.of_input("input_ids"): labels}
    if decoder is not None:
        by["decoder"] = decoder
    return Encoded(tensors, by, given=None if labels is None else labels.text)


# --- checks ----------------------------------------------------------------------------------------------------------


def checked(model: nn.Module, found: list[Encoded]) -> list[Encoded]:
    """Inputs that the model takes, ids that it has, a length it can, finite numbers."""
    known: set[frozenset[str]] = set()
    size, limit = getattr(table_of(model), "num_embeddings", None), limit_of(model)
    for row in found:
        if (names := frozenset(row.tensors)) not in known:
            foreign(model, row.tensors)
            known.add(names)
        for name, tensor in row.tensors.items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise InputError(f"`{name}` must be finite; it holds NaN or infinite values.")
        if "input_ids" in row.tensors:
            in_range(row.tensors["input_ids"], size, limit)
    return found


def foreign(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Refuse inputs that the model does not take, or would swallow without a word."""
    parameters = inspect.signature(model.forward).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in tensors:
        if name in parameters or (anything and not name.endswith("position_ids")):
            continue
        inside = (m for m in model.modules() if anything and hasattr(m, "main_input_name"))
        if not any(name in inspect.signature(m.forward).parameters for m in inside):
            taken = ", ".join(n for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD)
            raise InputError(f"{type(model).__name__} takes no `{name}`. Leave it out, or pass some of {taken}.")


def in_range(ids: Tensor, size: int | None, limit: int) -> None:
    """Ids that the model has, `size` of them if it says so, and no more of them than it has positions for."""
    if size is not None and (int(ids.max()) >= size or int(ids.min()) < 0):
        raise InputError(
            f"Token ids must lie between 0 and {size - 1} for this model; the processor made {int(ids.max())}. "
            "It belongs to another model: type processor=AutoTokenizer.from_pretrained(the model's own name)."
        )
    if limit < ids.shape[1]:
        raise InputError(f"The model takes at most {limit} tokens; the text has {ids.shape[1]}. Shorten it.")


def limit_of(model: nn.Module) -> int:
    """The most tokens that the model has positions for, as far as it says so."""
    config = getattr(model, "config", None)
    limit = getattr(getattr(config, "text_config", config), "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else sys.maxsize


def quiet(model: nn.Module) -> dict[str, Any]:
    """No cache: the model would keep keys that carry relevance."""
    config = getattr(model, "config", None)
    return {"use_cache": False} if getattr(config, "use_cache", None) is not None and takes(model, "use_cache") else {}


def takes(model: nn.Module, name: str) -> bool:
    """Whether the model's forward takes an argument, or hands it on."""
    parameters = inspect.signature(model.forward).parameters
    return name in parameters or (hasattr(model, "generation_config") and any(p.kind is p.VAR_KEYWORD for p in parameters.values()))
