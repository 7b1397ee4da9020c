"""What a figure for print looks like: its four colours, and letters that the fonts at hand have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from matplotlib import rcParams
from matplotlib.colors import Colormap, LinearSegmentedColormap, is_color_like
from matplotlib.font_manager import FontProperties, findfont, get_font

from ..errors import InputError
from .colour import NOT_A_NUMBER, diverging, palette

_GENERIC = ("sans-serif", "serif", "monospace", "cursive", "fantasy")


@dataclass(frozen=True)
class Look:
    """The colours of a figure, each as matplotlib takes them.

    content, position: bars of tokens
    plus, minus:       amounts by their sign: layers, ledger, spectrum; None for orange and purple
    """

    content: str = "#3b3936"
    position: str = "#1d9aa3"
    plus: str | None = None
    minus: str | None = None

    def signed(self, amount: float) -> str:
        """The colour of a bar by its sign."""
        mine = self.plus if amount > 0 else self.minus
        return mine or diverging(0.75 if amount > 0 else -0.75).back

    def shades(self) -> Colormap:
        """From the largest minus over white to the largest plus; grey for what is no number."""
        ours = [paint.back for paint in palette()]
        half = len(ours) // 2
        below = [self.minus, ours[half]] if self.minus else ours[: half + 1]
        above = [ours[half], self.plus] if self.plus else ours[half:]
        ends = [(0.5 * i / (len(below) - 1), c) for i, c in enumerate(below)]
        ends += [(0.5 + 0.5 * i / (len(above) - 1), c) for i, c in enumerate(above)][1:]
        return LinearSegmentedColormap.from_list("signed", ends).with_extremes(bad=NOT_A_NUMBER)


def look(colours: Mapping[str, Any] | None) -> Look:
    """The look with these colours by name; InputError for a name or a colour that is none."""
    names = ", ".join(one.name for one in fields(Look))
    typed = 'Type colours={"content": "black", "position": "tab:orange"}.'
    if colours is not None and not isinstance(colours, Mapping):
        raise InputError(f"colours must map some of {names} to colours, got {type(colours).__name__}. {typed}")
    for name, colour in (colours or {}).items():
        if name not in {one.name for one in fields(Look)}:
            raise InputError(f"colours must be of {names}, got {name!r}. {typed}")
        if not is_color_like(colour):
            raise InputError(f"A colour must be one that matplotlib knows, got {colour!r} for {name}. {typed}")
    return Look(**(colours or {}))


def drawable(text: str) -> str:
    """Text with the code in place of each character that no configured font has."""
    fonts: Any = rcParams  # its keys are a closed list to a type checker
    known = _glyphs(tuple(fonts["font.family"]), *(tuple(fonts[f"font.{name}"]) for name in _GENERIC))
    return "".join(letter if ord(letter) in known else f"[U+{ord(letter):04X}]" for letter in text)


@lru_cache(maxsize=8)
def _glyphs(families: tuple[str, ...], *generic: tuple[str, ...]) -> frozenset[int]:
    named = dict(zip(_GENERIC, generic, strict=True))
    found: set[int] = set()
    for family in (name for one in families for name in named.get(one, (one,))):
        try:
            found |= set(get_font(findfont(FontProperties(family=[family]), fallback_to_default=False)).get_charmap())
        except ValueError:  # a font that is not installed
            continue
    return frozenset(found) or frozenset(range(32, 127))
