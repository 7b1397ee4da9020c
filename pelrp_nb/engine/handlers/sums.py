"""Sums, joins and fillers: shares in proportion; what is constant is booked, what is a position becomes a sink."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from ..context import Context
from ..places.follow import provenance_of
from ..places.provenance import Provenance, provenance, unified
from ..places.shapes import moved
from ..places.selections import joined_axis
from ..places.writing import set_item as set_item_provenance
from ..positions import detection, relative
from ..notes import Note, carries, hand_on, note_of, pick, write
from ..numerics import spread
from . import activations, forms, idioms, passthrough
from .chains import activated, elementwise, elementwise_note, told_by


def add(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """a + b or a - b: shares in proportion; what is constant is booked, what is a position becomes a sink."""
    a, b = args if len(args) == 2 else (pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, "other"))
    more = {k: v for k, v in kwargs.items() if k not in ("input", "other")} if kwargs else kwargs
    if carries(a) and carries(b):
        whole = a
        a, b = relative.relative(flow, a, b, spread(a, b))
        out = flow.residual(a, b, partial(func, **more), plain=not more and func in ADDITIONS)
        found = elementwise(flow, func, (a, b), more) if note_of(flow, out) is None else None
        sinks, awaiting = (*detection.sinks_of(flow, a), *detection.sinks_of(flow, b)), detection.awaiting(flow, a, b)
        if found is not None or sinks or awaiting:
            note = note_of(flow, out) or Note()
            note.origin, note.zero = found or (note.origin, note.zero)
            note.sinks, note.awaiting = sinks, awaiting
            write(out, note)
        return idioms.subtracted(flow, func, whole, b, out)
    carrier, constant = (a, b) if carries(a) else (b, a)
    times, mapped = factor_of(func, more.get("alpha", 1), constant is a), None
    if isinstance(constant, Tensor):  # a number is neither a position nor a bias of its own
        sink, fresh = relative.added(flow, constant, carrier, spread(a, b), times)
        if sink is not None:
            out = func(sink, fresh, **more) if constant is a else func(fresh, sink, **more)
            hand_on(flow, fresh, out)
            return entered(flow, sink, out)
        mapped = idioms.with_bias(flow, func, carrier, constant, more)
    if mapped is not None:
        return mapped
    out = func(a, b, **more)
    book_constant(flow, out, constant, times)
    elementwise_note(flow, func, (a, b), more, out)
    idioms.subtracted(flow, func, a, b, out)
    return idioms.added(flow, carrier, constant, out) if func in ADDITIONS else out


def factor_of(func: Callable, alpha: float, first: bool) -> float:
    """By what a sum or a difference of two multiplies its first or its second term."""
    if func in REVERSED:
        return -alpha if first else 1
    return 1 if first else -alpha if func in SUBTRACTIONS else alpha


def entered(flow: Context, sink: Tensor, out: Tensor) -> Tensor:
    """A bias that was added to scores is one if a softmax follows: what was made of them remembers it."""
    awaiting = detection.awaiting(flow, sink, out)
    if awaiting:
        note = note_of(flow, out) or Note()
        note.awaiting = awaiting
        write(out, note)
    return out


def book_constant(flow: Context, out: Tensor, constant: Any, sign: float = 1.0) -> None:
    """Give an added constant its line in the ledger."""
    if not (flow.account.open and out.requires_grad):
        return
    if isinstance(constant, Tensor):
        flow.account.constant(out, constant, flow.name_of(constant, "added"), flow.depth, sign)
    elif constant and abs(constant) < 1e30:
        flow.account.constant(out, float(constant), f"{flow.place}: {constant:+g}", flow.depth, sign)


ADDITIONS = {torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__}
SUBTRACTIONS = {torch.sub, Tensor.sub, Tensor.__sub__, torch.subtract, Tensor.subtract}
REVERSED = {Tensor.__rsub__, torch.rsub}


def join(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """cat and stack: constant pieces (CLS, registers) are booked by name."""
    pieces = args[0] if args else kwargs["tensors"]
    rest = args[1:] if args else ()
    more = {k: v for k, v in kwargs.items() if k != "tensors"}
    if any(map(carries, pieces)):
        dim = joined_axis(getattr(func, "__name__", ""), args, kwargs, pieces[0].dim())
        constant = [not carries(p) and p.is_floating_point() for p in pieces]
        pieces = [detection.joined(flow, p, *beside(func, pieces, p, dim)) if c else p for p, c in zip(pieces, constant, strict=True)]
    out = func(pieces, *rest, **more)
    sinks = tuple(s for p in pieces for s in detection.sinks_of(flow, p))
    again, awaiting = turned(flow, func, pieces, rest, more), detection.awaiting(flow, *pieces)
    stacked = None
    if getattr(func, "__name__", "") == "stack":
        stacked = next((n.stacked for p in pieces if (n := note_of(flow, p)) is not None and n.stacked), None)
    if not (sinks or again or awaiting or stacked):
        return out
    return write(out, Note(sinks=sinks, again=again, awaiting=awaiting, stacked=stacked))


def beside(func: Callable, pieces: Sequence[Tensor], piece: Tensor, dim: int) -> tuple[Provenance, tuple[int, ...]]:
    """What a constant piece of a join stands beside: places of the other pieces, but those along which they are joined."""
    stacks = getattr(func, "__name__", "") == "stack"
    known, axis = [p for x in pieces if x is not piece and (p := provenance_of(x)) is not None], dim % max(piece.dim(), 1)
    if not stacks:
        known = [p.but(maps=[m for m in p.maps if axis not in m.axes]) for p in known]
    return unified(known, piece.shape) if known else provenance(), tuple(piece.shape)


def set_item(flow: Context, func: Callable, args: tuple, kwargs: dict) -> None:
    """x[index] = value: what is constant on either side is a constant of its places, or a position."""
    base, index, value = args
    if carries(base) and not carries(value):
        region = base[index]
        anything = flow.values.anything(value) if isinstance(value, Tensor) else bool(value)
        value = (value.to(base.dtype) if isinstance(value, Tensor) else base.new_tensor(float(value))).detach().expand(region.shape)
        known = at_index(base, index)
        if anything and value.is_floating_point():
            value = detection.joined(flow, value, known, tuple(value.shape))
    elif carries(value) and not carries(base) and base.is_floating_point() and flow.values.anything(base):
        keep_base(flow, base, args)
    awaiting, sinks = detection.awaiting(flow, base, value), (*detection.sinks_of(flow, base), *detection.sinks_of(flow, value))
    func(base, index, value)
    if awaiting or sinks:
        write(base, Note(sinks=tuple(dict.fromkeys(sinks)), awaiting=awaiting))


def at_index(base: Tensor, index: Any) -> Provenance:
    """What x[index] has of the inputs."""
    known = provenance_of(base)
    return provenance() if known is None else moved(Tensor.__getitem__, "__getitem__", known, base, (index,), {}, [base[index]])[0]


def keep_base(flow: Context, base: Tensor, args: tuple) -> None:
    """A constant into which a carrier is written: what stays of it is booked; at places of its own it is no position."""
    known, old = set_item_provenance(flow.places, args), base.detach().clone()
    own = torch.zeros(base.shape, dtype=torch.bool)
    for one in known.maps if known is not None else ():
        own = own | (one.cells < 0).expand(base.shape)
    own = own.to(base.device)
    piece = flow.leaf(torch.where(own, old, 0))
    flow.inputs.constants.append((flow.name_of(base, "joined"), flow.depth, piece))
    rest = torch.where(own, 0, old)
    whole = piece.clone()
    if known is not None and bool(rest.any()):
        whole = whole + detection.joined(flow, rest, known, tuple(base.shape))
    base.copy_(whole)


def turned(flow: Context, func: Callable, pieces: list, rest: tuple, more: dict) -> tuple | None:
    """How to rematerialise a rotated pair of halves, (-b, a), from views of what is saved anyway; None for any other join."""
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
    x, value = pick(args, kwargs, 0, "input"), pick(args, kwargs, 2, "value")
    args = (idioms.filled(flow, x), *args[1:])
    out = func(*args, **kwargs)
    hand_on(flow, x, out)
    value = flow.values.kept(value, "number", float) if isinstance(value, Tensor) and value.numel() == 1 and not carries(value) else value
    mask = pick(args, kwargs, 1, "mask")
    if isinstance(value, int | float) and value and abs(value) < 1e30 and carries(out):
        flow.account.constant(out, mask.to(out.dtype) * value, f"{flow.place}: filled with {value:g}", flow.depth)
    chosen(flow, mask, (x, value), out)
    return idioms.masked(flow, x, mask, out) if value == 0 else out


def where(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Any:
    """where(condition, a, b): a constant side is a constant of its places."""
    if func in (Tensor.where,):
        args = (args[1], args[0], *args[2:])
        func = torch.where
    if len(args) + len(kwargs) < 3:
        return func(*args, **kwargs)
    condition, a, b = pick(args, kwargs, 0, "condition"), pick(args, kwargs, 1, "input"), pick(args, kwargs, 2, "other")
    a, b = idioms.filled(flow, a), idioms.filled(flow, b)
    out = func(condition, a, b)
    hand_on(flow, a if carries(a) else b, out)
    chosen(flow, condition, (a, b), out)
    for side, other, place in ((a, b, condition), (b, a, ~condition)):
        if carries(side) or not carries(out):
            continue
        side = side.detach() if isinstance(side, Tensor) else torch.tensor(float(side), dtype=out.dtype)
        side = torch.where(place, side.to(out.device, out.dtype), torch.zeros((), dtype=out.dtype, device=out.device))
        flow.account.constant(out, side, flow.name_of(side, "filler"), flow.depth)
        if forms.form_of(flow, other, "exp") is not None and not bool(side.any()):
            idioms.masked(flow, other, place, out)
    return out


def chosen(flow: Context, condition: Any, sides: tuple, out: Tensor) -> None:
    """What is chosen entry by entry by how a carrier compares with a number is an activation, if it is made of that carrier."""
    if carries(out) and told_by(condition) and elementwise(flow, torch.where, (condition, *sides), {}) is not None:
        activated(flow, out)


def extremum(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Any:
    """max and min: plain along an axis, or of two carriers; beside a number an activation; what was chosen of a constant is one."""
    a, b = pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, "other")
    if not isinstance(b, Tensor) or (carries(a) and carries(b)):
        return passthrough.plain(flow, func, args, kwargs)
    carrier, constant = (a, b) if carries(a) else (b, a)
    if constant.numel() == 1:
        return activations.activation(flow, func, (carrier, constant), {})
    out = func(a, b)
    hand_on(flow, carrier, out)
    taken = torch.where(out == constant, constant.to(out.dtype), torch.zeros((), dtype=out.dtype, device=out.device))
    flow.account.constant(out, torch.where(carrier == constant, 0, taken).detach(), flow.name_of(constant, "chosen"), flow.depth)
    return activated(flow, out)


def written(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Any:
    """What is written into a tensor by index, and padding: linear in what carries, what does not is a constant of its places."""
    pieces, how = tree_flatten((args, kwargs))
    fixed = [x for x in pieces if isinstance(x, Tensor) and x.is_floating_point() and not carries(x)]
    number = pick(args, kwargs, 1 if "diagonal" in getattr(func, "__name__", "") else 3, "value", kwargs.get("fill_value"))
    if not (isinstance(number, int | float) and number) and not any(map(flow.values.anything, fixed)):
        return passthrough.plain(flow, func, args, kwargs)
    with torch.no_grad():
        empty = [torch.zeros_like(x) if carries(x) else x.clone() if isinstance(x, Tensor) else x for x in pieces]
        start_args, start_kwargs = tree_unflatten(empty, how)
        start = func(*start_args, **start_kwargs)
    out = passthrough.plain(flow, func, args, kwargs)
    if carries(out):
        flow.account.constant(out, start, flow.name_of(fixed[0] if fixed else None, "written"), flow.depth)
    return out
