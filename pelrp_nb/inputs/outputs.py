"""The output of a batch apart: what each row would have given alone, whatever holds the tensors."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ..engine.trace import Visible

# outputs with an axis of tokens -> how many axes they have then
OUTPUTS = {"logits": 3, "prediction_logits": 3, "last_hidden_state": 3, "hidden_states": 3, "start_logits": 2, "end_logits": 2,
           "decoder_hidden_states": 3, "encoder_last_hidden_state": 3, "encoder_hidden_states": 3}  # fmt: skip
PAIRS = ("logits_per_image", "logits_per_text")  # rows against columns of the batch


def of_row(output: Any, row: int, B: int, visible: Mapping[str, Visible], name: str = "", each: bool = False) -> Any:
    """The model's output for one row, as it would be alone: a batch of one without padding; `each`: every token has one logit."""
    if B == 1 and all(len(place.at) == place.length for place in visible.values()):
        return output
    if isinstance(output, Tensor):
        return own_part(output, row, B, visible, name, each)
    parts = held(output)
    if parts is None:
        return output
    return rebuilt(output, {k: of_row(v, row, B, nested(visible, k), k if isinstance(k, str) else name, each) for k, v in parts.items()})


def logits_of_row(output: Any, row: int, B: int, visible: Mapping[str, Visible], each: bool = False) -> Any:
    """The logits of one row, where an output of transformers has some; else as `of_row`."""
    found = output.get("logits") if hasattr(output, "to_tuple") else None
    return of_row(found, row, B, visible, "logits", each) if isinstance(found, Tensor) else of_row(output, row, B, visible, each=each)


def held(output: Any) -> dict[Any, Any] | None:
    """What an output holds, by name or number: mappings, tuples, lists, named tuples, dataclasses, plain objects; None for a leaf."""
    if isinstance(output, Mapping):
        return dict(output)
    if hasattr(output, "_fields"):
        return output._asdict()
    if isinstance(output, tuple | list):
        return dict(enumerate(output))
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return {f.name: getattr(output, f.name) for f in dataclasses.fields(output)}
    if hasattr(output, "__dict__") and any(isinstance(x, Tensor) for x in vars(output).values()):
        return dict(vars(output))
    return None


def rebuilt(output: Any, parts: dict[Any, Any]) -> Any:
    """An output of the same kind that holds these parts."""
    if hasattr(output, "to_tuple"):
        return type(output)(**parts)
    if isinstance(output, Mapping):
        return parts
    if hasattr(output, "_fields"):
        return output._replace(**parts)
    if isinstance(output, tuple | list):
        return type(output)(parts.values())
    made = copy.copy(output)
    for name, value in parts.items():
        object.__setattr__(made, name, value)
    return made


def tensors_in(output: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors of numbers in an output, by how they are typed."""
    return ((path, x) for path, x in leaves(output) if x.is_floating_point())


def leaves(output: Any, path: str = "output") -> Iterator[tuple[str, Tensor]]:
    """All tensors in an output, whole numbers and flags too."""
    if isinstance(output, Tensor):
        yield path, output
        return
    by_key = isinstance(output, Mapping) and not hasattr(output, "to_tuple")
    for key, value in (held(output) or {}).items():
        if key != "past_key_values":
            yield from leaves(value, f"{path}[{key!r}]" if by_key or not isinstance(key, str) else f"{path}.{key}")


def mixes(output: Any, B: int) -> bool:
    """Whether something in the output has no row for each input, so that it may be about all of them: a mean loss, a sum."""
    return any(x.requires_grad and (x.dim() == 0 or x.shape[0] != B) for _, x in tensors_in(output))


def has_rows(output: Any, alone: Any, B: int) -> bool:
    """Whether what has B rows in a batch has one where a row is alone; what is no row of an input would be cut like one."""
    theirs = dict(leaves(alone))
    return all(k in theirs and theirs[k].shape[:1] == (1,) for k, x in leaves(output) if x.shape[:1] == (B,))


def nested(visible: Mapping[str, Visible], name: Any) -> Mapping[str, Visible]:
    """The places of a tower, inside its own output."""
    tower = {"text_model_output": "text", "vision_model_output": "image"}.get(name)
    return visible if tower is None else {k: v for k, v in visible.items() if k == tower}


def own_part(x: Tensor, row: int, B: int, visible: Mapping[str, Visible], name: str, each: bool) -> Tensor:
    """One row of a tensor, its padding left out."""
    if x.dim() == 0 or x.shape[0] != B:
        return x
    if B > 1 and name in PAIRS and x.shape[1] == B:
        return x[row : row + 1, row : row + 1]
    x = x[row : row + 1] if B > 1 else x
    stream = "encoder" if name.startswith("encoder_") else "decoder" if "decoder" in visible else next(iter(visible), None)
    place = visible.get(stream) if stream is not None else None
    axes = 2 if each and name == "logits" else OUTPUTS.get(name, 3)
    if place is None or x.dim() != axes or x.shape[1] != place.length or len(place.at) == place.length:
        return x
    return x[:, int(place.at[0]) : int(place.at[-1]) + 1]


def equal(ours: Any, theirs: Any) -> bool:
    """Whether two outputs are the same up to rounding, in every number that has a usual name."""
    if isinstance(ours, Tensor):
        if not isinstance(theirs, Tensor) or ours.shape != theirs.shape:
            return False
        if not ours.is_floating_point() or not ours.numel():
            return True
        close = {torch.float64: 1e-5, torch.float32: 1e-4}.get(ours.dtype, 0.05)
        most = close * max(1e-6, float(theirs.abs().max()))
        return bool(torch.isfinite(ours).all()) and float((ours - theirs).abs().max()) <= most
    if isinstance(ours, Mapping):
        return all(equal(v, theirs.get(k)) for k, v in ours.items() if k in OUTPUTS or k in PAIRS)
    return True
