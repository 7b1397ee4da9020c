"""Saved tensors: kept for the backward pass, or dropped and rematerialised by the checkpointed layer that saved them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

here = threading.local()  # .flows, .layers and .entries of this thread, innermost last


class Repeatable(Protocol):
    """What saved a tensor: a layer that runs, or that can be run again.

    running: it has not ended, so what it saved is there; pinned: it cannot be run again, so what it saved stays
    """

    running: bool
    pinned: bool

    def again(self) -> None:
        """Rematerialise: run once more, and fill every slot that somebody still wants."""


class Slot:
    """One saved tensor of a layer: there until the layer ends, and from its rematerialisation until it is taken."""

    __slots__ = ("__weakref__", "layer", "like", "value")

    def __init__(self, layer: Repeatable, value: Tensor) -> None:
        self.layer, self.like = layer, (value.shape, value.dtype)
        self.value: Tensor | None = value

    def take(self) -> Tensor:
        """The tensor, and no longer kept here once its layer has ended."""
        if self.value is None:
            self.layer.again()
        value = self.value
        assert value is not None
        if not self.layer.running and not self.layer.pinned:
            self.value = None
        return value


def held(x: Tensor) -> Callable[[], Tensor]:
    """x as a saved tensor of a backward hook, to be read once: kept, or rematerialised where its layer is checkpointed."""
    value = x.detach()
    layers = stack()
    kept = layers[-1].save(value) if layers else value
    return kept.take if isinstance(kept, Slot) else lambda: value


def flows() -> tuple[Any, ...]:
    """The propagations of this thread, innermost last."""
    return getattr(here, "flows", ())


def stack() -> tuple[Any, ...]:
    """The layers of this thread that are running and will be run again, innermost last."""
    return getattr(here, "layers", ())
