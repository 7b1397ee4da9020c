"""Are two answers the same, and if not, what leaked and where."""

from __future__ import annotations

import math
from numbers import Number, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .limits import NOTHING, Problem

RELATIVE, ABSOLUTE = 1e-4, 1e-6  # students work in float32 as well
MEANS = 10  # a sum less than so small a part of the sizes in it is what is left of amounts that cancel: nothing vanishes from it
BY_HAND = 5.1e-4  # and write down four digits, with half of the last one to spare


def parts(answer: Any, like: list[Any] | None = None) -> list[Any]:
    """An answer as a list of tensors and texts. Raises Problem for what is neither.

    `like` is what the right answer is made of: numbers and rows in tuples and lists are then put together as it is, one result from all
    of them or one from each.
    """
    if answer is None or answer is Ellipsis:
        raise Problem(NOTHING)
    if isinstance(answer, str):
        return [answer]
    if isinstance(answer, tuple | list) and len(answer) == 1 and like is not None and not _made(answer, like):
        return parts(answer[0], like)
    if isinstance(answer, tuple | list) and not (like is not None and len(like) == 1 and _rows(answer, like[0])):
        each = like if like is not None and len(like) == len(answer) else [None] * len(answer)
        return [part for x, one in zip(answer, each, strict=True) for part in parts(x, None if one is None else [one])]
    found = _tensor(answer)
    if like is not None and len(like) > 1 and found.shape[:1] == (len(like),) and found.dim() == 1 + like[0].dim():
        return list(found)
    one = like is not None and len(like) == 1 and isinstance(like[0], Tensor) and not like[0].dim() and found.numel() == 1
    return [found.reshape(()) if one else found]


def _tensor(answer: Any) -> Tensor:
    """Numbers as one tensor in float64."""
    try:
        if isinstance(answer, tuple | list):
            return torch.stack([_tensor(each) for each in answer]) if len(answer) else torch.zeros(0, dtype=torch.float64)
        if isinstance(answer, Real):  # a fraction too
            return torch.tensor(float(answer), dtype=torch.float64)
        found = answer.detach().to_dense() if isinstance(answer, Tensor) else torch.as_tensor(answer)
        return found.cpu() if found.is_complex() else found.to("cpu", torch.float64)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        kind = type(answer).__name__
        raise Problem(f"It must be a tensor or a number, and it is of type {kind}: {answer!r:.80}") from error


def _rows(answer: Any, like: Any) -> bool:
    """Whether tuples and lists hold numbers in rows of one length, as deep as the right answer."""
    return isinstance(like, Tensor) and _regular(answer) and len(_shape(answer)) == like.dim()


def _regular(answer: Any) -> bool:
    if isinstance(answer, tuple | list):
        return all(map(_regular, answer)) and len(set(map(_shape, answer))) < 2
    return isinstance(answer, Tensor | np.ndarray | np.generic | Number)


def _shape(answer: Any) -> tuple[int, ...]:
    if isinstance(answer, tuple | list):
        return (len(answer), *(_shape(answer[0]) if answer else ()))
    return tuple(getattr(answer, "shape", ()))


def _made(answer: Any, like: list[Any]) -> bool:
    """Whether a list of one thing is itself what the right answer is: a vector of one number."""
    return len(like) == 1 and _rows(answer, like[0])


def same(ours: list[Any], theirs: list[Any], by_hand: bool = False, within: float = 0.0) -> bool:
    """Whether two answers are equal but for rounding, shapes included; to four digits `by_hand`, or up to the amount `within`."""
    return len(ours) == len(theirs) and all(_alike(a, b, by_hand, within) for a, b in zip(ours, theirs, strict=True))


def _alike(a: Any, b: Any, by_hand: bool = False, within: float = 0.0) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return isinstance(a, str) and isinstance(b, str) and a.strip().casefold() == b.strip().casefold()
    if a.shape != b.shape or a.is_complex() != b.is_complex():
        return False
    return torch.allclose(a, b, rtol=BY_HAND if by_hand else RELATIVE, atol=max(within, ABSOLUTE), equal_nan=True)


def shapes(answer: list[Any]) -> str:
    """The shapes of an answer as one reads them."""
    shown = [f"the text {x!r:.40}" if isinstance(x, str) else str(tuple(x.shape)) if x.dim() else "a number" for x in answer]
    return " and ".join(shown)


def difference(got: list[Any], want: list[Any], reveal: bool = True) -> str:
    """The first thing that differs, and where: kind, number of parts, shape, NaN, the largest difference; what is right if `reveal`."""
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
            rest = f"and must be {_number(right, at)}" if reveal else "and that is not it"
            return f"{which} is {_number(ours, at)}{_place(at)}, {rest}."
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
    why = "" if keeper == "nobody" else f", for {keeper} keeps its part"
    if out * right <= 0 or min(abs(into), abs(right)) < float(R.abs().sum()) / MEANS:
        return f"Sum in {into:.4f}, sum out {out:.4f}; it must be {right:.4f}{why}."
    word = "vanished" if abs(out) < abs(right) else "appeared from nowhere"
    at, must = ("", "") if keeper == "nobody" else (f" at {keeper}", f" (it must be {right:.4f}{why})")
    return f"Sum in {into:.4f}, sum out {out:.4f}{must}: {abs(right - out):.4f} {word}{at}."
