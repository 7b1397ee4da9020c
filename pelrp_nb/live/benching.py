"""The bench as a widget: sliders in the page, the rule itself in Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from traitlets import Dict, observe

from ..errors import InputError
from ..rules import Rule, by_name
from ..views.data import clean
from .cards import data
from .desk import Desk
from .workbench import compute, controls


class Bench(Desk):
    """Set inputs, weights and options of a rule, and see shares and leak at once.

    values: what is set, by the names on the bench; others stay as they are
    result: `workbench.compute` of them
    """

    kept = ("values", "result")
    values = Dict().tag(sync=True)
    result = Dict().tag(sync=True)

    def __init__(self, rule: Rule | str, **values: Any) -> None:
        self.rule = by_name(rule) if isinstance(rule, str) else rule
        if not isinstance(self.rule, Rule):
            raise InputError(f"A bench needs a rule or the name of one, got {type(rule).__name__}. Type live.bench(rules.gamma).")
        start = compute(self.rule, values)
        card = {name: part for name, part in data(self.rule).items() if name not in ("example", "worked")}
        super().__init__("bench", {**card, "controls": [c.plain() for c in controls(self.rule)]})
        self.values, self.result = clean(start["values"]), clean(start)

    @observe("values")
    def _moved(self, change: Any) -> None:
        try:
            self.result = clean(compute(self.rule, change.new))
        except InputError as error:
            self.result = {**self.result, "error": str(error)}

    def ask_reset(self, message: Mapping[str, Any]) -> None:
        """Everything as it was at the start."""
        self.values = clean(compute(self.rule)["values"])
