"""The parameters of a model's `forward`, in order."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

_seen: WeakKeyDictionary[Any, Mapping[str, inspect.Parameter]] = WeakKeyDictionary()  # by function: asking takes longer than some models


def parameters_of(model: nn.Module) -> Mapping[str, inspect.Parameter]:
    """What `forward` takes besides the model itself, by name."""
    function = getattr(model.forward, "__func__", None)
    if function is None:  # a function of this model alone
        return inspect.signature(model.forward).parameters
    found = _seen.get(function)
    if found is None:
        found = _seen[function] = inspect.signature(model.forward).parameters
    return found
