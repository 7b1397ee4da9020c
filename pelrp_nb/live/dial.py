"""All positions shifted by a constant: what changes, and what cannot.

For rotary positions the answer and the signed totals stay (attention sees differences of positions alone), the `absolute` and
`positive` reductions do not.  For learnt or sinusoidal positions another row of the table is added, so the answer moves too.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..composites import PA_LRP, Composite
from ..engine.encode import Encoded, encode, quiet
from ..engine.propagation import Options
from ..errors import InputError
from ..explain import explain
from ..explanation import Explanation
from ..target import logits_of

Shifts = Sequence[int]


def shift(
    model: nn.Module, inputs: Any, *, processor: Any = None, shifts: Shifts = range(0, 33, 4), target: Any = None,
    composite: Composite = PA_LRP, options: Options | None = None,
) -> dict[str, Any]:
    """Explanations of the same input at shifted positions, as plain data.

    Args:
        model: one whose forward takes `position_ids`.
        inputs: a text, or a mapping of tensors with input_ids (a batch of one).
        shifts: what is added to every position; the first one is what the others are compared with.

    Returns:
        tokens, target, sinks; shifts (N);
        value: (N) the explained number
        position: reduction -> (N, T) what positions received, in every reduction on offer
        content:  reduction -> (N, T) likewise
        totals: {"content": (N), "position": (N)} signed sums
        drift: the largest change against the first shift, as share of the largest |number| there:
               {"value", "signed total", "absolute", "positive", "l2"}; "order": reduction -> at how many shifts tokens change their rank

    Raises InputError where the model takes no position_ids, or has no position so far on.
    """
    wanted = [int(by) for by in shifts]
    if not wanted:
        raise InputError("There must be at least one shift. Type shifts=range(0, 33, 4).")
    if "position_ids" not in inspect.signature(model.forward).parameters:
        raise InputError(f"{type(model).__name__} takes no position_ids, so its positions cannot be shifted from outside.")
    encoded = encode(model, inputs, processor)
    T = encoded.tensors["input_ids"].shape[1]
    check_room(model, T, wanted)
    device = encoded.tensors["input_ids"].device
    target = highest(model, encoded) if target is None else target
    found = []
    for by in wanted:
        at = torch.arange(by, by + T, device=device)[None]
        moved = explain(
            model, {**encoded.tensors, "position_ids": at}, processor=processor, target=target, composite=composite, options=options
        )
        found.append(moved)
    return measured(found, wanted, encoded.tokens)


@torch.no_grad()
def highest(model: nn.Module, encoded: Encoded) -> int:
    """The class or token that the model answers with with positions as they are: the same for every shift."""
    logits = logits_of(model(**encoded.tensors, **quiet(model)))[0]
    return int(logits.reshape(-1, logits.shape[-1])[-1].argmax())


def check_room(model: nn.Module, T: int, shifts: Sequence[int]) -> None:
    """Every shifted position must be one that the model has."""
    config = getattr(model, "config", None)
    limit = getattr(config, "max_position_embeddings", None)
    if min(shifts) < 0:
        raise InputError(f"Shifts must not be negative, got {min(shifts)}: a position below 0 does not exist.")
    if isinstance(limit, int) and 0 < limit < max(shifts) + T:
        raise InputError(
            f"The model has {limit} positions and the text {T} tokens, so shifts go up to {limit - T}; got {max(shifts)}."
        )


def measured(found: Sequence[Explanation], shifts: Sequence[int], tokens: Sequence[str]) -> dict[str, Any]:
    """Several explanations of the same tokens side by side, and how far they are apart."""
    first = found[0]
    by: dict[str, dict[str, torch.Tensor]] = {"content": {}, "position": {}}
    for name in first.offered:
        parts = [e.parts(name) for e in found]
        by["content"][name] = torch.stack([c for c, _ in parts])
        by["position"][name] = torch.stack([p for _, p in parts])
    both = {name: by["content"][name] + by["position"][name] for name in first.offered}
    value = torch.tensor([e.value for e in found], dtype=torch.float64)
    totals = {part: by[part]["signed"].double().sum(1) for part in ("content", "position")}
    drift = {"value": apart(value), "signed total": apart(totals["position"])}
    drift |= {name: apart(by["position"][name]) for name in first.offered if name != "signed"}
    return {
        "tokens": list(tokens) or list(first.tokens), "target": first.target, "sinks": list(first.sinks), "shifts": list(shifts),
        "value": value.tolist(), "totals": {part: t.tolist() for part, t in totals.items()},
        "content": {name: x.tolist() for name, x in by["content"].items()},
        "position": {name: x.tolist() for name, x in by["position"].items()},
        "drift": drift, "order": {name: reordered(x) for name, x in both.items()},
    }  # fmt: skip


def apart(x: torch.Tensor) -> float:
    """The largest change against the first row, as share of the largest |number| in it."""
    most = float(x[0].abs().max()) if x[0].numel() else 0.0
    return float((x - x[:1]).abs().max()) / most if most else 0.0


def reordered(x: torch.Tensor) -> int:
    """At how many rows the order of the columns, largest first, is not that of the first row."""
    order = x.argsort(dim=1, descending=True, stable=True)
    return int((order != order[:1]).any(1).sum())
