"""What takes part in one torch call, and its arguments with the model's own parameters made constants."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .context import Context
from .notes import Note, note_of, write
from .places.follow import ATTRIBUTE


@dataclass(slots=True)
class Met:
    """carrying: something carries relevance; raw: whole numbers of an input take part; placed: anything of an input does.

    noted: notes on constants; args, kwargs: parameters made constants
    """

    carrying: bool
    raw: bool
    placed: bool
    noted: list[Note]
    args: tuple
    kwargs: dict


def look(flow: Context, args: tuple, kwargs: dict) -> Met:
    """One look at each argument of a call."""
    met = Met(False, False, False, [], args, kwargs)
    met.args = through(flow, met, args)
    if kwargs:
        met.kwargs = dict(zip(kwargs, through(flow, met, tuple(kwargs.values())), strict=True))
    return met


def through(flow: Context, met: Met, args: tuple) -> tuple:
    """The same for a row of arguments, lists among them included."""
    fresh: list | None = None
    for i, a in enumerate(args):
        if isinstance(a, Tensor):
            known = a.__dict__.get(ATTRIBUTE)
            if known is not None:
                met.placed = True
                met.raw = met.raw or known.raw
            if a.requires_grad and not (a.is_leaf and id(a) not in flow.leaves):
                met.carrying = True
                continue
            note = note_of(flow, a) if known is None or known.fixed else None
            if note is not None:
                met.noted.append(note)
            if a.requires_grad:
                fresh = fresh or list(args)
                fresh[i] = constant(flow, a, note)
        elif isinstance(a, list | tuple) and a and any(isinstance(x, Tensor) for x in a):
            pieces = through(flow, met, tuple(a))
            if any(x is not y for x, y in zip(a, pieces, strict=True)):
                fresh = fresh or list(args)
                fresh[i] = type(a)(pieces)
    return tuple(fresh) if fresh else args


def constant(flow: Context, parameter: Tensor, note: Note | None) -> Tensor:
    """A parameter without a gradient, in the same memory."""
    alias = parameter.detach()
    return write(alias, note) if note is not None else alias
