"""Which file imports which: no circle between files, and one direction between rooms.

Imports are read from the syntax tree, so those under TYPE_CHECKING and inside functions count like any other.
"""

from __future__ import annotations

import ast
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "pelrp_nb"


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Every file of the package by the name it is imported by; a folder stands for its `__init__`."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def named(path: Path, module: str) -> Iterator[tuple[str, ...]]:
    """The candidates that each import in a file may mean, the closest first."""
    home = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name,) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            whole = ".".join([*base, *filter(None, [node.module])])
            yield from ((f"{whole}.{alias.name}", whole) for alias in node.names)


def imports(package: Path = PACKAGE) -> dict[str, set[str]]:
    """For each file those that it imports."""
    files = modules(package)
    found: dict[str, set[str]] = {}
    for module, path in files.items():
        meant = (next((name for name in candidates if name in files), None) for candidates in named(path, module))
        found[module] = {name for name in meant if name is not None and name != module}
    return found


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Files that reach each other, of two or more (Kosaraju: the order in which files are done, then the arrows turned round)."""

    def reach(start: str, arrows: dict[str, set[str]], seen: set[str]) -> list[str]:
        """Everything reached from a file, in the order in which it is done."""
        seen.add(start)
        done, stack = [], [(start, iter(sorted(arrows[start])))]
        while stack:
            following = next((name for name in stack[-1][1] if name not in seen), None)
            if following is None:
                done.append(stack.pop()[0])
            else:
                seen.add(following)
                stack.append((following, iter(sorted(arrows[following]))))
        return done

    seen: set[str] = set()
    order = [name for start in graph if start not in seen for name in reach(start, graph, seen)]
    turned: dict[str, set[str]] = {name: set() for name in graph}
    for name, targets in graph.items():
        for target in targets:
            turned[target].add(name)
    seen = set()
    groups = [set(reach(start, turned, seen)) for start in reversed(order) if start not in seen]
    return [group for group in groups if len(group) > 1]


WRITTEN = {                                      # what a pickle of version 0.1 calls what it holds
    "explanation": "Explanation",
    "words": "Word",
    "ledger": "Ledger",
    "plan": "Plan",
    "composites": "Composite",
    "rules._rule": "_restore",
    "target": "Token Label Similar Generated Read Each Every",
    "engine.trace": "Boundary Crossing Sink Trace",
    "engine.propagation": "Options Step",
    "engine.only": "Condition",
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in WRITTEN.items() for name in names.split()])
def test_a_pickle_of_version_0_1_finds_what_it_names(module, name):
    found = pickle.loads(f"cpelrp_nb.{module}\n{name}\n.".encode())
    assert found.__name__ == name
