"""Chains of elementwise functions: x * f(x) written out as a product is ONE activation of x.

Each tensor remembers of which tensor it is an elementwise function, and what that function makes of zero, so that a product of two
functions of the same tensor is recognised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...verbs import route
from ..context import Context
from ..notes import Note, Origin, Zero, carries, chain, hand_on, made_note, note_of, origin_of, write


def elementwise(flow: Context, func: Callable, args: tuple, kwargs: dict) -> tuple[Origin, Zero] | None:
    """(origin, zero) if `func` here is an elementwise function of one tensor; None if several take part."""
    first, origin, several = None, None, False
    for a in args:
        if not isinstance(a, Tensor):
            continue
        if not (a.requires_grad or told_by(a)):
            if a.numel() != 1:
                return None
        elif first is None:
            first = a
        else:
            origin, several = origin_of(flow, first) if origin is None else origin, True
            if origin_of(flow, a) is not origin:
                return None
    if first is None:
        return None
    own, zero = chain(flow, first)
    if several:
        zeros = tuple([chain(flow, a)[1] if carries(a) or told_by(a) else a for a in args])
    else:
        zeros = tuple([zero if a is first else a for a in args])
    return own, Zero(func, zeros, kwargs)


def told_by(x: Any) -> bool:
    """Whether x, which carries nothing, says entry by entry how a carrier compares with a number."""
    return isinstance(x, Tensor) and not x.requires_grad and (note := made_note(x)) is not None and note.origin is not None


def compared(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """x > 0 and its kin carry nothing, but tell of which tensor they are a function: where(x > 0, x, 0) is an activation."""
    out = func(*args, **kwargs)
    found = elementwise(flow, func, args, kwargs)
    if found is not None:
        tells(out, Note(origin=found[0], zero=found[1]))
    return out


def tells(out: Tensor, note: Note) -> None:
    """Put what a comparison tells on what it made, or on the same as numbers."""
    note = Note(origin=note.origin, zero=note.zero)
    write(out, note)
    note.kept = None  # a mask is saved for the way back, and what was compared need not be


def elementwise_note(flow: Context, func: Callable, args: tuple, kwargs: dict, out: Tensor, made: str | None = None) -> Tensor:
    """Remember of which tensor `out` is an elementwise function."""
    found = elementwise(flow, func, args, kwargs)
    if found is not None and made is None and any(map(told_by, args)):  # x * (x > 0)
        made = "activation"
    if found is not None or made:
        origin, zero = found or (None, None)
        write(out, Note(origin=origin, zero=zero, made=made))
    if made == "activation":
        flow.projections.note(flow.projections.activations, out)
    for a in args:
        if carries(a):
            hand_on(flow, a, out)
            break
    return out


def activated(flow: Context, out: Tensor) -> Tensor:
    """An activation made `out`, which may stand in a gate; of which tensor is not kept, for nothing else may need that any more."""
    note = note_of(flow, out) or Note()
    note.made = "activation"
    flow.projections.note(flow.projections.activations, out)
    return write(out, note)


def one_activation(flow: Context, func: Callable, args: tuple, merged: tuple[Origin, Zero]) -> Tensor | None:
    """x * f(x) written out: one activation of x, not a product; None if x is gone."""
    origin, zero = merged
    x = origin.ref()
    if x is None:
        return None
    flow.used("activation", flow.composite.activation)
    with torch.no_grad():
        value = func(*args)
        (limit,) = torch.autograd.grad(zero.value, origin.zero.value, retain_graph=True, allow_unused=True)
        start, at_zero = float(zero.value), 0.0 if limit is None else float(limit)
        slope = torch.where(x == 0, torch.full_like(value, at_zero), (value - start) / torch.where(x == 0, 1, x))
    out = route(value, x, slope)
    if start:
        flow.account.constant(out, start, f"{flow.place}: f(0)", flow.depth)
    flow.projections.note(flow.projections.activations, out)
    return write(out, Note(origin=origin, zero=zero, made="activation"))
