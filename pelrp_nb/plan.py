"""plan(model, inputs) -> Plan: what would be done, and what it would need, from a forward pass alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn

from .calls import fitting
from .composites import Composite, as_composite, title
from .engine import memory
from .engine.layers import layers
from .engine.support import device_of, inspect
from .engine.propagation import Propagation, propagate
from .engine.options import Options, as_options
from .engine.shapes import Shapes, unheard
from .engine.context import Step
from .engine.trace import Role, Sink
from .errors import InputError, ModelError
from .inputs.arguments import call
from .inputs.encode import encode_all
from .inputs.model_input import Encoded
from .inputs.padding import lengths
from .inputs.rows import Errors, good
from .targets.kept import at_places

if TYPE_CHECKING:
    from .views.sheet import Sheet
    from .views.widget import View

__all__ = ["Plan", "plan"]

LARGE = 13 * 10**9  # weights times places, from which on shapes are followed and not values: a forward pass of a quarter of a second
REASONS = {
    "linear": "a linear map, z = W x + b: shares of z, the bias is booked",
    "quantised linear": "a linear map whose weight stands for numbers: relevance goes through those",
    "product": "a product of carriers: the same part to each",
    "rotation": "a rotation of queries or keys by position: half to the angle, which is a sink",
    "gate": "a product with the direct output of an activation, softmax or sigmoid",
    "division": "what divides is taken as a scale",
    "activation": "an elementwise function of one tensor: f(0) is booked",
    "softmax": "a softmax: what it keeps is measured",
    "attention": "attention fused into one call: product, softmax, product",
    "rms_norm": "the root mean square is taken as a scale",
    "layer_norm": "the standard deviation is taken as a scale, the bias is booked",
    "residual": "the stream and what a branch adds to it",
    "plain": "linear in what carries (a view, a sum, a choice): its own gradient conserves",
    "homogeneous": "of degree one: times x, its own gradient is the value",
    "multiply": "times a constant: all to what carries",
    "baddbmm": "a product added to something: only the product is shared between its factors",
    "negative": "linear: its own gradient conserves",
    "cast": "the same numbers in another dtype, place or order",
    "embedding": "tokens are looked up: relevance arrives here",
    "add": "a sum: in proportion; a constant is booked, a position is a sink",
    "join": "pieces beside each other: a constant piece is booked by name",
    "masked_fill": "fillers are constants of their places",
    "where": "a choice: a constant side is booked",
    "extremum": "a choice: what is chosen of a constant is booked",
    "written": "written by place: a constant that is written is booked",
    "filled": "what is no number is filled: nothing comes back from there",
    "composed": "short for several operations, each by its own rule",
    "variance": "homogeneous of degree two: half of its own gradient conserves",
    "batch_norm": "frozen statistics: a linear map and a constant",
    "dropout": "not active",
    "in_place": "computed apart, then written where the model wants it",
    "own": "a handler of one's own",
    "no rule": "unknown: its plain gradient conserves nothing, so it is refused if the target depends on it",
}


Passed = tuple[Propagation, dict[str, int], tuple[str, ...]]  # a forward pass, its bytes, notes on them


@dataclass(frozen=True)
class Plan:
    """What would be done, from a forward pass alone.

    steps:    which rule applies to each operation in each module, and its kind
    sinks:    where positions would receive; empty if none was found
    refusals: what would be refused, with the reason
    bytes:    what an explanation of one target takes beside the model: "activations" kept for the way back, "weights" that
              accelerate brings and the graph pins, "passing" tensors, and "gradients" of tokens and sinks (more with detail)
    modules:  (path, class name) of every module
    positions: whether they would be sinks, or constants
    roles:    what was taken for what, and why; notes: what could have been read otherwise
    """

    model: str
    method: str
    steps: tuple[Step, ...]
    sinks: tuple[Sink, ...]
    refusals: tuple[str, ...]
    bytes: Mapping[str, int] = field(default_factory=dict)
    modules: tuple[tuple[str, str], ...] = ()
    positions: str = "sink"
    roles: tuple[Role, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def peak(self) -> int:
        """Bytes at the fullest moment, beside the model: gradients take the place of activations by and by."""
        return memory.at_peak(self.bytes)

    def tree(self) -> dict[str, Any]:
        """The modules, nested: {name, kind, rules: [{operation, rule, reason, conserves}], children}, plain data."""
        by: dict[str, list[dict[str, str]]] = {}
        for step in self.steps:
            by.setdefault("" if step.place == self.model else step.place, []).append(explained(step))
        nodes: dict[str, dict[str, Any]] = {}
        for path, kind in self.modules or (("", self.model),):
            node = {"name": path.rpartition(".")[2], "kind": kind, "rules": by.get(path, []), "children": []}
            nodes[path] = node
            if path:
                nodes[path.rpartition(".")[0]]["children"].append(node)
        return nodes[""]

    @property
    def unbooked(self) -> str:
        """Why there would be no sink, where there is none."""
        from .views.text import CONSTANT, UNSURE, UNTOLD

        if self.positions == "constant":
            return CONSTANT
        return UNSURE if any(UNTOLD in note for note in self.notes) else f"no positional encoding found in {self.model}"

    def __str__(self) -> str:
        by: dict[tuple[str, str, str], list[str]] = {}
        for step in self.steps:
            by.setdefault((step.operation, step.rule, step.reason), []).append(step.place)
        width = [max([len(k[i]) for k in by] + [len(h)]) + 2 for i, h in enumerate(("operation", "rule", "kind"))]
        lines = [f"{self.model}, {self.method}", ""]
        lines.append("operation".ljust(width[0]) + "rule".ljust(width[1]) + "kind".ljust(width[2]) + "where")
        for key, places in sorted(by.items(), key=lambda item: item[0][1] == "plain"):
            where = places[0] + (f" and {len(places) - 1} more" if len(places) > 1 else "")
            lines.append("".join(k.ljust(w) for k, w in zip(key, width, strict=True)) + where)
        found = ", ".join(f"{s.name} ({s.kind})" for s in self.sinks)
        lines += ["", "positions: " + (found or self.unbooked)]
        lines += [f"{one.name}: {one.role} ({one.reason})" for one in self.roles]
        lines += [f"note: {text}" for text in self.notes]
        if self.bytes:
            parts = ", ".join(f"{name} {memory.said(n)}" for name, n in self.bytes.items() if n)
            lines.append(f"memory: about {memory.said(self.peak)} beside the model ({parts})")
        lines += [f"refused: {r}" for r in self.refusals] or ["refused: nothing"]
        return "\n".join(lines)

    __repr__ = __str__

    def sheet(self) -> Sheet:
        """The same as a view: the tree of modules, each with its rules, why they apply, and what they conserve."""
        from .rules.pages import page_of
        from .views import inspector

        pages = {step.applied.name: page_of(step.applied) for step in self.steps if step.applied is not None}
        pages |= {str(sink.kind): page_of(sink.kind.rule) for sink in self.sinks if sink.kind is not None}
        sinks = [(sink.name, str(sink.kind)) for sink in self.sinks]
        roles = [(one.name, one.role, one.reason) for one in self.roles]
        return inspector(self.tree(), model=self.model, method=self.method, sinks=sinks, refusals=self.refusals, pages=pages,
                         unbooked=self.unbooked, roles=roles, notes=self.notes)  # fmt: skip

    def explore(self) -> View:
        """The live inspector, an ipywidget."""
        return self.sheet().explore()

    def to_html(self, path: str | os.PathLike | None = None) -> str | None:
        """The inspector as one page that needs no network; written to `path`, or returned as text if there is none."""
        return self.sheet().to_html(path)

    def _repr_html_(self) -> str:
        return self.sheet()._repr_html_()


def explained(step: Step) -> dict[str, str]:
    """One operation: its rule, why that one, and what it conserves."""
    conserves = step.applied.conserves if step.applied is not None else {"plain": "all"}.get(step.rule, "nothing")
    return {"operation": step.operation, "rule": step.rule, "reason": REASONS.get(step.reason, step.reason), "conserves": conserves}


def branches(tree: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """The tree as indented lines; modules without a rule in or under them are left out."""
    inside = [line for child in tree["children"] for line in branches(child, depth + 1)]
    if tree["rules"] or inside:
        yield "  " * depth + f"{tree['name'] or 'model'} ({tree['kind']})"
        for rule in tree["rules"]:
            yield "  " * depth + f"  - {rule['operation']}: {rule['rule']}; {rule['reason']}; conserves {rule['conserves']}"
        yield from inside


@fitting({"method": "composite={}", "tokenizer": "processor={}", "target": "plan without it: all targets have one forward pass"})
def plan(
    model: nn.Module,
    inputs: Any,
    *,
    processor: Any = None,
    composite: Composite | str = "pa-lrp",
    options: Options | None = None,
) -> Plan:
    """Forward only: which rule applies where and why, the sinks found, what would be refused, and the bytes it needs.

    Takes what `explain` takes. Raises InputError if the input does not fit; what the engine would refuse is listed, not raised.
    """
    name = type(model).__name__
    composite, options = as_composite(composite), as_options(options)
    try:
        inspect(model)
        row, said = longest(model, inputs, processor, options)
        flow, needs, short = by_shape(model, composite, options, row) or passed(model, composite, options, row)
    except ModelError as error:
        return Plan(name, title(composite), (), (), (str(error),))
    refusals = tuple(dict.fromkeys(f"no rule for {where}" for _, _, where, _ in flow.refused))
    modules = tuple((path, type(module).__name__) for path, module in model.named_modules())
    return Plan(name, title(composite), tuple(flow.steps.values()), sinks_of(flow), refusals, needs, modules,
                composite.positions, flow.told(), (*said, *short, *flow.places.noted()))  # fmt: skip


def by_shape(model: nn.Module, composite: Composite, options: Options, row: Encoded) -> Passed | None:
    """A forward pass on shapes in place of values; None where that is not worth its while, or values are read on the way."""
    weights = [p for p in model.parameters() if not p.is_meta]
    if sum(lengths(row)) * sum(p.numel() for p in weights) < LARGE or options.precision:
        return None
    try:
        with unheard():
            return passed(model, composite, options, row, Shapes())
    except Exception:  # whatever a model says of a number that is not there: it is asked again with all of them
        return None


def passed(model: nn.Module, composite: Composite, options: Options, row: Encoded, shapes: Shapes | None = None) -> Passed:
    """A forward pass that keeps nothing, the bytes of one that does, and notes on them."""
    with propagate(model, composite, options) as flow:
        flow.planning, flow.shapes = True, shapes
        with memory.tally(flow) as counted:
            given = {**row.tensors, **row.more}
            output = call(model, {**given, **at_places(model, given, [row.length - 1])})
        needs, notes = fitting_in(flow, counted, output)
        flow.settle()
    return flow, needs, notes


def fitting_in(flow: Propagation, counted: memory.Tally, output: Any) -> tuple[dict[str, int], tuple[str, ...]]:
    """The bytes that an explanation takes, and a note where more than is free would be kept: then layers are run again."""
    needs, there = memory.needed(flow, counted, output, flow.checkpoint), memory.free(device_of(flow.model))
    if there is None or memory.at_peak(needs) <= there:
        return needs, ()
    notes: tuple[str, ...] = ()
    if flow.options.checkpoint is None and layers(flow.model) and not flow.checkpoint:
        notes = (memory.why_again(memory.at_peak(needs), there),)
        needs = memory.needed(flow, counted, output, True)
    peak = memory.at_peak(needs)
    much = f"about {memory.said(peak)} are needed, and {memory.said(there)} are free: shorten the text"
    return needs, notes if peak <= there else (*notes, much)


def longest(model: nn.Module, inputs: Any, processor: Any, options: Options) -> tuple[Encoded, tuple[str, ...]]:
    """The input that needs most, and notes on it."""
    rows, _ = encode_all(model, inputs, processor, options.truncation, Errors(False, options.on_error))
    kept = good(rows)
    if not kept:
        raise InputError(f"There must be an input that can be explained; each was skipped. The first: {rows[0]}")
    i = max(kept, key=lambda i: sum(lengths(rows[i])))
    which = (f"of {len(rows)} inputs the longest, number {i}, is planned",) if len(rows) > 1 else ()
    return rows[i], (*which, *rows[i].notes)


def sinks_of(flow: Propagation) -> tuple[Sink, ...]:
    """The sinks in call order, each once."""
    return tuple({(s.name, s.layer): Sink(s.name, s.kind, s.layer) for s in flow.inputs.sinks if s.kind is not None}.values())
