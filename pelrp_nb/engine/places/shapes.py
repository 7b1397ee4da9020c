"""How places go through views, selections and joins: the operation itself is run on the maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C import DisableTorchFunction
from torch.nn import functional as F

from .maps import FOREIGN, OWN, Axis, PlaceMap, own_beside, padded, place_map
from .provenance import Provenance, provenance


def moved(func: Callable, name: str, given: Provenance, x: Tensor, args: tuple, kwargs: dict, outs: Sequence[Tensor]) -> list[Provenance]:
    """Of a shape operation func(x, *args, **kwargs) that made `outs`."""
    found: list[list[PlaceMap]] = [[] for _ in outs]
    lost = given.lost
    for one in given.maps:
        with DisableTorchFunction():
            pieces = shaped(func, name, one, x, args, kwargs, outs)
        if pieces is None:
            lost = lost or not one.key.of_weight
            continue
        for maps, cells in zip(found, pieces, strict=True):
            if one.key.of_weight or (cells.numel() and int(cells.max()) >= 0):  # else only places that a constant brought along
                maps.append(place_map(one.key, cells))
    picked = any(m.axes and not any(m.key == o.key and o.axes for o in maps) for m in given.moving() for maps in found)
    step = 0 if picked else given.step
    return [given.but(maps=maps, step=step, lost=lost) for maps in found]


def shaped(func: Callable, name: str, one: PlaceMap, x: Tensor, args: tuple, kwargs: dict, outs: Sequence[Tensor]) -> list[Tensor] | None:
    """The cells of one map for each result; None where the operation cannot be run on them."""
    cells, out = one.cells, outs[0]
    if name in GROWING:
        return [padded(one, out.dim()).cells]
    if name in PARTS:
        return [cells]
    if name == "view_as_real":
        return [cells[..., None]]
    if name == "view_as_complex":
        return [cells[..., 0]]
    if name in SAME_ORDER:
        return [regrouped(cells, tuple(x.shape), tuple(out.shape))]
    if name == "pad":
        return [padded_out(one, args, kwargs)]
    if name == "as_strided":
        return strided(cells, x, *args, **kwargs)
    if name in ("flip", "fliplr", "flipud"):
        made: Any = func(cells, *args, **kwargs)
    else:
        made = run_on(func, cells.expand(x.shape), args, kwargs)
    made = list(made) if isinstance(made, tuple | list) else [made]
    same = len(made) == len(outs) and all(m.shape == o.shape for m, o in zip(made, outs, strict=True))
    return made if same or name.startswith("flip") else None


def run_on(func: Callable, cells: Tensor, args: tuple, kwargs: dict) -> Any:
    """The operation on whole numbers; in floating point where it takes no others (patches of a picture)."""
    try:
        return func(cells, *args, **kwargs)
    except RuntimeError:
        made = func(cells.double(), *args, **kwargs)
        return made.round().to(torch.int32)


def strided(cells: Tensor, x: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> list[Tensor] | None:
    """Cells laid out in memory as x is, and read as x is; None where what is read is none of x."""
    last = sum((n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True))
    memory = torch.full((last + 1,), FOREIGN, dtype=torch.int32)
    memory.as_strided(x.shape, x.stride()).copy_(cells.expand(x.shape))
    begin = x.storage_offset() if storage_offset is None else storage_offset
    made = memory.as_strided(size, stride, begin - x.storage_offset())
    return None if bool((made == FOREIGN).any()) else [made]


GROWING = {"expand", "expand_as", "broadcast_to", "broadcast_tensors"}
PARTS = {"real", "imag", "conj", "resolve_conj", "resolve_neg"}
SAME_ORDER = {"view", "reshape", "flatten", "unflatten", "view_as", "ravel", "reshape_as", "unsafe_view", "_unsafe_view"}


def regrouped(cells: Tensor, before: tuple[int, ...], after: tuple[int, ...]) -> Tensor:
    """Cells of a tensor that keeps its order of elements: axes are merged and split only where the map depends on them."""
    if cells.numel() == 1:
        return cells.reshape([1] * len(after))
    groups = matching(before, after)
    shape = list(cells.shape)
    for mine, _ in groups:  # a group on which the cells do not depend stays as small as it is
        if any(cells.shape[a] > 1 for a in mine):
            for a in mine:
                shape[a] = before[a]
    kept: list[int] = []
    for mine, theirs in groups:
        moves = any(cells.shape[a] > 1 for a in mine)
        kept += [after[a] if moves else 1 for a in theirs]
    return cells.expand(shape).reshape(kept)


def matching(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Runs of axes of both shapes that hold as many elements, each as short as can be."""
    groups, i, j = [], 0, 0
    while i < len(before) or j < len(after):
        mine, theirs, a, b = [], [], 1, 1
        if i < len(before):
            mine, a, i = [i], before[i], i + 1
        if j < len(after):
            theirs, b, j = [j], after[j], j + 1
        while a != b:
            if a < b and i < len(before):
                mine.append(i)
                a, i = a * before[i], i + 1
            elif j < len(after):
                theirs.append(j)
                b, j = b * after[j], j + 1
            else:
                break
        groups.append((mine, theirs))
    return groups


