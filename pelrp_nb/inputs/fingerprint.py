"""What tells one model, or one list of inputs, from another: a few characters made of their numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn


def weights_of(model: nn.Module) -> str:
    """Twelve characters that tell one set of weights from another: names, shapes, and a sample of each tensor."""
    mixed = hashlib.sha256()
    for name, value in model.state_dict().items():
        flat = value.detach().flatten()
        sample = flat[:: max(1, flat.numel() // 256)][:256].cpu().double()
        mixed.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        mixed.update(sample.numpy().tobytes())
    return mixed.hexdigest()[:12]


def inputs_of(given: Iterable[Any]) -> str:
    """Sixteen characters that tell one list of inputs from another."""
    mixed = hashlib.sha256()
    for one in given:
        _mix(mixed, one)
    return mixed.hexdigest()[:16]


def _mix(mixed: Any, value: Any) -> None:
    """Take in a value: its kind, and all that it holds."""
    mixed.update(f"\0{type(value).__name__}\0".encode())
    if isinstance(value, Mapping):
        for key, one in value.items():
            _mix(mixed, key)
            _mix(mixed, one)
    elif isinstance(value, list | tuple):
        for one in value:
            _mix(mixed, one)
    elif isinstance(value, Tensor):
        _mix(mixed, value.detach().cpu().float().numpy())
    elif hasattr(value, "tobytes"):  # arrays, pictures
        mixed.update(f"{getattr(value, 'shape', getattr(value, 'size', ''))}".encode())
        mixed.update(value.tobytes())
    elif isinstance(value, bytes):
        mixed.update(value)
    elif isinstance(value, str | int | float | bool | Exception | None):
        mixed.update(str(value).encode("utf-8", "surrogatepass"))
