"""Lines in which a word comes again: what followed it before is what follows now.

    sun moon star tree bird sun            moon

The words are drawn at random, so nothing but the line itself says what comes next.  A question has a corrupted twin of the same
length, in which another word followed:

    sun fish star tree bird sun            fish
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from ..errors import ZooError
from .questions import FILLERS, NAMES, WORDS, is_held_out

MORE = (
    "bell", "boat", "book", "bread", "cloud", "cup", "door", "drum", "field", "fire", "flag", "flute", "frost", "glass", "gold",
    "grass", "hill", "horn", "house", "lake", "lamp", "leaf", "moss", "path", "pear", "pine", "rain", "reed", "road", "rope",
    "rose", "salt", "sand", "ship", "silk", "smoke", "snow", "stair", "straw", "wind", "wood", "wool",
)  # fmt: skip
VOCABULARY = (*WORDS, *NAMES, *FILLERS, *MORE)
LENGTHS = range(4, 16)  # different words before one comes again
USUAL = 8


@dataclass(frozen=True)
class Repeat:
    """One line whose last word stood there before.

    text, corrupt: the line, and its twin in which another word followed; answer, other: what follows now in the one and the other
    first:         which word is the one that comes again; the answer stands behind it, the last word is the line's last
    """

    text: str
    corrupt: str
    answer: str
    other: str
    first: int


def repeats(*, held_out: bool, seed: int = 0, length: int = USUAL) -> Iterator[Repeat]:
    """Questions without end, all held out or none; `length` different words before one comes again. Raises ZooError."""
    if length not in LENGTHS:
        raise ZooError(f"The length of a line must lie between {LENGTHS[0]} and {LENGTHS[-1]}, got {length}. Type length={USUAL}.")
    rng = Random(f"induction {seed}")
    while True:
        *line, other = rng.sample(VOCABULARY, length + 1)
        first = rng.randrange(length - 1)
        twin = [*line]
        twin[first + 1] = other
        text, corrupt = (" ".join([*words, line[first]]) for words in (line, twin))
        if is_held_out(text) == held_out:
            yield Repeat(text, corrupt, line[first + 1], other, first)
