"""Which file imports which: no circle between files, and one direction between rooms.

Imports are read from the syntax tree, so those under TYPE_CHECKING and inside functions count like any other.
"""

from __future__ import annotations

import ast
import inspect
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pelrp_nb import PA_LRP, Options
from pelrp_nb.engine.context import Context
from pelrp_nb.engine.forward_pass import ForwardPass
from pelrp_nb.engine.propagation import Propagation

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


ORDER = (  # a file may import those of its own line and of the lines above it
    "errors verbs version amounts calls extras pickling hierarchy engine.in_a_page",
    "rules",
    "composites ledger",
    "reference views",
    "engine.places",
    "engine.numerics engine.depth",
    "engine.edges",
    "engine.leaves engine.streams engine.only engine.operations engine.trace engine.saved engine.signature engine.model_tree",
    "engine.support engine.layers",
    "engine.module_hooks",
    "engine.leaving",
    "engine.options engine.account engine.notes",
    "engine.projections engine.widening engine.taped engine.replay engine.hidden_writes",
    "engine.context",
    "engine.arguments engine.shapes",
    "engine.boundaries engine.heads engine.routes engine.positions",
    "engine.forward_pass engine.memory engine.handlers engine.per_place engine.roles engine.following",
    "engine.checkpointing engine.attach engine.visits engine.slot_finder engine.exact_softmax",
    "engine.backward",
    "engine.residual_sums",
    "engine.propagation engine",
    "inputs",
    "targets",
    "results",
    "target explanation words",
    "batches",
    "explain plan",
    "patching",
    "exchange permute patch",
    "methods streaming",
    "zoo atlas",
    "streaming.command",
    "faithfulness live",
    "labs",
    "bench environment",
    "doctor",
    "typed",
    "exchange_command without_make",
    "patch_command",
    "__main__ ",
)
RANK = {f"pelrp_nb.{name}".rstrip("."): rank for rank, line in enumerate(ORDER) for name in line.split(" ")}
IMPORTS = imports()


def rank(module: str) -> int:
    """The line of the closest room around a file."""
    parts = module.split(".")
    return RANK[next(room for n in range(len(parts), 0, -1) if (room := ".".join(parts[:n])) in RANK)]


def test_no_file_imports_itself_by_way_of_others():
    assert not circles(IMPORTS)


@pytest.mark.parametrize("module", IMPORTS)
def test_imports_run_one_way(module):
    against = {name for name in IMPORTS[module] if rank(name) > rank(module)}
    assert not against, f"{module} stands before {', '.join(sorted(against))}: see ORDER"


def test_every_file_but_the_package_itself_has_a_room():
    assert [module for module in IMPORTS if rank(module) == RANK["pelrp_nb"]] == ["pelrp_nb", "pelrp_nb.__main__"]


FILES = {
    "a/__init__.py": "",
    "a/one.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .two import B\n",
    "a/two.py": "def late():\n    from .inner import three\n",
    "a/inner/__init__.py": "",
    "a/inner/three.py": "from .. import one\n",
    "a/inner/four.py": "from a.two import late\n",
}


def test_a_circle_is_seen_under_type_checking_and_inside_functions(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = imports(tmp_path / "a")
    assert found["a.inner.four"] == {"a.two"} and found["a.inner.three"] == {"a.one"}
    assert circles(found) == [{"a.one", "a.two", "a.inner.three"}]


@pytest.mark.parametrize("page", [Context, ForwardPass])
def test_a_propagation_is_what_its_pages_promise(page):
    flow = Propagation(torch.nn.Linear(2, 2), PA_LRP, Options())
    pages = [kind for kind in page.__mro__ if getattr(kind, "_is_protocol", False)]
    promised = {name for kind in pages for name in (*vars(kind), *inspect.get_annotations(kind))}
    public = {name for name in promised if not name.startswith("_")}
    assert len(public) > 20 and not [name for name in public if not hasattr(flow, name)]
    for name, told in vars(page).items():
        if inspect.isfunction(told) and not name.startswith("_"):
            kept = inspect.signature(getattr(Propagation, name)).parameters.values()
            assert [(p.name, p.default) for p in inspect.signature(told).parameters.values()] == [(p.name, p.default) for p in kept], name


WRITTEN = {  # what a pickle of version 0.1 calls what it holds
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
    "engine.notes": "Note",
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in WRITTEN.items() for name in names.split()])
def test_a_pickle_of_version_0_1_finds_what_it_names(module, name):
    found = pickle.loads(f"cpelrp_nb.{module}\n{name}\n.".encode())
    assert found.__name__ == name
