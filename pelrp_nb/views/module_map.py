"""The map of a model: its modules nested as they are, neighbours that are alike once, each operation with its rule."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .text import visible

ALIKE = 3  # so many neighbours that differ in their number alone are drawn once
FACTS = ("operation", "rule", "reason", "conserves")
Sinks = Sequence[tuple[str, str]]  # (name, kind) of each


def mapped(tree: Mapping[str, Any], sinks: Sinks) -> dict[str, Any]:
    """{"tree", "lines", "kept", "operations"} for the view.

    tree:  {"name", "kind", "lines": indices, "sinks": kinds, "alike": names, "children"}, what is empty left out
    lines: each different operation once: its facts, and "keeps", see `keeps`
    kept:  how many operations keep what: {"all": 120, "booked": 30, "measured": 4, "nothing": 0}
    """
    at = _placed(tree, sinks)
    lines: dict[str, int] = {}
    whole = _node(tree, "", at, lines)
    found = [json.loads(text) for text in lines]
    counted = dict.fromkeys(("all", "booked", "measured", "nothing"), 0)
    for line in _operations(tree):
        counted[keeps(str(line.get("conserves", "")))] += 1
    return {"tree": whole, "lines": found, "kept": counted, "operations": sum(counted.values())}


def keeps(conserves: str) -> str:
    """What a rule does with the total, in one word.

    "all" is handed on, or all but what is "booked" by name, or what stays is "measured"; or "nothing" is promised
    """
    if conserves.startswith("nothing") or not conserves:
        return "nothing"
    if conserves.startswith("not the total"):
        return "measured"
    return "booked" if conserves.startswith("all but") else "all"


def folded(children: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbours that differ in their number alone, ALIKE of them or more, as one with all their names."""
    runs: list[list[dict[str, Any]]] = []
    same = None
    for child in children:
        shape = _shape(child) if child["name"].isdigit() else None
        if shape is not None and shape == same:
            runs[-1].append(child)
        else:
            runs.append([child])
        same = shape
    found: list[dict[str, Any]] = []
    for run in runs:
        found += [{**run[0], "alike": [child["name"] for child in run]}] if len(run) >= ALIKE else run
    return found


def _shape(node: Mapping[str, Any], top: bool = True) -> str:
    """All of a module but where it stands."""
    apart = {key: value for key, value in node.items() if key != "children" and not (top and key == "name")}
    return json.dumps([apart, [_shape(child, False) for child in node.get("children", ())]], sort_keys=True)


def _node(node: Mapping[str, Any], path: str, at: Mapping[str, list[str]], lines: dict[str, int]) -> dict[str, Any]:
    found: dict[str, Any] = {"name": visible(node["name"]) if node["name"] else "", "kind": visible(node["kind"])}
    if path in at:
        found["sinks"] = [visible(kind) for kind in at[path]]
    own = [_line(rule, lines) for rule in node["rules"]]
    if own:
        found["lines"] = own
    inside = [_node(child, f"{path}.{child['name']}".strip("."), at, lines) for child in node["children"]]
    if inside:
        found["children"] = folded(inside)
    return found


def _line(rule: Mapping[str, Any], lines: dict[str, int]) -> int:
    """The number of this operation among the different ones."""
    facts = {key: visible(str(rule.get(key, "")), 120) for key in FACTS}
    return lines.setdefault(json.dumps({**facts, "keeps": keeps(facts["conserves"])}), len(lines))


def _operations(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from node["rules"]
    for child in node["children"]:
        yield from _operations(child)


# --- where positions enter ------------------------------------------------------------------------------------------------


def _placed(tree: Mapping[str, Any], sinks: Sinks) -> dict[str, list[str]]:
    """Path of a module -> the kinds of positions that enter there; a sink whose place the names do not tell is left out."""
    paths = list(_paths(tree, ""))
    found: dict[str, list[str]] = {}
    for name, kind in sinks:
        place = _by_layer(name, kind, paths) if re.search(r"\blayer \d+\b", name) else _by_path(name, paths)
        if place is not None and kind not in found.setdefault(place, []):
            found[place].append(kind)
    return found


def _paths(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield path, node
    for child in node["children"]:
        yield from _paths(child, f"{path}.{child['name']}".strip("."))


def _by_path(name: str, paths: Sequence[tuple[str, Mapping[str, Any]]]) -> str | None:
    """The deepest module whose path begins the name of a parameter."""
    inside = [path for path, _ in paths if path and (name == path or name.startswith(f"{path}."))]
    return max(inside, key=len, default=None)


def _by_layer(name: str, kind: str, paths: Sequence[tuple[str, Mapping[str, Any]]]) -> str | None:
    """In `layer 3 rotary`: the module of layer 3 that turns, or its attention."""
    number = re.search(r"\blayer (\d+)\b", name)
    stream = name[: number.start()].strip() if number else ""
    layer = rf"(^|\.){number[1]}(\.|$)" if number else ""
    here = [(path, node) for path, node in paths if re.search(layer, path) and stream in path]
    for told in (lambda node: kind == "rotary" and any("rotation" in str(r.get("reason")) for r in node["rules"]),
                 lambda node: re.search("attention", node["kind"], re.I) and node["rules"]):  # fmt: skip
        fitting = [path for path, node in here if told(node)]
        if fitting:
            return fitting[0]
    return None
