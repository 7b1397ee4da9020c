"""What passes relevance on as it is: views, casts, gathers; where it begins and ends; and operations in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ...errors import ModelError
from ..context import Context, Handler
from ..places.follow import copy_provenance, provenance_of
from ..positions import relative
from ..taped import same
from ..saved import before_write
from . import idioms
from .chains import elementwise_note
from ..notes import SHAPES, Note, carries, chain, hand_on, note_of, pick, write


def cast(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Any:
    """The same numbers in another dtype, place or order of memory: everything known stays known."""
    out = func(*args, **kwargs)
    if not isinstance(out, Tensor) or out is args[0] or not carries(out):
        return out
    note = note_of(flow, args[0])
    origin, zero = chain(flow, args[0])
    note = note or Note()
    write(out, Note(origin=origin, zero=zero, made=note.made, attends=note.attends, stream=note.stream))
    hand_on(flow, args[0], out)
    idioms.passed(flow, func, "clone", args, kwargs, out)
    return out


def dropout(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """Nothing, unless it is active."""
    x, p = pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, "p", 0.5)
    training = pick(args, kwargs, 2, "training", pick(args, kwargs, 2, "train", True))
    if training and p > 0:
        raise ModelError(
            f"Relevance needs a forward pass without chance; the dropout in {flow.place} is active (p = {p}). Type model.eval()."
        )
    return x


def plain(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Any:
    """Linear in what carries: nothing to bend."""
    out, name = func(*args, **kwargs), getattr(func, "__name__", "")
    if args:
        note = note_of(flow, args[0]) if isinstance(args[0], Tensor) else None
        if name in idioms.PEAKS or (note is not None and note.form is not None):
            idioms.passed(flow, func, name, args, kwargs, out)
        if note is not None:
            hand_on(flow, args[0], out, same=name in SHAPES)
            if note.stacked is not None and name in ("sum", "mean"):
                note.stacked.part = "sum"  # what stood beside is added
    if not isinstance(out, Tensor):
        return out
    if not out.requires_grad:
        return looked_up(flow, out, args, kwargs)
    if args and name in ("gather", "take_along_dim"):
        flow.places.follow(func, name, args, kwargs, out)
        out = relative.gathered(flow, out)
    return out


def embedding(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """A table looked up by token ids: here relevance arrives."""
    return looked_up(flow, func(*args, **kwargs), args, kwargs)


def looked_up(flow: Context, out: Tensor, args: tuple, kwargs: dict) -> Tensor:
    """What was read from a table of weights by the whole numbers of an input, or made of them with weights, is tokens."""
    known = [p for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor) and (p := provenance_of(x)) is not None and p.content]
    raw = bool(known) and all(p.raw for p in known)
    return flow.token_leaf(out) if raw and out.is_floating_point() and not out.requires_grad else out


def in_place(flow: Context, func: Callable, args: tuple, kwargs: dict, handler: Handler, out_of_place: Callable) -> Tensor:
    """x op= y: computed apart, by the rule of `op`, then copied back."""
    target = args[0]
    if id(target) in flow.known:
        raise ModelError(f"{flow.place} changes a parameter or buffer in place while it is explained.")
    source = target.clone() if carries(target) else target.detach().clone()
    note = note_of(flow, target)
    if note is not None and carries(target):
        write(source, note)
    copy_provenance(target, same(target, source))
    out = handler(flow, out_of_place, (source, *args[1:]), kwargs)
    if not carries(out):
        return target.copy_(out)
    target.copy_(out)
    return write(target, note_of(flow, out) or Note())


def flagged(flow: Context, func: Callable, args: tuple, kwargs: dict, handler: Handler) -> Tensor:
    """f(x, inplace=True): as `x.f_()`."""
    before_write(args[0])
    return in_place(flow, func, args, {**kwargs, "inplace": False}, handler, func)


def filled(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Any:
    """nan_to_num: rows of attention without a visible score are filled."""
    return plain(flow, func, (idioms.filled(flow, args[0]), *args[1:]), kwargs)


def silent(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Any:
    """No arithmetic of the model's."""
    out = func(*args, **kwargs)
    return idioms.detached(flow, args[0], out) if isinstance(out, Tensor) and out is not args[0] else out


def negative(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """-x: linear, and cheap to do again."""
    out = elementwise_note(flow, func, args, kwargs, plain(flow, func, args, kwargs))
    note = note_of(flow, out) or Note()
    note.again = (torch.neg, (args[0].detach(),))
    return write(out, note)
