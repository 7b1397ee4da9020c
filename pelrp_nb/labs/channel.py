"""What passes between the grader and the sandbox: one line of JSON a message, numbers as bytes, nothing that can run."""

from __future__ import annotations

import base64
import json
from typing import Any

import torch
from torch import Tensor

from .limits import Problem

LINE = 8 * 2**20  # bytes of one message
_TYPES = {"float64": torch.float64, "int64": torch.int64, "bool": torch.bool, "complex128": torch.complex128}
_PLAIN = (bool, int, float, str, type(None))


def encode(value: Any) -> Any:
    """Tensors, numbers, texts and tuples of them as JSON. Raises Problem for anything else."""
    if isinstance(value, Tensor):
        kind = "complex128" if value.is_complex() else "bool" if value.dtype == torch.bool else None
        kind = kind or ("float64" if value.is_floating_point() else "int64")
        data = value.detach().to_dense().to("cpu", _TYPES[kind]).contiguous().numpy().tobytes()
        if len(data) > LINE // 2:
            raise Problem("It is far too large an answer.")
        return {"shape": list(value.shape), "type": kind, "data": base64.b64encode(data).decode()}
    if isinstance(value, tuple | list):
        return {"tuple" if isinstance(value, tuple) else "list": [encode(each) for each in value[:100]]}
    if type(value) in _PLAIN:
        return value
    if hasattr(value, "__array__"):
        return encode(torch.as_tensor(value))
    raise Problem(f"It must be a tensor or a number, and it is of type {type(value).__name__}.")


def decode(found: Any) -> Any:
    """The value that `encode` wrote. Raises ValueError for anything else."""
    if isinstance(found, _PLAIN):
        return found
    if not isinstance(found, dict):
        raise ValueError("neither a value nor a description of one")
    if "tuple" in found or "list" in found:
        parts = [decode(each) for each in found["tuple" if "tuple" in found else "list"]]
        return tuple(parts) if "tuple" in found else parts
    kind = _TYPES.get(found.get("type", ""))
    shape = [int(size) for size in found.get("shape", [])]
    if kind is None or any(size < 0 for size in shape):
        raise ValueError("no such type or shape")
    data = bytearray(base64.b64decode(found["data"], validate=True))
    flat = torch.frombuffer(data, dtype=kind) if data else torch.empty(0, dtype=kind)
    return flat.reshape(shape).clone()


def line(message: dict[str, Any]) -> bytes:
    """A message as it is sent."""
    return json.dumps(message).encode() + b"\n"


def message(raw: bytes) -> dict[str, Any]:
    """A message as it was sent. Raises ValueError if it is none."""
    try:
        found = json.loads(raw)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("no message")
    return found
