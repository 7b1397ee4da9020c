"""What is recorded while the model runs: the places where relevance will pass, and the inputs from which it came."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol
from weakref import ref

import torch
from torch import Tensor, nn
from torch._C import DisableTorchFunction

from ..errors import InputError
from .context import Block, Context
from .depth import Depth
from .notes import Note, note_of, write
from .numerics import by_place, by_row, dot
from .places import credit
from .places.follow import copy_provenance, provenance_of
from .places.provenance import Provenance
from .places.roles import role_of
from .saved import held
from .shapes import carrier
from .signature import parameters_of
from .streams import SOUND
from .trace import Crossing, Kind, Visible

sequence = torch._C._autograd._get_sequence_nr  # the number of the next node of the graph


@dataclass
class Mark:
    """A boundary while the backward pass has not reached it (relevance None) or has (B, T).

    squares: sums of its squared entries, per row, where rounding is measured
    """

    name: str
    kind: Kind
    layer: int | None
    stream: str
    depth: Depth
    number: int | None = None  # of the node of the graph where it stands, which is not held: its hooks hold us; None at a leaf
    dtype: torch.dtype = torch.float32
    relevance: Tensor | None = None
    squares: Tensor | None = None


class Gaps(Protocol):
    """What is known of the account while the walk back runs."""

    def gap(self, mark: Mark) -> Tensor | None:
        """What the account lacks between the value and here, per row; None where that is not known yet."""

    def allowed(self, mark: Mark) -> Tensor:
        """How much of a gap is rounding there, per row."""


class Recorder:
    """Finds layer boundaries in the forward pass, and records their relevance in the backward pass, by hooks on tensors."""

    def __init__(self, flow: Context) -> None:
        self._flow = ref(flow)  # which holds this: without a circle all of it goes when the last one lets go
        self.marks: list[Mark] = []
        self.names: set[str] = set()  # of the marks
        self.frames: dict[int, bool] = {}  # leaves of sound by identity: whether time is their last axis
        self.calls = 0  # of the model, inside one `propagate`
        self.roles: dict[str, tuple[str, Any]] = {}  # of the arguments: role and value
        self.live = True  # False: the walk may be begun again, so boundaries are told at its end
        self.heard: list[Mark] = []
        self.values: Sequence[Tensor] = ()  # what is explained
        self.visible: Sequence[Mapping[str, Visible]] = ()  # for each row, by stream, the places that are its own
        self.watch: Gaps | None = None  # the account during the walk, where somebody watches
        self.crossings: list[tuple[Mark, int]] = []  # what layers read of other streams, and the number of its node
        self.measures = False  # whether rounding is measured

    @property
    def flow(self) -> Context:
        """The pass that is recorded."""
        flow = self._flow()
        assert flow is not None
        return flow

    def apart(self, flow: Context) -> Recorder:
        """The same state for another flow, with boundaries of its own."""
        twin = copy.copy(self)
        twin._flow = ref(flow)
        twin.marks, twin.heard, twin.crossings = [*self.marks], [*self.heard], [*self.crossings]
        twin.frames, twin.roles, twin.names = {**self.frames}, {**self.roles}, {*self.names}
        return twin

    def clear(self, live: bool) -> None:
        """Forget what arrived; `live` tells boundaries as they come."""
        self.live, self.heard = live, []
        for mark in self.marks:
            mark.relevance = mark.squares = None

    def tell_held(self) -> None:
        """Tell the boundaries that were held back."""
        for mark in self.heard:
            self.tell(mark)

    def enter_model(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """The user's inputs as the engine sees them, each in the role that its name has in `forward`."""
        names = named(self.flow.model)
        given = {names[i] if i < len(names) else f"input {i}": a for i, a in enumerate(args)} | kwargs
        given = {name: given[name] for name in sorted(given, key=lambda name: names.index(name) if name in names else len(names))}
        roles = {name: role_of(name, value, self.flow.role_of(name)) for name, value in tensors_in(given)}
        self.roles |= {name: (role, given[name]) for name, role in roles.items()}
        content = [name for name, role in roles.items() if role == "content"]
        if roles and not content and self.flow.options.roles:
            said = ", ".join(f"`{name}` is {role}" for name, role in roles.items())
            raise InputError(f"Nothing would be left to explain: {said}. Leave one as content.")
        self.calls += 1
        streams = {name: name if self.calls == 1 else f"{name} ({self.calls})" for name in content}
        if self.flow.streams.begin(list(streams.values())):
            self.rename(self.flow.streams.names[0])
        taken = {name: self.take(name, value, roles.get(name, "control"), streams.get(name, name)) for name, value in given.items()}
        positional = [names[i] if i < len(names) else f"input {i}" for i in range(len(args))]
        return tuple(taken[name] for name in positional), {k: taken[k] for k in kwargs}

    def rename(self, stream: str) -> None:
        """What was the only stream has a name, now that there are several."""
        flow = self.flow
        for mark in self.marks:
            mark.name, mark.stream = f"{stream} {mark.name}", stream
        self.names = {mark.name for mark in self.marks}
        for leaf in flow.inputs.sinks:
            leaf.stream = stream
        for met in flow.attentions:
            met.stream = stream
        for node in flow.routes.nodes if flow.routes is not None else ():
            node.stream = stream
        flow.stream_of.update({i: stream for i, name in flow.stream_of.items() if not name})

    def take(self, name: str, value: Any, role: str, stream: str) -> Any:
        """One input: content is told apart by place; floats become leaves of its stream; the user's tensor stays clean."""
        flow = self.flow
        if not isinstance(value, Tensor):
            return value
        if role != "content":
            out = flow.places.enter(stream, value.view(value.shape), role)
            return write(out, Note(source=name, counts=role == "positions")) if role in ("positions", "constant") else out
        if not (value.is_floating_point() or value.is_complex()):
            return flow.places.enter(stream, value.view(value.shape), role)
        leaf = flow.leaf(carrier(flow, value))
        flow.places.enter(stream, leaf, role)
        (flow.inputs.pixels if leaf.dim() == 4 else flow.inputs.tokens).append(leaf)
        flow.stream_of[id(leaf)] = flow.streams.of_input(stream)
        if name in SOUND or leaf.dim() == 2:  # samples, one by one
            bins = getattr(getattr(flow.model, "config", None), "num_mel_bins", None)
            self.frames[id(leaf)] = leaf.dim() == 3 and leaf.shape[1] == bins
        out = leaf.clone()
        copy_provenance(leaf, out)
        return write(out, Note(pixels=True))

    def enter_block(self, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        """A layer begins: its input is its stream; before the first one, relevance has reached the embeddings."""
        flow = self.flow
        with DisableTorchFunction():  # what is looked at is none of the model's operations
            stream = first_carrier((*args, *kwargs.values()))
            flow.streams.follow((stream,), flow.places.is_batch)
            block = Block(flow.streams.begin_layer(), sequence())
            flow.blocks.append(block)
            if stream is None:
                return None
            if block.layer == 0:
                current = flow.streams.current
                mark = Mark(f"{flow.streams.prefix}embeddings", "embeddings", None, current, flow.streams.start(current))
                self.hang(mark, stream, stream)
            note = note_of(flow, stream) or Note()
            note.stream = block
            write(stream, note)
        return self.crossing(block.layer, args, kwargs) if flow.streams.several else None

    def crossing(self, layer: int, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        """A layer that reads another stream's output: what it will draw from there is a boundary of that stream."""
        flow, found = self.flow, False

        def seen(x: Any) -> Any:
            nonlocal found
            other = flow.streams.reads(x) if isinstance(x, Tensor) else None
            if other is None:
                return x
            found = True
            alias = x.view(x.shape)
            mark = Mark(f"read by {flow.streams.prefix}layer {layer}", "cross", layer, other, flow.depth)
            self.hang(mark, alias, alias)
            self.crossings.append((mark, alias.grad_fn._sequence_nr()))
            return alias

        args, kwargs = tuple(map(seen, args)), {k: seen(v) for k, v in kwargs.items()}
        return (args, kwargs) if found else None

    def leave_block(self, output: Any) -> None:
        """A layer ends: what it hands on is a boundary."""
        flow = self.flow
        depth, block = flow.depth, flow.blocks.pop()
        if not flow.options.ledger:
            return
        with DisableTorchFunction():
            stream = first_carrier(output if isinstance(output, tuple | list) else (output,))
            if stream is not None:
                name = f"{flow.streams.prefix}layer {block.layer}"
                self.hang(Mark(name, "layer", block.layer, flow.streams.current, depth), stream, stream)

    def hear(self, mark: Mark) -> None:
        """A boundary was reached."""
        if self.live:
            self.tell(mark)
        else:
            self.heard.append(mark)

    def branch(self, kind: Kind, layer: int, branch: Tensor, at: Tensor) -> str:
        """A residual sum: what the branch contributed, when the gradient of `at` arrives; the name of the boundary."""
        flow = self.flow
        name = f"{flow.streams.prefix}layer {layer} {kind}"
        if kind == "attention" and name in self.names:
            name = f"{flow.streams.prefix}layer {layer} cross-attention"
        if flow.options.ledger:
            self.hang(Mark(name, kind, layer, flow.streams.current, flow.depth), branch, at)
        return name

    def hang(self, mark: Mark, x: Tensor, at: Tensor) -> None:
        """Record R(x) = x * g when the gradient g of `at` arrives."""
        if not (self.flow.options.ledger and torch.is_grad_enabled()):
            return
        value, flow = held(x), self.flow
        mark.number, mark.dtype = at.grad_fn._sequence_nr() if at.grad_fn is not None else None, x.dtype
        at.register_hook(partial(self.arrived, flow, mark, provenance_of(x), value))
        self.marks.append(mark)
        self.names.add(mark.name)

    def arrived(self, flow: Context, mark: Mark, known: Provenance | None, value: Callable[[], Tensor], g: Tensor) -> None:
        """The gradient g of a boundary has arrived."""
        x = value()
        mark.relevance = at_places(flow, known, x, g).detach()  # (B, T)
        if self.measures:
            R = dot(x, g)
            mark.squares = at_places(flow, known, R, R).detach().sum(1)
        if flow.options.watch is not None:
            self.hear(mark)

    def tell(self, mark: Mark) -> None:
        """Call `Options.watch` for each row of the batch, in order, padding left out."""
        relevance, visible, watch = mark.relevance.cpu(), self.visible, self.flow.options.watch
        assert watch is not None
        gap = self.watch.gap(mark) if self.watch is not None and self.live else None
        allowed = None if gap is None else self.watch.allowed(mark)
        for row in range(len(visible) or 1):
            R = relevance[row]
            cut = visible[row].get(mark.stream) if visible else None
            facts = (None, None) if gap is None or allowed is None else (float(gap[row]), float(allowed[row]))
            watch(Crossing(mark.name, mark.kind, mark.layer, R if cut is None else cut(R, 0), *facts))


def at_places(flow: Context, known: Provenance | None, x: Tensor, g: Tensor) -> Tensor:
    """x * g of a boundary summed to (rows, places), whatever the order of its axes."""
    moving = [] if known is None else list(known.moving())
    rows = flow.account.rows
    if moving:
        stream = next((m for m in moving if not flow.places.is_batch(m.key)), moving[0]).key.stream
        layout = credit.layout_of(known, g.dim(), stream, flow.places.place_axes(stream), flow.places.batch(stream))
        rows_first = rows == 1 or layout.rows is None or 0 in layout.rows.axes
        placed = any(not flow.places.is_batch(m.key) for m in moving)
        if not rows_first or (placed and (g.dim() != 3 or layout.axes not in ((0, 1), (1,)))):
            return credit.summed(dot(x, g), layout, rows)[0].sum(-1)
    R = dot(x, g).sum(1).flatten(1) if g.dim() == 4 else by_place(x, g)  # (B, C, H, W): places are tokens
    return by_row(R, rows).reshape(rows, -1)


def first_carrier(values: Any) -> Tensor | None:
    """The first tensor that carries, with a token axis."""
    for value in values:
        if isinstance(value, Tensor) and value.requires_grad and value.dim() >= 2:
            return value
    return None


# --- the user's inputs -----------------------------------------------------------------------------------------------


def named(model: nn.Module) -> list[str]:
    """The names of the arguments of a model's forward pass."""
    return [n for n, p in parameters_of(model).items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def tensors_in(given: Mapping[str, Any]) -> list[tuple[str, Tensor]]:
    """The arguments that are tensors."""
    return [(name, value) for name, value in given.items() if isinstance(value, Tensor)]
