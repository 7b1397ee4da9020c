"""The modules, parameters and buffers of a model with their paths: one walk through the tree of modules for all who ask."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from torch import Tensor, nn

Item = TypeVar("Item")


class ModelTree:
    """modules: (path, module), each once; parameters, buffers: (path, tensor), under every path that leads there."""

    def __init__(self, model: nn.Module) -> None:
        every = below(model, "", [])
        self.modules: list[tuple[str, nn.Module]] = once(every)
        self.parameters = [(under(path, n), x) for path, m in every for n, x in m._parameters.items() if x is not None]
        self.buffers = [(under(path, n), x) for path, m in every for n, x in m._buffers.items() if x is not None]

    def tensors(self) -> list[Tensor]:
        """All parameters and buffers."""
        return [x for _, x in (*self.parameters, *self.buffers)]


def below(module: nn.Module, path: str, found: list[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    """`module.named_modules(remove_duplicate=False)`, whose generators inside one another cost four times as much."""
    found.append((path, module))
    for name, child in module._modules.items():
        if child is not None:
            below(child, f"{path}.{name}" if path else name, found)
    return found


def under(path: str, name: str) -> str:
    """The path of what a module calls so."""
    return f"{path}.{name}" if path else name


def once(found: Iterable[tuple[str, Item]]) -> list[tuple[str, Item]]:
    """Of what stands under several paths the first."""
    seen: dict[int, tuple[str, Item]] = {}
    for one in found:
        seen.setdefault(id(one[1]), one)
    return list(seen.values())
