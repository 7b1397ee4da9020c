"""What was found out of a model by running it, for as long as the model is as it was then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary, ref

from torch import nn

from ..engine.model_tree import ModelTree
from ..engine.notes import version_of


@dataclass
class Remembered:
    """What was found of a model whose modules, parameters and buffers were these, in that state."""

    parts: list[ref]
    state: tuple
    found: dict[tuple, Any] = field(default_factory=dict)


_known: WeakKeyDictionary[nn.Module, Remembered] = WeakKeyDictionary()


def remembered(model: nn.Module) -> dict[tuple, Any]:
    """What was found of the model as it is now; nothing, once any of its parts was changed or exchanged."""
    tree = ModelTree(model)
    modules, tensors = [module for _, module in tree.modules], tree.tensors()
    state = (
        tuple((m.training, id(m.__dict__.get("forward")), len(m._forward_hooks), len(m._forward_pre_hooks)) for m in modules),
        tuple((version_of(x), x.dtype, x.device) for x in tensors),
        getattr(getattr(model, "config", None), "_attn_implementation", None),
    )
    parts = [*modules, *tensors]
    known = _known.get(model)
    if known is None or known.state != state or any(r() is not part for r, part in zip(known.parts, parts, strict=True)):
        known = _known[model] = Remembered([ref(part) for part in parts], state)
    return known.found
