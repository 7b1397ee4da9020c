"""The result for print: one matplotlib Figure, made without pyplot and its global state.

Tokens with content and position as bars; under them every layer, the last one on top; the ledger at the foot.  A character that
the fonts in `matplotlib.rcParams["font.family"]` lack is written as its code, `[U+4E2D]`: put a font that has it there.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text

from ..amounts import account, digits, largest, verdict
from ..errors import InputError
from .data import Plain, PlainBoundary
from .look import Look, drawable, look
from .running import height, running, waterfall
from .text import notes, positions, visible

NAMED = 48  # up to here every token has its label; beyond, only the largest have
LABEL = 18  # characters of one label
QUIET = "#5f5c57"
KINDS = ("all", "text", "tokens", "layers", "waterfall", "ledger", "spectrum", "routes", "heads")


class Picture(Figure):
    """A Figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=144)
        return file.getvalue()

    def show(self, warn: bool = True) -> None:
        """No window: such a figure is written to a file, or shown by a notebook."""
        raise InputError('A figure made without pyplot has no window. Type figure.savefig("why.png"), or end a cell with it.')


def panel(
    kind: str, data: Plain, frequencies: Mapping[str, Mapping[str, Any]], ax: Axes | None = None,
    size: tuple[float, float] | None = None, colours: Mapping[str, Any] | None = None,
) -> Any:  # fmt: skip
    """The whole figure or one panel, by name; InputError for what cannot be drawn so.

    ax: draw one panel there, and give its figure back; size: (width, height) in inches; colours: see `Look`
    """
    if kind not in KINDS:
        raise InputError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}. Type figure('tokens').")
    paints = look(colours)
    if ax is not None:
        fits(kind, ax, size)
    elif size is not None and not is_size(size):
        raise InputError(f"size must be (width, height) in inches, got {size!r}. Type size=(6.5, 3).")
    if kind == "spectrum":
        picture = spectrum(frequencies, paints, ax)
    else:
        picture = draw(data, paints) if kind == "all" else alone(data, kind, paints, ax, size)
    if size is not None:
        picture.set_size_inches(*size)
    return picture


def fits(kind: str, ax: Any, size: Any, one: str = "tokens") -> None:
    """InputError where a panel cannot be drawn into what the user gave; `one` is the name of a panel that can."""
    if not isinstance(ax, Axes):
        came = "several axes" if isinstance(ax, np.ndarray) else type(ax).__name__
        raise InputError(f"ax must be one matplotlib Axes, got {came}. Type figure({one!r}, ax=axes[0]).")
    if kind == "all":
        raise InputError(f"The whole figure has several axes and cannot be drawn into one. Type figure({one!r}, ax=ax).")
    if size is not None:
        raise InputError("size is that of a figure, and ax has one already. Type plt.subplots(figsize=...) there.")


def is_size(size: Any) -> bool:
    """Whether it is a width and a height in inches."""
    numbers = list(size) if isinstance(size, tuple | list) else []
    return len(numbers) == 2 and all(isinstance(x, int | float) and 0 < x < 1000 for x in numbers)


def draw(data: Plain, paints: Look) -> Figure:
    """Tokens with content and position, layers by tokens, ledger."""
    T = len(data["tokens"])
    rows = _stations(data)
    bars = [("content", "position")] if T <= NAMED else [("content",), ("position",)]
    tall = [2.0 / len(bars) ** 0.5] * len(bars) + ([min(5.0, max(0.7, 0.2 * len(rows)))] if rows else []) + [1.45]
    width = min(13.0, max(6.5, 1.8 + 0.3 * min(T, NAMED)))
    picture = Picture(figsize=(width, sum(tall) + 2.2), layout="constrained", facecolor="white")
    places = picture.add_gridspec(len(tall), 2, height_ratios=tall, width_ratios=[1, 0.014])
    _title(picture, data)
    above: list[Axes] = []
    for i, parts in enumerate(bars):
        above.append(picture.add_subplot(places[i, 0], sharex=above[0] if above else None))
        _tokens(above[i], data, parts, paints)
    if rows:
        above.append(picture.add_subplot(places[len(bars), 0], sharex=above[0]))
        _layers(above[-1], picture.add_subplot(places[len(bars), 1]), rows, paints)
    for axes in above:
        axes.tick_params(axis="x", length=0, labelbottom=axes is above[-1])
    _names(above[-1], data)
    _ledger(picture.add_subplot(places[-1, 0]), data, paints)
    return _literal(picture, picture)


