"""Saved tensors: kept for the backward pass as they are, or dropped and rematerialised by the checkpointed layer that saved them.

A model may write into a tensor after it was saved (`x += attention(x)`).  What is kept is copied before that, and only then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol
from weakref import ref

from torch import Tensor
from torch._C import DisableTorchFunction

from .places.values import storage_of

here = threading.local()  # .flows, .layers and .entries of this thread, innermost last


class Repeatable(Protocol):
    """What saved a tensor: a layer that runs, or that can be run again.

    running: it has not ended, so what it saved is there; pinned: it cannot be run again, so what it saved stays
    """

    running: bool
    pinned: bool

    def again(self) -> None:
        """Rematerialise: run once more, and fill every slot that somebody still wants."""


NAMES = frozenset(dir(Tensor))
# what writes into its first argument, by the name of the function
WRITES = frozenset(
    ["__setitem__", "__set__"]
    + [name for name in NAMES if name.endswith("_") and not name.endswith("__")]
    + [f"__i{name[2:]}" for name in NAMES if f"__i{name[2:]}" in NAMES]
)


class Kept:
    """A tensor as it was when it was saved."""

    __slots__ = ("__weakref__", "value")

    def __init__(self, value: Tensor) -> None:
        self.value: Tensor | None = value
        share(self, value)

    def take(self) -> Tensor:
        """The tensor."""
        assert self.value is not None
        return self.value


class Slot:
    """One saved tensor of a layer: there until the layer ends, and from its rematerialisation until it is taken."""

    __slots__ = ("__weakref__", "layer", "like", "value")

    def __init__(self, layer: Repeatable, value: Tensor) -> None:
        self.layer, self.like = layer, (value.shape, value.dtype)
        self.value: Tensor | None = value
        share(self, value)

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
    with DisableTorchFunction():  # a call of ours: one that is kept to be done again would hold x, and x its hook
        value = x.detach()
    layers = stack()
    kept = layers[-1].save(value) if layers else Kept(value)
    return kept.take if isinstance(kept, Slot | Kept) else lambda: value


def by_graph(x: Tensor, read: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The same as `read`, held by the node that made x alone: what a checkpointed layer saved holds the layer, and the graph before it."""
    node: Any = x.grad_fn
    if node is None:
        return read
    node.metadata.setdefault("pelrp_nb", []).append(read)
    known = ref(read)

    def ask() -> Tensor:
        found = known()
        assert found is not None  # whoever asks walks that graph
        return found()

    return ask


def share(kept: Kept | Slot, value: Tensor) -> None:
    """Note that a saved tensor lies in memory that the model may write into."""
    if inside := flows():
        inside[-1].shared.setdefault(storage_of(value), []).append(ref(kept))


def before_write(x: Any) -> None:
    """The model is about to write into x: copy what was saved of its memory."""
    shared = flows()[-1].shared
    for one in shared.pop(storage_of(x), ()) if shared and isinstance(x, Tensor) else ():
        if (kept := one()) is not None and kept.value is not None:
            kept.value = kept.value.detach().clone()


def flows() -> tuple[Any, ...]:
    """The propagations of this thread, innermost last."""
    return getattr(here, "flows", ())


def stack() -> tuple[Any, ...]:
    """The layers of this thread that are running and will be run again, innermost last."""
    return getattr(here, "layers", ())
