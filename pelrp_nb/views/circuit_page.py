"""A circuit as a page: the messages from word to word that were kept, and what they keep alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from ..amounts import digits
from .data import single
from .patched import circuit_table
from .routes_data import PlainGroup
from .routes_page import grouped
from .sheet import Sheet
from .text import visible

MEANS = (
    "Every other message between words is as in the corrupted run; words, MLPs and what is skipped on are as they are. The number of a "
    "message is an estimate of what the answer would change by without it."
)


class PlainCircuit(TypedDict):
    """A circuit without tensors; line, head: the whole in one line, printed and drawn; messages: a row for each edge."""

    target: str
    value: float
    clean: float
    corrupt: float
    line: str
    head: str
    messages: Sequence[Mapping[str, Any]]
    groups: list[PlainGroup]


def page(data: PlainCircuit) -> Sheet:
    """The view that is not drawn yet."""
    show = digits(max(abs(data["clean"]), abs(data["corrupt"])), 4)
    left = f"{show(data['value'])} is left of {show(data['clean'])}, corrupted {show(data['corrupt'])}"
    shown = {
        "target": visible(data["target"], 120), "value": data["value"], "about": visible(left, 240), "said": MEANS, "notes": [],
        "groups": [grouped(group, single) for group in data["groups"]],
    }  # fmt: skip
    line, head = visible(data["line"], 240), visible(data["head"], 240)
    return Sheet("circuit", shown, f"A circuit, {visible(data['target'], 100)}", line, circuit_table(data["messages"], head))
