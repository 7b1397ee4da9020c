"""One field of a configuration made small, by what its name says it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .recipes import IMAGE, POSITIONS, VOCABULARY, role_of
from .scales import FIRST, LAST, Scales

LAYER_NUMBERS = re.compile(r"(idxs|layer_ids|layers|layers_indices|indexes|indices)$")


def resized(name: str, value: Any, scales: Scales) -> Any:
    """The small value of one field."""
    role = role_of(name)
    if isinstance(value, dict):
        return {k: resized(str(k), v, scales) for k, v in value.items()}
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return type(value)(resized_list(name, role, list(value), scales))
    if isinstance(value, float):
        return min(value, 1.0) if role == "factor" else value
    if LAST.search(name):
        return sum(i >= scales.depth - value for i in scales.kept)
    if FIRST.search(name):
        return sum(i < value for i in scales.kept)
    change = NUMBERS.get(role)
    return value if change is None else change(value, scales)


def resized_list(name: str, role: str, value: list, scales: Scales) -> list:
    """The small value of a list: one entry per layer, numbers of layers, one entry per stage."""
    whole = all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    if len(value) == scales.depth > 4:
        value = [value[i] for i in scales.kept]
    elif whole and LAYER_NUMBERS.search(name) and all(v < scales.depth for v in value):
        return [scales.kept.index(v) for v in value if v in scales.kept]
    if name.endswith("_section"):
        return [max(1, int(v * scales.head)) for v in value]
    if len(value) == 1 and isinstance(value[0], list | tuple) and len(value[0]) == 2 and isinstance(value[0][0], list | tuple):
        kinds, times = value[0]  # [[["global", "local"], 12]]: these kinds, so many times
        return [[kinds, max(1, scales.layers // len(kinds)) if times * len(kinds) == scales.depth else times]]
    if role == "layers" and whole:
        return [min(v, 3) for v in value]
    change = NUMBERS.get(role)
    return value if change is None or not whole else [change(v, scales) for v in value]


def rounded(x: float, step: int) -> int:
    """The nearest multiple of `step`, at least one."""
    return max(step, step * round(x / step))


def width(value: int, scales: Scales) -> int:
    """A width; those that were small stay."""
    if value in scales.links:
        return scales.links[value]
    if value < 16 or scales.width == 1:
        return value
    new = value * scales.width
    return int(new) if new == int(new) and new >= 8 else rounded(new, 8)


def layers(value: int, scales: Scales) -> int:
    """A number of layers: all of them, or how many of those that stand for all come before it."""
    if value >= scales.depth or value <= 2:
        return value if value <= 2 else scales.layers
    return max(1, sum(i < value for i in scales.kept))


NUMBERS: dict[str, Callable[[int, Scales], int]] = {
    "vocabulary": lambda v, s: min(v, VOCABULARY),
    "token": lambda v, s: v if v < VOCABULARY else VOCABULARY - 1 - v % 8,
    "experts": lambda v, s: min(v, 4),
    "per token": lambda v, s: min(v, 2),
    "groups": lambda v, s: min(v, 2),
    "top group": lambda v, s: 1,
    "top keys": lambda v, s: min(v, 4),
    "window": lambda v, s: min(v, 2 if s.staged else 8),
    "period": lambda v, s: min(v, 2),
    "offset": lambda v, s: min(v, 1),
    "positions": lambda v, s: min(v, POSITIONS),
    "image": lambda v, s: IMAGE,
    "heads": lambda v, s: max(1, round(v * s.heads)) if v else v,
    "head width": lambda v, s: max(2, round(v * s.head)) if v >= 16 else v,
    "layers": layers,
    "layer number": lambda v, s: min(v, s.layers - 1),
    "repeats": lambda v, s: min(v, 2),
    "width": width,
}
