"""Gradient checkpointing: a layer's saved tensors are dropped and rematerialised in the backward pass, the same to the bit.

The graph of the forward pass stays as it is, with its hooks, sinks and leaves; only the tensors that a layer saved are dropped when
it ends.  The first of them that is needed makes the layer run again, under the same rules, in a flow of its own: nothing is booked
twice, no sink is found twice, and what the second run saves, in the same order, is what the first run saved.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch._C import DisableTorchFunction
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import tree_leaves

from ..errors import ModelError
from .boundaries import first_carrier
from .context import Steps
from .edges import RouteRecord
from .forward_pass import ForwardPass
from .leaving import Leaving, autocast
from .notes import Note, note_of, write
from .projections import Projections
from .saved import Kept, Slot, flows, here, stack


class Layer:
    """One run of a checkpointed layer: its saved tensors are dropped at its end, and rematerialised when the first is wanted."""

    def __init__(self, flow: ForwardPass, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self.module, self.args, self.kwargs = module, args, kwargs
        self.flow = apart(flow)
        self.slots: list[ref[Slot]] = []
        self.autocast = [
            (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
            for kind in {"cpu", *(x.device.type for x in self.tensors())} - {"meta"}
        ]
        self.versions = [x._version for x in self.tensors()]
        self.running, self.pinned = True, False

    def tensors(self) -> list[Tensor]:
        """What the layer was given."""
        return [x for x in tree_leaves((self.args, self.kwargs)) if isinstance(x, Tensor) and not x.is_inference()]

    def save(self, x: Tensor) -> Slot | Tensor:
        """Keep a tensor until the layer ends; a single number for good."""
        if x.numel() <= 1 or not self.running:
            return x.detach()
        slot = Slot(self, x)
        self.slots.append(ref(slot))
        return slot

    def enter(self) -> None:
        """The layer begins."""
        here.layers = (*stack(), self)
        saved_tensors_hooks(self.save, lambda kept: kept.take() if isinstance(kept, Slot) else kept).__enter__()

    def leave(self) -> None:
        """The layer ends: let go, unless it has written into its own input and so cannot be run again."""
        torch._C._autograd._pop_saved_tensors_default_hooks()
        here.layers = tuple(x for x in stack() if x is not self)
        self.running = False
        self.pinned = self.versions != [x._version for x in self.tensors()]
        for slot in filter(None, (s() for s in self.slots)):
            slot.value = slot.value.detach() if self.pinned and slot.value is not None else None

    def again(self) -> None:
        """Rematerialise: run the layer once more, and fill every slot that somebody still wants.

        Raises ModelError if the layer does not do the same again.
        """
        made = Made()
        flow = apart(self.flow)
        block = copy.copy(flow.blocks[-1])
        flow.blocks[-1] = block
        flow.projections = Projections(wanted=False)  # what is what was seen in the first run
        leaving = Leaving()
        with leaving, leaving:
            torch._C._set_grad_enabled(True)
            autocast(self.autocast, cache=False)
            here.layers, here.flows = (*stack(), made), (*flows(), flow)
            flow.__enter__()
            saved_tensors_hooks(made.save, made.get).__enter__()
            self.mark(block)
            self.module.forward(*self.args, **self.kwargs)
        tensors = made.let_go()  # the second run's own graph must not keep them
        wanted = [s() for s in self.slots]
        if len(wanted) != len(tensors) or any(s is not None and s.like != (x.shape, x.dtype) for s, x in zip(wanted, tensors, strict=True)):
            raise ModelError(
                f"`{flow.place}` did not repeat itself when it was run again in the backward pass; it keeps a state of its own. "
                "Type Options(checkpoint=False), and model.gradient_checkpointing_disable()."
            )
        for slot, x in zip(wanted, tensors, strict=True):
            if slot is not None:
                slot.value = x.detach()

    def mark(self, block: Any) -> None:
        """The layer's input is its stream, as in the first run."""
        stream = first_carrier((*self.args, *self.kwargs.values()))
        if stream is not None:
            note = note_of(self.flow, stream) or Note()
            note.stream = block
            write(stream, note)


class Made:
    """The saved tensors of a rematerialisation, all of them until it ends."""

    def __init__(self) -> None:
        self.tensors: list[Kept] = []

    def save(self, x: Tensor) -> Any:
        """A place for the tensor; a single number needs none."""
        if x.numel() <= 1:
            return x.detach()
        self.tensors.append(Kept(x))
        return self.tensors[-1]

    def get(self, kept: Any) -> Tensor:
        """What is in its place."""
        return kept.take().detach() if isinstance(kept, Kept) else kept

    def let_go(self) -> list[Tensor]:
        """All of them, kept by nobody here from now on: who asks for one later asks in vain."""
        tensors = [x.take() for x in self.tensors]
        for x in self.tensors:
            x.value = None
        return tensors


def apart(flow: ForwardPass) -> ForwardPass:
    """A copy of the pass for a rematerialisation: where it is, it is again; what it books, finds and refuses is its own.

    The model, the rules, and what is known of both, of the inputs' places and of the graph are shared.
    """
    twin = copy.copy(flow)
    twin.path, twin.blocks, twin.inside, twin.aside = [*flow.path], [*flow.blocks], [*flow.inside], [*flow.aside]
    twin.leaves, twin.stream_of, twin.attentions = {**flow.leaves}, {**flow.stream_of}, [*flow.attentions]
    twin.handled, twin.refused, twin.steps, twin.candidates, twin.passing, twin.open = [], [], Steps(), [], {}, []
    twin.shared = {}
    twin.account = copy.copy(flow.account)
    twin.account.clear()
    twin.routes = None if flow.routes is None else RouteRecord()
    twin.inputs, twin.streams, twin.recorder = flow.inputs.apart(), flow.streams.apart(), flow.recorder.apart(twin)
    return twin


# --- layers of the model ---------------------------------------------------------------------------------------------


def theirs(modules: Iterable[nn.Module]) -> bool:
    """Whether transformers' own gradient checkpointing is on."""
    return any(m.training and getattr(m, "gradient_checkpointing", False) for m in modules)


def begin(flow: ForwardPass, module: nn.Module, args: tuple, kwargs: dict) -> None:
    """A layer begins: checkpoint it where that is asked for, or where memory is short, unless this is a rematerialisation."""
    if flow.planning or any(isinstance(x, Made) for x in stack()):
        return
    if flow.room is not None and not flow.checkpoint:
        with DisableTorchFunction():  # what is looked at is none of the model's operations
            stream = first_carrier((*args, *kwargs.values()))
            flow.checkpoint = stream is not None and flow.room.is_short(stream)
    if flow.checkpoint:
        layer = Layer(flow, module, args, kwargs)
        layer.enter()
        flow.open.append(layer)


def end(flow: ForwardPass, module: nn.Module) -> None:
    """A layer ends, and those inside it that have not, after an exception."""
    while any(layer.module is module for layer in flow.open):
        layer = flow.open.pop()
        layer.leave()
        if layer.module is module:
            return
