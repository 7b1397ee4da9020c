"""Conditional relevance: what passes through some heads of a layer, or some of its neurons or places, and through nothing else.

A gate stands where the heads' outputs (B, T, H d) enter their output projection, or the hidden neurons (B, T, N) the last linear map
of the MLP; that of places at a residual sum.  It lets the relevance of the chosen part go on; where an edge of the graph leads past it,
from an operation that came after it to a tensor made before it, nothing goes on.  Both are booked by name, so one walk back has the
whole account.  What lies before is linear in what goes on, so the parts of all heads add up to what passes through the attention.
(Achtibat et al. 2023, concept relevance)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._C import DisableTorchFunction
from torch.autograd.graph import GradientEdge

from ...errors import InputError
from ..boundaries import at_places
from ..depth import Depth
from ..forward_pass import ForwardPass
from ..numerics import dot, visible
from ..only import HOW, Condition
from .conditional import Candidate, meant

Walk = Callable[..., tuple]


@dataclass(frozen=True, eq=False)
class Gate:
    """Where the chosen heads, neurons or places of one layer are let through."""

    condition: Condition
    where: Candidate

    def mask(self, flow: ForwardPass) -> Tensor:
        """1 where the relevance goes on, (features,), of places as large as the sum; InputError for a part that is not there."""
        at, which = self.where.at, list(self.condition.which)
        if self.condition.kind == "places":
            return self.places(flow, at.detach())
        parts = self.where.heads or at.shape[-1]
        self.must_be_below(parts)
        kept = torch.zeros(parts, device=at.device, dtype=at.dtype)
        kept[which] = 1
        return kept.repeat_interleave(at.shape[-1] // parts)

    def places(self, flow: ForwardPass, at: Tensor) -> Tensor:
        """Sums over features turned round: what each entry adds to the chosen places, each row's own counted without its padding."""
        with torch.enable_grad(), DisableTorchFunction():  # operations of ours
            entries = torch.zeros_like(at, requires_grad=True)
            sums = at_places(flow, self.where.known, torch.ones_like(at), entries)  # (B, T)
            kept, stream = torch.zeros_like(sums), flow.streams.names[self.where.depth.stream]
            for row, own in enumerate(kept):
                numbers = torch.arange(len(own), device=own.device)
                if flow.recorder.visible and (cut := flow.recorder.visible[row].get(stream)) is not None:
                    numbers = cut(numbers, 0)
                self.must_be_below(len(numbers))
                own[numbers[list(self.condition.which)]] = 1
            return torch.autograd.grad(sums, entries, kept)[0]

    def must_be_below(self, parts: int) -> None:
        """InputError for a number of a part that is not there."""
        given = self.condition
        if not all(0 <= n < parts for n in given.which):
            came = ", ".join(map(str, given.which))
            raise InputError(f"{given.kind} of {given.layer} must lie between 0 and {parts - 1}, got {came}. Type another.")

    def let(self, flow: ForwardPass, mask: Tensor, g: Tensor) -> Tensor:
        """The gradient of what goes on; the rest is booked."""
        if flow.options.ledger:
            others = dot(self.where.at.detach(), g) * (1 - mask)
            self.book(flow, f"other {self.condition.kind} of", self.where.depth, others)
        return g * mask

    def book(self, flow: ForwardPass, what: str, depth: Depth, R: Tensor) -> None:
        """Relevance that does not go on here."""
        flow.account.add("constants", f"not kept: {what} {self.condition.layer}", depth, flow.account.sums(R))


@dataclass(frozen=True, eq=False)
class Edge:
    """An edge of the graph that leads past a gate: the `index`-th of its node.

    end:   where it leads; value: of what was made there, None where no operation was seen to take it (the ledger then has a gap)
    what, depth: as which its relevance is booked
    """

    index: int
    gate: Gate
    end: GradientEdge | Tensor
    value: Tensor | None
    what: str
    depth: Depth


def gates_of(flow: ForwardPass) -> list[Gate]:
    """A gate for each condition, in the order of the forward pass.

    Raises InputError for a condition that the model shows nothing of.
    """
    found = []
    for condition in flow.conditions:
        where = meant(flow, condition)
        if where is None:
            what = f"{condition.kind} of {condition.layer}"
            raise InputError(f"The model shows no {what}; experts, and attention in one call of torch, keep theirs hidden. {HOW}")
        found.append(Gate(condition, where))
    return sorted(found, key=lambda gate: gate.where.number)


