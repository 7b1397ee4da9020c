"""Which way relevance went, as a page: a graph of tokens and layers, and the matrices of heads behind it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np

from ..amounts import HYPHEN, MINUS, digits, largest, signed
from .data import packed, single
from .payload import label
from .routes_data import PlainGroup, PlainHead, PlainLevel, PlainRoutes, Sparse
from .sheet import Sheet
from .table import HEAD, PLAIN, RIGHT, SMALL, cell, escaped, fold, grid, paint, prose
from .text import visible

KINDS = ("routes", "heads")
TITLES = {"routes": "Which way relevance went", "heads": "What each head handed on"}
LISTED = 24  # edges and heads in the table that needs no scripts


class HasRoutes(Protocol):
    """What can be shown: an Explanation made with `Options(detail={"routes"})`, or its routes."""

    def sheet(self, kind: str = "routes") -> Sheet: ...


def routes(result: HasRoutes) -> Sheet:
    """Tokens by layers, with an edge for what heads handed from one place to another; click a token, an edge, a head.

    Raises InputError for an explanation that was made without `Options(detail={"routes"})`.
    """
    return result.sheet("routes")


def heads(result: HasRoutes) -> Sheet:
    """A small matrix for each head, sorted by what it handed on, with the pattern that it looks like; each opens.

    Raises InputError for an explanation that was made without `Options(detail={"routes"})`.
    """
    return result.sheet("heads")


def page(kind: str, data: PlainRoutes, matrices: Mapping[str, Callable[[], np.ndarray]]) -> Sheet:
    """The view that is not drawn yet; matrices: of each head, whole, sent by a kernel when it is asked for."""
    title, printed = (f"{visible(data['target'])} = {signed(data['value'], 5, minus)}" for minus in (MINUS, HYPHEN))
    shown = {
        "target": visible(data["target"], 120), "value": data["value"], "about": visible(data["about"], 240), "said": said(data),
        "notes": [visible(note, 400) for note in data["notes"]], "groups": [grouped(group) for group in data["groups"]],
    }  # fmt: skip
    asked = {visible(name, 120): partial(_packed, made) for name, made in matrices.items()}
    line = f"Routes({printed}: {said(data, HYPHEN)})"
    return Sheet(kind, shown, f"{TITLES[kind]}, {title}", line, table(kind, data, title), asked=asked)


def _packed(made: Callable[[], np.ndarray]) -> dict[str, Any]:
    return packed(made())


def said(data: PlainRoutes, minus: str = MINUS) -> str:
    """The largest edge, and the head that has most of it, in one sentence."""
    found = [(*edge, group) for group in data["groups"] for edge in _edges(group, 1)]
    if not found:
        return "No head handed anything on."
    amount, level, i, j, group = max(found, key=lambda one: abs(one[0]))
    show = digits(abs(data["value"]) or abs(amount))
    through = _through(group, level, i, j)
    by = f", most of it through head {through['head']}" if through is not None and len(_of(group, level)) > 1 else ""
    giver, taker = (visible(name, 24) for name in (group["tokens"][i], group["others"][j]))
    return (
        f"The largest edge: in {_where(group, level, through)}, \u201c{giver}\u201d hands {show(amount, minus)} to \u201c{taker}\u201d{by}."
    )


def _where(group: PlainGroup, level: int, through: PlainHead | None) -> str:
    name = through["attention"] if through is not None and not group["own"] else group["levels"][level]["name"]
    found = re.match(r".*\blayer \d+", name)
    return visible(found[0] if found else name, 60)


def _of(group: PlainGroup, level: int) -> list[PlainHead]:
    return [head for head in group["heads"] if head["level"] == level]


def _through(group: PlainGroup, level: int, i: int, j: int) -> PlainHead | None:
    """The head of a level that has most of an edge."""
    place = i * len(group["others"]) + j
    amounts = [(abs(float(h["edges"]["amount"][h["edges"]["at"] == place].sum())), h) for h in _of(group, level)]
    most, head = max(amounts, key=lambda one: one[0], default=(0.0, None))
    return head if most else None


def _edges(group: PlainGroup, most: int) -> list[tuple[float, int, int, int]]:
    """The largest edges over heads: amount, level, the place that hands on, the place that receives."""
    wide = len(group["others"])
    every = [
        (float(amount), level, int(at) // wide, int(at) % wide)
        for level, one in enumerate(group["levels"])
        for at, amount in _top(one["edges"], most)
    ]
    return sorted(every, key=lambda one: -abs(one[0]))[:most]


def _top(edges: Sparse, most: int) -> Iterator[tuple[int, float]]:
    order = np.argsort(-np.abs(edges["amount"]), kind="stable")[:most]
    return zip(edges["at"][order].tolist(), edges["amount"][order].tolist(), strict=True)


# --- for the module ---------------------------------------------------------------------------------------------------


def grouped(group: PlainGroup, pack: Callable[[Any], dict[str, Any]] = packed) -> dict[str, Any]:
    """Attentions between the same places, as the module reads them; pack: how amounts of edges travel."""
    stream, of = visible(group["stream"]), visible(group["of"])
    name = (stream if stream == of else f"{stream} to {of}") if group["stream"] or group["of"] else ""
    alike = group["tokens"] == group["others"]
    return {
        "name": name, "own": group["own"], "tokens": [label(token) for token in group["tokens"]],
        "others": None if alike else [label(token) for token in group["others"]],
        "levels": [_level(level, pack) for level in group["levels"]], "heads": [_head(head, pack) for head in group["heads"]],
    }  # fmt: skip


def _level(level: PlainLevel, pack: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    parts = ("given", "received", "query", "positions", "kept")
    return {
        "name": visible(level["name"], 60), "size": level["size"], "edges": _sparse(level["edges"], pack),
        "node": None if level["node"] is None else {name: single(values) for name, values in level["node"].items()},
        **{name: single(level[name]) for name in parts},  # type: ignore[literal-required]
    }  # fmt: skip


def _head(head: PlainHead, pack: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    facts = ("level", "head", "relevance", "handed", "size", "looks", "part")
    return {
        "attention": visible(head["attention"], 100), **{name: head[name] for name in facts},  # type: ignore[literal-required]
        "edges": _sparse(head["edges"], pack),
    }  # fmt: skip


def _sparse(edges: Sparse, pack: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """Places in two bytes where they fit, in four where not."""
    at, wide = np.asarray(edges["at"]), "<u2" if edges["at"].max(initial=0) < 2**16 else "<u4"
    return {"wide": 2 if wide == "<u2" else 4, "at": at.astype(wide).tobytes(), "amount": pack(edges["amount"])}


# --- without scripts --------------------------------------------------------------------------------------------------


def table(kind: str, data: PlainRoutes, title: str) -> str:
    """The same as tables that survive without scripts: the largest edges, and the heads that handed on most."""
    parts = [f'<div style="font-size:16px">{escaped(title, 120)}</div>', f'<div style="{SMALL}">{escaped(data["about"], 240)}</div>']
    parts.append(f'<div style="font-size:13px;margin:6px 0">{escaped(said(data), 400)}</div>')
    for group in data["groups"]:
        name = f"{group['stream']} to {group['of']}: " if len(data["groups"]) > 1 else ""
        folds = {
            "routes": fold(f"{escaped(name)}the largest edges", _edge_rows(group), opened=kind == "routes"),
            "heads": fold(f"{escaped(name)}the heads that handed on most", _head_rows(group), opened=kind == "heads"),
        }
        parts += folds.values() if kind == "routes" else reversed(folds.values())
    parts += [f'<div style="{SMALL}">Note: {prose(note)}</div>' for note in data["notes"]]
    return f'<div style="max-width:100%;overflow-x:auto">{"".join(parts)}</div>'


def _edge_rows(group: PlainGroup) -> str:
    found = _edges(group, LISTED)
    scale = largest([edge[0] for edge in found])
    show = digits(scale)
    rows = ["".join(cell(name, PLAIN) for name in ("layer", "from", "to")) + cell("amount", HEAD) + cell("most of it through", PLAIN)]
    for amount, level, i, j in found:
        through = _through(group, level, i, j)
        names = (_where(group, level, through), f"{i} {group['tokens'][i]}", f"{j} {group['others'][j]}")
        by = f"head {through['head']}" if through is not None else ""
        cells = "".join(cell(escaped(name, 40), PLAIN) for name in names)
        rows.append(cells + cell(show(amount), f"{RIGHT};{paint(amount, scale)}") + cell(by, PLAIN))
    return grid(rows)


def _head_rows(group: PlainGroup) -> str:
    order = sorted(group["heads"], key=lambda head: -head["size"])[:LISTED]
    whole = sum(head["size"] for head in group["heads"]) or 1.0
    show = digits(largest([head["size"] for head in order]))
    rows = ["".join(cell(name, PLAIN) for name in ("head", "looks like")) + cell("handed on, by size", HEAD) + cell("of all", HEAD)]
    for head in order:
        like = f"{head['looks']} {head['part']:.0%}" if head["looks"] else ""
        name = f"{head['attention']} head {head['head']}"
        amounts = cell(show(head["size"]), RIGHT) + cell(f"{head['size'] / whole:.0%}", RIGHT)
        rows.append(cell(escaped(name, 100), PLAIN) + cell(escaped(like), PLAIN) + amounts)
    return grid(rows)
