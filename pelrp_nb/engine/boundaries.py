"""What is recorded while the model runs: the places where relevance will pass, and the inputs from which it came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from .context import Block, Context
from .numerics import by_place, dot
from .provenance import Note, note_of, write
from .saved import held
from .streams import SOUND
from .trace import Crossing, Kind, Visible

sequence = torch._C._autograd._get_sequence_nr    # the number of the next node of the graph


@dataclass
class Mark:
    """A boundary while the backward pass has not reached it (relevance None) or has (B, T)."""

    name: str
    kind: Kind
    layer: int | None
    stream: str
    depth: float
    node: Any = None                             # where in the graph it stands, for streams that meet
    number: int | None = None                    # the number of that node; None at a leaf
    relevance: Tensor | None = None


class Gaps(Protocol):
    """What is known of the account while the walk back runs."""

    def gap(self, mark: Mark) -> Tensor | None:
        """What the account lacks between the value and here, per row; None where that is not known yet."""

    def allowed(self, mark: Mark) -> Tensor:
        """How much of a gap is rounding there, per row."""


class Recorder:
    """Hangs on layers while the model runs forward; hears of relevance while it runs back."""

    def __init__(self, flow: Context) -> None:
        self.flow = flow
        self.marks: list[Mark] = []
        self.frames: dict[int, bool] = {}        # leaves of sound by identity: whether time is their last axis
        self.live = True                         # False: the walk may be begun again, so boundaries are told at its end
        self.heard: list[Mark] = []
        self.values: Sequence[Tensor] = ()       # what is explained
        self.visible: Sequence[Mapping[str, Visible]] = ()       # for each row, by stream, the places that are its own
        self.watch: Gaps | None = None           # the account during the walk, where somebody watches
        self.crossings: list[tuple[Mark, Tensor]] = []           # what layers read of other streams

    def clear(self, live: bool) -> None:
        """Forget what arrived; `live` tells boundaries as they come."""
        self.live, self.heard = live, []
        for mark in self.marks:
            mark.relevance = None

    def tell_held(self) -> None:
        """Tell the boundaries that were held back."""
        for mark in self.heard:
            self.tell(mark)

    def enter_model(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """The user's inputs as the engine sees them."""
        import inspect

        model = self.flow.model
        main = getattr(model, "main_input_name", None)
        names = list(inspect.signature(model.forward).parameters)
        main = main or (names[0] if names else "input")
        args = tuple(self.take(names[i] if i < len(names) else "", a, main) for i, a in enumerate(args))
        return args, {k: self.take(k, v, main) for k, v in kwargs.items()}

    def take(self, name: str, value: Any, main: str) -> Any:
        """One input; a leaf that it becomes belongs to the input's stream."""
        flow = self.flow
        inputs = flow.inputs
        before = len(inputs.tokens) + len(inputs.pixels)
        taken = take_input(flow, name, value, main)
        if len(inputs.tokens) + len(inputs.pixels) > before:
            leaf = (inputs.pixels if value.dim() == 4 else inputs.tokens)[-1]
            flow.stream_of[id(leaf)] = flow.streams.of_input(name)
            if name in SOUND or leaf.dim() == 2:                 # samples, one by one
                bins = getattr(getattr(flow.model, "config", None), "num_mel_bins", None)
                self.frames[id(leaf)] = leaf.dim() == 3 and leaf.shape[1] == bins
        return taken

    def enter_block(self, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        """A layer begins: its input is its stream; before the first one, relevance has reached the embeddings."""
        flow = self.flow
        stream = first_carrier((*args, *kwargs.values()))
        block = Block(flow.streams.begin_layer(), sequence())
        flow.blocks.append(block)
        if stream is None:
            return None
        if block.layer == 0:
            prefix = flow.streams.prefix
            self.hang(Mark(f"{prefix}embeddings", "embeddings", None, flow.streams.current, flow.depth - 1), stream, stream)
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
            self.crossings.append((mark, alias))
            return alias

        args, kwargs = tuple(map(seen, args)), {k: seen(v) for k, v in kwargs.items()}
        return (args, kwargs) if found else None

    def leave_block(self, output: Any) -> None:
        """A layer ends: what it hands on is a boundary."""
        flow = self.flow
        depth, block = flow.depth, flow.blocks.pop()
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

    def branch(self, kind: Kind, layer: int, branch: Tensor, out: Tensor) -> None:
        """A residual sum: what the branch contributed."""
        flow = self.flow
        name = f"{flow.streams.prefix}layer {layer} {kind}"
        if kind == "attention" and any(m.name == name for m in self.marks):
            name = f"{flow.streams.prefix}layer {layer} cross-attention"
        self.hang(Mark(name, kind, layer, flow.streams.current, flow.depth), branch, out)

    def hang(self, mark: Mark, x: Tensor, at: Tensor) -> None:
        """Record R(x) = x * g when the gradient g of `at` arrives."""
        if not (self.flow.options.ledger and torch.is_grad_enabled()):
            return
        value, flow = held(x), self.flow
        mark.node = at.grad_fn if flow.streams.several else None
        mark.number = at.grad_fn._sequence_nr() if at.grad_fn is not None else None

        def arrived(g: Tensor) -> None:
            R = dot(value(), g).sum(1).flatten(1) if g.dim() == 4 else by_place(value(), g)     # (B, C, H, W): places are tokens
            mark.relevance = R.reshape(R.shape[0], -1).detach()              # (B, T)
            if flow.options.watch is not None:
                self.hear(mark)

        at.register_hook(arrived)
        self.marks.append(mark)

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


def first_carrier(values: Any) -> Tensor | None:
    """The first tensor that carries, with a token axis."""
    for value in values:
        if isinstance(value, Tensor) and value.requires_grad and value.dim() >= 2:
            return value
    return None


def take_input(flow: Context, name: str, value: Any, main: str) -> Any:
    """A model input as the engine sees it: ids are marked, pixels and vectors become leaves; the user's tensor stays clean."""
    if not isinstance(value, Tensor):
        return value
    if value.is_floating_point() and (name == main or name in ("pixel_values", "inputs_embeds", "input_features")):
        flow.account.rows = value.shape[0]
        leaf = flow.leaf(value)
        (flow.inputs.pixels if leaf.dim() == 4 else flow.inputs.tokens).append(leaf)
        return write(leaf.clone(), Note(kind="pixels"))
    if value.is_floating_point() or value.dtype == torch.bool:
        return value.view(value.shape)                           # notes are written on the view
    if name == main or name.endswith("input_ids"):
        flow.account.rows = value.shape[0]
        return write(value.view(value.shape), Note(kind="ids"))
    if name == "position_ids":
        return write(value.view(value.shape), Note(kind="index"))
    return value
