"""From the target back: boundaries recorded on the way, leaves read at the end, the ledger closed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import InputError, RuleError
from ..ledger import TOLERANCE, Ledger
from . import positions, seed
from .account import better, by_place, dot, exact
from .checkpoint import held
from .notes import Note, note_of, write
from .trace import Boundary, Kind, Trace

if TYPE_CHECKING:
    from .propagation import Flow


@dataclass
class Mark:
    """A boundary while the backward pass has not reached it (relevance None) or has."""

    name: str
    kind: Kind
    layer: int | None
    relevance: Tensor | None = None

    def boundary(self) -> Boundary:
        """What arrived, for the first row of the batch."""
        return Boundary(self.name, self.kind, self.layer, self.relevance[0].cpu())


class Recorder:
    """Hangs on layers while the model runs forward; hears of relevance while it runs back."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.marks: list[Mark] = []
        self.live = True                         # False: the walk may be begun again, so boundaries are told at its end
        self.heard: list[Mark] = []

    def clear(self, live: bool) -> None:
        """Forget what arrived; `live` tells boundaries as they come."""
        self.live, self.heard = live, []
        for mark in self.marks:
            mark.relevance = None

    def tell(self) -> None:
        """Tell the boundaries that were held back."""
        for mark in self.heard:
            self.flow.options.watch(mark.boundary())

    def enter_model(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """The user's inputs as the engine sees them."""
        import inspect

        model = self.flow.model
        main = getattr(model, "main_input_name", None)
        names = list(inspect.signature(model.forward).parameters)
        main = main or (names[0] if names else "input")
        args = tuple(
            positions.take_input(self.flow, names[i] if i < len(names) else "", a, main) for i, a in enumerate(args)
        )
        return args, {k: positions.take_input(self.flow, k, v, main) for k, v in kwargs.items()}

    def enter_block(self, args: tuple, kwargs: dict) -> None:
        """A layer begins: its input is its stream; before the first one, relevance has reached the embeddings."""
        from .propagation import Block

        flow = self.flow
        stream = first_carrier((*args, *kwargs.values()))
        block = Block(flow.calls)
        flow.calls += 1
        flow.blocks.append(block)
        if stream is None:
            return
        if block.layer == 0:
            self.hang(Mark("embeddings", "embeddings", None), stream, stream)
        note = note_of(flow, stream) or Note()
        note.stream = block
        write(stream, note)

    def leave_block(self, output: Any) -> None:
        """A layer ends: what it hands on is a boundary."""
        block = self.flow.blocks.pop()
        stream = first_carrier(output if isinstance(output, tuple | list) else (output,))
        if stream is not None:
            self.hang(Mark(f"layer {block.layer}", "layer", block.layer), stream, stream)

    def hear(self, mark: Mark) -> None:
        """A boundary was reached."""
        if self.live:
            self.flow.options.watch(mark.boundary())
        else:
            self.heard.append(mark)

    def branch(self, kind: Kind, layer: int, branch: Tensor, out: Tensor) -> None:
        """A residual sum: what the branch contributed."""
        self.hang(Mark(f"layer {layer} {kind}", kind, layer), branch, out)

    def hang(self, mark: Mark, x: Tensor, at: Tensor) -> None:
        """Record R(x) = x * g when the gradient g of `at` arrives."""
        if not self.flow.options.ledger:
            return
        value, flow = held(x), self.flow

        def arrived(g: Tensor) -> None:
            R = dot(value(), g).sum(1).flatten(1) if g.dim() == 4 else by_place(value(), g)     # (B, C, H, W): places are tokens
            mark.relevance = R.reshape(R.shape[0], -1).detach()              # (B, T)
            if flow.options.watch is not None:
                self.hear(mark)

        at.register_hook(arrived)
        self.marks.append(mark)


def first_carrier(values: Any) -> Tensor | None:
    """The first tensor that carries, with a token axis."""
    for value in values:
        if isinstance(value, Tensor) and value.requires_grad and value.dim() >= 2:
            return value
    return None


# --- the audit of the graph ------------------------------------------------------------------------------------------


def audit_graph(flow: Flow, value: Tensor) -> tuple[str, ...]:
    """Refuse every node on the way that no handler made; the names of those that the composite accepts."""
    ends = [end for _, end in flow.handled]
    starts = [start for start, _ in flow.handled]
    import bisect

    strangers: dict[str, None] = {}
    seen, todo = set(), [value.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        todo += [n for n, _ in node.next_functions]
        number = node._sequence_nr()
        at = bisect.bisect_right(starts, number) - 1
        inside = at >= 0 and number < ends[at]
        if inside or node.name() == "torch::autograd::AccumulateGrad" or is_linear(node):
            continue
        refused = next((where for start, end, where in flow.refused if start <= number < end), None)
        strangers[refused or f"`{node.name()}`, made where the engine does not see,"] = None
    found = tuple(strangers)
    if found and flow.composite.unknown == "refuse":
        raise RuleError(
            f"No rule for {found[0]}: its relevance would be a plain gradient, which conserves nothing. "
            "Add it to pelrp_nb/engine/operations.py, or accept that: "
            'dataclasses.replace(composite, unknown="gradient").'
        )
    return found


STRUCTURE = {
    "Select", "Slice", "Index", "View", "UnsafeView", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "T", "Permute", "Expand",
    "Clone", "ToCopy", "Alias", "Gather", "Sum", "Mean", "Neg", "Add", "Sub", "Cat", "Stack", "Unbind", "Split", "CopySlices",
    "Copy", "Max", "Amax",
}  # fmt: skip


def is_linear(node: Any) -> bool:
    """Whether a node nobody made is linear all the same: a target picked from the output, a difference of two."""
    kind = node.name().rstrip("0123456789").removesuffix("Backward")
    carriers = sum(n is not None for n, _ in node.next_functions)
    return kind in STRUCTURE or (kind in ("Mul", "Div") and carriers == 1)


# --- the walk back ---------------------------------------------------------------------------------------------------


def backward(flow: Flow, value: Tensor, keep: bool) -> Trace:
    """One backward pass from a scalar; everything it met as plain data."""
    from .propagation import refuse_foreign

    refuse_foreign(value)
    unknown = audit_graph(flow, value)
    inputs = flow.inputs
    leaves = [*inputs.tokens, *inputs.pixels, *(s.tensor for s in inputs.sinks), *(c for _, _, c in inputs.constants)]
    if not leaves:
        raise InputError("No input was seen inside the `with`; call the model there, with input_ids, pixel_values or vectors.")
    start = float(value.detach()) if flow.composite.start == "value" else float(flow.composite.start)
    gradients = seed.walk(flow, [value], leaves, keep)
    for name, depth, leaf in inputs.constants:
        if id(leaf) in gradients:
            flow.account.add("constants", name, depth, flow.account.by_row(dot(leaf.detach(), gradients[id(leaf)])))
    return assemble(flow, gradients, start, unknown, str(value.dtype).split(".")[-1])


def assemble(flow: Flow, gradients: dict[int, Tensor], start: float, unknown: tuple[str, ...], dtype: str) -> Trace:
    """Leaves, boundaries and keepers as one Trace of the whole batch."""
    inputs, rows = flow.inputs, flow.account.rows
    tokens = gather(inputs.tokens or inputs.pixels[:1], gradients)
    for bound in inputs.pixels[1:]:
        tokens = tokens + gather([bound], gradients)
    T = tokens.shape[1] if inputs.tokens else positions_in(inputs.sinks)
    sinks, columns = positions.summarise(inputs.sinks, gradients, rows, T)
    flat = tokens.flatten(2) if tokens.dim() > 3 else tokens
    reductions = {f"positional.{k}": squeeze(v) for k, v in columns.items() if k != "signed"}
    reductions["semantic.positive"] = squeeze(flat.clamp(min=0).sum(-1))
    reductions["semantic.l2"] = squeeze(flat.norm(dim=-1))
    ledger = close(flow, start, tokens, columns["signed"], gradients, unknown, dtype)
    gaps = dict(ledger.layers)
    boundaries = tuple(
        Boundary(m.name, m.kind, m.layer, squeeze(m.relevance.cpu()), gaps.get(m.name))
        for m in flow.recorder.marks
        if m.relevance is not None
    )
    detail = positions.detail(inputs.sinks, gradients) if flow.options.detail else {}
    return Trace(squeeze(tokens).cpu(), sinks, squeeze(columns["signed"]).cpu(), {k: v.cpu() for k, v in reductions.items()},
                 boundaries, ledger, detail)  # fmt: skip


def gather(leaves: list[Tensor], gradients: dict[int, Tensor]) -> Tensor:
    """x * g of the input leaves, further look-ups of the same tokens beside each other along the features."""
    parts = [dot(x.detach(), gradients[id(x)]) if id(x) in gradients else torch.zeros_like(better(x.detach())) for x in leaves]
    same = [p for p in parts if p.shape[:2] == parts[0].shape[:2]]
    return same[0] if len(same) == 1 else torch.cat([p.flatten(2) for p in same], -1)


def positions_in(sinks: list[positions.Leaf]) -> int:
    """The number of positions of the first sink; 0 without one."""
    return sinks[0].tensor.shape[-2] if sinks else 0


def squeeze(x: Tensor) -> Tensor:
    """The only row of a batch of one; a larger batch keeps its rows."""
    return x[0] if x.shape[0] == 1 else x


def close(
    flow: Flow, start: float, tokens: Tensor, positional: Tensor, gradients: dict[int, Tensor], unknown: tuple[str, ...], dtype: str
) -> Ledger:
    """The ledger, and the running gap at every layer boundary."""
    amounts = {key: float(exact(v).sum()) for key, v in flow.account.amounts.items()}
    by: dict[str, dict[str, float]] = {"constants": {}, "softmax": {}, "stabilisers": {}}
    for (category, name, _), amount in amounts.items():
        by[category][name] = by[category].get(name, 0.0) + amount
    layers = running(flow, start, amounts, gradients)
    return Ledger(
        value=start, tokens=float(exact(tokens).sum()), positions=float(exact(positional).sum()),
        constants=by["constants"], softmax=dict(sorted(by["softmax"].items(), key=natural)),
        stabilisers=sum(by["stabilisers"].values()),
        scale=float(exact(tokens).abs().sum() + exact(positional).abs().sum()),
        tolerance=TOLERANCE.get(dtype, 1e-1), audited=flow.audited, layers=layers, unknown=unknown,
    )  # fmt: skip


def natural(item: tuple[str, float]) -> tuple:
    """Layer 2 before layer 10."""
    return tuple(int(w) if w.isdigit() else -1 for w in item[0].split()), item[0]


def running(flow: Flow, start: float, amounts: dict[Any, float], gradients: dict[int, Tensor]) -> dict[str, float]:
    """At each layer boundary, from the value back: start - R(boundary) - all that was kept behind it."""
    kept = [(depth, amount) for (_, _, depth), amount in amounts.items()]
    for leaf in flow.inputs.sinks:
        if id(leaf.tensor) in gradients:
            kept.append((leaf.depth, float(exact(dot(leaf.tensor.detach(), gradients[id(leaf.tensor)])).sum())))
    found: dict[str, float] = {}
    for mark in reversed(flow.recorder.marks):
        if mark.kind in ("layer", "embeddings") and mark.relevance is not None:
            here = -1 if mark.layer is None else mark.layer
            behind = sum(amount for depth, amount in kept if depth > here)
            found[mark.name] = start - float(exact(mark.relevance).sum()) - behind
    return found
