"""How places go through sums, means, maxima, running sums, convolutions and pooling."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from . import contractions
from .arguments import given_in, pick
from .elementwise import COUNTING, elementwise
from .follow import Found, Places, Step, provenance_of
from .provenance import provenance, unified


def reduced(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """Sums, means, maxima over some axes."""
    x = args[0] if args else kwargs["input"]
    given = provenance_of(x) if isinstance(x, Tensor) else None
    two = len(args) > 1 and isinstance(args[1], Tensor)
    if given is None or two:
        return elementwise(places, func, name, args, kwargs, outs)
    if not given.content and name in COUNTING and outs[0].dtype != torch.bool:
        return [given if given.fixed else None] * len(outs)  # what is counted of masks is a number of places, not content
    at = 2 if name in ("norm", "vector_norm", "linalg_vector_norm") else 1
    dim = pick(args, kwargs, at, "dim", kwargs.get("axis"))
    if name in ("topk", "sort", "argsort"):
        dim = kwargs.get("dim", -1)
    dims = range(x.dim()) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    if outs[0].shape == x.shape and dim is None:
        dims = ()
    return places.step(contractions.reduced(given, x, dims, outs[0]), outs)


def accumulated(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """cumsum and its kin: as long as before, and mixed; of masks and numbers of ones, counted."""
    known = given_in(args)
    if not any(p.content for p in known):
        return [provenance(fixed=True) if any(p.fixed for p in known) else None] * len(outs)
    dim = pick(args, kwargs, 1, "dim", -1)
    found = unified(known, outs[0].shape)
    mixed = tuple(m.key for m in found.moving() if dim % outs[0].dim() in m.axes)
    return Step((found,) * len(outs), mixed=mixed)


def windowed(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """Convolutions, pooling, interpolation."""
    x = pick(args, kwargs, 0, "input")
    given = provenance_of(x)
    if given is None:
        return [None] * len(outs)
    convolves = name.startswith("conv")
    spatial = next((int(c) for c in name if c in "123"), x.dim() - 2)
    return places.step(contractions.windowed(given, x, spatial, convolves, outs[0]), outs)


def transformed(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """Fourier transforms: along their axes every place has gone into every frequency."""
    x = args[0] if args else kwargs["input"]
    given = provenance_of(x)
    if given is None:
        return [None] * len(outs)
    usual = (-2, -1) if name.endswith("2") else tuple(range(x.dim())) if name.endswith("n") else -1
    dim = pick(args, kwargs, 2, "dim", usual)
    dims = {d % x.dim() for d in ((dim,) if isinstance(dim, int) else dim or usual)}
    gone = [m for m in given.maps if dims.intersection(m.axes)]
    mixed = tuple(m.key for m in gone if not m.key.of_weight)
    found = given.but(maps=[m for m in given.maps if m not in gone], lost=given.lost or bool(mixed))
    return Step((found,) * len(outs), mixed=mixed, notes=(f"`{name}`",) if mixed else ())
