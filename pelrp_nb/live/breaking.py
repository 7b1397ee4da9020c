"""The right composite and the wrong ones on one input, as plain data: the switch that breaks a rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from ..composites import PA_LRP
from ..engine.propagation import Options
from ..explain import explain
from ..explanation import Explanation
from ..views.text import MINUS, state, visible
from .broken import ALL, Broken, leak
from .report import label

RIGHT = "The rules as they stand in the textbook."


def explained(
    model: nn.Module, inputs: Any, variants: Sequence[Broken] = ALL, *, options: Options | None = None, **given: Any
) -> dict[str, Explanation]:
    """One explanation by PA_LRP, called "right", and one by each wrong variant; `given` as for `explain`, audited if not said otherwise."""
    options = options or Options(audit=True)
    found = {"right": explain(model, inputs, composite=PA_LRP, options=options, **given)}
    for broken in variants:
        found[short(broken)] = explain(model, inputs, composite=broken, options=replace(options), **given)
    return found


def short(broken: Broken) -> str:
    """The variant's name as one types it."""
    return broken.label.removeprefix("broken: ")


def data(found: dict[str, Explanation], variants: Sequence[Broken] = ALL) -> dict[str, Any]:
    """What the switch shows: tokens once, and for each variant what it gets wrong, its account and where that opens."""
    first = found["right"]
    by_name = {short(broken): broken for broken in variants}
    return {
        "tokens": [label(token) for token in first.tokens],
        "special": list(first.special),
        "facts": [visible(first.model), visible(first.target, 120)],
        "value": first.value,
        "variants": [variant(name, e, by_name.get(name)) for name, e in found.items()],
    }


def variant(name: str, e: Explanation, broken: Broken | None) -> dict[str, Any]:
    """One position of the switch."""
    book, content, position = e.ledger, *e.parts("signed")
    allowed = book.tolerance * book.scale
    totals = {b.name: b.total for b in e.boundaries}
    stations = [{"name": "the answer", "total": book.value, "gap": 0.0, "closed": True}]
    stations += [{"name": visible(n), "total": totals[n], "gap": gap, "closed": abs(gap) <= allowed} for n, gap in book.layers.items()]
    stations.append({"name": "tokens and positions", "total": book.tokens + book.positions, "gap": book.gap, "closed": book.closed})
    between = leak(book)
    return {
        "name": name, "mistake": RIGHT if broken is None else broken.mistake, "needs": "" if broken is None else broken.needs,
        "closed": book.closed, "between": None if between is None else [visible(station) for station in between],
        "account": state(e.plain(), MINUS), "gap": book.gap, "allowed": allowed, "rows": [list(row) for row in book.rows()],
        "stations": stations, "content": content.tolist(), "position": position.tolist(),
    }  # fmt: skip