def padded_out(one: PlaceMap, args: tuple, kwargs: dict) -> Tensor:
    """Cells behind F.pad: padding has places of its own, along the map's own axes only."""
    given = args[0] if args else kwargs["pad"]
    mode = (args[1] if len(args) > 1 else kwargs.get("mode")) or "constant"
    widths = list(given)
    for i in range(len(widths) // 2):
        if one.cells.dim() - 1 - i not in one.axes:
            widths[2 * i] = widths[2 * i + 1] = 0
    if mode == "constant":
        return own_beside(F.pad(one.cells, widths, value=FOREIGN))
    return F.pad(one.cells.double(), widths, mode=mode).to(torch.int32)


# --- joins -----------------------------------------------------------------------------------------------------------


def joined(
    name: str, pieces: Sequence[tuple[Tensor, Provenance | None]], dim: int, out: Tensor, batch: Callable[[Axis], bool]
) -> Provenance:
    """cat and stack: places go on along `dim`; a piece that has none of an axis brings places of its own, but no rows of a batch."""
    members = [member(x, has, dim if name == "stack" else None) for x, has in pieces if x.numel()]
    slots = dict.fromkeys((m.key, tuple(a for a in m.axes if a != dim)) for maps, _, _ in members for m in maps)
    found: list[PlaceMap] = []
    differ = []  # maps that lie alike in all pieces, but say something else in each
    for key, beyond in slots:
        per = [next((m for m in maps if m.key == key and tuple(a for a in m.axes if a != dim) == beyond), None) for maps, _, _ in members]
        shapes = [shape for _, shape, _ in members]
        apart = None not in per and len({m.number for m in per if m is not None}) > 1  # one by one out of the batch, and back again
        if batch(key) and not apart and not any(m is not None and dim in m.axes for m in per):
            found.append(next(m for m in per if m is not None))
            continue
        others = [p for m, (_, _, p) in zip(per, members, strict=True) if m is None and p is not None]
        foreign = any(not batch(o.key) for p in others for o in p.moving())
        with DisableTorchFunction():
            one = along(key, per, shapes, dim, apart=foreign and not key.of_weight)
            if one is not None and one is per[0] and any(m is not one for m in per) and all(m is not None and m.axes for m in per):
                differ.append((one, per, shapes))
        if one is not None:
            found.append(one)
    if any(dim in m.axes and not m.key.of_weight for m in found):  # the join is along places: each keeps its own
        with DisableTorchFunction():
            found = [next((beside(per, shapes, dim) for one, per, shapes in differ if one is m), m) for m in found]
    known: list[Provenance] = [p for _, _, p in members if p is not None]
    content = [p for p in known if p.content] or known
    return provenance(
        content=any(p.content for p in known), raw=bool(content) and all(p.raw for p in content),
        mask=not any(p.content for p in known) and len(known) == len(members), fixed=any(p.fixed for p in known),
        pair=any(p.pair for p in content), lost=any(p.lost for p in content) and not found,
        cut=bool(content) and all(p.cut for p in content), maps=found,
        step=max((p.step for p in content), default=0),
    )  # fmt: skip


def member(x: Tensor, has: Provenance | None, new: int | None) -> tuple[list[PlaceMap], tuple[int, ...], Provenance | None]:
    """(maps, shape, provenance) of a piece; with an axis of size 1 where a stack puts a new one."""
    maps = [] if has is None else list(has.maps)
    if new is None:
        return maps, tuple(x.shape), has
    return [place_map(m.key, m.cells.unsqueeze(new)) for m in maps], (*x.shape[:new], 1, *x.shape[new:]), has


def beside(per: Sequence[PlaceMap], shapes: Sequence[tuple[int, ...]], dim: int) -> PlaceMap:
    """One map of pieces whose own maps lie alike."""
    full = [max(m.cells.shape[a] for m in per) for a in range(per[0].cells.dim())]
    pieces = [m.cells.expand([shape[dim] if a == dim else n for a, n in enumerate(full)]) for m, shape in zip(per, shapes, strict=True)]
    return place_map(per[0].key, torch.cat(pieces, dim))


def along(key: Axis, per: list[PlaceMap | None], shapes: list[tuple[int, ...]], dim: int, apart: bool) -> PlaceMap | None:
    """One map of a join from those of its pieces, None where a piece has none; `apart`: another piece has places of another input."""
    have = [m for m in per if m is not None]
    whole = len(have) == len(per)
    still = all(dim not in m.axes for m in have)
    if not apart and still and all(m is have[0] for m in have) and (whole or (not key.of_weight and have[0].axes)):
        return have[0]  # the join adds no place: it makes features, or a batch
    if key.of_weight and not whole:
        return None
    single = all(shape[dim] == 1 for shape in shapes)
    if not key.of_weight and whole and still and (any(m.axes for m in have) or not single):
        return have[0] if have[0].axes else None  # patches merged, columns joined: the join makes features
    pieces = []
    for number, (one, shape) in enumerate(zip(per, shapes, strict=True)):
        n = shape[dim]
        if one is None:
            own = OWN * (number + 1) - torch.arange(n, dtype=torch.int32) * (not apart)
            pieces.append(own.reshape([n if a == dim else 1 for a in range(len(shape))]))
        else:
            pieces.append(one.cells.expand([n if a == dim else one.cells.shape[a] for a in range(len(shape))]))
    full = [max(p.shape[a] for p in pieces) for a in range(len(shapes[0]))]
    pieces = [p.expand([p.shape[a] if a == dim else full[a] for a in range(p.dim())]) for p in pieces]
    return place_map(key, torch.cat(pieces, dim))
