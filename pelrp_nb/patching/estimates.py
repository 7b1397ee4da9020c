"""Estimates of what patching does, at every slot: a difference of two runs times a gradient of the clean one.

relevance   the gradient bent as by RelP (arXiv 2508.21258): norms frozen, activations by identity, gates half, attention weights
            constant for values; queries and keys by the exact softmax (AtP*, arXiv 2403.00745), and what they are made of along it
gradient    the plain gradient
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._C import DisableTorchFunction
from torch._C._autograd import _get_sequence_nr as sequence

from .. import rules
from ..batches import named_parts
from ..composites import CP_LRP
from ..engine.exact_softmax import Replaced, beside, by_values, softmax
from ..engine.options import Options
from ..engine.propagation import Propagation, propagate
from ..engine.slot_finder import Finder, Found
from ..engine.visits import Slot, Visitor
from ..inputs.arguments import call
from .pair import Pair

RELP = replace(CP_LRP, gate=rules.uniform, positions="constant")
PLAIN = Options(ledger=False)
BY_SOFTMAX = ("queries", "keys")
HIDDEN = -1e4  # what a mask adds to a score, or less
SITES = ("heads", "queries", "keys", "values", "attention", "mlp", "residual")


@dataclass
class Estimates:
    """By kind and name (H, T) for each head and place, (1, T) of branches and streams.

    edges: by attention (H, Tq, Tk) what each pair hands over
    """

    sites: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    edges: dict[str, Tensor] = field(default_factory=dict)

    def put(self, slot: Slot, effect: Tensor) -> None:
        """One slot's."""
        self.sites.setdefault(slot.kind, {})[slot.name] = effect.detach().double().cpu()


def find(pair: Pair) -> Found:
    """The slots of the model, found on the clean input."""
    batch = pair.batch(pair.clean)
    with propagate(pair.model, RELP, PLAIN) as flow:
        flow.projections.wanted = True
        finder = Finder(flow)
        with finder.running():
            output = call(pair.model, named_parts(batch.arguments, [pair.clean]))
        flow.trace(pair.values(pair.clean, output, batch)[0])  # which refuses what has no rule
    return finder.found


def by_relevance(pair: Pair) -> Estimates:
    """Every slot, and every edge, from one walk back."""
    queries, keys = pair.scores("queries"), pair.scores("keys")
    batch = pair.batch(pair.clean)
    with propagate(pair.model, RELP, PLAIN) as flow:
        listener = Listener(flow, pair, queries, keys)
        with listener.running():
            output = call(pair.model, named_parts(batch.arguments, [pair.clean]))
        flow.trace(pair.values(pair.clean, output, batch)[0])
    _, _, clean, corrupt = pair.both
    found = Estimates()
    for slot in pair.found.slots:
        if slot.kind in BY_SOFTMAX:
            attention = listener.attentions.get(slot.name)
            if attention is not None and attention.effects:
                found.put(slot, attention.effects[slot.kind][0])
        elif slot.kind in SITES:
            found.put(slot, times(clean[slot], corrupt[slot], listener.heard.get(slot)))
    values = pair.of("values")
    for name, slot in pair.of("heads").items():
        scores = pair.of("scores")[name]
        found.edges[name] = edges((clean[scores], clean[values[name]]), (corrupt[scores], corrupt[values[name]]), listener.heard.get(slot))
    return found


def by_gradient(pair: Pair) -> Estimates:
    """Every slot by the plain gradient, that of the model itself."""
    batch, leaves = pair.batch(pair.clean), {}
    slots = [slot for slot in pair.found.slots if slot.kind in SITES]

    def visit(slot: Slot, x: Tensor) -> Tensor:
        leaves[slot] = torch.zeros_like(x, requires_grad=True)
        return x + leaves[slot]

    with torch.enable_grad():
        visitor = Visitor(pair.model, slots, visit, 1)
        with visitor.running():
            output = call(pair.model, named_parts(batch.arguments, [pair.clean]))
        (value,) = pair.values(pair.clean, output, batch)
        gradients = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    _, _, clean, corrupt = pair.both
    found = Estimates()
    for slot, g in zip(leaves, gradients, strict=True):
        found.put(slot, times(clean[slot], corrupt[slot], g))
    return found


