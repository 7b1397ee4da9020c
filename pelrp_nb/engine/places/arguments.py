"""How arguments of a torch function are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from .follow import provenance_of
from .provenance import Provenance


def pick(args: tuple, kwargs: dict, place: int, name: str, default: Any = None) -> Any:
    """An argument by place or by name."""
    return args[place] if len(args) > place else kwargs.get(name, default)


def given_in(*args: Any) -> list[Provenance]:
    """Provenance of all tensors among the arguments that have one."""
    return [p for x in tree_leaves(args) if isinstance(x, Tensor) and (p := provenance_of(x)) is not None]


def writes(name: str) -> bool:
    """Whether a function of that name writes into its first argument."""
    return name == "__setitem__" or (name.startswith("__i") and name[3:4] != "n") or (name.endswith("_") and not name.endswith("__"))


def tensors(args: tuple, kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Every tensor among the arguments, those in lists included."""
    found = []
    for a in (*args, *kwargs.values()):
        if isinstance(a, Tensor):
            found.append(a)
        elif isinstance(a, tuple | list):
            found += [x for x in a if isinstance(x, Tensor)]
    return found
