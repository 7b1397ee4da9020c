"""What positions are worth, for the page and the live view: pairs, places, the profile over distance, and what it means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from ..amounts import HYPHEN, MINUS, digits, largest, signed
from ..errors import InputError
from .data import packed, single
from .payload import label
from .sheet import Sheet
from .table import PLAIN, RIGHT, cell, escaped, grid, prose
from .text import visible

MANY = 64  # places, up to which each attention has its matrix

MEANS = (
    "The worth of a pair of places is what the value would lose if the two tokens exchanged their positions, tokens and masks staying "
    "where they are: an estimate, and no part of the ledger."
)

EMPTY = "Empty: these two were not exchanged, for each place is exchanged with some others drawn at random; partners=None exchanges all."


class PlainExchange(TypedDict):
    """An exchange without tensors: n places took part.

    places:     (n) their numbers in the input; tokens: (n) their names
    matrix:     (n, n), nan where two were not exchanged; attentions: the same of each, by name
    signed, size: (n) means over partners
    away:       distance, signed, size, pairs: a column each
    streams:    the same for each input where there are several
    """

    target: str
    value: float
    share: float
    places: list[int]
    tokens: list[str]
    matrix: list[list[float]]
    attentions: dict[str, list[list[float]]]
    signed: list[float]
    size: list[float]
    away: dict[str, list[float]]
    notes: list[str]
    streams: dict[str, PlainExchange]


def line(data: PlainExchange, most: int = 3, minus: str = MINUS) -> str:
    """What it comes to, in one sentence: the share, and the places whose positions are worth most."""
    if not data["places"]:
        return "no two places of it could be exchanged"
    order = sorted(range(len(data["places"])), key=lambda i: -abs(np.nan_to_num(data["signed"][i])))[:most]
    show = digits(largest(data["signed"]), 3)
    named = ", ".join(f"{visible(data['tokens'][i], 20)} {show(data['signed'][i], minus)}" for i in order)
    return f"positions are worth {data['share']:.0%} by exchange; most of all {named}"


def drawn(data: PlainExchange, name: str = "") -> dict[str, Any]:
    """One stream for the module."""
    several = data["attentions"] if len(data["places"]) <= MANY and len(data["attentions"]) > 1 else {}
    lacking = any(math.isnan(amount) for row in data["matrix"] for amount in row)
    return {
        "name": visible(name) if name else "", "said": f"{line(data)}.", "left": EMPTY if lacking else "", "places": data["places"],
        "tokens": [label(token) for token in data["tokens"]],
        "attentions": [[visible(part), packed(matrix)] for part, matrix in {"all": data["matrix"], **several}.items()],
        "signed": single(data["signed"]), "size": single(data["size"]), "away": data["away"],
    }  # fmt: skip


def sheet(data: PlainExchange) -> Sheet:
    """The view of an exchange that is not drawn yet."""
    streams = data["streams"] or {"": data}
    shown = {
        "target": visible(data["target"], 120), "value": data["value"], "means": MEANS,
        "notes": [visible(note, 400) for note in data["notes"]], "streams": [drawn(one, name) for name, one in streams.items()],
    }  # fmt: skip
    title = named(data)
    printed = f"Exchange({named(data, HYPHEN)}: {line(data, minus=HYPHEN)})"
    return Sheet("exchange", shown, f"What positions are worth, {title}", printed, table(data, title))


def named(data: PlainExchange, minus: str = MINUS) -> str:
    """What was explained, and its value."""
    return f"{visible(data['target'])} = {signed(data['value'], 5, minus)}"


def table(data: PlainExchange, title: str) -> str:
    """The same as a table that survives without scripts: a row for each place, the largest first."""
    parts = [f'<div style="font-size:16px">{escaped(title, 120)}</div>', f'<div style="font-size:13px">{MEANS}</div>']
    for name, one in (data["streams"] or {"": data}).items():
        parts.append(f'<div style="font-size:13px;margin:6px 0">{escaped(f"{name}: " if name else "")}{escaped(line(one), 400)}</div>')
        parts.append(grid([_heads(), *_rows(one)]))
    parts += [f'<div style="font-size:13px;opacity:0.75">Note: {prose(note)}</div>' for note in data["notes"]]
    return f'<div style="max-width:100%;overflow-x:auto">{"".join(parts)}</div>'


def _heads() -> str:
    return "".join(cell(head, PLAIN) for head in ("place", "token", "signed", "size"))


def _rows(data: PlainExchange, most: int = 40) -> list[str]:
    show = digits(largest(data["signed"], data["size"]))
    order: Sequence[int] = sorted(range(len(data["places"])), key=lambda i: -np.nan_to_num(data["size"][i]))[:most]
    return [
        cell(str(data["places"][i]), RIGHT)
        + cell(escaped(data["tokens"][i], 40), PLAIN)
        + "".join(cell("" if math.isnan(data[name][i]) else show(data[name][i]), RIGHT) for name in ("signed", "size"))
        for i in order
    ]


def of_result(data: PlainExchange, tokens: Sequence[str]) -> Mapping[str, Any]:
    """For the x-ray of an explanation with these tokens. Raises InputError if the exchange is of another input."""
    if any(place >= len(tokens) or tokens[place] != name for place, name in zip(data["places"], data["tokens"], strict=True)):
        raise InputError("The exchange must be of the input that was explained. Type xray(result, exchange=exchange(model, inputs)).")
    return {**drawn(data), "means": MEANS}
