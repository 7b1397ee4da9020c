"""What takes part in one torch call, and its arguments with the model's own parameters made constants: one look at each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .context import Context
from .notes import Note, note_of, write
from .places.follow import ATTRIBUTE, word


class Met:
    """carrying: something carries relevance; raw: whole numbers of an input take part; placed: anything of an input does.

    noted: notes on constants; args, kwargs: parameters made constants; words: what places know of each, as a part of a key
    """

    carrying = raw = placed = False
    noted: Sequence[Note] = ()
    args: tuple
    kwargs: dict[str, Any]
    words: list[Any]


def bare(known: Mapping[int, Note], args: tuple) -> bool:
    """Whether nothing is known of any argument: no tensor carries, has a note or provenance, or is the model's own."""
    for a in args:
        if isinstance(a, Tensor):
            if a.requires_grad or a.__dict__ or id(a) in known:
                return False
        elif isinstance(a, list | tuple):
            return False
    return True


def look(flow: Context, args: tuple, kwargs: dict) -> Met:
    """One look at each argument of a call."""
    met = Met()
    words: list[Any] = []
    met.words = words
    met.args, met.kwargs = through(flow, met, args, words), kwargs
    if kwargs:
        given = tuple(kwargs.values())
        values = through(flow, met, given, words)
        words.append(tuple(kwargs))
        met.kwargs = kwargs if values is given else dict(zip(kwargs, values, strict=True))
    return met


NUMBERS = frozenset({int, float, bool, type(None), torch.dtype})  # types of arguments that are words as they are
PLAIN = NUMBERS | {slice, type(...)}  # types of what is no tensor


def through(flow: Context, met: Met, args: tuple, words: list) -> tuple:
    """The same for a row of arguments, lists among them included."""
    fresh: list | None = None
    for i, a in enumerate(args):
        kind = type(a)
        if kind in NUMBERS:
            words.append(a)
        elif isinstance(a, Tensor):
            known = a.__dict__.get(ATTRIBUTE)
            if known is None:
                words.append((None, a.shape))
            else:
                words.append((known.number, a.shape))
                met.placed = True
                if known.raw:
                    met.raw = True
            gradient = a.requires_grad
            if gradient and not (a.is_leaf and id(a) not in flow.leaves):
                met.carrying = True
                continue
            note = note_of(flow, a) if known is None or known.fixed else None
            if note is not None:
                met.noted = [*met.noted, note]
            if gradient:
                fresh = fresh or list(args)
                fresh[i] = constant(a, note)
        elif isinstance(a, list | tuple) and not PLAIN.issuperset(map(type, a)):
            inside: list[Any] = []
            given = tuple(a)
            pieces = through(flow, met, given, inside)
            words.append(tuple(inside))
            if pieces is not given:
                fresh = fresh or list(args)
                fresh[i] = type(a)(pieces)
        else:
            words.append(word(a))
    return tuple(fresh) if fresh else args


def constant(parameter: Tensor, note: Note | None) -> Tensor:
    """A parameter without a gradient, in the same memory."""
    alias = parameter.detach()
    return write(alias, note) if note is not None else alias
