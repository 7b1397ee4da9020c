"""Module hooks: they tell the engine where in the model it is, and where layers begin and end.

All threads that explain one model share its hooks: the first to come hangs them up, the last to go takes them down, and each call
looks for the flow of its own thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from . import checkpointing
from .forward_pass import ForwardPass
from .handlers import quantised
from .handlers.opaque_modules import activation_module
from .saved import flows

KNOWN_BY_PARAMETERS = {nn.Linear, nn.Embedding, nn.LayerNorm, nn.Dropout, nn.Identity}      # need no hook to be named
_lock = threading.Lock()
_users: WeakIdKeyDictionary = WeakIdKeyDictionary()


@dataclass
class _Hooks:
    count: int = 0
    handles: list = field(default_factory=list)


def current(root: nn.Module) -> ForwardPass | None:
    """The flow of this thread on this model."""
    return next((f for f in reversed(flows()) if f.model is root), None)


def attach(model: nn.Module) -> None:
    """Module hooks, shared by all threads that explain this model at the moment."""
    with _lock:
        hooks = _users.setdefault(model, _Hooks())
        hooks.count += 1
        if hooks.count > 1:
            return
        blocks = layers(model)
        for module in model.modules():
            if type(module) in KNOWN_BY_PARAMETERS and module is not model and not hasattr(module, "_hf_hook"):
                continue
            before = _before(model, module, id(module) in blocks)
            after = _after(model, module, id(module) in blocks)
            hooks.handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            hooks.handles.append(module.register_forward_hook(after, with_kwargs=True, always_call=True))
        hooks.handles += [_Instead(model, module) for module in model.modules() if "_gradient_checkpointing_func" in vars(module)]


def detach(model: nn.Module) -> None:
    with _lock:
        hooks = _users[model]
        hooks.count -= 1
        if hooks.count == 0:
            for handle in hooks.handles:
                handle.remove()
            del _users[model]


@contextmanager
def attached(model: nn.Module) -> Iterator[None]:
    """Hooks while inside."""
    attach(model)
    try:
        yield
    finally:
        detach(model)


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


def _before(root: nn.Module, module: nn.Module, block: bool) -> Callable:
    def hook(_: nn.Module, args: tuple, kwargs: dict) -> Any:
        flow = current(root)
        if flow is None:
            return None
        flow.path.append(module)
        flow.streams.enter(module)
        if module is root and len(flow.path) == 1:
            return flow.recorder.enter_model(args, kwargs)
        if block:
            args, kwargs = flow.recorder.enter_block(args, kwargs) or (args, kwargs)
            checkpointing.begin(flow, module, args, kwargs)
            return quantised.before(flow, module, args, kwargs) or (args, kwargs)
        return quantised.before(flow, module, args, kwargs)

    return hook


def _after(root: nn.Module, module: nn.Module, block: bool) -> Callable:
    def hook(_: nn.Module, args: tuple, kwargs: dict, output: Any) -> Any:
        flow = current(root)
        if flow is None or module not in flow.path:
            return None
        replaced = quantised.after(flow, module, output)
        while flow.path and flow.path.pop() is not module:
            pass
        if block:
            checkpointing.end(flow, module)
        if block and flow.blocks:
            flow.recorder.leave_block(output)
        flow.streams.leave(module, flow.path, output)
        return activation_module(flow, module, args, output) if replaced is None else replaced

    return hook


class _Instead:
    """In a thread that explains, a layer's own checkpointing only calls it: the engine's takes its place."""

    def __init__(self, root: nn.Module, module: nn.Module) -> None:
        self.module, original = module, module._gradient_checkpointing_func
        self.original = original

        def call(function: Callable, *args: Any, **kwargs: Any) -> Any:
            return original(function, *args, **kwargs) if current(root) is None else function(*args)

        module._gradient_checkpointing_func = call

    def remove(self) -> None:
        """As it was."""
        self.module._gradient_checkpointing_func = self.original
