"""Module hooks: they tell the engine where in the model it is, and where layers begin and end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from . import checkpointing
from .forward_pass import ForwardPass
from .handlers import quantised
from .handlers.opaque_modules import activation_module
from .leaving import Leaving

KNOWN_BY_PARAMETERS = {nn.Linear, nn.Embedding, nn.LayerNorm, nn.Dropout, nn.Identity}      # need no hook to be named


def attach(flow: ForwardPass) -> None:
    """Hooks of this flow's entry on its model; `Entry.close` takes them down."""
    model, entry = flow.model, flow.entry
    entry.begin(model)
    blocks = layers(model)
    for module in entry.modules:
        if type(module) in KNOWN_BY_PARAMETERS and module is not model and not hasattr(module, "_hf_hook"):
            continue
        entry.before(module, partial(_before, block=id(module) in blocks))
        entry.after(module, partial(_after, block=id(module) in blocks))
    for module in entry.modules:
        if "_gradient_checkpointing_func" in vars(module):
            entry.instead(module, "_gradient_checkpointing_func")


@contextmanager
def walking(flow: ForwardPass) -> Iterator[None]:
    """Gradients enabled, and hooks in place for layers that run again; those of its entry, where it has not been left."""
    again = flow.checkpoint and not flow.entry.open
    leaving = Leaving(flow.entry if again else None)
    with leaving, leaving:
        torch._C._set_grad_enabled(True)
        if again:
            attach(flow)
        yield


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


def _before(flow: ForwardPass, module: nn.Module, args: tuple, kwargs: dict, block: bool) -> tuple[tuple, dict] | None:
    flow.path.append(module)
    flow.streams.enter(module)
    if module is flow.model and len(flow.path) == 1:
        return flow.recorder.enter_model(args, kwargs)
    if block:
        args, kwargs = flow.recorder.enter_block(args, kwargs) or (args, kwargs)
        checkpointing.begin(flow, module, args, kwargs)
        return quantised.before(flow, module, args, kwargs) or (args, kwargs)
    return quantised.before(flow, module, args, kwargs)


def _after(flow: ForwardPass, module: nn.Module, args: tuple, kwargs: dict, output: Any, block: bool) -> Any:
    if module not in flow.path:
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
