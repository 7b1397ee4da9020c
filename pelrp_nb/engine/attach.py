"""Module hooks: they tell the engine where in the model it is, and where layers begin and end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from . import checkpointing, memory, per_place
from .forward_pass import ForwardPass
from .handlers import quantised
from .handlers.opaque_modules import activation_module
from .layers import layers
from .leaving import Leaving

KNOWN_BY_PARAMETERS = {nn.Linear, nn.Embedding, nn.LayerNorm, nn.Dropout, nn.Identity}  # need no hook to be named


def attach(flow: ForwardPass) -> None:
    """Hooks of this flow's entry on its model; `Entry.close` takes them down."""
    model, entry = flow.model, flow.entry
    entry.begin(model)
    blocks = layers(model)
    if flow.room is None and flow.options.checkpoint is None:
        flow.room = memory.Room(len(blocks))
    per_place.hang(flow, entry.before, per_place.entered)
    for module in entry.modules:
        if type(module) in KNOWN_BY_PARAMETERS and module is not model and "_hf_hook" not in vars(module):
            continue
        block = id(module) in blocks
        entry.before(module, _before_block if block else _before)
        entry.after(module, _after_block if block else _after)
    for module in entry.modules:
        if "_gradient_checkpointing_func" in vars(module):
            entry.instead(module, "_gradient_checkpointing_func")
    per_place.hang(flow, entry.after, per_place.left)


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


def _before(flow: ForwardPass, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
    flow.path.append(module)
    if module is flow.model and len(flow.path) == 1:
        return flow.recorder.enter_model(args, kwargs)
    return quantised.before(flow, module, args, kwargs)


def _before_block(flow: ForwardPass, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
    if module is flow.model and not flow.path:
        return _before(flow, module, args, kwargs)
    flow.path.append(module)
    args, kwargs = flow.recorder.enter_block(args, kwargs) or (args, kwargs)
    checkpointing.begin(flow, module, args, kwargs)
    return quantised.before(flow, module, args, kwargs) or (args, kwargs)


def _after(flow: ForwardPass, module: nn.Module, args: tuple, kwargs: dict, output: Any, block: bool = False) -> Any:
    if module not in flow.path:
        return None
    replaced = quantised.after(flow, module, output)
    while flow.path and flow.path.pop() is not module:
        pass
    if block:
        checkpointing.end(flow, module)
    if block and flow.blocks:
        flow.recorder.leave_block(output)
    return activation_module(flow, module, args, output) if replaced is None else replaced


def _after_block(flow: ForwardPass, module: nn.Module, args: tuple, kwargs: dict, output: Any) -> Any:
    return _after(flow, module, args, kwargs, output, block=True)
