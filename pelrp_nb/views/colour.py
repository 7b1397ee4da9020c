"""Colour for signed numbers: symmetric about zero, orange for plus, purple for minus.

A share in [-1, 1] becomes a colour of OKLCH (Ottosson 2020): the hue tells the sign, and lightness, linear in |share|, tells the
amount, so that equal steps look equal and the order survives in greyscale.  The sign does not: views print signed numbers.
Orange against purple is told apart with every common colour blindness.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

ORANGE, PURPLE = 55.0, 295.0  # hues in degrees
STEPS = 20  # shades on each side of zero
NOT_A_NUMBER = "#9a9a9a"
THICKEST = 0.8  # how much of the ground the strongest colour hides, where the ground is not known


class Paint(NamedTuple):
    """A background and the text colour that reads on it, both as #rrggbb."""

    back: str
    text: str


def share(amount: float, scale: float) -> float:
    """The part of the scale, in [-1, 1]; nan stays nan, and nothing is 0 of nothing."""
    if math.isnan(amount):
        return math.nan
    if math.isinf(amount):
        return math.copysign(1.0, amount)
    return max(-1.0, min(1.0, amount / scale)) if scale > 0 else 0.0


def diverging(part: float, dark: bool = False) -> Paint:
    """The colour of a share in [-1, 1]; grey for nan."""
    if math.isnan(part):
        return Paint(NOT_A_NUMBER, "#000000")
    return _shade(round(max(-1.0, min(1.0, part)) * STEPS), dark)


def palette(dark: bool = False) -> list[Paint]:
    """All shades, from -1 over 0 to +1."""
    return [_shade(step, dark) for step in range(-STEPS, STEPS + 1)]


def over(part: float) -> str:
    """The colour of a share in [-1, 1] for any ground, light or dark, as CSS: so far seen through that the text keeps the page's colour."""
    step = round(max(-1.0, min(1.0, part)) * STEPS)
    back = _middle(ORANGE if step > 0 else PURPLE)
    return f"rgba({', '.join(str(int(back[i : i + 2], 16)) for i in (1, 3, 5))}, {THICKEST * abs(step) / STEPS:.2f})"


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two #rrggbb colours, 1 to 21 (WCAG 2.2)."""
    light, dim = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dim + 0.05)


@cache
def _middle(hue: float) -> str:
    """The colour of this hue on which black reads as well as white."""
    shades = (_hex(lightness / 200, 0.17, hue) for lightness in range(60, 160))
    return max(shades, key=lambda back: min(contrast(back, "#000000"), contrast(back, "#ffffff")))


@cache
def _shade(step: int, dark: bool) -> Paint:
    amount = abs(step) / STEPS
    lightness = 0.27 + 0.51 * amount if dark else 0.975 - 0.505 * amount
    back = _hex(lightness, 0.17 * amount**0.65, ORANGE if step > 0 else PURPLE)
    # One of black and white always reaches sqrt(21) = 4.58 to 1.
    text = max("#000000", "#ffffff", key=lambda ink: contrast(back, ink))
    return Paint(back, text)


def _hex(lightness: float, chroma: float, hue: float) -> str:
    """The nearest colour of sRGB with this lightness and hue: chroma gives way."""
    rgb = _linear(lightness, chroma, hue)
    while chroma > 0 and not all(0 <= c <= 1 for c in rgb):
        chroma = max(0.0, chroma - 0.002)
        rgb = _linear(lightness, chroma, hue)
    return "#" + "".join(f"{round(255 * _gamma(min(1.0, max(0.0, c)))):02x}" for c in rgb)


def _linear(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    """OKLCH to linear sRGB."""
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    l3 = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    m3 = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    s3 = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * l3 - 3.3077115913 * m3 + 0.2309699292 * s3,
        -1.2684380046 * l3 + 2.6097574011 * m3 - 0.3413193965 * s3,
        -0.0041960863 * l3 - 0.7034186147 * m3 + 1.7076147010 * s3,
    )


def _gamma(c: float) -> float:
    return 12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055


def _luminance(colour: str) -> float:
    r, g, b = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (r, g, b)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
