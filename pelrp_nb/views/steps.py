"""The walk from the answer back to position-token pairs, step by step: what moved, what was kept, and a sentence that says it.

A boundary is a place where relevance is known token by token; a segment is the way between two of them, named after the layer that
is walked through, "head" above the last layer and "embeddings" below the first.  What a segment keeps is measured there
(`ledger["kept"]`); where that is missing it is what the boundaries and their gaps leave over.

Where a model works on several inputs the walk is that of one stream, and what the others got has a line of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, TypedDict

from ..amounts import digits, is_rounding
from .data import Plain, PlainBoundary
from .text import visible

ROUNDING = 1e-6  # a difference below this part of what it is a difference of is none
KEEPERS = ("positions", "constants", "softmax", "stabilisers")
OTHERS = "other streams"
READ = -1  # in place of a layer: what other streams read of this one
RULES = {  # what happens on a step -> fields of the composite whose rules do it
    "answer": (),
    "head": ("linear", "rms_norm", "layer_norm"),
    "mlp": ("residual", "linear", "activation", "gate"),
    "attention": ("residual", "softmax", "product", "projection"),
    "cross": ("softmax", "product", "projection"),
    "paid": ("positions", "residual", "rms_norm", "layer_norm"),
    "layer": ("residual", "rms_norm", "layer_norm"),
    "inputs": ("positions",),
}


PARTS = ("mlp", "attention", "cross")  # boundaries that are no stations
Above = tuple[str, float, str, int | None]  # where a segment begins: boundary, what it carries, name of the segment, layer


class Step(TypedDict):
    """One step of the walk back.

    kind:     "answer", "mlp" and "attention" (what that branch brought), "cross" (what a layer of another stream read here),
              "layer" (a boundary is reached), "inputs"
    name:     the boundary, "the answer" or "the inputs"
    layer:    the layer that is walked through, None outside
    boundary: index of the boundary whose relevance the tokens show; None for the answer and the inputs
    flow:     where this step's relevance came from and where it went, each [(name, amount), ...]
    account:  what stands where after the step: tokens (still under way), the keepers, gap, value
    paid:     indices of the sinks that have received by now
    rules:    names of the pages in force
    said:     what happened, in one sentence
    """

    kind: str
    name: str
    layer: int | None
    boundary: int | None
    flow: dict[str, list[tuple[str, float]]]
    account: list[tuple[str, float]]
    paid: list[int]
    rules: list[str]
    said: str


def walk(data: Plain, fields: Mapping[str, str] | None = None) -> list[Step]:
    """All steps, the answer first; `fields` is the rule of each field of the composite."""
    return _Walk(data, fields or {}).steps()


def layer_of(name: str) -> int | None:
    """The layer in a name such as `layer 3 rotary`."""
    found = re.search(r"\blayer (\d+)\b", name)
    return int(found[1]) if found else None


def prefix_of(name: str) -> str:
    """What the names of a stream's boundaries begin with: `encoder ` of `encoder layer 3`; nothing where there is one stream."""
    return re.sub(r"(embeddings|layer \d+)$", "", name)


def part_of(boundary: PlainBoundary) -> str:
    """How a branch is called, by its boundary's name."""
    if boundary["kind"] == "cross":
        return boundary["name"].removeprefix("read by ")
    return "MLP" if boundary["kind"] == "mlp" else boundary["name"].rpartition(" ")[2]


