"""A rule's card: its formula, both sources, and the numbers of its example computed."""

from __future__ import annotations

import inspect
import re
from functools import partial
from html import escape
from typing import Any

import torch
from torch import Generator, Tensor

from ..errors import InputError
from ..rules import ALL, Rule, by_name
from ..rules.pages import page_of
from ..verbs import input_times_gradient
from ..views.sheet import Sheet


def data(rule: Rule | str, seed: int = 0) -> dict[str, Any]:
    """What a card shows of a rule (or of the rule of that name), without tensors.

    `pages.page_of`: name, sentence, formula, conserves, paper, and the sources `relevance` and `forward`
    about:   the page between first sentence and last paragraph: {"kind": "formula" or "text", "text"} in order
    example: `measured` on the page's own small case, drawn with `seed`

    Raises InputError for anything else.
    """
    rule = by_name(rule) if isinstance(rule, str) else rule
    if not isinstance(rule, Rule):
        raise InputError(f"A card needs a rule or the name of one, got {type(rule).__name__}. Type card(rules.epsilon).")
    return {
        **page_of(rule),
        "about": about(rule.doc),
        "example": measured(rule, *rule.example(Generator().manual_seed(seed))),
    }


def sheet(rule: Rule | str | None = None) -> Sheet:
    """The card of one rule, or of all of them in reading order, as a view that is not drawn yet."""
    cards = [data(rule)] if rule is not None else [data(each) for each in ALL]
    line = cards[0]["name"] + ": " + cards[0]["sentence"] if rule is not None else f"{len(cards)} rules"
    return Sheet("rule", {"cards": cards}, "Rules of relevance propagation", line, "".join(map(_page, cards)))


def _page(card: dict[str, Any]) -> str:
    """The card without scripts: sentence, formula, what it conserves."""
    return (
        f"<div><b>{escape(card['name'])}</b> {escape(card['sentence'])}<pre>{escape(card['formula'])}</pre>"
        f"Conserves: {escape(card['conserves'])}. ({escape(card['paper'])})</div>"
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


def measured(rule: Rule, R: Tensor, inputs: tuple[Tensor, ...], constants: dict[str, Any]) -> dict[str, Any]:
    """Relevance `R` of the output paid to `inputs` by both forms of the rule.

    inputs:     per input name, shape, values, relevance (the definition), bent (the fast form)
    constants:  [name, value] of what receives nothing; tensors as {shape, values}
    output:     {"values": y, "relevance": R}
    sums:       {"in": sum R, "out": what the inputs received, "kept": the difference}
    difference: the largest |definition - fast form|
    """
    with torch.no_grad():
        y = rule.forward(*inputs, **constants)
    paid = rule.relevance(R, *inputs, **constants)
    bent = input_times_gradient(lambda *xs: rule.forward(*xs, **constants), R, *inputs)
    received, given = sum(float(p.sum()) for p in paid), float(R.sum())
    rows = [
        {"name": name, **tensor(x), "relevance": p.tolist(), "bent": b.tolist()}
        for name, x, p, b in zip(input_names(rule, len(inputs)), inputs, paid, bent, strict=True)
    ]
    differences = [float((p - b).abs().max()) for p, b in zip(paid, bent, strict=True) if p.numel()]
    return {
        "inputs": rows,
        "constants": [[name, tensor(c) if isinstance(c, Tensor) else _told(c)] for name, c in constants.items() if c is not None],
        "output": {**tensor(y), "relevance": R.tolist()},
        "sums": {"in": given, "out": received, "kept": given - received},
        "difference": max(differences, default=0.0),
    }


def input_names(rule: Rule, count: int) -> list[str]:
    """What the rule's definition calls its inputs: all positional parameters but R."""
    function = rule.relevance
    while isinstance(function, partial):
        function = function.func
    names: list[str] = []
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name.removesuffix('s')} {i + 1}" for i in range(count - len(names))]
        elif parameter.kind is not parameter.KEYWORD_ONLY:
            names.append(parameter.name)
    return names[:count]


def tensor(x: Tensor) -> dict[str, Any]:
    """Shape and values; a complex number as text."""
    values = [str(complex(v)) for v in x.flatten()] if x.is_complex() else x.tolist()
    return {"shape": list(x.shape), "values": values}


def _told(value: Any) -> str:
    """An option or constant as one types it."""
    return str(getattr(value, "__name__", None) or repr(value)) if callable(value) else repr(value)
