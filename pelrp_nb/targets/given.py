"""What a person types as a target, made plain: whole numbers of numpy and torch, lists of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from ..errors import TargetError


def whole(x: Any) -> Any:
    """A whole number of numpy or torch as one of Python; anything else as it is."""
    if hasattr(x, "item") and getattr(x, "size", None) is not None:
        count = x.numel() if isinstance(x, Tensor) else x.size
        kind = str(x.dtype).removeprefix("torch.")
        if count == 1 and kind.startswith(("int", "uint")):
            return int(x.item())
    return x


def came(x: Any) -> str:
    """What came in place of a target, in a few words."""
    shape = f" of shape {tuple(x.shape)}" if getattr(x, "shape", ()) else ""
    return f"{type(x).__name__}{shape}" if shape or not isinstance(x, bool | float) else str(x)


def listed(targets: Any, name: str) -> tuple[Any, ...]:
    """Targets in order; whole numbers of a tensor or array one by one."""
    if hasattr(targets, "tolist") and hasattr(targets, "ndim"):
        found = targets.tolist() if targets.ndim != 2 or len(targets) != 1 else targets.tolist()[0]
        if targets.ndim > 2 or (targets.ndim == 2 and len(targets) != 1):
            raise TargetError(
                f"target.{name} takes ids of one input in a row, got a tensor of {tuple(targets.shape)}. "
                "Type target.every(ids[0]), or target.each([target.every(row) for row in ids])."
            )
        targets = found if isinstance(found, list) else [found]
    if isinstance(targets, str) or not isinstance(targets, Iterable):
        raise TargetError(f"target.{name} takes a list of targets, got {targets!r}. Type target.{name}([{targets!r}]).")
    return tuple(targets)
