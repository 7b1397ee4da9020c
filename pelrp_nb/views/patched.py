"""What patching does, for print, for the page and the live view: sites by places, measured beside estimated, circuits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ..amounts import HYPHEN, MINUS, as_drawn, digits, largest
from ..errors import InputError
from .figure import QUIET, Picture, fits, is_size, short
from .maps import sheet as heat_maps
from .look import look
from .sheet import Sheet
from .table import PLAIN, RIGHT, cell, escaped, grid, prose
from .text import visible

MEANS = (
    "The number is what the answer would gain or lose if that part were as in the corrupted run: an estimate from one walk back. "
    "What is large should be measured: found.true(20)."
)
CALLED = {
    "heads": "heads", "queries": "queries", "keys": "keys", "values": "values", "attention": "attention branches", "mlp": "MLP branches",
    "residual": "the stream after each layer",
}  # fmt: skip
ROWS = 20  # of a table in a cell


def rows_of(data: Mapping[str, Any], kind: str, by: str = "relevance") -> tuple[list[str], np.ndarray]:
    """The names of the rows of one kind, and (rows, places)."""
    names, amounts = [], []
    for name, heads in data[by][kind].items():
        for h, row in enumerate(heads):
            names.append(f"{name} head {h}" if kind not in ("attention", "mlp", "residual") else name)
            amounts.append(row)
    return names, np.array(amounts, dtype=float)


def draw(data: Mapping[str, Any], kind: str, ax: Any, size: Any, colours: Any) -> Figure:
    """A row for each head, a column for each place; beside a token that the corrupted input has another one for, that one."""
    paints = look(colours)
    names, amounts = rows_of(data, kind)
    if ax is not None:
        fits("heads", ax, size, "heads")
    elif size is not None and not is_size(size):
        raise InputError(f"size must be (width, height) in inches, got {size!r}. Type size=(6.5, 3).")
    wide, tall = min(13.0, 2.2 + 0.42 * amounts.shape[1]), min(14.0, 1.9 + 0.26 * len(names))
    picture = ax.figure if ax is not None else Picture(figsize=size or (wide, tall), layout="constrained", facecolor="white")
    axes = ax if ax is not None else picture.add_subplot()
    most = np.abs(amounts).max(initial=0.0) or 1.0
    shown = axes.imshow(amounts, cmap=paints.shades(), norm=Normalize(-most, most), interpolation="nearest", aspect="auto")
    tokens = pairs(data) if len(data["tokens"]) == amounts.shape[1] else list(map(str, range(amounts.shape[1])))
    step = max(1, -(-len(tokens) // 64))
    axes.set_xticks(range(0, len(tokens), step), [short(t, 24) for t in tokens[::step]], rotation=90, fontsize=8, parse_math=False)
    axes.set_yticks(range(len(names)), [short(n, 28) for n in names], fontsize=8, parse_math=False)
    axes.tick_params(length=0)
    axes.set_title(
        short(f"{data['target']}: {CALLED[kind]}, as in the corrupted run", 80), fontsize=8.5, loc="left", color=QUIET, parse_math=False
    )
    picture.colorbar(shown, ax=axes, shrink=0.8, pad=0.02).ax.tick_params(labelsize=7)
    return picture


def pairs(data: Mapping[str, Any]) -> list[str]:
    """The token of the clean input at each place, and that of the corrupted one where it is another."""
    return [one if one == two else f"{one} / {two}" for one, two in zip(data["tokens"], data["other"], strict=True)]


def scatter(columns: Mapping[str, Sequence[Any]], found: Mapping[str, float], ax: Any, size: Any) -> Figure:
    """Estimates against what was measured."""
    if ax is not None:
        fits("measured", ax, size, "measured")
    elif size is not None and not is_size(size):
        raise InputError(f"size must be (width, height) in inches, got {size!r}. Type size=(6.5, 3).")
    picture = ax.figure if ax is not None else Picture(figsize=size or (4.2, 3.8), layout="constrained", facecolor="white")
    axes = ax if ax is not None else picture.add_subplot()
    true = np.array(columns["measured"], dtype=float)
    low, high = true.min(initial=0.0), true.max(initial=0.0)
    axes.plot([low, high], [low, high], color="#c9c5bd", linewidth=1, zorder=0)
    for by, mark, colour in (("relevance", "o", "#b35806"), ("gradient", "x", "#542788")):
        said = f"{by}, rank correlation {as_drawn(f'{found[by]:.2f}')}"
        axes.scatter(true, np.array(columns[by], dtype=float), marker=mark, s=22, color=colour, label=said)
    axes.set_xlabel("measured: the run with that part replaced", fontsize=8)
    axes.set_ylabel("estimated", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=7, frameon=False)
    return picture


def sheet(data: Mapping[str, Any]) -> Sheet:
    """The view of a patch that is not drawn yet: a heat map of each kind of site, by relevance and by the plain gradient."""
    maps = []
    for kind in data["relevance"]:
        for by, said in (("relevance", "by relevance"), ("gradient", "by the plain gradient")):
            names, amounts = rows_of(data, kind, by)
            columns = pairs(data) if len(data["tokens"]) == amounts.shape[1] else list(map(str, range(amounts.shape[1])))
            maps.append({"name": f"{CALLED[kind]}, {said}", "rows": names, "columns": columns, "amounts": amounts})
    show = digits(max(abs(data["clean"]), abs(data["corrupt"])), 4)
    title, printed = (
        f"{visible(data['target'])} = {show(data['clean'], minus)}, corrupted {show(data['corrupt'], minus)}" for minus in (MINUS, HYPHEN)
    )
    return heat_maps(maps, f"What each part does for {title}", MEANS, f"Patch({printed})", table(data, title), data["notes"])


def table(data: Mapping[str, Any], title: str) -> str:
    """The same as a table that survives without scripts: the largest sites over all places."""
    found = []
    for kind in data["relevance"]:
        names, amounts = rows_of(data, kind)
        _, plain = rows_of(data, kind, "gradient")
        found += [
            (f"{name} {kind}" if len(data["relevance"]) > 1 else name, x.sum(), y.sum())
            for name, x, y in zip(names, amounts, plain, strict=True)
        ]
    found.sort(key=lambda row: -abs(row[1]))
    columns: dict[str, Sequence[Any]] = {
        "part": [r[0] for r in found],
        "relevance": [float(r[1]) for r in found],
        "gradient": [float(r[2]) for r in found],
    }
    notes = "".join(f'<div style="font-size:13px;opacity:0.75">Note: {prose(note)}</div>' for note in data["notes"])
    head = f'<div style="font-size:16px">{escaped(title, 160)}</div><div style="font-size:13px">{MEANS}</div>'
    return f'<div style="max-width:100%;overflow-x:auto">{head}{lines(columns)}{notes}</div>'


def measured_table(columns: Mapping[str, Sequence[Any]], said: str) -> str:
    """Measured sites as a table."""
    return f'<div style="max-width:100%;overflow-x:auto"><div style="font-size:13px">{escaped(said, 200)}</div>{lines(columns)}</div>'


def circuit_table(messages: Sequence[Mapping[str, Any]], said: str) -> str:
    """The edges of a circuit as a table."""
    columns: dict[str, Sequence[Any]] = {
        "edge": [f"{m['attention']} head {m['head']}" for m in messages],
        "from": [f"{m['other']} ({m['source']})" for m in messages],
        "to": [f"{m['token']} ({m['at']})" for m in messages],
        "estimate": [m["amount"] for m in messages],
    }
    return measured_table(columns, said)


def lines(columns: Mapping[str, Sequence[Any]]) -> str:
    """A few rows: text to the left, numbers to the right."""
    texts = [name for name, values in columns.items() if values and isinstance(values[0], str)]
    show = digits(largest(*(values for name, values in columns.items() if name not in texts)))
    count = len(next(iter(columns.values()), ()))
    rows = ["".join(cell(escaped(name), PLAIN if name in texts else RIGHT) for name in columns)]
    for i in range(min(count, ROWS)):
        rows.append("".join(cell(escaped(v[i], 48), PLAIN) if n in texts else cell(show(v[i]), RIGHT) for n, v in columns.items()))
    if count > ROWS:
        rows.append(cell(f"and {count - ROWS} more: .to_frame()", PLAIN))
    return grid(rows)