def alone(data: Plain, kind: str, paints: Look, ax: Axes | None = None, size: tuple[float, float] | None = None) -> Any:
    """One panel for a paper: all kinds but "all" and "spectrum".  Raises InputError where there is nothing to draw."""
    rows = _stations(data)
    if kind == "layers" and not rows:
        raise InputError("There is no boundary with a number per token to draw. Type figure('tokens') instead.")
    picture, axes, beside = (ax.figure, ax, None) if ax is not None else _panel(kind, data, len(rows), size)
    if kind == "text":
        running(axes, data, paints)
    elif kind in ("ledger", "waterfall"):
        {"ledger": _ledger, "waterfall": waterfall}[kind](axes, data, paints)
    else:
        if kind == "tokens":
            _tokens(axes, data, ("content", "position"), paints)
        else:
            _layers(axes, beside, rows, paints)
        axes.tick_params(axis="x", length=0)
        _names(axes, data)
    return _literal(picture, axes)


def _panel(kind: str, data: Plain, rows: int, size: tuple[float, float] | None) -> tuple[Any, Axes, Axes | None]:
    """A figure for one panel, its axes, and those of its colour scale."""
    width = min(13.0, max(4.5, 1.8 + 0.3 * min(len(data["tokens"]), NAMED)))
    if kind == "text":  # as wide as a page, as high as its lines
        wide, high = size or (6.5, min(9.0, height(data, 6.3) + 0.1))
        picture: Any = Picture(figsize=(wide, high), facecolor="white")
        return picture, picture.add_axes((0.1 / wide, 0.05 / high, 1 - 0.2 / wide, 1 - 0.1 / high)), None
    if kind == "waterfall":
        picture = Picture(figsize=size or (5.2, 2.2), layout="constrained", facecolor="white")
        return picture, picture.add_subplot(), None
    high = {"tokens": 2.6, "layers": 1.6 + 0.2 * min(rows, 25), "ledger": 1.9}[kind]
    picture = Picture(figsize=(5.2 if kind == "ledger" else width, high), layout="constrained", facecolor="white")
    places = picture.add_gridspec(1, 2, width_ratios=[1, 0.014])
    axes = picture.add_subplot(places[0, 0] if kind == "layers" else places[:])
    return picture, axes, picture.add_subplot(places[0, 1]) if kind == "layers" else None


