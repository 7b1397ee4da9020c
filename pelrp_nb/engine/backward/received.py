"""What each leaf of positions received: x * g, summed to rows and places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ..leaves import Columns, Leaf
from ..numerics import better, dot, visible
from ..places import credit

TURNS = ("cos", "sin", "rotary")  # parts of a rotation, which hold no fillers
COPIED = 2**20  # numbers of gradients that are copied at a time

Member = TypeVar("Member")


@dataclass(eq=False)
class Received:
    """What one leaf received: found (rows, places, features), the places, and the sum of each row (rows,), float64 on the CPU.

    real: of a complex table what its real part received, which is the cosine's
    """

    leaf: Leaf
    columns: Columns
    places: tuple[credit.Place, ...]
    totals: Tensor
    found: Tensor | None = None
    real: Tensor | None = None

    def parts(self) -> dict[str, Tensor]:
        """What the reductions take apart: by the part that it is, a complex table by its real and its imaginary one."""
        assert self.found is not None
        if self.real is None:
            return {self.leaf.part: self.found}
        return {"cos": self.real, "sin": self.found - self.real}


def relevance(leaf: Leaf, gradients: dict[int, Tensor]) -> Tensor:
    """x * g of a leaf, in its own shape."""
    x, g = leaf.tensor.detach(), gradients.get(id(leaf.tensor))
    if g is None:
        return torch.zeros_like(better(x.real if x.is_complex() else x))
    return dot(x, g) if leaf.part in TURNS else visible(x, g)  # what is added or joined may hold fillers, of places that nobody sees


def features_of(leaf: Leaf, dims: int) -> int | None:
    """The last axis that holds neither rows nor places; heads and other axes before it are summed."""
    axes = leaf.layout(dims).axes
    return next((a for a in range(dims - 1, -1, -1) if a not in axes and leaf.tensor.shape[a] > 1), None)


def receive(leaves: list[Leaf], gradients: dict[int, Tensor], rows: int) -> list[Received]:
    """x * g of every leaf, once; of leaves that are one constant at the same places, as each layer has its table, together."""
    alike: dict[tuple, list[Leaf]] = {}
    for leaf in leaves:
        alike.setdefault(likeness(leaf, gradients), []).append(leaf)
    found: dict[int, Received] = {}
    for members in alike.values():
        for some in chunks(members, 0 if len(members) == 1 else members[0].tensor.numel()):
            each = together(some, gradients, rows) if len(some) > 1 else [received(some[0], gradients, rows)]
            found.update((id(one.leaf), one) for one in each)
    return [found[id(leaf)] for leaf in leaves]


def chunks(members: list[Member], size: int) -> Iterator[list[Member]]:
    """As many at once as take little memory together, `size` numbers each."""
    most = max(COPIED // max(size, 1), 1)
    return (members[i : i + most] for i in range(0, len(members), most))


def likeness(leaf: Leaf, gradients: dict[int, Tensor]) -> tuple:
    """What is the same of leaves whose relevance can be worked out together: the numbers, and their places."""
    x, g = leaf.tensor, None if leaf.tensor is None else gradients.get(id(leaf.tensor))
    if x is None or g is None or leaf.silent or x.is_complex() or leaf.part not in TURNS or leaf.known.pair:
        return (id(leaf),)
    return x.data_ptr(), x.shape, x.stride(), x.dtype, g.dtype, leaf.known, leaf.keys, leaf.batch


def together(leaves: list[Leaf], gradients: dict[int, Tensor], rows: int) -> list[Received]:
    """The relevance of leaves that are alike: each is one more feature behind those of the first."""
    first, dims = leaves[0], leaves[0].tensor.dim()
    R = dot(first.tensor.detach()[..., None], torch.stack([gradients[id(leaf.tensor)] for leaf in leaves], -1))
    whole, places = credit.summed(R, first.layout(dims), rows, features_of(first, dims), several=True)
    each = whole.reshape(rows, len(places), -1, len(leaves)).movedim(-1, 0).contiguous()
    totals = each.detach().cpu().double().sum((2, 3))
    return [Received(leaf, {}, places, total, found) for leaf, total, found in zip(leaves, totals, each, strict=True)]


def received(leaf: Leaf, gradients: dict[int, Tensor], rows: int) -> Received:
    """One leaf's relevance, summed to rows and places."""
    if leaf.tensor is None or leaf.silent:
        signed = leaf.columns.get("signed")
        totals = torch.zeros(rows, dtype=torch.float64) if signed is None else signed.detach().cpu().double().sum(1)
        return Received(leaf, leaf.columns, leaf.told, totals)
    R = relevance(leaf, gradients)
    layout, features = leaf.layout(R.dim()), features_of(leaf, R.dim())
    found, places = leaf.by_pairs(R, rows) if leaf.known.pair and R.dim() > 2 else credit.summed(R, layout, rows, features)
    real = None
    if leaf.tensor.is_complex() and id(leaf.tensor) in gradients:
        real, _ = credit.summed(leaf.tensor.detach().real * gradients[id(leaf.tensor)].real, layout, rows, features)
    return Received(leaf, {}, places, found.detach().cpu().double().sum((1, 2)), found, real)
