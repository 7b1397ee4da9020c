"""How places go through elementwise functions: operands are broadcast, and so are their maps."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch._C import DisableTorchFunction
from torch.utils._pytree import tree_leaves

from . import contractions
from .arguments import given_in, pick
from .follow import Found, Places, Step, provenance_of
from .maps import PlaceMap, counting, words
from .provenance import Provenance, provenance, unified

DIVIDING = words("div divide true_divide __div__ __truediv__ __itruediv__ div_")
MULTIPLYING = words("mul multiply __mul__ __rmul__ __imul__ mul_")
STATISTIC = words("rsqrt reciprocal rsqrt_ reciprocal_")
ADDING = words("add sub subtract __add__ __radd__ __iadd__ __sub__ __isub__ add_ sub_")
COUNTING = words("sum mean cumsum count_nonzero argmax argmin max min amax amin nonzero topk sort argsort prod")


def elementwise(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """Operands are broadcast, and so are their maps; masks alone make a mask, if they are not joined by what differs along them."""
    known = given_in(args, kwargs)
    if not known:
        return [None] * len(outs)
    if not any(p.content for p in known):
        return masks_alone(name, args, kwargs, outs)
    content = [p for p in known if p.content]
    found = unified(content, outs[0].shape)
    if name in STATISTIC:  # a mark on the statistic itself, until it meets what it was taken of
        found = found.but(normed=True)
    elif len(content) == 2 and name in DIVIDING:
        found = found.but(normed=over_places(*args[:2]))
    elif len(content) == 2 and name in MULTIPLYING:
        found = found.but(normed=any(q is not None and q.normed and over_places(x, y) for x, y in (args[:2], args[1::-1])
                                     for q in (provenance_of(y),)))  # fmt: skip
    elif name in ADDING and found.normed:
        found = found.but(normed=False)
    fresh = axes_of_constants(args, content, outs[0]) if name in MULTIPLYING or name in DIVIDING else []
    if fresh:
        found = found.but(maps=[*found.maps, *fresh])
    made = [found if o.shape == outs[0].shape else unified(content, o.shape) for o in outs]
    streams = aligned(places, found) if len(content) > 1 and not found.pair else ()
    return Step(tuple(made), beside=streams) if streams else made


def axes_of_constants(args: tuple, content: list[Provenance], out: Tensor) -> list[PlaceMap]:
    """An axis that a constant factor alone brings along (x[..., None, :] * table) is one of a weight's own."""
    carriers = [x for x in args if isinstance(x, Tensor) and (p := provenance_of(x)) is not None and p.content]
    constants = [x for x in args if isinstance(x, Tensor) and provenance_of(x) is None]
    if len(content) != 1 or len(carriers) != 1 or not constants or carriers[0].dim() < 2:
        return []
    x, c = carriers[0], constants[0]
    found = []
    for axis in range(out.dim() - x.dim(), out.dim() - 1):
        i, j = axis - (out.dim() - x.dim()), axis - (out.dim() - c.dim())
        if x.shape[i] == 1 < out.shape[axis] and j >= 0 and c.shape[j] > 1:
            found.append(counting(contractions.FREE, out.shape[axis], axis, out.dim()))
    return found


def aligned(places: Places, found: Provenance) -> tuple[tuple[str, str], ...]:
    """Inputs whose places lie along the same axes of a sum."""
    by: dict[tuple[int, ...], list[PlaceMap]] = {}
    for m in found.moving():
        if not places.is_batch(m.key):
            by.setdefault(m.axes, []).append(m)
    pairs = ((a, b) for maps in by.values() for a, b in pairwise(maps))
    with DisableTorchFunction():
        return tuple((a.key.stream, b.key.stream) for a, b in pairs if a.key.stream != b.key.stream and torch.equal(a.cells, b.cells))


def over_places(x: Any, y: Any) -> bool:
    """Whether x / y divides by a statistic that was taken over places of x."""
    a, b = (provenance_of(z) if isinstance(z, Tensor) else None for z in (x, y))
    if a is None or b is None or a.pair or not (a.content and b.content):
        return False
    theirs = {m.key for m in b.moving()}
    return any(m.key not in theirs for m in a.moving())


def masks_alone(name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """Functions of masks and constants: a mask times or plus what is the same along it is a mask."""
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    masks = [x for x in tensors if provenance_of(x) is not None]
    rest = [x for x in tensors if provenance_of(x) is None]

    def free_of(x: Tensor, axis: int) -> bool:
        return x.dim() < axis or x.shape[-axis] == 1 or x.stride(-axis) == 0

    if any(provenance_of(m).fixed for m in masks):
        return [provenance(fixed=True)] * len(outs)
    made: list[Provenance | None] = []
    for out in outs:
        apart = all(free_of(r, k) or all(m.dim() < k or m.shape[-k] == 1 for m in masks) for r in rest for k in range(1, out.dim() + 1))
        stays = out.dtype == torch.bool or (name not in COUNTING and apart)
        made.append(unified([p for m in masks if (p := provenance_of(m)) is not None], out.shape).but(mask=True) if stays else None)
    return made


def compared(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """Whole numbers compared are a mask; numbers of a carrier stay content."""
    known = given_in(args, kwargs)
    floats = any(p.content and not p.raw for p in known)
    found = elementwise(places, func, name, args, kwargs, outs)
    found = found.outs if isinstance(found, Step) else found
    if floats:
        return list(found)
    return [p if p is None else p.but(content=False, raw=False, mask=not p.fixed) for p in found]


def normed(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """layer_norm and rms_norm: over places, if these are among the normalised axes, an affine part may follow."""
    found = elementwise(places, func, name, args, kwargs, outs)
    shape, weight = pick(args, kwargs, 1, "normalized_shape"), pick(args, kwargs, 2, "weight")
    last = outs[0].dim() - len(shape)
    found = list(found.outs) if isinstance(found, Step) else list(found)
    if weight is not None or found[0] is None:
        return found
    return [p.but(normed=any(axis >= last for m in p.moving() if not places.is_batch(m.key) for axis in m.axes)) for p in found]


def fitting(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """Elementwise, if the results have the shape that broadcasting gives; else lost."""
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    try:
        shape = torch.broadcast_shapes(*(x.shape for x in tensors if provenance_of(x) is not None))
    except RuntimeError:
        shape = None
    if shape is not None and all(len(shape) <= o.dim() and prod(o.shape) >= prod(shape) for o in outs):
        return elementwise(places, func, name, args, kwargs, outs)
    return lost(places, func, name, args, kwargs, outs)


def lost(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """What cannot be followed says so."""
    known = given_in(args, kwargs)
    if not any(p.content for p in known):
        return [None] * len(outs)
    step = max(p.step for p in known)
    return Step((provenance(content=True, lost=True, step=step),) * len(outs), notes=(f"`{name}`",))
