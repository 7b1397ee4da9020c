"""Several results beside each other, in words first: who gives which word more, and how much more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from ..amounts import digits, largest
from .data import Plain
from .headline import QUOTED, Part, kind_of, quoted
from .reading import words

ALIKE = 1e-6  # of the largest number: a smaller difference is none
TIMES = 1.5  # from here on one is said to be so many times the other


def differing(names: Sequence[str], found: Sequence[Plain]) -> list[Part]:
    """The word on which two of the results differ most, in one sentence; nothing where they have no words in common."""
    if len(found) < 2 or any(one["tokens"] != found[0]["tokens"] or kind_of(one) != "text" or one["streams"] for one in found):
        return []
    shared = words(found[0])
    amounts = [[sum(one["parts"]["signed"]["both"][t] for t in word["ids"]) for word in shared] for one in found]
    most = largest(*amounts)
    pairs = [
        (abs(x - y), i, j, w)
        for i, j in combinations(range(len(found)), 2)
        for w, (x, y) in enumerate(zip(amounts[i], amounts[j], strict=True))
    ]
    finite = [one for one in pairs if math.isfinite(one[0])]
    if not finite:
        return []
    size, i, j, w = max(finite, key=lambda one: (one[0], -one[1], -one[2], -one[3]))
    if size <= ALIKE * most:
        return [(f"{'Both' if len(found) == 2 else 'All'} give every word the same.", False)]
    if abs(amounts[j][w]) > abs(amounts[i][w]):
        i, j = j, i
    word, (more, less) = quoted(shared[w]["own"], QUOTED), (amounts[i][w], amounts[j][w])
    show = digits(most, 3)
    told = f" ({show(more)} against {show(less)})."
    first, second = quoted(names[i], QUOTED), quoted(names[j], QUOTED)
    if more * less > 0 and more / less >= TIMES:
        return [first, (" gives ", False), word, (f" {_times(more / less)} as much as ", False), second, (told, False)]
    if more * less < 0:
        sides = ("for", "against") if more > 0 else ("against", "for")
        return [first, (" counts ", False), word, (f" {sides[0]} it and ", False), second, (f" {sides[1]} it{told}", False)]
    return [first, (" gives ", False), word, (" more than ", False), second, (told, False)]


def _times(ratio: float) -> str:
    whole = round(ratio)
    if ratio >= 10:
        return f"{whole if ratio < 1000 else 'over 1,000'} times"
    return "twice" if 1.8 <= ratio < 2.25 else f"{ratio:.1f} times"
