"""Conditional relevance: what passes through some heads of a layer, or some of its neurons, and through nothing else.

The walk back stops where the heads' outputs (B, T, H d) enter their output projection, or the hidden neurons (B, T, N) the last
linear map of the MLP; the chosen part goes on from there, everything else is booked by name.  Everything behind is linear in what
goes on, so the parts of all heads add up to what passes through the attention.  (Achtibat et al. 2023, concept relevance)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import InputError
from ..depth import Depth
from ..forward_pass import ForwardPass
from ..layers import holds_experts, layers
from ..numerics import dot, visible
from ..only import HOW, Condition
from ..notes import carries

sequence = torch._C._autograd._get_sequence_nr
Walk = Callable[..., tuple]


@dataclass(eq=False)
class Stop:
    """A gate of the backward pass: the tensor of which heads or neurons are kept, how many it has, and how many leaves came before."""

    condition: Condition
    at: Tensor
    parts: int
    depth: Depth
    mark: str
    met: int

    def boundary(self, flow: ForwardPass) -> Tensor | None:
        """(B, T) relevance at the end of the layer, once the walk back has been there."""
        return next((m.relevance for m in flow.recorder.marks if m.name == self.mark and m.kind == "layer"), None)

    @property
    def mask(self) -> Tensor:
        """1 where the relevance goes on, (features,); InputError for a part that is not there."""
        if not all(0 <= n < self.parts for n in self.condition.which):
            came, kind = ", ".join(map(str, self.condition.which)), self.condition.kind
            raise InputError(f"{kind} of {self.condition.layer} must lie between 0 and {self.parts - 1}, got {came}. Type another.")
        kept = torch.zeros(self.parts, device=self.at.device, dtype=self.at.dtype)
        kept[list(self.condition.which)] = 1
        return kept.repeat_interleave(self.at.shape[-1] // self.parts)


# --- on the way forward ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Candidate:
    """A linear map in a layer of which something is kept.

    at:        its input, (B, T, features)
    attention: the number of the attention that it follows, None where it follows none; heads: how many that has
    node:      the number of its first node in the graph
    expert:    whether it is a part of experts, or beside them
    depth, met: of the layer, and how many leaves had been met before
    """

    layer: str
    at: Tensor
    attention: int | None
    heads: int
    node: int
    expert: bool
    depth: Depth
    met: int


def listen(flow: ForwardPass) -> None:
    """Hooks on the linear maps of the model, for this flow alone; none if there is no condition."""
    wanted = {c.layer for c in flow.conditions}
    blocks = layers(flow.model) if wanted else set()

    def before(running: ForwardPass, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        if running is not flow or not flow.blocks or flow.where_am_i() not in wanted or not args or not carries(args[0]):
            return None
        attention = flow.projections.follows(args[0], flow.began, through=False)
        inside = max((i for i, m in enumerate(flow.path) if id(m) in blocks), default=-1) + 1
        expert = any(map(holds_experts, flow.path[inside:]))
        x = args[0].view(args[0].shape)  # of its own, so that no hook of another operation is heard twice
        heads = 0 if attention is None else flow.projections.attended[attention]
        found = Candidate(flow.where_am_i(), x, attention, heads, sequence(), expert, flow.depth, len(flow.leaves))
        flow.candidates.append(found)
        return (x, *args[1:]), kwargs

    for module in flow.model.modules() if wanted else ():
        if is_linear(module):
            flow.entry.before(module, before)


def is_linear(module: nn.Module) -> bool:
    """Whether a module is one linear map, however it writes its weight."""
    weight = module._parameters.get("weight")
    return weight is not None and weight.dim() == 2 and not isinstance(module, nn.Embedding)


# --- on the way back -------------------------------------------------------------------------------------------------


def meant(flow: ForwardPass, condition: Condition) -> Candidate | None:
    """The linear map into which go the heads of a layer's first attention (or of its second), or its MLP's neurons: the last such."""
    here = [c for c in flow.candidates if c.layer == condition.layer]
    if condition.kind == "neurons":
        free = [c for c in here if c.attention is None and not flow.projections.is_projection(c.node)]
        return next((c for c in reversed(free) if not c.expert), None) if len(free) > 1 else None
    here = [c for c in here if c.heads and c.at.shape[-1] % c.heads == 0]
    attentions = list(dict.fromkeys(c.attention for c in here))
    wanted = attentions[:1] if condition.kind == "heads" else attentions[1:2]
    return next((c for c in reversed(here) if c.attention in wanted), None)


def stops_of(flow: ForwardPass) -> list[Stop]:
    """Where the walk back keeps a part, for each condition, in the order of the forward pass.

    Raises InputError for a condition that the model shows nothing of.
    """
    found = []
    for condition in flow.conditions:
        c = meant(flow, condition)
        if c is None:
            what = f"{condition.kind} of {condition.layer}"
            raise InputError(f"The model shows no {what}; experts, and attention in one call of torch, keep theirs hidden. {HOW}")
        found.append((c.node, Stop(condition, c.at, c.heads or c.at.shape[-1], c.depth, c.layer, c.met)))
    return [stop for _, stop in sorted(found, key=lambda pair: pair[0])]


def through(flow: ForwardPass, targets: list[Tensor], leaves: list[Tensor], seeds: list[Tensor], keep: bool, walk: Walk) -> tuple:
    """The gradients of `leaves`, of what passes through every stop; the rest is booked by name.

    `walk(flow, targets, leaves, seeds, keep)` goes over one segment.
    """
    rest, came = list(leaves), flow.starts * flow.power
    for stop in reversed(stops_of(flow)):
        later = {id(x) for x in list(flow.leaves.values())[stop.met :]}
        behind = [x for x in rest if id(x) in later]
        rest = [x for x in rest if id(x) not in later]
        before, open = flow.account.amounts.copy(), stop.boundary(flow) is None
        behind += [x for mark, x in flow.recorder.crossings if mark.depth > stop.depth and mark.depth.stream == stop.depth.stream]
        g, *gradients = walk(flow, targets, [stop.at, *behind], seeds, True)
        if g is None:
            raise InputError(f"The target does not depend on {stop.condition.layer}, so nothing passes through it. {HOW}")
        put_aside(flow, stop, {id(x): y for x, y in zip(behind, gradients, strict=True) if y is not None})
        targets, seeds = [stop.at], [g * stop.mask]
        came = part(flow, stop, g, came, before, stop.boundary(flow) if open else None)
    found = dict(zip(map(id, rest), walk(flow, targets, rest, seeds, keep), strict=True))
    return tuple(found.get(id(x)) for x in leaves)


def part(flow: ForwardPass, stop: Stop, g: Tensor, came: Tensor, before: Mapping, boundary: Tensor | None) -> Tensor:
    """Book what does not go on at a stop; what does, per row of the batch.

    What went past it is what came to the layer's boundary (or to the last stop, `came`), less what was kept since and what is here.
    """
    account, kind, name = flow.account, stop.condition.kind, stop.condition.layer
    R = dot(stop.at.detach(), g)
    on, others = account.sums(R * stop.mask), account.sums(R * (1 - stop.mask))
    new = {k: v - before[k] if k in before else v for k, v in account.amounts.items()}
    if boundary is not None:
        came, new = account.sums(boundary), {k: v for k, v in new.items() if k[2] == stop.depth}
    past = came.to(on) - sum(new.values(), torch.zeros_like(on)) - on - others
    if flow.options.ledger:
        account.add("constants", f"not kept: other {kind} of {name}", stop.depth, others)
        account.add("constants", f"not kept: past the {kind} of {name}", stop.depth, past)
    return on


def put_aside(flow: ForwardPass, stop: Stop, gradients: Mapping[int, Tensor]) -> None:
    """Book relevance that leaves got without passing the gate (they came after it), and take it away from them."""
    account, name = flow.account, stop.condition.layer
    entries = [("tokens", flow.streams.start(flow.stream_of[id(x)]), x) for x in flow.inputs.tokens]
    entries += [("positions", leaf.depth, leaf.tensor) for leaf in flow.inputs.sinks if leaf.tensor is not None]
    entries += [("constants", depth, x) for _, depth, x in flow.inputs.constants]
    entries += [("another stream", mark.depth, x) for mark, x in flow.recorder.crossings]
    for what, depth, x in entries:
        if id(x) in gradients:
            amount = account.sums(visible(x.detach(), gradients[id(x)]))
            account.add("constants", f"not kept: {what} after {name}", depth, amount)
    for mark, x in flow.recorder.crossings:
        mark.relevance = None if id(x) in gradients else mark.relevance
    for leaf in flow.inputs.sinks:
        if leaf.columns:
            heard = account.sums(leaf.columns["signed"]) * flow.power
            account.add("constants", f"not kept: positions after {name}", leaf.depth, heard)
            leaf.forget()
