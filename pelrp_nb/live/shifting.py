"""All positions shifted by a constant: what changes, and what cannot.

For rotary positions the answer and the signed totals stay (attention sees differences of positions alone), the `absolute` and
`positive` reductions do not.  For learnt or sinusoidal positions another row of the table is added, so the answer moves too.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..amounts import unless_rounding
from ..errors import InputError
from ..explain import explain
from ..inputs.encode import encode, quiet
from ..inputs.model_input import Encoded
from ..results.explanation import Explanation
from ..targets.logits import logits_of
from ..views.sheet import Sheet
from ..views.sheets import xray

ALLOWED = 1e-4  # part of the largest number that a change may be and count as rounding


@dataclass(frozen=True, repr=False)
class Shifts:
    """The same input explained at shifted positions; shows itself as an x-ray with a dial.

    found: shift -> explanation, in order; the first is what the others are compared with
    """

    found: Mapping[int, Explanation]

    def sheet(self) -> Sheet:
        """The x-ray of the first, with the dial that shifts."""
        first, *_ = self.found.values()
        return xray(first, self.plain())

    def _repr_html_(self) -> str:
        return self.sheet()._repr_html_()

    def explore(self, **state: Any) -> Any:
        """The live view; see `Explanation.explore`."""
        return self.sheet().explore(**state)

    def __repr__(self) -> str:
        drift = self.plain()["drift"]
        told = ", ".join(f"{name} {unless_rounding(change, ALLOWED)}" for name, change in drift.items())
        return f"Shifts({', '.join(map(str, self.found))}: largest change {told})"

    def plain(self) -> dict[str, Any]:
        """N shifts of T tokens side by side, without tensors.

        shifts: (N); value: (N) the explained number; tokens, target, sinks
        content, position: reduction -> (N, T), in every reduction on offer
        totals: {"content", "position"}: (N) signed sums
        drift: the largest change against the first shift, as share of the largest |number| there:
               {"value", "signed total", "absolute", "positive", "l2"}; up to `allowed` it is rounding
        order: reduction -> at how many shifts the tokens, largest first, stand in another order
        """
        explained = list(self.found.values())
        first = explained[0]
        parts = {name: [e.parts(name) for e in explained] for name in first.offered}
        content = {name: torch.stack([c for c, _ in pairs]) for name, pairs in parts.items()}
        position = {name: torch.stack([p for _, p in pairs]) for name, pairs in parts.items()}
        value = torch.tensor([e.value for e in explained], dtype=torch.float64)
        totals = {"content": content["signed"].double().sum(1), "position": position["signed"].double().sum(1)}
        drift = {"value": apart(value), "signed total": apart(totals["position"])}
        drift |= {name: apart(x) for name, x in position.items() if name != "signed"}
        return {
            "tokens": list(first.tokens), "target": first.target, "sinks": list(first.sinks), "shifts": list(self.found),
            "value": value.tolist(), "totals": {part: t.tolist() for part, t in totals.items()},
            "content": {name: x.tolist() for name, x in content.items()},
            "position": {name: x.tolist() for name, x in position.items()},
            "drift": drift, "allowed": ALLOWED, "order": {name: reordered(content[name] + position[name]) for name in content},
        }  # fmt: skip


def shifted(model: nn.Module, inputs: Any, shifts: Sequence[int], processor: Any = None, target: Any = None, **given: Any) -> Shifts:
    """Explanations of one input with `shifts` added to every position; `given` as for `explain`.

    Raises InputError where the model takes no position_ids, or has no position so far on.
    """
    wanted = [int(by) for by in shifts]
    if not wanted:
        raise InputError("There must be at least one shift. Type shifts=range(0, 33, 4).")
    if "position_ids" not in inspect.signature(model.forward).parameters:
        raise InputError(f"{type(model).__name__} takes no position_ids, so its positions cannot be shifted from outside.")
    encoded = encode(model, inputs, processor)
    ids = encoded.tensors.get("input_ids")
    if ids is None:
        raise InputError("Positions of a text are shifted; this input has no input_ids. Pass a text, or a mapping that holds them.")
    T, labels = ids.shape[1], next(iter(encoded.labels.values()))
    check_room(model, T, wanted)
    target = highest(model, encoded) if target is None else target
    found: dict[int, Explanation] = {}
    for by in wanted:
        at = {"position_ids": torch.arange(by, by + T, device=ids.device)[None]}
        e = explain(model, {**encoded.tensors, **at}, processor=processor, target=target, **given)
        assert isinstance(e, Explanation)
        own = labels.upto(len(e.tokens))
        found[by] = replace(e, tokens=own.tokens, special=own.special, text=own.text)
    return Shifts(found)


@torch.no_grad()
def highest(model: nn.Module, encoded: Encoded) -> int:
    """The class or token that the model answers with where positions are as they are: the same for every shift."""
    logits = logits_of(model(**encoded.tensors, **quiet(model)))[0]
    return int(logits.reshape(-1, logits.shape[-1])[-1].argmax())


def check_room(model: nn.Module, T: int, shifts: Sequence[int]) -> None:
    """Every shifted position must be one that the model has."""
    limit = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    if min(shifts) < 0:
        raise InputError(f"Shifts must not be negative, got {min(shifts)}: a position below 0 does not exist.")
    if isinstance(limit, int) and 0 < limit < max(shifts) + T:
        raise InputError(f"The model has {limit} positions and the text {T} tokens, so shifts go up to {limit - T}; got {max(shifts)}.")


def apart(x: Tensor) -> float:
    """The largest change against the first row, as share of the largest |number| in it."""
    most = float(x[0].abs().max()) if x[0].numel() else 0.0
    return float((x - x[:1]).abs().max()) / most if most else 0.0


def reordered(x: Tensor) -> int:
    """At how many rows the order of the columns, largest first, is not that of the first row."""
    order = x.argsort(dim=1, descending=True, stable=True)
    return int((order != order[:1]).any(1).sum())
