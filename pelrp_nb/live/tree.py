"""The rule inspector's data: the model as a tree, with the rule of every operation and what it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..plan import Plan
from ..views.text import visible


def data(plan: Plan) -> dict[str, Any]:
    """A plan as the inspector shows it: the tree of `plan.tree()`, its sinks, refusals, and how often each rule is used."""
    tree = plan.tree()
    counts: dict[str, int] = {}
    count(tree, counts)
    return {
        "model": visible(plan.model), "method": visible(plan.method, 120),
        "sinks": [[visible(s.name), visible(s.kind)] for s in plan.sinks],
        "refusals": [visible(r, 400) for r in plan.refusals],
        "counts": sorted(counts.items(), key=lambda item: (-item[1], item[0])),
        "tree": node(tree),
    }  # fmt: skip


def count(tree: Mapping[str, Any], counts: dict[str, int]) -> None:
    """How many operations each rule serves."""
    for line in tree["rules"]:
        name = visible(str(line["rule"]))
        counts[name] = counts.get(name, 0) + 1
    for child in tree["children"]:
        count(child, counts)


def node(tree: Mapping[str, Any]) -> dict[str, Any]:
    """One module: {name, kind, rules, children, alike}; neighbours that differ in nothing but their number are drawn as one.

    alike: names of the neighbours that this one stands for, itself the first
    """
    children: list[dict[str, Any]] = []
    for child in map(node, tree["children"]):
        last = children[-1] if children else None
        if last is not None and child["name"].isdecimal() and last["name"].isdecimal() and same(last, child):
            last["alike"].append(child["name"])
        else:
            children.append(child)
    rules = [{key: visible(str(line[key]), 200) for key in ("operation", "rule", "reason", "conserves")} for line in tree["rules"]]
    name = visible(str(tree["name"]))
    return {"name": name, "kind": visible(str(tree["kind"])), "rules": rules, "children": children, "alike": [name]}


def same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two modules have the same kind, rules and children."""
    return all(a[key] == b[key] for key in ("kind", "rules", "children"))
