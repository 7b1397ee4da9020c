"""Writes that autograd never sees: into `x.data`, into `x.detach()`, or under `no_grad`, of a tensor that carries relevance.

The value changes and the walk back does not know of it, so the books would not close. Such a write is refused where it happens.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from types import FrameType
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from ..errors import ModelError
from .notes import carries
from .places.maps import words
from .places.values import storage_of
from .saved import WRITES

OURS = (str(Path(__file__).parents[1]), str(Path(torch.__file__).parent))
# what ends in an underscore and changes no number
ELSEWHERE = words("""requires_grad_ detach_ share_memory_ rename_ squeeze_ unsqueeze_ t_ transpose_ swapaxes_ swapdims_ as_strided_
                     resize_ resize_as_""")
SPELT = {"__setitem__": "x[...] = y", "__set__": "x.data = y"}


class HiddenWrites:
    """The memory that tensors share with one that carries, while that one lives."""

    def __init__(self) -> None:
        self.shared: dict[int, ref[Tensor]] = {}

    def meet(self, name: str, args: tuple, kwargs: Mapping[str, Any], place: str, graded: bool) -> None:
        """A call that hands no gradient on meets what carries: what it makes may share that memory.

        Raises ModelError where it is itself such a write.
        """
        if not graded and any(carries(x) for x in written(name, args, kwargs)):
            raise refused(name, place)
        self.shared |= {storage_of(x): ref(x) for x in args if carries(x)}

    def check(self, func: Callable, name: str, x: Any, place: str, leaves: Container[int]) -> None:
        """A write into x. Raises ModelError where it is into the memory of a tensor that carries, and x does not."""
        carrying = carries(x) and (not x.is_leaf or id(x) in leaves)
        if name == "__set__" or carrying:
            if carrying and getattr(func, "__self__", None) is Tensor.data:
                raise refused(name, place)
        elif self.shared and name not in ELSEWHERE and isinstance(x, Tensor):
            found = self.shared.get(storage_of(x))
            carrier = None if found is None else found()
            if carrier is not None and storage_of(carrier) == storage_of(x):
                raise refused(name, place)


def written(name: str, args: tuple, kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """The tensors whose numbers a call writes over."""
    first = args[:1] if (name in WRITES and name not in ELSEWHERE) or kwargs.get("inplace") else ()
    out = kwargs.get("out", ())
    return (*first, *(out if isinstance(out, tuple | list) else (out,)))


def refused(name: str, place: str) -> ModelError:
    """The error for a hidden write, with its line."""
    return ModelError(
        f"`{SPELT.get(name, name)}` in {place} changes a tensor that carries relevance where autograd does not see it (.data, .detach(), "
        f"no_grad), so no walk back knows of it, as in training.{line()} Write it out of place, p = p * 0.5 for p.data.mul_(0.5), or into "
        "a copy, p = p.clone()."
    )


def line() -> str:
    """The line of the model that is running, in a sentence."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(OURS):
        frame = frame.f_back
    if frame is None or not (said := linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()):
        return ""
    return f" The line is `{said}`, {Path(frame.f_code.co_filename).name}:{frame.f_lineno}."
