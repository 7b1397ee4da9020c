"""Rules as plain data: what a view needs to show a rule beside the relevance that it moved."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache, partial
from importlib.resources import files
from typing import Any

from .. import rules
from . import PositionKind, Rule


def page_of(rule: Rule) -> dict[str, Any]:
    """One rule's page: name as typed, sentence, formula (letters, LaTeX), what it conserves, paper, its own two functions as text."""
    return {
        "name": repr(rule), "sentence": rule.sentence, "formula": formula(rule), "latex": latex(rule),
        "conserves": rule.conserves, "paper": rule.paper, "relevance": source(rule.relevance), "forward": source(rule.forward),
    }  # fmt: skip


def formula(rule: Rule) -> str:
    """The indented lines of the page's docstring: the formula in the paper's letters."""
    lines = rule.doc.splitlines()
    kept = [line if line.startswith("    ") else "" for line in lines]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(line[4:] for line in kept)).strip("\n")
    return text if text.strip() else rule.sentence


def latex(rule: Rule) -> list[str]:
    """The lines of the formula in LaTeX; none of a rule that stands in no page of this package."""
    ours = rule.page.startswith(f"{__package__}.")
    return re.split(r"\s*\n\\\\\n\s*", formulas()[rule.name].strip()) if ours else []


@cache
def formulas() -> dict[str, str]:
    """The formula of each rule in LaTeX, by its name, in reading order."""
    return tomllib.loads(files(__package__).joinpath("formulas.toml").read_text(encoding="utf-8"))


def source(function: Any) -> str:
    """The lines of a rule's function; of a variant's, those of the rule it is a variant of."""
    while isinstance(function, partial):
        function = function.func
    try:
        return inspect.getsource(function).rstrip()
    except (OSError, TypeError):                 # a rule typed in at a prompt has no file
        return ""


def named(composite: str, known: Iterable[str]) -> dict[str, str]:
    """The rule of each field in the text of a composite, `Composite(linear=gamma(0.05), ...)`; fields that are no rule left out."""
    return {field: rule for field, rule in re.findall(r"(\w+)=(\w+)", composite) if rule in known}


def pages(composite: str, sink_kinds: Iterable[str] = (), own: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What was in force: {"fields": field -> rule, "pages": rule -> page}, position rules and the attention page included.

    `own` holds the pages of rules that do not stand in this package, by name (`own_pages`).
    """
    own = own or {}
    fields = named(composite, {*(rule.name for rule in rules.ALL), *own})
    if not fields:
        return {"fields": {}, "pages": {}}
    known = {rule.name: rule for rule in rules.ALL}
    pages_of = {str(kind): kind.rule.name for kind in PositionKind}
    positions = [pages_of[kind] for kind in dict.fromkeys(sink_kinds) if kind in pages_of]
    wanted = dict.fromkeys(["attention", *fields.values(), *positions])
    shown = {name: own[name] if name in own else page_of(known[name]) for name in wanted}
    return {"fields": fields | {"positions": " ".join(positions)}, "pages": shown}


def own_pages(given: Iterable[Any]) -> dict[str, Any]:
    """The pages, as plain data, of those rules that do not stand in this package."""
    return {rule.name: page_of(rule) for rule in given if isinstance(rule, Rule) and not rule.page.startswith(f"{__package__}.")}
