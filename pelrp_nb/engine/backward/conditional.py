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
from ..forward_pass import ForwardPass
from ..numerics import dot
from ..only import HOW, Condition
from ..provenance import carries
from ..streams import SPAN, number

COUNTS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "encoder_attention_heads")
Walk = Callable[..., tuple]


@dataclass(eq=False)
class Stop:
    """Where the walk back keeps a part: the tensor, how many parts it has, how many leaves had been met before it."""

    condition: Condition
    at: Tensor
    parts: int
    depth: float
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


def listen(flow: ForwardPass) -> None:
    """Hooks on the linear maps of the model, for this flow alone; none if there is no condition."""
    seen: dict[str, list[tuple[nn.Module | None, nn.Module]]] = {}
    wanted = {c.layer for c in flow.conditions}

    def before(running: ForwardPass, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        if running is not flow or not flow.blocks or not args or not carries(args[0]):
            return None
        name = flow.where_am_i()
        if name not in wanted:
            return None
        attention = next((m for m in flow.path if "Attention" in type(m).__name__ or "Attn" in type(m).__name__), None)
        seen.setdefault(name, []).append((attention, module))
        x = args[0].view(args[0].shape)                  # of its own, so that no hook of another operation is heard twice
        for condition in flow.conditions:
            if condition.layer == name and fits(condition, attention, seen[name], flow):
                parts = x.shape[-1] if attention is None else heads_of(attention, flow.model)
                flow.stops.pop(condition, None)              # the order is that of the last candidates
                flow.stops[condition] = Stop(condition, x, parts, flow.depth, name, len(flow.leaves))
        return (x, *args[1:]), kwargs

    for module in flow.model.modules() if wanted else ():
        if is_linear(module):
            flow.entry.before(module, before)


def is_linear(module: nn.Module) -> bool:
    """Whether a module is one linear map, however it writes its weight."""
    weight = module._parameters.get("weight")
    return weight is not None and weight.dim() == 2 and not isinstance(module, nn.Embedding)


def fits(condition: Condition, attention: nn.Module | None, seen: list, flow: ForwardPass) -> bool:
    """Whether the linear map that is about to run may be the one meant: the last such of the layer is (an output projection)."""
    attentions = list(dict.fromkeys(id(a) for a, _ in seen if a is not None))
    if condition.kind == "neurons":
        experts = any(word in type(m).__name__ for m in flow.path for word in ("Moe", "MoE", "Expert", "Sparse"))
        return attention is None and not experts and sum(a is None for a, _ in seen) > 1
    place = 0 if condition.kind == "heads" else 1
    return attention is not None and attentions.index(id(attention)) == place


def heads_of(attention: nn.Module, model: nn.Module) -> int:
    """How many heads an attention has, by its own word or the configuration's."""
    config = getattr(attention, "config", None) or getattr(model, "config", None)
    for holder in (*attention.modules(), getattr(config, "text_config", config)):
        for name in COUNTS:
            found = getattr(holder, name, None)
            if isinstance(found, int):
                return found
    raise InputError(f"{type(attention).__name__} does not say how many heads it has, so none can be kept. Type Options().")


# --- on the way back -------------------------------------------------------------------------------------------------


def through(flow: ForwardPass, targets: list[Tensor], leaves: list[Tensor], seeds: list[Tensor], keep: bool, walk: Walk) -> tuple:
    """The gradients of `leaves`, of what passes through every stop; the rest is booked by name.

    `walk(flow, targets, leaves, seeds, keep)` is one stretch of the way back.
    """
    missing = [c for c in flow.conditions if c not in flow.stops]
    if missing:
        what = f"{missing[0].kind} of {missing[0].layer}"
        raise InputError(f"The model shows no {what}; experts, and attention in one call of torch, keep theirs hidden. {HOW}")
    rest, came = list(leaves), flow.starts * flow.power
    for stop in reversed(flow.stops.values()):
        later = {id(x) for x in list(flow.leaves.values())[stop.met :]}
        behind = [x for x in rest if id(x) in later]
        rest = [x for x in rest if id(x) not in later]
        before, open = flow.account.amounts.copy(), stop.boundary(flow) is None
        behind += [x for mark, x in flow.recorder.crossings if mark.depth > stop.depth and number(mark.depth) == number(stop.depth)]
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
    on, others = account.by_row(R * stop.mask), account.by_row(R * (1 - stop.mask))
    new = {k: v - before[k] if k in before else v for k, v in account.amounts.items()}
    if boundary is not None:
        came, new = account.by_row(boundary), {k: v for k, v in new.items() if k[2] == stop.depth}
    past = came.to(on) - sum(new.values(), torch.zeros_like(on)) - on - others
    if flow.options.ledger:
        account.add("constants", f"not kept: other {kind} of {name}", stop.depth, others)
        account.add("constants", f"not kept: past the {kind} of {name}", stop.depth, past)
    return on


def put_aside(flow: ForwardPass, stop: Stop, gradients: Mapping[int, Tensor]) -> None:
    """Leaves that stand behind a stop got theirs on another way: it is booked here, and nothing is left in them."""
    account, name = flow.account, stop.condition.layer
    first = {n: SPAN * i - 1.0 for i, n in enumerate(flow.streams.names)}
    entries = [("tokens", first[flow.stream_of[id(x)]], x) for x in flow.inputs.tokens]
    entries += [("positions", leaf.depth, leaf.tensor) for leaf in flow.inputs.sinks if leaf.tensor is not None]
    entries += [("constants", depth, x) for _, depth, x in flow.inputs.constants]
    entries += [("another stream", mark.depth, x) for mark, x in flow.recorder.crossings]
    for what, depth, x in entries:
        if id(x) in gradients:
            amount = account.by_row(dot(x.detach(), gradients[id(x)]))
            account.add("constants", f"not kept: {what} after {name}", depth, amount)
    for mark, x in flow.recorder.crossings:
        mark.relevance = None if id(x) in gradients else mark.relevance
    for leaf in flow.inputs.sinks:
        if leaf.columns:
            heard = account.by_row(leaf.columns["signed"]) * flow.power
            account.add("constants", f"not kept: positions after {name}", leaf.depth, heard)
            leaf.forget()
