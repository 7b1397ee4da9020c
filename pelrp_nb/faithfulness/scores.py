"""One number of an answer."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError


def score(answer: Tensor, target: int, kind: str) -> float:
    """What is said of the explained class: its logit, its margin over the next, its probability, or 1 if it is on top."""
    logit = float(answer[target])
    if kind == "logit":
        return logit
    if kind == "accuracy":
        return float(int(answer.argmax()) == target)
    if kind == "margin":
        rest = torch.cat([answer[:target], answer[target + 1 :]])
        return logit - float(rest.max()) if len(rest) else logit
    if kind == "probability":
        return float(answer.softmax(-1)[target])
    raise InputError(f"score must be one of logit, margin, probability, accuracy; got {kind!r}.")


def area(x: list[float] | tuple[float, ...], y: list[float]) -> float:
    """The area under a polygon through (x, y), by trapezoids; of a single point, its height."""
    if len(x) == 1:
        return y[0]
    return sum((b - a) * (p + q) / 2 for a, b, p, q in zip(x, x[1:], y, y[1:], strict=False))


def ranks(values: Tensor) -> Tensor:
    """(N,) ranks from 1, equal values sharing the mean of theirs."""
    _, places, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts.double() - 1) / 2)[places]


def rank_correlation(a: Tensor, b: Tensor) -> float | None:
    """Spearman's correlation; None where it is not defined (under two values, or all equal)."""
    if len(a) < 2:
        return None
    x, y = ranks(a.double()), ranks(b.double())
    x, y = x - x.mean(), y - y.mean()
    size = float(x.norm() * y.norm())
    return float(x @ y) / size if size > 0 else None
