"""Which modules are layers: members of the innermost lists that hold a norm and repeat a kind."""

from __future__ import annotations

from torch import nn


def layers(model: nn.Module) -> set[int]:
    """The layers, by identity: members of the innermost lists of modules that hold a norm and repeat a kind.

    The parts of one layer can be a list as well: T5's attention and feed-forward, but no two of them are of a kind; ResNet's
    convolutions, but these are layers only where there is nothing larger.
    """
    tries = ((True, False), (False, False), (True, True), (False, True))
    return next(filter(None, (stacks(model, repeated, units) for repeated, units in tries)), set())


def has_parts(module: nn.Module) -> bool:
    """Whether a module is made of several, itself or in a list of its own."""
    inner = [m for m in module._modules.values() if m is not None]
    return len(inner) > 1 or (len(inner) == 1 and isinstance(inner[0], nn.ModuleList) and len(inner[0]) > 1)


def is_unit(module: nn.Module) -> bool:
    """Whether a module is one operation with weights, its norm and its activation."""
    weighted = [m for m in module.modules() if getattr(m, "weight", None) is not None and "Norm" not in type(m).__name__]
    return len(weighted) == 1


def stacks(model: nn.Module, repeated: bool, units: bool) -> set[int]:
    """Members of the innermost lists of modules that hold a norm, of at most two kinds; larger than a unit unless `units`."""
    found: set[int] = set()

    def walk(module: nn.Module) -> tuple[bool, bool]:
        """(holds a norm, holds a stack of layers)."""
        inside = [walk(m) for m in module._modules.values() if m is not None]
        norm = "Norm" in type(module).__name__ or any(n for n, _ in inside)
        stack = any(s for _, s in inside)
        if isinstance(module, nn.ModuleList | nn.Sequential) and inside and not stack:
            members = list(module)
            kinds = len({type(m) for m in members})
            again = not repeated or kinds < len(members) or len(members) == 1
            large = units or not all(map(is_unit, members))
            if all(n for n, _ in inside) and all(has_parts(m) for m in members) and kinds <= 2 and again and large:
                found.update(map(id, members))
                stack = True
        return norm, stack

    walk(model)
    return found
