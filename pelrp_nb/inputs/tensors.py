"""Tensors the user prepared: rows of a batch apart, without the padding at their ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..engine.streams import Streams
from ..engine.support import device_of
from ..errors import InputError
from .decoder import add_decoder
from .model_input import MAIN, SEQUENCES, Encoded
from .text import of_ids


def from_tensors(model: nn.Module, given: Mapping[str, Any], processor: Any) -> list[Encoded]:
    """One Encoded per row of a mapping of tensors; tokens by the tokenizer, if there is one."""
    if given.get("past_key_values") is not None:
        raise InputError("A cached prefix (past_key_values) hides the tokens it came from. Pass the whole input_ids instead.")
    tensors = {k: v for k, v in given.items() if isinstance(v, Tensor)}
    main = next((k for k in MAIN if k in tensors), None)
    if main is None:
        came = ", ".join(f"{k} ({type(v).__name__})" for k, v in given.items())
        raise InputError(f"The mapping must hold one of {', '.join(MAIN)} as a tensor; got {came}. Type dict(input_ids=ids).")
    x = tensors[main]
    if x.dim() < 2 or 0 in x.shape:
        raise InputError(f"{main} must be a batch (B, ...), and not empty; got {tuple(x.shape)}. Type {main}[None].")
    check_device(model, tensors)
    for name, tensor in tensors.items():
        if tensor.dim() == 0 or tensor.shape[0] not in (1, len(x)):
            raise InputError(
                f"`{name}` must have {len(x)} rows, like {main}; got {tuple(tensor.shape)}. Pass one row of it for each input."
            )
    written = given.get("labels") if isinstance(given.get("labels"), str) else None
    rows = ({k: v if len(v) == 1 else v[i : i + 1] for k, v in tensors.items()} for i in range(len(x)))
    return [row(model, one, processor, written, i) for i, one in enumerate(rows)]


def row(model: nn.Module, tensors: dict[str, Tensor], processor: Any, written: str | None, number: int) -> Encoded:
    """One row, trimmed, with what its decoder reads."""
    tensors = {k: v.clone() if v.is_inference() else v for k, v in tensors.items()}
    tensors = trimmed(tensors, "attention_mask", SEQUENCES, "", number)
    tensors = trimmed(tensors, "decoder_attention_mask", ("decoder_input_ids",), "decoder_", number)
    streams = Streams(model)
    target = tensors.pop("labels", None)
    tensors, decoder = add_decoder(model, tensors, processor, written, target)
    labels = {}
    if "input_ids" in tensors:
        labels[streams.of_input("input_ids")] = of_ids(tensors["input_ids"][0].tolist(), processor)
    if decoder is not None:
        labels["decoder"] = decoder
    return Encoded(tensors, labels)


def trimmed(tensors: dict[str, Tensor], mask: str, names: tuple[str, ...], prefix: str, number: int) -> dict[str, Tensor]:
    """The row without the padding at its ends; what a mask hides inside stays where it is, hidden."""
    main = next((name for name in names if name in tensors), None)
    seen = tensors.get(mask)
    if main is None or seen is None or seen.dim() != 2 or seen.shape[1] != tensors[main].shape[1]:
        return tensors
    if not seen.any():
        raise InputError(f"Each row must have a token left; in row {number} the {mask} hides every one. Drop that row.")
    visible = seen[0].nonzero()
    first, last = int(visible.min()), int(visible.max()) + 1
    T = seen.shape[1]
    if (first, last) == (0, T):
        return tensors

    def cut(name: str, x: Tensor) -> Tensor:
        belongs = name.startswith("decoder_") == bool(prefix) and not name.startswith("pixel")
        return x[:, first:last] if belongs and x.dim() >= 2 and x.shape[1] == T else x

    return {name: cut(name, x) for name, x in tensors.items()}


def check_device(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Tensors where the model is; accelerate moves them itself."""
    device = device_of(model)
    for name, tensor in tensors.items():
        if tensor.device != device and not hasattr(model, "hf_device_map"):
            raise InputError(f"`{name}` must be on {device}, like the model; it is on {tensor.device}. Type {name}.to(model.device).")