class _Walk:
    def __init__(self, data: Plain, fields: Mapping[str, str]) -> None:
        self.data, self.fields = data, fields
        places = list(enumerate(data["boundaries"]))[::-1]
        self.stations = [(i, b) for i, b in places if b["kind"] in ("layer", "embeddings")]
        self.prefix = prefix_of(self.stations[-1][1]["name"]) if self.stations else ""
        self.branches: dict[int | None, list[tuple[str, int, PlainBoundary]]] = {}
        for i, b in places:  # a layer's, the last one first; what other streams read stands before all layers
            if b["kind"] in PARTS:
                self.branches.setdefault(READ if b["kind"] == "cross" else b["layer"], []).append((part_of(b), i, b))
        self.start = next(amount for name, amount in data["ledger"]["rows"] if name == "value")
        self.kept: dict[str, float] = dict.fromkeys((*KEEPERS, OTHERS) if self.prefix else KEEPERS, 0.0)
        self.paid: list[int] = []
        self.gap = 0.0  # seen at the boundary before
        self.show = digits(max((abs(x) for x in (data["value"], self.start) if math.isfinite(x)), default=0.0))

    def steps(self) -> list[Step]:
        """The answer, then every segment with its branches, then the inputs."""
        found = [self._step("answer", "the answer", None, None, {"from": [], "to": [("the answer", self.start)]}, self.start)]
        above: Above = ("the answer", self.start, f"{self.prefix}head", None)
        for index, station in self.stations:
            found += self._branches(above)
            found.append(self._arrive(above, index, station))
            above = (station["name"].removeprefix(self.prefix), station["total"], station["name"], station["layer"])
        found += self._branches(above)
        found.append(self._inputs(above))
        return found

    def _step(self, kind: str, name: str, layer: int | None, boundary: int | None, flow: dict, tokens: float, **more: Any) -> Step:
        account = [("tokens", tokens), *self.kept.items()]
        account += [("gap", self.start - sum(amount for _, amount in account)), ("value", self.start)]
        step = Step(
            kind=kind, name=name, layer=layer, boundary=boundary, flow=flow, account=account, paid=list(self.paid),
            rules=self._rules(more.get("rules", kind)), said="",
        )  # fmt: skip
        step["said"] = self._said(step)
        return step

    def _branches(self, above: Above) -> list[Step]:
        """What the MLP and the attention of the layer below brought, or what other streams read, where that is known."""
        name, amount, _, layer = above
        found = self.branches.get(READ if name == "the answer" else layer, ())
        return [self._branch(part, index, branch, name, amount) for part, index, branch in found]

    def _branch(self, part: str, index: int, branch: PlainBoundary, above: str, amount: float) -> Step:
        layer = None if branch["kind"] == "cross" else branch["layer"]
        rest = "elsewhere" if branch["kind"] == "cross" else "skip"
        flow = {"from": [(above, amount)], "to": [(part, branch["total"]), (rest, amount - branch["total"])]}
        return self._step(branch["kind"], branch["name"], layer, index, flow, amount)

    def _arrive(self, above: Above, index: int, station: PlainBoundary) -> Step:
        name, amount, segment, layer = above
        paid = len(self.paid)
        kept = self._keep(segment, layer, amount - station["total"], station["gap"])
        rules = "head" if layer is None else "paid" if len(self.paid) > paid else "layer"
        flow = {"from": self._sources(name, amount, layer), "to": [("tokens", station["total"]), *kept.items()]}
        return self._step("layer", station["name"], layer, index, flow, station["total"], rules=rules)

    def _inputs(self, above: Above) -> Step:
        rows = dict(self.data["ledger"]["rows"])
        name, amount, segment, layer = above
        before = dict(self.kept)
        if self.prefix:  # the ledger is of all streams
            rows["tokens"] = math.fsum(self.data["parts"]["signed"]["content"])
            self._keep(segment, layer, amount - rows["tokens"], self.data["ledger"]["gap"])
            rows["positions"] = self.kept["positions"]
        else:
            self.kept = {keeper: rows[keeper] for keeper in KEEPERS}
        self.paid = list(range(len(self.data["sinks"])))
        taken = {keeper: self.kept[keeper] - before[keeper] for keeper in self.kept}
        kept = {keeper: x for keeper, x in taken.items() if not is_rounding(x, ROUNDING * max(abs(self.start), abs(amount)))}
        flow = {"from": self._sources(name, amount, layer), "to": [("content", rows["tokens"]), *kept.items()]}
        step = self._step("inputs", "the inputs", layer, None, flow, rows["tokens"])
        step["said"] = self._arrived(rows)
        return step

    def _sources(self, name: str, amount: float, layer: int | None) -> list[tuple[str, float]]:
        parts = [(part, b["total"]) for part, _, b in reversed(self.branches.get(layer, []))]
        return [("skip", amount - sum(x for _, x in parts)), *parts] if parts else [(name, amount)]

    def _keep(self, segment: str, layer: int | None, lost: float, gap: float | None) -> dict[str, float]:
        """What stayed in a segment, by keeper; adds it to the running account."""
        allowed = ROUNDING * max(abs(self.start), abs(lost))
        paid = [s for s, name in enumerate(self.data["sinks"]) if layer is not None and layer_of(name) == layer]
        self.paid += paid
        measured = self.data["ledger"].get("kept")
        if measured:
            kept = {keeper: float(measured.get(segment, {}).get(keeper, 0.0)) for keeper in KEEPERS}
            if self.prefix:  # what is neither here, nor kept, nor missing went on in another stream
                others = lost - math.fsum(kept.values()) - (0.0 if gap is None else gap - self.gap)
                kept[OTHERS] = 0.0 if is_rounding(others, allowed) else others
        else:
            kept = dict.fromkeys(KEEPERS, 0.0)
            kept["positions"] = sum(math.fsum(self.data["positional"][s]) for s in paid)
            kept["softmax"] = self.data["ledger"]["softmax"].get(segment, 0.0)
            seen = 0.0 if gap is None else gap - self.gap
            kept["constants"] = lost - seen - kept["positions"] - kept["softmax"]
            if is_rounding(kept["constants"], allowed):
                kept["constants"] = 0.0
        self.gap = self.gap if gap is None else gap
        for keeper, amount in kept.items():
            self.kept[keeper] += amount
        return {keeper: amount for keeper, amount in kept.items() if not is_rounding(amount, allowed)}

    def _rules(self, kind: str) -> list[str]:
        pages = ["attention"] if kind == "attention" and self.fields else []
        for field in RULES[kind]:
            pages += self.fields.get(field, "").split()
        return list(dict.fromkeys(pages))

    # --- in words --------------------------------------------------------------------------------------------------------

    def _said(self, step: Step) -> str:
        kind, number, layer = step["kind"], step["layer"], step["boundary"]
        if kind == "answer":
            return f"The answer, {visible(self.data['target'], 60)}, is {self.show(self.start)}: all of it is still one number."
        if kind == "inputs":
            return ""  # said where its amounts are known
        values = self.data["boundaries"][layer]["relevance"] if layer is not None else []
        if kind in PARTS:
            part, amount = step["flow"]["to"][0]
            came = f"{self._amount(amount)} went through {'the MLP' if kind == 'mlp' else part}{self._most(values, ', most of it at')}."
            if kind == "cross":
                return f"{part.capitalize()} read {self._amount(amount)}{self._most(values, ', most of it at')}."
            return f"{f'{self.prefix}layer {number}'.capitalize()}: {came}"
        kept = [self._kept_by(name, amount) for name, amount in step["flow"]["to"][1:]]
        where = "Past the head" if number is None else f"Under {self.prefix}layer {number}"
        left = f"{where}: {self._amount(step['flow']['to'][0][1])} is on the tokens{self._most(values, ', most on')}"
        return f"{left}; {', '.join(kept)}." if kept else f"{left}; nothing was kept."

    def _arrived(self, rows: Mapping[str, float]) -> str:
        signed = self.data["parts"]["signed"]
        both = f"At the inputs: content carries {self._amount(rows['tokens'])}, positions {self._amount(rows['positions'])}"
        return f"{both}{self._most(signed['both'], '; most on')}."

    def _amount(self, amount: float) -> str:
        return f"{self.show(amount)}{self._share(amount)}"

    def _share(self, amount: float) -> str:
        """` (8 % of the answer)`; nothing where it is no part of the answer: below zero, or more than all of it."""
        part = amount / self.start if math.isfinite(amount) and math.isfinite(self.start) and self.start else -1.0
        return f" ({100 * part:.0f} % of the answer)" if 0 <= part <= 1 else ""

    def _kept_by(self, keeper: str, amount: float) -> str:
        verb = {"positions": "went to positions", "softmax": "the softmax kept", "constants": "constants kept",
                "stabilisers": "stabilisers kept", OTHERS: "went to other streams"}[keeper]  # fmt: skip
        share = self._share(amount)[2:].removesuffix(" of the answer)") or self.show(amount)
        return f"{share} {verb}" if verb.startswith("went") else f"{verb} {share}"

    def _most(self, values: list[float], before: str) -> str:
        if len(values) != len(self.data["tokens"]):
            return ""
        finite = [t for t, x in enumerate(values) if math.isfinite(x) and x != 0]
        if not finite:
            return ""
        t = max(finite, key=lambda t: abs(values[t]))
        return f"{before} '{visible(self.data['tokens'][t], 20)}' ({self.show(values[t])})"
