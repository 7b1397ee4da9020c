"""From what the user has (text, tensors) to what the model takes, and back to tokens a person can read."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .inspection import device_of

MAIN = ("input_ids", "inputs_embeds", "pixel_values", "input_features", "input_values")


@dataclass(frozen=True)
class Encoded:
    """One input as tensors (a batch of one), and as tokens.

    offsets: for each token its place in `text`, None for special tokens; words: for each token its word, None likewise
    """

    tensors: dict[str, Tensor]
    tokens: tuple[str, ...]
    special: tuple[bool, ...]
    text: str | None = None
    offsets: tuple[tuple[int, int] | None, ...] | None = None
    words: tuple[int | None, ...] | None = None

    @property
    def length(self) -> int | None:
        """Number of tokens that are no padding at the end."""
        mask = self.tensors.get("attention_mask")
        if mask is None or mask.dim() != 2:
            return None
        return int(mask[0].nonzero().max()) + 1


def encode(model: nn.Module, given: Any, processor: Any) -> Encoded:
    """Text or a mapping of tensors, checked against the model.

    Raises InputError for empty or too long text, a missing or foreign processor, tensors elsewhere, cached prefixes.
    """
    if isinstance(given, str):
        found = from_text(model, given, processor)
    elif isinstance(given, Mapping):
        check_device(model, given)
        found = from_tensors(given, processor)
    else:
        raise InputError(
            f"An input must be a text or a mapping of tensors, got {type(given).__name__}. "
            'Type explain(model, "some text", processor=tokenizer).'
        )
    check(model, found)
    return found


def from_text(model: nn.Module, text: str, processor: Any) -> Encoded:
    """A text through the tokenizer."""
    if not text.strip():
        raise InputError("The text is empty; there is nothing to explain. Type at least one word.")
    tokenizer = getattr(processor, "tokenizer", processor)
    if tokenizer is None:
        raise InputError(
            f"A text needs the tokenizer that {type(model).__name__} was trained with. "
            "Type processor=AutoTokenizer.from_pretrained(name)."
        )
    if not callable(tokenizer) or not hasattr(tokenizer, "convert_ids_to_tokens"):
        raise InputError(f"processor must be a tokenizer or hold one, got {type(processor).__name__}. Type processor=tokenizer.")
    fast = bool(getattr(tokenizer, "is_fast", False))
    encoding = tokenizer(text, return_tensors="pt", return_offsets_mapping=fast, return_special_tokens_mask=True)
    ids = encoding["input_ids"]
    if ids.shape[1] == 0:
        raise InputError(f"The tokenizer makes no token of {text!r}. Type another text.")
    special = tuple(bool(s) for s in encoding.pop("special_tokens_mask")[0])
    raw = tokenizer.convert_ids_to_tokens(ids[0].tolist())
    if not fast:
        return Encoded(accepted(model, encoding), tuple(raw), special, text)
    spans = [tuple(map(int, span)) for span in encoding.pop("offset_mapping")[0]]
    words = tuple(None if s else w for w, s in zip(encoding.word_ids(0), special, strict=True))
    offsets = tuple(None if s or a == b else (a, b) for (a, b), s in zip(spans, special, strict=True))
    tokens = tuple(text[o[0] : o[1]].strip() or r if o else r for o, r in zip(offsets, raw, strict=True))
    return Encoded(accepted(model, encoding), tokens, special, text, offsets, words)


def accepted(model: nn.Module, encoding: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors that the model's forward takes, where the model is."""
    parameters = inspect.signature(model.forward).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    taken = {k: v for k, v in encoding.items() if k in parameters or (anything and k == "attention_mask")}
    device = device_of(model)
    return {k: v.to(device) for k, v in taken.items() if isinstance(v, Tensor)}


def from_tensors(given: Mapping[str, Any], processor: Any) -> Encoded:
    """Tensors the user prepared, as they are; tokens by the tokenizer, if there is one."""
    if given.get("past_key_values") is not None:
        raise InputError("A cached prefix (past_key_values) hides the tokens it came from. Pass the whole input_ids instead.")
    tensors = {k: v for k, v in given.items() if isinstance(v, Tensor)}
    main = next((k for k in MAIN if k in tensors), None)
    if main is None:
        came = ", ".join(map(str, given)) or "nothing"
        raise InputError(f"The mapping must hold one of {', '.join(MAIN)}; got {came}. Type dict(input_ids=ids).")
    x = tensors[main]
    if x.dim() < 2 or x.shape[0] != 1 or 0 in x.shape:
        raise InputError(f"{main} must be a batch of one, (1, ...), and not empty; got {tuple(x.shape)}. Type {main}[None].")
    tensors = {k: v.clone() if v.is_inference() else v for k, v in tensors.items()}
    if main != "input_ids":
        return Encoded(tensors, (), ())
    tokenizer = getattr(processor, "tokenizer", processor)
    ids = x[0].tolist()
    if tokenizer is None or not hasattr(tokenizer, "convert_ids_to_tokens"):
        return Encoded(tensors, tuple(str(i) for i in ids), (False,) * len(ids))
    special = set(tokenizer.all_special_ids)
    tokens = tokenizer.convert_ids_to_tokens(ids)
    return Encoded(tensors, tuple(map(str, tokens)), tuple(i in special for i in ids))


def check_device(model: nn.Module, tensors: Mapping[str, Any]) -> None:
    """Tensors where the model is; accelerate moves them itself."""
    device = device_of(model)
    for name, tensor in tensors.items():
        if isinstance(tensor, Tensor) and tensor.device != device and not hasattr(model, "hf_device_map"):
            raise InputError(
                f"`{name}` must be on {device}, like the model; it is on {tensor.device}. Type {name}.to(model.device)."
            )


def check(model: nn.Module, found: Encoded) -> None:
    """Ids that the model has, a length it takes, finite numbers."""
    for name, tensor in found.tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise InputError(f"`{name}` must be finite; it holds NaN or infinite values.")
    ids = found.tensors.get("input_ids")
    if ids is None:
        return
    embeddings = model.get_input_embeddings() if hasattr(model, "get_input_embeddings") else None
    size = getattr(embeddings, "num_embeddings", None)
    if size is not None and (int(ids.max()) >= size or int(ids.min()) < 0):
        raise InputError(
            f"Token ids must lie between 0 and {size - 1} for this model; the processor made {int(ids.max())}. "
            "It belongs to another model: type processor=AutoTokenizer.from_pretrained(the model's own name)."
        )
    limit = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    if isinstance(limit, int) and 0 < limit < ids.shape[1]:
        raise InputError(f"The model takes at most {limit} tokens; the text has {ids.shape[1]}. Shorten it.")


def quiet(model: nn.Module) -> dict[str, Any]:
    """No cache: the model would keep keys that carry relevance."""
    config = getattr(model, "config", None)
    return {"use_cache": False} if getattr(config, "use_cache", None) is not None and _takes(model, "use_cache") else {}


def _takes(model: nn.Module, name: str) -> bool:
    parameters = inspect.signature(model.forward).parameters
    return name in parameters or (hasattr(model, "generation_config") and any(p.kind is p.VAR_KEYWORD for p in parameters.values()))
