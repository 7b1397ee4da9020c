"""Where relevance may be let through in part: linear maps and residual sums of what `Options.only` names, as the model runs.

Which of them is meant is known when the forward pass has ended, for what follows an attention is seen only then; the gates of the walk
back are `gates.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import InputError
from ..depth import Depth
from ..forward_pass import ForwardPass
from ..layers import holds_experts, layers
from ..leaves import Leaf
from ..notes import carries, note_of
from ..only import Condition
from ..places.provenance import Provenance

sequence = torch._C._autograd._get_sequence_nr


@dataclass(frozen=True, eq=False)
class Candidate:
    """A linear map in a layer of which something is kept, or a residual sum.

    at:        its input, (B, T, features), or the sum; number: of the node that it is made by, so that what has a greater one came later
    attention: the number of the attention that it follows, None where it follows none; heads: how many that has
    node:      the number of its first node in the graph
    expert:    whether it is a part of experts, or beside them
    depth:     of the layer; met, sinks: how many leaves there were before, and which sinks
    total:     the name of the sum, "" where it is none; known: where its places are
    """

    layer: str
    at: Tensor
    number: int
    attention: int | None
    heads: int
    node: int
    expert: bool
    depth: Depth
    met: int
    sinks: frozenset[Leaf]
    total: str = ""
    known: Provenance | None = None


def listen(flow: ForwardPass) -> None:
    """Hooks on the linear maps of the model, for this flow alone; none if there is no condition."""
    wanted = {c.layer for c in (*flow.conditions, *flow.asked) if c.kind != "places"}
    blocks = layers(flow.model) if wanted else set()

    def before(running: ForwardPass, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        if running is not flow or not flow.blocks or flow.where_am_i() not in wanted or not args or not carries(args[0]):
            return None
        attention = flow.projections.follows(args[0], flow.began, through=False)
        inside = max((i for i, m in enumerate(flow.path) if id(m) in blocks), default=-1) + 1
        expert = any(map(holds_experts, flow.path[inside:]))
        x = args[0].view(args[0].shape)  # of its own, so that no hook of another operation is heard twice
        heads = 0 if attention is None else flow.projections.attended[attention]
        at, met, sinks = x.grad_fn._sequence_nr(), len(flow.leaves), frozenset(flow.inputs.sinks)
        flow.candidates.append(Candidate(flow.where_am_i(), x, at, attention, heads, sequence(), expert, flow.depth, met, sinks))
        return (x, *args[1:]), kwargs

    for module in flow.model.modules() if wanted else ():
        if is_linear(module):
            flow.entry.before(module, before)


def is_linear(module: nn.Module) -> bool:
    """Whether a module is one linear map, however it writes its weight."""
    weight = module._parameters.get("weight")
    return weight is not None and weight.dim() == 2 and not isinstance(module, nn.Embedding)


def summed(flow: ForwardPass, name: str, out: Tensor, known: Provenance | None) -> Tensor:
    """A residual sum: where a condition names it, what goes on is a copy, so that nobody writes into what the gate stands at."""
    layer = flow.where_am_i() if flow.conditions else ""
    if not any(c.kind == "places" and c.layer in (name, layer) for c in flow.conditions):
        return out
    at = out.view(out.shape)  # heard after all that listens at the sum
    met, sinks = len(flow.leaves), frozenset(flow.inputs.sinks)
    number = at.grad_fn._sequence_nr()
    flow.candidates.append(Candidate(layer, at, number, None, 0, number, False, flow.depth, met, sinks, name, known))
    return at.clone()


def remember(flow: ForwardPass, args: Iterable[Any]) -> None:
    """Copy what an operation takes that was made before the last candidate: if there is a gate, its relevance leads past it."""
    last = flow.candidates[-1].number
    for x in args:
        if isinstance(x, list | tuple):
            remember(flow, x)
        if not isinstance(x, Tensor) or not x.requires_grad:
            continue
        note = note_of(flow, x)
        origin = None if note is None or note.origin is None else note.origin.ref()  # of which a chain of functions is taken at once
        for y in (x,) if origin is None else (x, origin):
            number = last if y.grad_fn is None else y.grad_fn._sequence_nr()
            if number < last and (number, y.output_nr) not in flow.passing:
                flow.passing[number, y.output_nr] = y.detach().clone()  # it may be written into


def meant(flow: ForwardPass, condition: Condition) -> Candidate | None:
    """The linear map into which go the heads of a layer's first attention (or of its second), or its MLP's neurons: the last such.

    Of places the residual sum of that name, or the last of the layer.
    """
    if condition.kind == "places":
        return next((c for c in reversed(flow.candidates) if c.total and condition.layer in (c.total, c.layer)), None)
    here = [c for c in flow.candidates if c.layer == condition.layer and not c.total]
    if condition.kind == "neurons":
        free = [c for c in here if c.attention is None and not flow.projections.is_projection(c.node)]
        return next((c for c in reversed(free) if not c.expert), None) if len(free) > 1 else None
    here = [c for c in here if c.heads and c.at.shape[-1] % c.heads == 0]
    attentions = list(dict.fromkeys(c.attention for c in here))
    wanted = attentions[:1] if condition.kind == "heads" else attentions[1:2]
    return next((c for c in reversed(here) if c.attention in wanted), None)


def part_of(flow: ForwardPass, condition: Condition) -> Tensor:
    """The tensor that holds the heads or neurons of a layer, (B, T, features). Raises InputError where the model shows none."""
    found = meant(flow, condition)
    if found is None:
        raise InputError(
            f"The model shows no {condition.kind} of {condition.layer}; layers are called as in the ledger, experts keep theirs hidden. "
            'Type target.neuron("layer 0", 5).'
        )
    return found.at
