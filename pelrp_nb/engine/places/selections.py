"""How places go through views, selections, look-ups, joins, and what is written into a tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch._C import DisableTorchFunction
from torch.utils._pytree import tree_map_only

from . import shapes
from .arguments import given_in, pick
from .elementwise import elementwise
from .follow import Found, Places, Step, index_of, provenance_of
from .maps import place_map
from .provenance import provenance, unified


def shape(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """Views and selections: run on the maps."""
    x = args[0] if args else kwargs.get("input")
    given = provenance_of(x) if isinstance(x, Tensor) else None
    if given is None:
        return looked_up(places, func, name, args, kwargs, outs)
    index = index_of(args) if name == "__getitem__" else args[1:]
    rest, more = tree_map_only(Tensor, on_host, (args[1:], {k: v for k, v in kwargs.items() if k != "input"}))
    try:
        found = shapes.moved(func, name, given, x, rest, more, outs)
    except (RuntimeError, IndexError, TypeError, ValueError):
        return Step((given.but(maps=(), lost=True),) * len(outs), notes=(f"`{name}`",))
    picked = [p for p in given_in(*index) if p.content and not p.raw]
    return [f.but(step=max(f.step, *(p.step for p in picked))) for f in found] if picked else found


def on_host(x: Tensor) -> Tensor:
    """An index on the processor, without what the engine knows of it."""
    return x.detach().cpu()


def joined_axis(name: str, args: tuple, kwargs: dict, dims: int) -> int:
    """The axis along which pieces are put together."""
    if name in ("hstack", "vstack", "dstack"):
        return 0 if name == "vstack" or dims == 1 else 1 if name == "hstack" else 2
    return pick(args, kwargs, 1, "dim", kwargs.get("axis", 0))


def joined(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """cat and stack."""
    pieces = args[0] if args else kwargs["tensors"]
    dim = joined_axis(name, args, kwargs, outs[0].dim()) % outs[0].dim()
    known = [(p, provenance_of(p)) for p in pieces]
    return [shapes.joined("stack" if name == "stack" else "cat", known, dim, outs[0], places.is_batch)]


def looked_up(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """A constant table read at content: embedding(ids, E), E[ids], index_select(E, 0, ids)."""
    index: Any = pick(args, kwargs, 2, "index") if name in ("index_select", "gather", "take_along_dim") else pick(args, kwargs, 1, "index")
    if name == "embedding":
        index = pick(args, kwargs, 0, "input")
    parts = [i for i in (index if isinstance(index, tuple | list) else (index,)) if isinstance(i, Tensor) and provenance_of(i) is not None]
    if not parts:
        return elementwise(places, func, name, args, kwargs, outs)
    known = unified(given_in(parts), parts[0].shape)
    if not known.content:  # by a mask, or by token types: segments, which are constants
        return [provenance(fixed=True)] * len(outs)
    out = outs[0]
    right = out.dim() - parts[0].dim()
    if right < 0 or name in ("gather", "take_along_dim"):
        right = 0
    with DisableTorchFunction():
        found = [place_map(m.key, m.cells.reshape(*m.cells.shape, *[1] * right)) for m in known.maps]
    fits = all(n in (1, size) for m in found for n, size in zip(m.cells.shape, out.shape, strict=False))
    return [provenance(content=True, lost=known.lost or not fits, maps=found if fits else ())]


def one_hot(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """Whole numbers as rows of zeros and a one: still the numbers themselves."""
    known = provenance_of(args[0] if args else kwargs["tensor"])
    if known is None:
        return [None]
    return [known.but(maps=[place_map(m.key, m.cells.reshape(*m.cells.shape, 1)) for m in known.maps])]
