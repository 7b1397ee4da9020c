"""plan(model, inputs) -> Plan: what would be done, from a forward pass alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from .composites import PA_LRP, Composite, title
from .engine.encode import encode, quiet
from .engine.inspection import inspect
from .engine.propagation import Options, Step, propagate
from .engine.trace import Sink
from .errors import ModelError

__all__ = ["Plan", "plan"]


@dataclass(frozen=True)
class Plan:
    """What would be done, from a forward pass alone.

    steps:    which rule applies to each operation in each module, and why (its kind)
    sinks:    where positions would receive; empty if none was found
    refusals: what would be refused, with the reason
    """

    model: str
    method: str
    steps: tuple[Step, ...]
    sinks: tuple[Sink, ...]
    refusals: tuple[str, ...]

    def __str__(self) -> str:
        by: dict[tuple[str, str, str], list[str]] = {}
        for step in self.steps:
            by.setdefault((step.operation, step.rule, step.reason), []).append(step.place)
        width = [max([len(k[i]) for k in by] + [len(h)]) + 2 for i, h in enumerate(("operation", "rule", "kind"))]
        lines = [f"{self.model}, {self.method}", ""]
        lines.append("operation".ljust(width[0]) + "rule".ljust(width[1]) + "kind".ljust(width[2]) + "where")
        for key, places in by.items():
            where = places[0] + (f" and {len(places) - 1} more" if len(places) > 1 else "")
            lines.append("".join(k.ljust(w) for k, w in zip(key, width, strict=True)) + where)
        found = ", ".join(f"{s.name} ({s.kind})" for s in self.sinks)
        lines += ["", "positions: " + (found or f"no positional encoding found in {self.model}")]
        lines += [f"refused: {r}" for r in self.refusals] or ["refused: nothing"]
        return "\n".join(lines)

    __repr__ = __str__


def plan(
    model: nn.Module,
    inputs: Any,
    *,
    processor: Any = None,
    composite: Composite = PA_LRP,
    options: Options | None = None,
) -> Plan:
    """Forward only: which rule applies where and why, the sinks found, what would be refused.

    Takes what `explain` takes. Raises InputError if the input does not fit; what the engine would refuse is listed, not raised.
    """
    name = type(model).__name__
    try:
        inspect(model)
        encoded = encode(model, inputs, processor)
        with propagate(model, composite, options or Options()) as flow:
            model(**encoded.tensors, **quiet(model))
    except ModelError as error:
        return Plan(name, title(composite), (), (), (str(error),))
    seen: dict[tuple[str, int | None], Sink] = {(s.name, s.layer): Sink(s.name, s.kind, s.layer) for s in flow.inputs.sinks}
    refusals = tuple(dict.fromkeys(f"no rule for {where}" for _, _, where in flow.refused))
    return Plan(name, title(composite), tuple(flow.steps.values()), tuple(seen.values()), refusals)
