"""The laws of the house, as one command: `python tests/house.py` prints `file:line: what must hold` for whatever does not, and fails.

Whole files are read once each; `LAWS` names what each law says and which files it speaks of.  What ruff and mypy say is not
repeated here.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("pelrp_nb", "tests", "tutorials", "docs", "binder", ".ci")
KINDS = {".py", ".md", ".ipynb", ".toml", ".yml", ".yaml", ".sh", ".js", ".css", ".cfg", ".json", ""}
LINES, FUNCTION = 300, 40
LONGER = dict.fromkeys(("pelrp_nb/results/explanation.py", "pelrp_nb/engine/propagation.py", "pelrp_nb/reference.py"), 400)
VAGUE = re.compile(r"(^|_)(helpers?|utils?|manager|relprop|cam|misc)(_|$)", re.I)
LOUD = re.compile(r"\w!(\s|$)|[\U0001F300-\U0001FAFF\u2600-\u27BF]")
FORBIDDEN = {  # written in pieces, or this file would find itself
    "no path of one machine": r"(?<![\w.:])/(work|farm|ro" + r"ot|home/\w+)/|(?<![\w.])/tm" + r"p/\w",
    "no host of a package registry": r"(pypi|pythonhosted|npmjs|debian)\.o" + "rg",
    "no unfinished work": r"\b(TO" + "DO|FIX" + "ME|XX" + r"X)\b|for n" + r"ow\b",
    "no mark of a conflict": r"^\s*\"?(<<<<" + r"<<<|>>>>" + r">>>) \S",
    "no word of the workshop": r"\bCE" + r"O\b|this work" + r"place|before-st" + "op|maintainer's ses" + "sion",
}
Found = Iterator[tuple[int, str]]  # line, what came


@dataclass(frozen=True)
class Source:
    """One file that people read: its text, and its syntax tree where it is Python."""

    path: Path
    inside: str  # its name from the root: pelrp_nb/rules/epsilon.py

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(ast.parse(self.text)))

    def under(self, *folders: str) -> bool:
        """Whether it is Python in one of these folders."""
        return self.path.suffix == ".py" and self.inside.startswith(folders)


def imported(source: Source) -> Found:
    """Every module that a file imports, anywhere in it, by its full name."""
    here = Path(source.inside).parent.parts
    for node in source.nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: len(here) - node.level + 1]) if node.level else ""
            yield node.lineno, ".".join(filter(None, (base, node.module)))


def plain_data(source: Source) -> Found:
    for line, name in imported(source):
        room = name.split(".")
        if room[0] in {"torch", "transformers"} or (room[0] == "pelrp_nb" and room[1:2] not in (["views"], ["amounts"], ["errors"])):
            yield line, name


def no_models(source: Source) -> Found:
    strange = {"transformers", "ipywidgets", "anywidget", "matplotlib"}
    yield from ((line, name) for line, name in imported(source) if name.split(".")[0] in strange)


def small_files(source: Source) -> Found:
    if (lines := source.text.count("\n")) >= LONGER.get(source.inside, LINES):
        yield lines, f"{lines} lines"


def small_functions(source: Source) -> Found:
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            told = node.body[0] if ast.get_docstring(node) is not None else None
            said = 0 if told is None else (told.end_lineno or told.lineno) - told.lineno + 1
            length = (node.end_lineno or node.lineno) - node.lineno + 1 - said
            if length >= FUNCTION:
                yield node.lineno, f"{node.name}, {length} lines"


def clear_names(source: Source) -> Found:
    named = [(1, source.path.stem)]
    named += [(n.lineno, n.name) for n in source.nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    yield from ((line, name) for line, name in named if VAGUE.search(name))


def calm_docstrings(source: Source) -> Found:
    documented = (n for n in source.nodes if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef))
    for node in documented:
        if LOUD.search(text := ast.get_docstring(node) or ""):
            yield getattr(node, "lineno", 1), text.split("\n")[0]


def without(pattern: str) -> Callable[[Source], Found]:
    """The law that no line holds this; pictures in notebooks are no words."""

    def law(source: Source) -> Found:
        for number, line in enumerate(source.text.splitlines(), 1):
            if '"image/png"' not in line and re.search(pattern, line):
                yield number, line.strip()[:100]

    return law


# what must hold: (where, how it is found); an empty tuple of folders means every file that people read
LAWS: dict[str, tuple[tuple[str, ...], Callable[[Source], Found]]] = {
    "views take plain data: no torch, no other room but amounts and errors": (("pelrp_nb/views/",), plain_data),
    "rules know no models and no widgets": (("pelrp_nb/rules/",), no_models),
    f"a file of the package has fewer than {LINES} lines, three apart": (("pelrp_nb/",), small_files),
    f"a function has fewer than {FUNCTION} lines beside its docstring": (("pelrp_nb/", "tests/"), small_functions),
    "a name says what it means": (("pelrp_nb/",), clear_names),
    "docstrings are calm: no exclamation marks, no pictures": (("pelrp_nb/",), calm_docstrings),
    **{what: ((), without(pattern)) for what, pattern in FORBIDDEN.items()},
}


def sources(root: Path) -> Iterator[Source]:
    """Every file that people read, in order."""
    files = {path for folder in FOLDERS for path in (root / folder).rglob("*")} | set(root.glob("*"))
    hidden = {"__pycache__", ".ipynb_checkpoints", "tokenizer.json", ".git"}
    for path in sorted(files):
        if path.is_file() and path.suffix in KINDS and not hidden & set(path.parts):
            yield Source(path, path.relative_to(root).as_posix())


def broken(root: Path) -> Iterator[str]:
    """One line for everything that breaks a law."""
    for source in sources(root):
        for what, (folders, law) in LAWS.items():
            if not folders or source.under(*folders):
                yield from (f"{source.inside}:{line}: {what} (here: {came})" for line, came in law(source))


def main(root: Path = ROOT) -> int:
    """Print what is broken; 1 if anything is."""
    found = list(broken(root))
    print("\n".join(found) or "the house is in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