def spectrum(frequencies: Mapping[str, Mapping[str, Any]], paints: Look, ax: Axes | None = None) -> Any:
    """Relevance of each rotary frequency, all tokens together, a panel per sink.

    frequencies: sink -> {"relevance": (T, F), "wavelength": (F,) in tokens}
    """
    if not frequencies:
        raise InputError('There are no frequencies. Type explain(..., options=Options(detail={"frequencies"})).')
    sums = {sink: np.asarray(found["relevance"], float).sum(0) for sink, found in frequencies.items()}
    if ax is not None and len(sums) > 1:
        raise InputError(f"The spectrum has {len(sums)} panels, one for each sink, and needs a figure of its own. Type figure('spectrum').")
    ends = _tight([x for amounts in sums.values() for x in amounts])
    picture: Any = ax.figure if ax else Picture(figsize=(6.5, 1.1 * len(sums) + 0.7), layout="constrained", facecolor="white")
    panels = [ax] if ax else picture.subplots(len(sums), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (sink, amounts) in zip(panels, sums.items(), strict=True):
        axes.bar(range(len(amounts)), amounts, 0.76, color=[paints.signed(x) for x in amounts])
        axes.axhline(0, color=QUIET, linewidth=0.6)
        axes.set_ylim(*ends)
        axes.set_ylabel(short(sink, 24), fontsize=8, rotation=0, ha="right", va="center")
        _quiet(axes, ("left",))
    waves = np.asarray(next(iter(frequencies.values()))["wavelength"], float)
    step = math.ceil(len(waves) / 16)
    names = [f"{wave:,.0f}" if math.isfinite(wave) else "inf" for wave in waves]
    panels[-1].set_xticks(range(0, len(waves), step), names[::step], fontsize=8)
    panels[-1].set_xlabel("wavelength in tokens", fontsize=8)
    return _literal(picture, *panels)


def _stations(data: Plain) -> list[PlainBoundary]:
    """The boundaries on the trunk whose places are the tokens."""
    T = len(data["tokens"])
    return [b for b in data["boundaries"] if b["kind"] in ("embeddings", "layer") and T and len(b["relevance"]) == T]


def _literal(picture: Any, *drawn: Artist) -> Any:
    """The picture; a dollar sign in what we drew is a dollar sign. (A title over somebody's axes is theirs.)"""
    for text in (one for artist in drawn for one in artist.findobj(Text) if one is not getattr(artist, "title", None)):
        text.set_parse_math(False)
        text.set_usetex(False)
    return picture


def short(text: str, most: int = LABEL) -> str:
    shown = drawable(visible(text, most))
    return shown if len(shown) <= most + 4 else shown[: most + 3] + "..."


def _title(picture: Figure, data: Plain) -> None:
    value = digits(abs(data["value"]), 5)(data["value"])
    facts = f"{short(data['model'], 40)}, {short(data['method'], 60)}, {positions(data)}"
    room = int(7.3 * picture.get_figwidth())  # characters in a line, of the widest letter
    told = [f"note: {drawable(note)}" for note in notes(data)[:2]]
    lines = [line for text in (f"{short(data['target'], 60)} {value}", facts, *told) for line in wrap(text, room)]
    picture.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=9.5, linespacing=1.5)


def _tokens(axes: Axes, data: Plain, parts: Sequence[str], paints: Look) -> None:
    """A bar per token and part; a line where there are many."""
    signed, T = data["parts"]["signed"], len(data["tokens"])
    colours = {name: getattr(paints, name) for name in parts}
    for i, name in enumerate(parts):
        values = np.nan_to_num(signed[name], nan=0.0, posinf=0.0, neginf=0.0)  # type: ignore[literal-required]
        if len(parts) > 1:
            axes.bar(np.arange(T) + 0.4 * i - 0.2, values, 0.38, color=colours[name])
        else:
            axes.vlines(np.arange(T), 0, values, color=colours[name], linewidth=max(0.5, 300 / max(T, 300)))
    axes.set_ylim(*_tight([x for name in ("content", "position") for x in signed[name]]))
    axes.set_xlim(-0.6, max(T, 1) - 0.4)
    axes.axhline(0, color=QUIET, linewidth=0.6)
    lost = sum(not math.isfinite(x) for x in signed["both"])
    axes.set_ylabel("relevance" + (f"\n({lost} not finite)" if lost else ""), fontsize=8)
    keys = [Patch(color=colour, label=name) for name, colour in colours.items()]
    above = {"loc": "lower right", "bbox_to_anchor": (1, 1)} if isinstance(axes.figure, Picture) else {"loc": "best"}
    axes.legend(handles=keys, **above, ncols=2, borderaxespad=0.2, frameon=False, fontsize=8, handlelength=1)
    _quiet(axes, ("left",))


def _tight(amounts: Iterable[float]) -> tuple[float, float]:
    """Where axes of signed numbers begin and end: at zero, or a little beyond the last number, with no empty half."""
    finite = [0.0, *(float(x) for x in amounts if math.isfinite(x))]
    low, high = min(finite), max(finite)
    spare = 0.08 * (high - low) or 1.0
    return (low - spare if low < 0 else 0.0), (high + spare if high > 0 or low == high else 0.0)


