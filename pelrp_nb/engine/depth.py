"""How far the forward pass had come where something was met: an order of everything that the walk back passes again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

INSIDE: Literal[0] = 0  # of the layer, or of nothing yet where the layer is -1
AFTER: Literal[1] = 1  # the layer, and before the next


@dataclass(frozen=True, order=True, slots=True)
class Depth:
    """A place in the order of the forward pass: greater is later, and so the walk back is there earlier.

    stream: number of the stream
    layer:  number of the layer within the stream, -1 before its first
    phase:  INSIDE or AFTER
    """

    stream: int
    layer: int = -1
    phase: Literal[0, 1] = INSIDE

    @property
    def segment(self) -> int:
        """The layer whose output the walk back has passed last: what is met after a layer belongs with the next one."""
        return self.layer + self.phase


@lru_cache(maxsize=10_000)
def depth_of(stream: int, layer: int, phase: Literal[0, 1]) -> Depth:
    """The depth there: one for all who ask."""
    return Depth(stream, layer, phase)
