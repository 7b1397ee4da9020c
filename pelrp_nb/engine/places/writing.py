"""How places go through what is written into a tensor: x[index] = y, index_add, scatter and their kin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor
from torch._C import DisableTorchFunction
from torch.utils._pytree import tree_leaves, tree_map_only

from .arguments import pick
from .follow import Found, Places, Step, provenance_of
from .maps import FOREIGN, Axis, PlaceMap, own_beside, place_map
from .provenance import Provenance, provenance
from .selections import on_host


@dataclass(frozen=True)
class Writing:
    """One way to write into a tensor.

    put:   put(cells, new) writes, get(cells) reads the same entries again
    whole: axes, counted from the end, along which all is written alike: there one entry stands for all
    adds:  what was there stays
    """

    put: Callable[[Tensor, Tensor], Any]
    get: Callable[[Tensor], Tensor]
    whole: frozenset[int]
    adds: bool = False


def at(index: Any, dims: int, adds: bool = False) -> Writing:
    """x[index] = y, or += y."""
    parts = index if isinstance(index, tuple) else (index,)
    simple = all(isinstance(i, int | slice | Tensor) for i in parts)
    used = sum(i.dim() if isinstance(i, Tensor) and i.dtype == torch.bool else 1 for i in parts)
    whole = range(used - dims, 0) if simple and used < dims else ()
    return Writing(lambda cells, new: cells.__setitem__(index, new), lambda cells: cells[index], frozenset(whole), adds)


def by_rows(dim: int, index: Tensor, dims: int, adds: bool) -> Writing:
    """index_copy, index_add."""
    whole = frozenset(range(-dims, 0)) - {dim % dims - dims}
    return Writing(lambda cells, new: cells.index_copy_(dim, index, new), lambda cells: cells.index_select(dim, index), whole, adds)


def by_entries(dim: int, index: Tensor, shape: torch.Size, adds: bool) -> Writing:
    """scatter, scatter_add, scatter_reduce."""
    dims = len(shape)
    spread = {a for a in range(dims) if index.shape[a] == shape[a] and (index.stride(a) == 0 or shape[a] == 1)}

    def like(cells: Tensor) -> Tensor:
        return index[tuple(slice(1) if n == 1 else slice(None) for n in cells.shape)]

    def put(cells: Tensor, new: Tensor) -> None:
        which = like(cells)
        cells.scatter_(dim, which, new[tuple(slice(n) for n in which.shape)])

    whole = frozenset(a - dims for a in spread - {dim % dims})
    return Writing(put, lambda cells: cells.gather(dim, like(cells)), whole, adds)


def way_of(name: str, x: Tensor, args: tuple, kwargs: dict) -> Writing:
    """How a function of this name writes into x."""
    adds = "add" in name or "reduce" in name
    if name.startswith("index_put"):
        index = tree_map_only(Tensor, on_host, tuple(pick(args, kwargs, 1, "indices")))
        return at(index, x.dim(), bool(pick(args, kwargs, 3, "accumulate", False)))
    dim, index = pick(args, kwargs, 1, "dim"), on_host(pick(args, kwargs, 2, "index"))
    return by_rows(dim, index, x.dim(), adds) if name.startswith("index") else by_entries(dim, index, x.shape, adds)


def written(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """Functions that write into a tensor."""
    base = args[0]
    mine = provenance_of(base)
    values = [x for x in tree_leaves((args[1:], kwargs)) if isinstance(x, Tensor) and x.is_floating_point()]
    value = values[-1] if values else None
    theirs = provenance_of(value) if value is not None else None
    if name in ("copy_", "copy"):
        return [theirs]
    if mine is None and theirs is None:
        return [by_numbers(name, args, kwargs, base)] * len(outs)
    if theirs is None or name.startswith("masked"):
        if mine is not None and mine.content and (mine.maps or name.startswith("masked")):
            return [mine.but(raw=mine.raw and not name.startswith("masked"))]
        return Step((provenance(content=True, lost=True, step=(theirs or mine).step),) * len(outs), notes=(f"`{name}`",))
    found = write_into(mine, theirs, base, value, way_of(name, base, args, kwargs))
    return Step((found,) * len(outs), notes=(f"`{name}`",) if found.lost else ())


def by_numbers(name: str, args: tuple, kwargs: dict, x: Tensor) -> Provenance | None:
    """A one scattered into zeros at whole numbers of an input: still these numbers, as `one_hot` makes them."""
    index, dim = pick(args, kwargs, 2, "index"), pick(args, kwargs, 1, "dim")
    known = provenance_of(index) if isinstance(index, Tensor) else None
    if known is None or not (known.content and known.raw and name.startswith("scatter")) or index.dim() != x.dim():
        return None
    return known.but(maps=[m for m in known.maps if dim % x.dim() not in m.axes])


def set_item(places: Places, args: tuple) -> Provenance | None:
    """x[index] = value, which returns nothing: what x has of the inputs from now on."""
    base, index, value = args[0], args[1], args[2]
    theirs = provenance_of(value) if isinstance(value, Tensor) else None
    mine = provenance_of(base)
    if theirs is None and mine is None:
        return None
    return write_into(mine, theirs, base, value, at(tree_map_only(Tensor, on_host, index), base.dim()))


def write_into(base: Provenance | None, value: Provenance | None, x: Tensor, given: Any, way: Writing) -> Provenance:
    """What x has of the inputs when `given` was written into it: places of what was written, where it was written."""
    mine, theirs = by_key(base), by_key(value if isinstance(given, Tensor) else None)
    found, lost = [], False
    with DisableTorchFunction():
        for key in dict.fromkeys((*mine, *theirs)):
            for old, new in zip_longest(mine.get(key, ()), theirs.get(key, ())):  # of scores: queries first, then keys
                cells = cells_of(old, new, x, given, way)
                lost = lost or cells is None
                found += [] if cells is None else [place_map(key, own_beside(spread_out(cells)))]
    known = [p for p in (base, value) if p is not None]
    return provenance(
        content=any(p.content for p in known), raw=all(p.raw for p in known), mask=all(p.mask for p in known),
        fixed=any(p.fixed for p in known), pair=any(p.pair for p in known), lost=lost or any(p.lost for p in known),
        cut=all(p.cut for p in known), maps=found, step=max((p.step for p in known), default=0),
    )  # fmt: skip


def by_key(known: Provenance | None) -> dict[Axis, list[PlaceMap]]:
    """The maps of inputs, by what they are maps of."""
    found: dict[Axis, list[PlaceMap]] = {}
    for one in () if known is None else known.maps:
        if not one.key.of_weight:
            found.setdefault(one.key, []).append(one)
    return found


def cells_of(old: PlaceMap | None, new: PlaceMap | None, x: Tensor, given: Any, way: Writing) -> Tensor | None:
    """The cells of one map afterwards; None where two places were written to one."""
    whole = way.whole - {a - m.cells.dim() for m in (old, new) if m is not None for a in m.axes}

    def narrow(shape: torch.Size) -> list[int]:
        return [1 if a - len(shape) in whole else n for a, n in enumerate(shape)]

    before = torch.full(narrow(x.shape), FOREIGN, dtype=torch.int32) if old is None else old.cells.expand(narrow(x.shape))
    if new is None:
        return before
    cells, theirs = before.clone(), new.cells.expand(narrow(given.shape))
    try:
        way.put(cells, theirs)
        same = way.get(cells) == theirs
        if way.adds:
            cells, same = torch.where(before >= 0, before, cells), same | (way.get(before) >= 0)
    except (RuntimeError, IndexError):
        return None
    return cells if bool(same.all()) else None


def spread_out(cells: Tensor) -> Tensor:
    """Cells of what was written in part: where one axis alone tells the place, it tells it beside what was written, too."""
    written = cells >= 0
    if bool(written.all()) or not bool(written.any()):
        return cells
    for axis, n in enumerate(cells.shape):
        others = [a for a in range(cells.dim()) if a != axis]
        high = cells.amax(others) if others else cells
        low = torch.where(written, cells, torch.iinfo(torch.int32).max).amin(others) if others else cells
        if n > 1 and bool((high == low).all()):
            return high.reshape([n if a == axis else 1 for a in range(cells.dim())]).expand(cells.shape)
    return cells