def times(clean: Tensor, corrupt: Tensor, g: Tensor | None) -> Tensor:
    """(H, T) the difference times the gradient; 0 where none came."""
    difference = corrupt.double() - clean.double()
    return torch.zeros_like(difference[0, ..., 0]) if g is None else (difference * g.double())[0].sum(-1)


def edges(clean: tuple[Tensor, Tensor], corrupt: tuple[Tensor, Tensor], g: Tensor | None) -> Tensor:
    """(H, Tq, Tk) what the output would be worth if the pair handed over what it hands over in the corrupted run: (scores, values) each.

    Its sum over keys is the estimate of the head at that place; nan where a mask hides it.
    """
    g = torch.zeros(*clean[0].shape[:3], clean[1].shape[-1], dtype=torch.float64) if g is None else g
    worth = [softmax(s.double()) * by_values(g.double(), v.double()) for s, v in (corrupt, clean)]
    hidden = torch.stack([hides(s) for s, _ in (corrupt, clean)]).all(0)
    return (worth[0] - worth[1]).masked_fill(hidden, torch.nan)[0].cpu()


def hides(scores: Tensor) -> Tensor:
    """Where a mask hides a score: what is so low has no weight beside the row's highest."""
    return scores < scores.amax(-1, keepdim=True).clamp(min=HIDDEN) + HIDDEN


class Listener(Visitor):
    """Hears the gradient of every slot on the walk back, queries and keys by the exact softmax."""

    def __init__(self, flow: Propagation, pair: Pair, by_queries: Mapping[str, Tensor], by_keys: Mapping[str, Tensor]) -> None:
        super().__init__(flow.model, pair.found.slots, lambda slot, x: None, 1)
        self.flow, self.pair = flow, pair
        self.by_queries, self.by_keys = by_queries, by_keys
        self.heard: dict[Slot, Tensor] = {}
        self.operands: dict[tuple[str, str], tuple[Slot, Tensor]] = {}
        self.attentions: dict[str, Replaced] = {}

    def through(self, slot: Slot, x: Any) -> Any:
        with DisableTorchFunction():
            if slot.kind in BY_SOFTMAX:
                self.operands[slot.kind, slot.name] = (slot, x)
            elif slot.kind == "heads" and slot.name in self.by_keys:
                x = self.exact(slot, x)
            if slot.kind in SITES and slot.kind not in BY_SOFTMAX and x.requires_grad:
                x.register_hook(partial(self.hear, slot))
            return x

    def hear(self, slot: Slot, g: Tensor) -> None:
        """A gradient has come."""
        g = slot.seen(g.detach(), 1).double() / self.flow.power
        self.heard[slot] = self.heard[slot] + g if slot in self.heard else g

    def exact(self, slot: Slot, out: Tensor) -> Tensor:
        """The output of an attention, of which queries and keys have a gradient too."""
        (of_q, q), (of_k, k) = (self.operands[kind, slot.name] for kind in BY_SOFTMAX)
        if not out.requires_grad:
            return out
        _, _, clean, corrupt = self.pair.both
        scores, values = (self.pair.of(kind)[slot.name] for kind in ("scores", "values"))
        moved_q, moved_k = (corrupt[one].double() - clean[one].double() for one in (of_q, of_k))
        replaced = self.attentions[slot.name] = Replaced(
            clean[scores].double(), self.by_queries[slot.name], self.by_keys[slot.name], clean[values].double(), moved_q, moved_k,
            (partial(of_q.put, like=q.detach()), partial(of_k.put, like=k.detach())), lambda: self.flow.power,
        )  # fmt: skip
        start = sequence()
        fresh = beside(out, q, k, replaced)
        self.flow.cover(start, sequence())
        fresh.__dict__.update(out.__dict__)
        return fresh
