"""Which modules are layers: repeated blocks of the module tree. No name of a class or an attribute has a say."""

from __future__ import annotations

from inspect import unwrap
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.LocalResponseNorm, _NormBase)  # torch's own may be without weights


def layers(model: nn.Module) -> set[int]:
    """The layers, by identity: members of the innermost lists of modules that hold a norm and repeat a kind.

    The parts of one layer can be a list as well: T5's attention and feed-forward, but no two of them are of a kind; ResNet's
    convolutions, but these are layers only where there is nothing larger.  Experts are lists too, and without a norm; so lists
    without one are layers only where no list has any.
    """
    tries = ((True, True, False), (True, False, False), (True, True, True), (True, False, True), (False, True, False))
    return next(filter(None, (stacks(model, *wanted) for wanted in tries)), set())


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a norm, by its weights: vectors alone, a number for each feature."""
    own = [p.dim() for p in module._parameters.values() if p is not None] if module._parameters else ()
    if not own or own.count(1) < len(own):
        return isinstance(module, NORMS)
    return not module._modules or all(p.dim() == 1 for p in module.parameters())


def kind_of(module: nn.Module) -> Any:
    """What two modules have in common that run the same code, whatever their classes are called."""
    forward = unwrap(type(module).forward)
    return getattr(forward, "__code__", forward)


def is_list(module: nn.Module) -> bool:
    """Whether a module is a list of others, as `nn.ModuleList` and `nn.Sequential` are: it names them by their numbers."""
    return "0" in module._modules and [*module._modules] == [str(i) for i in range(len(module._modules))]


def holds_experts(module: nn.Module) -> bool:
    """Whether a module holds several experts: a list of large modules of one kind, or their weights stacked along a further axis."""
    for m in module.modules():
        parts = [p for p in m._modules.values() if p is not None]
        if is_list(m) and len(parts) > 1 and len(set(map(kind_of, parts))) == 1 and all(map(has_parts, parts)):
            return True
        if not isinstance(m, _ConvNd) and any(p is not None and p.dim() == 3 for p in m._parameters.values()):
            return True
    return False


def has_parts(module: nn.Module) -> bool:
    """Whether a module is made of several, itself or in a list of its own."""
    inner = [m for m in module._modules.values() if m is not None]
    return len(inner) > 1 or (len(inner) == 1 and is_list(inner[0]) and len(inner[0]._modules) > 1)


def is_unit(module: nn.Module) -> bool:
    """Whether a module is one operation with weights, its norm and its activation."""
    return sum(getattr(m, "weight", None) is not None and not is_norm(m) for m in module.modules()) == 1


def stacks(model: nn.Module, normed: bool, repeated: bool, units: bool) -> set[int]:
    """Members of the innermost lists of modules, of at most two kinds; larger than a unit unless `units`.

    normed:   each member holds a norm; otherwise no list beside theirs is as long, of which the members would be parts of the same
              layers (XLM)
    repeated: some members are of one kind
    """
    found: set[int] = set()

    def fit(members: list[nn.Module]) -> bool:
        kinds = len({kind_of(m) for m in members})
        again = not repeated or kinds < len(members) or len(members) == 1
        return all(map(has_parts, members)) and kinds <= 2 and again and (units or not all(map(is_unit, members)))

    def walk(module: nn.Module, alone: bool) -> tuple[bool, bool]:
        """(holds a norm, holds a stack of layers)."""
        if not module._modules:
            return is_norm(module), False
        parts = [m for m in module._modules.values() if m is not None]
        sizes = [len(m._modules) if is_list(m) else 0 for m in parts]
        inside = [walk(m, sizes.count(size) == 1) for m, size in zip(parts, sizes, strict=True)]
        stack = any(s for _, s in inside)
        if is_list(module) and not stack and (all(n for n, _ in inside) if normed else alone) and fit(parts):
            found.update(map(id, parts))
            stack = True
        return any(n for n, _ in inside) or is_norm(module), stack

    walk(model, True)
    return found
