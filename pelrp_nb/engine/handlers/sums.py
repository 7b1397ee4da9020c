"""Sums, joins and fillers: shares in proportion; what is constant is booked, what is a position becomes a sink."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..context import Context
from ..positions import detection
from ..provenance import Note, carries, hand_on, note_of, pick, write
from .chains import elementwise, elementwise_note


def add(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """a + b or a - b: shares in proportion; what is constant is booked, what is a position becomes a sink."""
    a, b = pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, "other")
    more = {k: v for k, v in kwargs.items() if k not in ("input", "other")}
    if carries(a) and carries(b):
        out = flow.residual(a, b, partial(func, **more), plain=not more and func in ADDITIONS)
        found = elementwise(flow, func, (a, b), more) if note_of(flow, out) is None else None
        sinks = (*detection.sinks_of(flow, a), *detection.sinks_of(flow, b))
        scores = any((n := note_of(flow, x)) is not None and n.scores for x in (a, b))
        if found is not None or sinks or scores:
            origin, zero = found or (None, None)
            write(out, Note(origin=origin, zero=zero, sinks=sinks, scores=scores))
        return out
    carrier, constant = (a, b) if carries(a) else (b, a)
    sink = detection.enters_by_sum(flow, constant, carrier) if func in ADDITIONS and not more else None
    if sink is not None:
        out = func(sink, b) if constant is a else func(a, sink)
        hand_on(flow, carrier, out)
        return out
    out = func(a, b, **more)
    sign = -1.0 if (func in SUBTRACTIONS and constant is b) or (func in REVERSED and constant is a) else 1.0
    sign *= more.get("alpha", 1) if constant is b else 1
    book_constant(flow, out, constant, sign)
    elementwise_note(flow, func, (a, b), more, out)
    hand_on(flow, carrier, out)
    return out


def book_constant(flow: Context, out: Tensor, constant: Any, sign: float = 1.0) -> None:
    """Give an added constant its line in the ledger."""
    if isinstance(constant, Tensor):
        flow.account.constant(out, constant, flow.name_of(constant, "added"), flow.depth, sign)
    elif constant and abs(constant) < 1e30:
        flow.account.constant(out, float(constant), f"{flow.place}: {constant:+g}", flow.depth, sign)


ADDITIONS = {torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__}
SUBTRACTIONS = {torch.sub, Tensor.sub, Tensor.__sub__, torch.subtract, Tensor.subtract}
REVERSED = {Tensor.__rsub__, torch.rsub}


def join(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """cat and stack: constant pieces (CLS, registers) are booked by name."""
    pieces = args[0] if args else kwargs.get("tensors")
    rest = args[1:] if args else ()
    more = {k: v for k, v in kwargs.items() if k != "tensors"}
    if any(map(carries, pieces)):
        pieces = [p if carries(p) or not p.is_floating_point() else detection.joined(flow, p) for p in pieces]
    out = func(pieces, *rest, **more)
    sinks = tuple(s for p in pieces for s in detection.sinks_of(flow, p))
    again = turned(flow, func, pieces, rest, more)
    return write(out, Note(sinks=sinks, again=again)) if sinks or again else out


def turned(flow: Context, func: Callable, pieces: list, rest: tuple, more: dict) -> tuple | None:
    """How to join two halves again, one of them negated (half of a rotation), from views of what is kept anyway."""
    if len(pieces) != 2 or not all(map(carries, pieces)):
        return None
    notes = [note_of(flow, p) for p in pieces]
    negated = [n is not None and n.again is not None and n.again[0] is torch.neg for n in notes]
    views = [p._is_view() for p in pieces]
    if sorted(negated) != [False, True] or not views[negated.index(False)]:
        return None
    parts = tuple(n.again[1][0] if n and n.again and minus else p.detach() for p, n, minus in zip(pieces, notes, negated, strict=True))
    return lambda *xs: func([-x if minus else x for x, minus in zip(xs, negated, strict=True)], *rest, **more), parts


def masked_fill(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """The filler is a constant of its places, and nothing where it is a mask."""
    out = func(*args, **kwargs)
    hand_on(flow, pick(args, kwargs, 0, "input"), out)
    value = pick(args, kwargs, 2, "value")
    value = float(value) if isinstance(value, Tensor) and value.numel() == 1 and not carries(value) else value
    mask = pick(args, kwargs, 1, "mask")
    if isinstance(value, int | float) and value and abs(value) < 1e30 and carries(out):
        flow.account.constant(out, mask.to(out.dtype) * value, f"{flow.place}: filled with {value:g}", flow.depth)
    return out


def where(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Any:
    """where(condition, a, b): a constant side is a constant of its places."""
    if func in (Tensor.where,):
        args = (args[1], args[0], *args[2:])
        func = torch.where
    if len(args) + len(kwargs) < 3:
        return func(*args, **kwargs)
    condition, a, b = pick(args, kwargs, 0, "condition"), pick(args, kwargs, 1, "input"), pick(args, kwargs, 2, "other")
    out = func(condition, a, b)
    hand_on(flow, a if carries(a) else b, out)
    for side, place in ((a, condition), (b, ~condition)):
        if carries(side) or not carries(out):
            continue
        side = side.detach() if isinstance(side, Tensor) else torch.tensor(float(side), dtype=out.dtype)
        side = torch.where(place, side.to(out.device, out.dtype), torch.zeros((), dtype=out.dtype, device=out.device))
        flow.account.constant(out, side, flow.name_of(side, "filler"), flow.depth)
    return out