def _names(axes: Axes, data: Plain) -> None:
    """Token labels under the lowest panel: all of them, or those of the largest that have room."""
    both, T = data["parts"]["signed"]["both"], len(data["tokens"])
    room = NAMED if isinstance(axes.figure, Picture) else max(2, int(axes.get_window_extent().width / axes.figure.dpi / 0.13))
    at: list[int] = list(range(T))
    if room < T:
        at = []
        for t in sorted(range(T), key=lambda t: -abs(both[t]) if math.isfinite(both[t]) else 0.0):
            if len(at) < max(1, room // 2) and all(abs(t - other) >= T / room for other in at):
                at.append(t)
    axes.set_xticks(sorted(at), [short(data["tokens"][t]) for t in sorted(at)], rotation=90, fontsize=8, parse_math=False)
    axes.tick_params(axis="x", pad=3)


def _layers(axes: Axes, beside: Axes | None, rows: Sequence[PlainBoundary], paints: Look) -> None:
    """Relevance after each layer, the last on top, so that it flows down into the tokens."""
    amounts = np.ma.masked_invalid(np.array([row["relevance"] for row in reversed(rows)], dtype=float))
    scale = largest(amounts.compressed()) or 1.0
    image = axes.imshow(amounts, cmap=paints.shades(), norm=Normalize(-scale, scale), aspect="auto", interpolation="nearest")
    names = [short(row["name"], 24) for row in reversed(rows)]
    step = math.ceil(len(rows) / 24)
    axes.set_yticks(range(0, len(rows), step), names[::step], fontsize=8, parse_math=False)
    axes.tick_params(axis="y", length=0)
    _quiet(axes, ())
    room: dict[str, Any] = {"cax": beside} if beside is not None else {"ax": axes, "fraction": 0.04, "pad": 0.02}
    scale_bar = axes.figure.colorbar(image, **room)
    show = digits(scale, 2)
    scale_bar.set_ticks([-scale, 0, scale], labels=[show(-scale), "0", show(scale)])
    scale_bar.ax.tick_params(labelsize=7, length=0)
    scale_bar.outline.set_visible(False)


def _ledger(axes: Axes, data: Plain, paints: Look) -> None:
    """The account as bars with their numbers."""
    scale = largest(amount for _, amount in data["ledger"]["rows"]) or 1.0
    rows = account(data["ledger"]["rows"], data["ledger"]["state"], digits(scale))
    names, amounts, shown = zip(*rows, strict=True)
    lengths = np.nan_to_num(amounts, nan=0.0, posinf=0.0, neginf=0.0)
    axes.barh(range(len(rows)), lengths, 0.62, color=[paints.signed(x) for x in lengths])
    for i, (length, text) in enumerate(zip(lengths, shown, strict=True)):
        side = -1 if length < 0 else 1
        axes.text(length + side * 0.02 * scale, i, text, va="center", ha="left" if side > 0 else "right", fontsize=8)
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.get_yticklabels()[-1].set_fontweight("bold")
    axes.invert_yaxis()
    low, high = _tight(lengths)
    room = (0.2 if isinstance(axes.figure, Picture) else 0.5) * (high - low)  # for the numbers, in axes that may be narrow
    axes.set_xlim(low - (room if low < 0 else 0), high + (room if high > 0 else 0))
    axes.axvline(0, color=QUIET, linewidth=0.6)
    axes.axhline(len(rows) - 1.5, color=QUIET, linewidth=0.6)
    axes.set_xticks([])
    book = data["ledger"]
    axes.set_title(
        f"ledger, {verdict(book['state'], short(str(book['opened'])), book['precision'])}", fontsize=8.5, loc="left", color=QUIET
    )
    _quiet(axes, ())
    axes.tick_params(axis="y", length=0)


def _quiet(axes: Axes, kept: Sequence[str]) -> None:
    for side, spine in axes.spines.items():
        spine.set_visible(side in kept)
        spine.set_color(QUIET)
    axes.tick_params(labelsize=8, color=QUIET)
