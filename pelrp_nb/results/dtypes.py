"""The numbers of a result in another type: narrower for a pool, a disk or a network, wider for sums over many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError

DTYPES = {"float16": torch.float16, "float32": torch.float32, "float64": torch.float64}


def known(dtype: Any) -> torch.dtype:
    """A type by itself or by its name. Raises InputError for one that results do not have."""
    found = DTYPES.get(str(dtype).removeprefix("torch."))
    if found is None:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}. Type to('float16').")
    return found


def converted(value: Any, dtype: torch.dtype) -> Any:
    """Real tensors in that type, through lists, mappings and dataclasses. Raises InputError for a number that it cannot hold."""
    if isinstance(value, Tensor):
        return tensor(value, dtype) if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {key: converted(one, dtype) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return type(value)([converted(one, dtype) for one in value])
    if is_dataclass(value) and not isinstance(value, type):
        found = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
        changed = {name: one for name, old in found.items() if (one := converted(old, dtype)) is not old}
        return replace(value, **changed) if changed else value
    return value


def tensor(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x in that type."""
    found = x.to(dtype)
    if bool((found.isinf() & ~x.isinf()).any()):
        most, name = torch.finfo(dtype).max, str(dtype).removeprefix("torch.")
        raise InputError(f"{name} holds numbers up to {most:g}, and there is {x.abs().max():g}. Type to('float32').")
    return found
