"""The rule inspector: a model as a tree, and at every module which rule serves which operation, why, and what it keeps."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..pages import page_of
from ..plan import Plan
from ..rules import ALL
from ..views.sheet import Sheet
from ..views.sheets import inspector

KNOWN = {rule.name: rule for rule in ALL}


def sheet(model: nn.Module, plan: Plan) -> Sheet:
    """A plan of this model as a view that is not drawn yet."""
    used = dict.fromkeys(name for step in plan.steps if (name := named(step.rule)) in KNOWN)
    return inspector(
        tree(model, plan), model=plan.model, method=plan.method, sinks=[(s.name, s.kind) for s in plan.sinks],
        refusals=plan.refusals, pages={name: page_of(KNOWN[name]) for name in used},
    )  # fmt: skip


def tree(model: nn.Module, plan: Plan) -> dict[str, Any]:
    """The model's modules, nested as they are: {name, kind, rules: [{operation, rule, reason, conserves}], children}.

    Operations stand at the innermost module that the engine names; one of parameters alone (nn.Linear) is named by who calls it.
    """
    by_place: dict[str, list[dict[str, str]]] = {}
    for step in plan.steps:
        rule = named(step.rule)
        conserves = KNOWN[rule].conserves if rule in KNOWN else "nothing: it would be refused"
        line = {"operation": step.operation, "rule": rule, "reason": step.reason, "conserves": conserves}
        by_place.setdefault(step.place, []).append(line)
    root = by_place.get(type(model).__name__, [])

    def grown(module: nn.Module, name: str, path: str) -> dict[str, Any]:
        children = [grown(child, part, f"{path}.{part}" if path else part) for part, child in module.named_children()]
        rules = by_place.get(path, root if not path else [])
        return {"name": name, "kind": type(module).__name__, "rules": rules, "children": children}

    return grown(model, "", "")


def named(rule: str) -> str:
    """The name of a rule as a plan has it, without its options: `gamma(0.05)` is `gamma`."""
    return rule.split("(")[0]
