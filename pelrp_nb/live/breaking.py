"""The right composite and the wrong ones on one input: the switch that breaks a rule, and the ledger that shows where."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..amounts import MINUS, is_rounding
from ..composites import PA_LRP, Composite
from ..engine.propagation import Propagation
from ..engine.options import Options
from ..errors import InputError
from ..explain import explain_one
from ..results.explanation import Explanation
from ..rules import Rule
from ..rules.pages import pages, source
from ..views.payload import payload
from ..views.sheet import Sheet
from ..views.html_card import beside
from ..views.text import state, visible
from .broken import ALL, Broken, leak

SAME = 1e-6  # of the largest number: a smaller difference is rounding
RIGHT = "The rules as they stand in the textbook."


@dataclass(frozen=True, repr=False)
class Breaks:
    """One input explained by the right composite and by wrong ones; shows itself as the stepper with a switch.

    right: by PA_LRP; wrong: by each variant, by its name
    """

    right: Explanation
    wrong: Mapping[str, tuple[Broken, Explanation]]

    def __getitem__(self, name: str) -> Explanation:
        """The explanation by one variant, or by "right"."""
        if name == "right":
            return self.right
        if name not in self.wrong:
            raise InputError(f"There is no variant {name!r} here; there are right, {', '.join(self.wrong)}.")
        return self.wrong[name][1]

    def sheet(self) -> Sheet:
        """The switch as a view that is not drawn yet."""
        shown = [self.right, *(e for _, e in self.wrong.values())]
        names = ["right", *self.wrong]
        variants = [switched(name, self[name], self.wrong[name][0] if name in self.wrong else None) for name in names]
        data = {"model": visible(self.right.model), "target": visible(self.right.target, 120), "variants": variants}
        title, table = f"Rules of {visible(self.right.model)}, broken", beside(names, [e.plain() for e in shown])
        for variant, (_, e) in zip(variants[1:], self.wrong.values(), strict=True):
            variant["idle"] = variant["between"] is None and alike(e, self.right)
        return Sheet("broken", data, title, repr(self), table, state=first_seen(variants))

    def _repr_html_(self) -> str:
        return self.sheet()._repr_html_()

    def explore(self, **given: Any) -> Any:
        """The live view, an ipywidget; `variant="no-bias-share"` puts that one in force."""
        return self.sheet().explore(**given)

    def __repr__(self) -> str:
        told = [f"{name} {visible(self[name].ledger.verdict)}" for name in ("right", *self.wrong)]
        return f"Breaks({', '.join(told)})"


def alike(one: Explanation, other: Explanation) -> bool:
    """Whether all tokens have the same numbers, up to rounding."""
    x, y = one.relevance(), other.relevance()
    return x.shape == y.shape and float((x - y).abs().max() if len(x) else 0.0) <= SAME * float(y.abs().max() if len(y) else 0.0)


def first_seen(variants: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Where the switch stands at first: on the first mistake that opens the ledger, at the place where it does."""
    shown = next((one for one in variants if one["between"] is not None), variants[0])
    names = [step["name"] for step in shown["data"]["walk"]]
    opens = {"input": "the inputs"}.get(shown["between"][1], shown["between"][1]) if shown["between"] else ""
    return {"variant": shown["name"], "step": names.index(opens) if opens in names else max(0, len(names) - 1)}


def broken_on(model: nn.Module, inputs: Any, variants: Iterable[Broken] = ALL, options: Options | None = None, **given: Any) -> Breaks:
    """Explain `inputs` rightly, and once more with each mistake; audited if nothing else is said. `given` as for `explain`."""
    options = options or Options(audit=True)
    right = explain_one(model, inputs, composite=PA_LRP, options=options, **given)
    wrong = {b.name: (b, explain_one(model, inputs, composite=b, options=options, **given)) for b in variants}
    return Breaks(right, wrong)


def switched(name: str, e: Explanation, broken: Broken | None) -> dict[str, Any]:
    """One position of the switch: what is wrong, the account at every boundary, and the whole explanation for the stepper."""
    book, plain = e.ledger, e.plain()
    totals = {b.name: b.total for b in e.boundaries}
    told = book.state in ("closed", "open")
    stations = [{"name": "the answer", "total": book.value, "gap": 0.0, "closed": True}]
    stations += [
        {"name": visible(name), "total": totals[name], "gap": gap, "closed": is_rounding(gap, book.allowed) if told else None}
        for name, gap in book.layers.items()
    ]
    stations.append({"name": "the inputs", "total": book.tokens + book.positions, "gap": book.gap, "closed": book.closed if told else None})
    between = leak(book)
    return {
        "name": name, "mistake": RIGHT if broken is None else broken.mistake, "needs": "" if broken is None else broken.needs,
        "written": [] if broken is None else written(broken), "closed": book.closed, "gap": book.gap,
        "verdict": visible(book.verdict), "account": state(plain, MINUS), "stations": stations,
        "between": None if between is None else [visible(station) for station in between],
        "data": payload(plain, in_force(broken or PA_LRP, e.sink_kinds)),
    }  # fmt: skip


def in_force(composite: Composite, sink_kinds: Iterable[str]) -> dict[str, Any]:
    """The pages of the right rules, a wrong one in place of the one that it is a mistake of."""
    found = pages(repr(PA_LRP), sink_kinds)
    for rule, right in wrong_rules(composite):
        page = {**found["pages"][right.name], "name": rule.name, "forward": source(rule.forward)}
        found["pages"][right.name] = {**page, "sentence": getattr(composite, "mistake", ""), "conserves": "not what it should"}
    return found


def wrong_rules(composite: Composite) -> list[tuple[Rule, Rule]]:
    """(wrong, right) for each field in which the composite is not PA_LRP."""
    right = {name: rule for name, rule in vars(PA_LRP).items() if isinstance(rule, Rule)}
    return [(getattr(composite, name), rule) for name, rule in right.items() if getattr(composite, name) != rule]


def written(broken: Broken) -> list[list[str]]:
    """The mistake as it is written: [name, source] of each wrong rule, of the books, and of the flow."""
    kinds = (getattr(broken.flow, "books", None), broken.flow)
    found = [[rule.name, source(rule.forward)] for rule, _ in wrong_rules(broken)]
    return found + [[kind.__name__, inspect.getsource(kind).rstrip()] for kind in kinds if kind not in (None, Propagation)]
