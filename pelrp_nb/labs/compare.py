"""Are two answers the same, and if not, what leaked and where."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .limits import NOTHING, Problem

RELATIVE, ABSOLUTE = 1e-4, 1e-6  # students work in float32 as well, and round by hand to four digits


def parts(answer: Any) -> list[Any]:
    """An answer as a list of tensors and texts. Raises Problem for what is neither."""
    if answer is None or answer is Ellipsis:
        raise Problem(NOTHING)
    if isinstance(answer, tuple) or (isinstance(answer, list) and any(isinstance(x, Tensor) for x in answer)):
        return [part for each in answer for part in parts(each)]
    if isinstance(answer, str):
        return [answer]
    if isinstance(answer, Tensor):
        return [answer.detach().to("cpu", torch.float64) if not answer.is_complex() else answer.detach()]
    try:
        return [torch.as_tensor(answer, dtype=torch.float64)]
    except (TypeError, ValueError, RuntimeError) as error:
        kind = type(answer).__name__
        raise Problem(f"It must be a tensor or a number, and it is of type {kind}: {answer!r:.80}") from error


def same(ours: list[Any], theirs: list[Any]) -> bool:
    """Whether two answers are equal but for rounding, shapes included."""
    return len(ours) == len(theirs) and all(_alike(a, b) for a, b in zip(ours, theirs, strict=True))


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return isinstance(a, str) and isinstance(b, str) and a.strip().casefold() == b.strip().casefold()
    if a.shape != b.shape or a.is_complex() != b.is_complex():
        return False
    return torch.allclose(a, b, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)


def shapes(answer: list[Any]) -> str:
    """The shapes of an answer as one reads them."""
    shown = [f"the text {x!r:.40}" if isinstance(x, str) else str(tuple(x.shape)) if x.dim() else "a number" for x in answer]
    return " and ".join(shown)


def difference(got: list[Any], want: list[Any]) -> str:
    """The first thing that differs, and where: kind, number of parts, shape, NaN, the largest difference."""
    if len(got) != len(want):
        number = f"{len(want)} result{'s' if len(want) > 1 else ''}"
        return f"It must give {number} ({shapes(want)}), and gives {len(got)} ({shapes(got)})."
    for place, (ours, right) in enumerate(zip(got, want, strict=True), 1):
        which = f"Result {place}" if len(want) > 1 else "It"
        if isinstance(ours, str) or isinstance(right, str):
            if not _alike(ours, right):
                return f"{which} is {ours!r:.60}, and that is not it." if isinstance(ours, str) else f"{which} must be a text."
        elif ours.shape != right.shape:
            return f"{which} must have the shape {tuple(right.shape)}, and has {tuple(ours.shape)}."
        elif (ours.isnan() & ~right.isnan()).any():
            return f"{which} is not a number (NaN){_place(ours.isnan())}: look for 0/0 or for a score of minus infinity."
        elif not _alike(ours, right):
            off = (ours - right).abs().nan_to_num(0)
            at = off == off.max()
            return f"{which} is {_number(ours, at)}{_place(at)}, and must be {_number(right, at)}."
    return ""


def _place(where: Tensor) -> str:
    if not where.dim():
        return ""
    return f" at [{', '.join(str(i) for i in where.nonzero()[0].tolist())}]"


def _number(x: Tensor, where: Tensor) -> str:
    value = float((x[where] if x.dim() else x).flatten()[0].real)
    return f"{value + 0:.0f}" if value.is_integer() else f"{value:.4f}"


def leak(R: Tensor, got: list[Any], want: list[Any], keeper: str) -> str:
    """Where the relevance went: "sum in 1.0000, sum out 0.9312: 0.0688 vanished at the bias"."""
    if any(isinstance(x, str) or x.is_complex() for x in (*got, *want)):
        return difference(got, want)
    into, out, right = float(R.sum()), sum(float(x.sum()) for x in got), sum(float(x.sum()) for x in want)
    if not math.isfinite(out):
        return difference(got, want)
    if abs(out - right) <= RELATIVE * max(1.0, abs(right)):
        return f"The sum is right ({out:.4f}), but it went to the wrong places."
    word = "vanished" if abs(out) < abs(right) else "appeared from nowhere"
    at, must = ("", "") if keeper == "nobody" else (f" at {keeper}", f" (it must be {right:.4f}, for {keeper} keeps its part)")
    return f"Sum in {into:.4f}, sum out {out:.4f}{must}: {abs(right - out):.4f} {word}{at}."