def through(flow: ForwardPass, targets: list[Tensor], leaves: list[Tensor], seeds: list[Tensor], keep: bool, walk: Walk) -> tuple:
    """The gradients of `leaves`, of what passes through every gate; the rest is booked by name.

    `walk(flow, targets, leaves, seeds, keep)` is the backward pass.
    """
    gates = gates_of(flow)
    masks = [gate.mask(flow) for gate in gates]
    reached, past = cut(flow, gates, targets)
    for gate in gates:
        if gate.where.at.grad_fn not in reached:
            raise InputError(f"The target does not depend on {gate.condition.layer}, so nothing passes through it. {HOW}")
    ends = {id(node.variable) for node in reached if hasattr(node, "variable")}
    wanted = [x for x in leaves if id(x) in ends]
    hooks: list[Any] = []
    try:
        hooks += [gate.where.at.register_hook(partial(gate.let, flow, mask)) for gate, mask in zip(gates, masks, strict=True)]
        hooks += [node.register_hook(partial(stop, flow, edges)) for node, edges in past.items()]
        found = walk(flow, targets, [*wanted, *(edge.end for edges in past.values() for edge in edges)], seeds, keep)
    finally:
        for hook in hooks:
            hook.remove()
    gradients = {id(x): g for x, g in zip(wanted, found, strict=False) if g is not None}
    put_aside(flow, gates, gradients)
    crossed = {number for _, number in flow.recorder.crossings}
    stopped = {node for node in past if node._sequence_nr() in crossed}
    numbers = {None, *(node._sequence_nr() for node in reached - stopped)}
    for mark in flow.recorder.marks:  # nothing of what was let through has come to the others
        mark.relevance = mark.relevance if mark.number in numbers else None
    return tuple(gradients.get(id(x)) for x in leaves)


def cut(flow: ForwardPass, gates: Sequence[Gate], targets: Sequence[Tensor]) -> tuple[set[Any], dict[Any, list[Edge]]]:
    """The nodes that the targets reach where no edge leads past a gate; and those edges, by the node that they lead from."""
    order = {id(x): i for i, x in enumerate(flow.leaves.values())}
    crossings = {number: mark.depth for mark, number in flow.recorder.crossings}
    reached: set[Any] = set()
    past: dict[Any, list[Edge]] = {}
    todo: list[Any] = [value.grad_fn for value in targets]
    while todo:
        node = todo.pop()
        if node is None or node in reached:
            continue
        reached.add(node)
        number = node._sequence_nr()
        before = [gate for gate in reversed(gates) if gate.where.number < number]
        for i, (end, k) in enumerate(node.next_functions):
            leaf = getattr(end, "variable", None) if before else None
            gate = next((gate for gate in before if end is not None and passes(end, leaf, gate.where, order)), None)
            if gate is None:
                todo.append(end)
                continue
            value = leaf.detach() if leaf is not None else flow.passing.get((end._sequence_nr(), k))
            what = "another stream after" if number in crossings else f"past the {gate.condition.kind} of"
            edge = Edge(i, gate, GradientEdge(end, k) if leaf is None else leaf, value, what, crossings.get(number, gate.where.depth))
            past.setdefault(node, []).append(edge)
    return reached, past


def passes(end: Any, leaf: Tensor | None, gate: Candidate, order: dict[int, int]) -> bool:
    """Whether an edge from a node that was made after a gate leads past it: to a node or leaf that was there before."""
    return end._sequence_nr() < gate.number if leaf is None else order.get(id(leaf), gate.met) < gate.met


def stop(flow: ForwardPass, edges: Sequence[Edge], given: tuple[Tensor | None, ...], _: Any) -> tuple[Tensor | None, ...]:
    """What a node hands to its edges, nothing to those that lead past a gate: that is booked."""
    found = list(given)
    for edge in edges:
        g = given[edge.index]
        if g is None:
            continue
        if flow.options.ledger and edge.value is not None:
            edge.gate.book(flow, edge.what, edge.depth, visible(edge.value, g))
        found[edge.index] = torch.zeros_like(g)
    return tuple(found)


def put_aside(flow: ForwardPass, gates: Sequence[Gate], gradients: dict[int, Tensor]) -> None:
    """Book relevance that leaves got without passing the last gate before them, and take it away from them."""
    order = {id(x): i for i, x in enumerate(flow.leaves.values())}
    entries = [("tokens", flow.streams.start(flow.stream_of[id(x)]), x) for x in flow.inputs.tokens]
    entries += [("positions", leaf.depth, leaf.tensor) for leaf in flow.inputs.sinks if leaf.tensor is not None]
    entries += [("constants", depth, x) for _, depth, x in flow.inputs.constants]
    for what, depth, x in entries:
        gate = next((g for g in reversed(gates) if order[id(x)] >= g.where.met), None)
        if gate is not None and id(x) in gradients:
            gate.book(flow, f"{what} after", depth, visible(x.detach(), gradients.pop(id(x))))
    for leaf in flow.inputs.sinks:
        gate = next((g for g in reversed(gates) if leaf not in g.where.sinks), None)
        if gate is not None and leaf.columns:
            gate.book(flow, "positions after", leaf.depth, leaf.columns["signed"] * flow.power)
            leaf.forget()
