"""Pages that are made of the package itself, so that they cannot differ from it: rules, reference, what errors say.

They are written to `docs/made/` before Sphinx reads anything, and only where they have changed.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import messages
from docstrings import prose
from sphinx.application import Sphinx

import pelrp_nb
from pelrp_nb import rules
from pelrp_nb.composites import Composite
from pelrp_nb.labs.worksheets import glossary_markdown
from pelrp_nb.rules.pages import page_of

HERE = Path(__file__).parent
MADE = HERE / "made"
PACKAGE = Path(pelrp_nb.__file__).parent
ROOMS = {  # what one reaches by pelrp_nb.NAME -> what it is, in a line
    "target": "what is explained",
    "rules": "the textbook, and the doors for rules of your own",
    "zoo": "small trained models, and what they were trained on",
    "views": "what people look at",
    "live": "views that run a model",
    "labs": "exercises and their checks",
    "faithfulness": "which method tells the truth",
    "errors": "what is refused",
    "verbs": "value of one expression, gradient of another",
    "reference": "a whole small transformer, walked back by hand",
}

CARD = "![The card of a result: text in colour, one bar of what the value is made of](../../tutorials/images/card.png)"
STEPPER = "![One step of the walk back: content and position of each token, and the account so far](../../tutorials/images/stepper.png)"


def public(room: ModuleType) -> list[str]:
    """The names of a module that are for users: its `__all__`, or what it defines itself."""
    own = [name for name, thing in vars(room).items() if name[0] != "_" and getattr(thing, "__module__", None) == room.__name__]
    listed = list(getattr(room, "__all__", own))
    return [*listed, "ALL", "make", "check_rule"] if room is rules else listed


def made() -> Iterator[tuple[str, str]]:
    """Every page: its name below `docs/made/`, and its text."""
    yield from textbook()
    yield from reference()
    yield "messages", messages.page()
    yield "gallery", gallery()
    yield "glossary", f"# Glossary\n\nThe words of the field, as the course uses them.\n\n{glossary_markdown()}\n"


def gallery() -> str:
    """The pages of `docs/gallery/`, whichever there are."""
    pages = [f"/docs/gallery/{path.stem}" for path in sorted((HERE / "gallery").glob("*.md"))]
    toctree = ["```{toctree}", ":maxdepth: 1", "", *pages, "```", ""] if pages else []
    return "\n".join(["# Gallery", "", "Every view, as it looks.", "", *toctree, CARD, "", STEPPER, ""])


def textbook() -> Iterator[tuple[str, str]]:
    for rule in rules.ALL:
        yield f"rules/{rule.name}", rule_page(rule)


def rule_page(rule: rules.Rule) -> str:
    """One rule: sentence, formula, what it conserves, its page as it stands in the package."""
    shown = page_of(rule)
    file = f"{PACKAGE.name}/rules/{rule.name}.py"
    math = "\n\n".join(f"$$\n{line}\n$$" for line in shown["latex"])
    definition = "" if not shown["relevance"] else f"## The definition\n\n```python\n{shown['relevance']}\n```\n"
    return "\n".join([
        f"# {rule.name}", "", f"{rule.sentence}", "", math, "", f"**Conserves:** {rule.conserves}.", "", f"**Source:** {rule.paper}.", "",
        "## As the page has it", "", f"```text\n{shown['formula']}\n```", "", definition,
        "## The fast form", "", "The same rule as a bent gradient; a test says that the two are the same.", "",
        f"```python\n{shown['forward']}\n```", "", f"Both stand in [`{file}`](../../../{file}).", "",
    ])  # fmt: skip


def reference() -> Iterator[tuple[str, str]]:
    yield "reference/pelrp_nb", room_page("pelrp_nb", pelrp_nb, "three lines, and everything that they take and give")
    for room, said in ROOMS.items():
        yield f"reference/{room}", room_page(f"pelrp_nb.{room}", importlib.import_module(f"pelrp_nb.{room}"), said)


def room_page(path: str, room: ModuleType, said: str) -> str:
    lines = [f"# {path}", "", f"*{said[:1].upper()}{said[1:]}.*", "", "```{eval-rst}", f".. module:: {path}", ""]
    for name in sorted(public(room), key=lambda name: order(getattr(room, name))):
        thing = getattr(room, name)
        if isinstance(thing, ModuleType):
            index = ["   :no-index:"] if name in ROOMS else []
            lines += [f".. py:data:: {name}", *index, "", f"   {room_line(name, thing)}", ""]
        elif inspect.isclass(thing):
            lines += [f".. autoclass:: {name}", "   :members:", "   :inherited-members: Exception,dict,list,tuple,str,object", ""]
        elif inspect.isfunction(thing):
            lines += [f".. autofunction:: {name}", ""]
        else:
            lines += [f".. py:data:: {name}", "", *value(thing), ""]
    return "\n".join([*lines, "```", ""])


def order(thing: object) -> int:
    """Functions first, then what they give, what they take, and rooms."""
    return next(i for i, kind in enumerate((inspect.isfunction, inspect.isclass, lambda x: not inspect.ismodule(x), bool)) if kind(thing))


def room_line(name: str, room: ModuleType) -> str:
    """What a module among the names is: a room with a page of its own, or the first line of what it says."""
    return f":doc:`pelrp_nb.{name} <{name}>`: {ROOMS[name]}." if name in ROOMS else prose(inspect.getdoc(room).split("\n")[0])


def value(thing: object) -> list[str]:
    """What a constant is: rules and composites as they are typed, else its type."""
    said = (
        repr(thing) if isinstance(thing, Composite | rules.Rule) or len(repr(thing)) < 400 else f"A {type(thing).__name__} of {len(thing)}."
    )
    return ["   ::", "", *(f"      {line}" for line in said.replace(", ", ",\n    ").split("\n"))]


def write(app: Sphinx) -> None:
    for name, text in made():
        path = MADE / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
