"""A rule's card: its formula, both sources, and the numbers of its example computed."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from torch import Generator

from ..errors import InputError
from ..rules import ALL, Rule, by_name
from ..rules.pages import page_of
from ..views.sheet import Sheet
from ..views.table import prose
from .examples import measured
from .workbench import compute, has_case


def data(rule: Rule | str, seed: int = 0) -> dict[str, Any]:
    """What a card shows of a rule (or of the rule of that name), without tensors.

    `pages.page_of`: name, sentence, formula, conserves, paper, and the sources `relevance` and `forward`
    about:   the page between first sentence and last paragraph: {"kind": "formula" or "text", "text"} in order
    example: `measured` on the page's own small case, drawn with `seed`
    worked:  the case of the bench as it starts, for the picture; None of a rule that has no bench

    Raises InputError for anything else.
    """
    rule = by_name(rule) if isinstance(rule, str) else rule
    if not isinstance(rule, Rule):
        raise InputError(f"A card needs a rule or the name of one, got {type(rule).__name__}. Type card(rules.epsilon).")
    return {
        **page_of(rule),
        "about": about(rule.doc),
        "example": measured(rule, *rule.example(Generator().manual_seed(seed))),
        "worked": compute(rule) if has_case(rule) else None,
    }


def sheet(rule: Rule | str | None = None) -> Sheet:
    """The card of one rule, or of all of them in reading order, as a view that is not drawn yet."""
    cards = [data(rule)] if rule is not None else [data(each) for each in ALL]
    line = cards[0]["name"] + ": " + cards[0]["sentence"] if rule is not None else f"{len(cards)} rules"
    return Sheet("rule", {"cards": cards}, "Rules of relevance propagation", line, "".join(map(_page, cards)))


def _page(card: dict[str, Any]) -> str:
    """The card without scripts: sentence, formula, what it conserves."""
    return (
        f"<div><b>{escape(card['name'])}</b> {prose(card['sentence'])}<pre>{escape(card['formula'])}</pre>"
        f"Conserves: {prose(card['conserves'])}. ({prose(card['paper'])})</div>"
    )


def about(doc: str) -> list[dict[str, str]]:
    """The formulas and paragraphs of a page's docstring, without its first sentence and its last paragraph."""
    found: list[dict[str, str]] = []
    for block in re.split(r"\n\s*\n", doc.strip("\n"))[1:]:
        lines = block.splitlines()
        if block.startswith("Conserves:"):
            break
        if not all(line.startswith("    ") for line in lines):
            found.append({"kind": "text", "text": " ".join(block.split())})
        elif found and found[-1]["kind"] == "formula":
            found[-1]["text"] += "\n\n" + "\n".join(line[4:] for line in lines)
        else:
            found.append({"kind": "formula", "text": "\n".join(line[4:] for line in lines)})
    return found
