"""A product in which a constant shares a place with the carrier: a matrix, or a vector, for each place."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from . import contractions
from .follow import provenance_of
from .maps import padded, place_map
from .meetings import Meeting, meeting
from .provenance import provenance

Found = tuple[Tensor, Meeting, list[int]]


def matrices(func: Callable, args: tuple, kwargs: dict, operands: list[Tensor]) -> Found | None:
    """(the constant, how it met the carrier, which of its axes are summed away), if it may differ along an axis of places.

    That axis is one that both have and that the product keeps.
    """
    carrier = next((x for x in operands if (p := provenance_of(x)) is not None and p.content), None)
    constant = next((x for x in operands if x is not carrier), None)
    if carrier is None or constant is None or provenance_of(constant) is not None or not constant.is_floating_point():
        return None
    letters = spelt(func, args, kwargs, operands)
    if letters is None:
        return None
    spelling, out = letters
    mine, theirs = (spelling[i] for i in (0, 1)) if operands[0] is carrier else (spelling[1], spelling[0])
    return met(carrier, mine, constant, theirs, out)


def spelt(func: Callable, args: tuple, kwargs: dict, operands: list[Tensor]) -> tuple[list[list[str]], list[str]] | None:
    """Letters of both operands and of the result; None for a linear map, which shares no axis."""
    name = getattr(func, "__name__", "")
    if name == "einsum":
        if not isinstance(args[0], str):
            return None
        return contractions.of_einsum(args[0], operands)
    if name not in ("matmul", "__matmul__", "bmm") or min(x.dim() for x in operands) < 3:
        return None
    la, lb, out = contractions.of_matmul(*operands)
    return [la, lb], out


def met(carrier: Tensor, mine: list[str], constant: Tensor, theirs: list[str], out: list[str]) -> Found | None:
    """The meeting along axes that carrier, constant and result share: the constant seen in the carrier's axes, its others behind."""
    known = provenance_of(carrier)
    shared = [one for one in theirs if one in mine and one in out]
    if known is None or not shared:
        return None
    own = [one for one in theirs if one not in mine]
    dims = len(mine) + len(own)
    seen = constant.permute([theirs.index(one) for one in mine if one in theirs] + [theirs.index(one) for one in own])
    sizes = iter(seen.shape)
    view = seen.reshape([next(sizes) if one in theirs else 1 for one in mine] + list(sizes))
    maps = []
    for one in known.maps:
        if not one.key.of_weight and all(mine[a] in shared for a in one.axes):
            one = padded(one, len(mine))
            maps.append(place_map(one.key, one.cells.reshape(*one.cells.shape, *[1] * len(own))))
    found = meeting(view, provenance(content=True, maps=maps), (*carrier.shape, *[constant.shape[theirs.index(one)] for one in own]), True)
    summed = [axis for axis, one in enumerate(mine) if one in theirs and one not in out]
    return None if found is None or len(found.shape) != dims else (view, found, summed)
