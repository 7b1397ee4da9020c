"""How places go through products that sum an axis away: linear maps, matmul, einsum, convolutions; and through reductions.

Letters name the axes as in einsum: out[lo] = sum over the rest of A[la] B[lb].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor
from torch._C import DisableTorchFunction

from .maps import WEIGHT, Axis, PlaceMap, counting, place_map
from .provenance import Provenance, provenance

FREE, MIX = Axis(WEIGHT, 0), Axis(WEIGHT, 1)  # an axis of a weight's own; an axis of a weight that has mixed places


@dataclass
class Spelt:
    """One operand of a product: the tensor, its provenance (None: a constant), a letter for each axis."""

    x: Tensor
    known: Provenance | None
    letters: Sequence[str]

    @property
    def content(self) -> bool:
        """Whether it depends on the values of an input."""
        return self.known is not None and self.known.content

    @property
    def maps(self) -> tuple[PlaceMap, ...]:
        """Its place maps."""
        return () if self.known is None else self.known.maps


@dataclass
class Contracted:
    """What a contraction gave; which input axes it summed away, with weights (`summed`) or with content (`mixed`); whose weights."""

    found: Provenance
    summed: list[Axis] = field(default_factory=list)
    mixed: list[Axis] = field(default_factory=list)
    weighed: set[str] = field(default_factory=set)


def contract(a: Spelt, b: Spelt, out: Sequence[str], sizes: Sequence[int], embedded: frozenset[str]) -> Contracted:
    """Places of a product of two, at least one of which is content; `embedded`: inputs that have met weights already."""
    weights = not (a.content and b.content)
    result = Contracted(provenance())
    found: list[PlaceMap] = []
    mixes = False
    for one in (a, b):
        for m in one.maps:
            summed = [axis for axis in m.axes if one.letters[axis] not in out]
            if weights and not m.key.of_weight:
                result.weighed.add(m.key.stream)
            if summed and not m.key.of_weight and not weights:
                result.mixed.append(m.key)
            elif summed and not m.key.of_weight and len(summed) == len(m.axes):
                result.summed.append(m.key)
                mixes = mixes or m.key.stream in embedded
            if summed and (m.key.of_weight or len(summed) == len(m.axes)):
                continue
            found.append(renamed(m, one.letters, out))
    if weights:
        constant, carrier = (b, a) if a.content else (a, b)
        for letter in constant.letters:
            place = out.index(letter) if letter in out else None
            if place is not None and letter not in carrier.letters and sizes[place] > 1:
                found.append(counting(MIX if mixes else FREE, sizes[place], place, len(out)))
    if not weights:
        result.mixed += beside_itself(found)
    known = [p for p in (a.known, b.known) if p is not None]
    moving = any(m.axes and not m.key.of_weight for m in found)
    alone = not weights and not moving and all(any(not m.key.of_weight and not m.axes for m in x.maps) for x in (a, b))
    pair = not weights and (moving or alone) and not any(p.pair for p in known)
    result.found = provenance(
        content=True, pair=pair, lost=any(p.lost for p in known if p.content) and not moving,
        cut=all(p.cut for p in known if p.content), step=max(p.step for p in known) + 1, maps=found,
    )  # fmt: skip
    return result


def beside_itself(maps: Iterable[PlaceMap]) -> list[Axis]:
    """Axes of inputs of which every place meets every other, as in scores: they hold places, and no rows of a batch."""
    along: dict[Axis, set[tuple[int, ...]]] = {}
    for m in maps:
        if m.axes and not m.key.of_weight:
            along.setdefault(m.key, set()).add(m.axes)
    return [key for key, axes in along.items() if len(axes) > 1 and any(set(a).isdisjoint(b) for a, b in pairwise(axes))]


def renamed(one: PlaceMap, letters: Sequence[str], out: Sequence[str]) -> PlaceMap:
    """A map with its axes where the result has them; what was summed is read at its first entry."""
    with DisableTorchFunction():
        cells = one.cells
        for axis, letter in enumerate(letters):
            if letter not in out:
                cells = beginning(cells, axis)
        order = sorted((out.index(letter), axis) for axis, letter in enumerate(letters) if letter in out)
        gone = [axis for axis, letter in enumerate(letters) if letter not in out]
        cells = cells.permute([*gone, *(axis for _, axis in order)])
        cells = cells.reshape(cells.shape[len(gone) :])
        size = {place: n for (place, _), n in zip(order, cells.shape, strict=True)}
        return place_map(one.key, cells.reshape([size.get(place, 1) for place in range(len(out))]))


def beginning(cells: Tensor, axis: int) -> Tensor:
    """The place at which what is summed along an axis begins; places of another input, or of none, are left out."""
    mixed = cells.shape[axis] > 1 and bool((cells < 0).any())
    return cells.amax(axis, keepdim=True) if mixed else cells.narrow(axis, 0, 1)


# --- the letters of torch's own products -----------------------------------------------------------------------------


def of_linear(x: Tensor, weight: Tensor) -> tuple[list[str], list[str], list[str]]:
    """x @ weight.T"""
    rows = [f"r{i}" for i in range(x.dim() - 1)]
    return [*rows, "in"], ["o", "in"][-weight.dim() :] if weight.dim() > 1 else ["in"], [*rows, "o"] if weight.dim() > 1 else rows


def of_matmul(a: Tensor, b: Tensor) -> tuple[list[str], list[str], list[str]]:
    """a @ b, batches broadcast; an axis of size 1 that is broadcast has a letter of its own."""
    if a.dim() == 1 or b.dim() == 1:
        left = [f"r{i}" for i in range(a.dim() - 1)] if a.dim() > 1 else []
        right = [f"b{i}" for i in range(b.dim() - 2)] + ["o"] if b.dim() > 1 else []
        return [*left, "in"], [*right[:-1], "in", right[-1]] if right else ["in"], [*left, *right]
    n = max(a.dim(), b.dim()) - 2
    batch = [f"b{i}" for i in range(n)]

    def own(x: Tensor) -> list[str]:
        names = batch[n - (x.dim() - 2) :]
        return [name if x.shape[i] > 1 else f"{name} alone" for i, name in enumerate(names)]

    return [*own(a), "i", "in"], [*own(b), "in", "j"], [*batch, "i", "j"]


def of_einsum(equation: str, operands: Sequence[Tensor]) -> tuple[list[list[str]], list[str]]:
    """Letters of each operand and of the result, dots written out."""
    inputs, arrow, result = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    most = max((x.dim() - len(t.replace("...", "")) for x, t in zip(operands, terms, strict=True) if "..." in t), default=0)
    dots = [f"dot{i}" for i in range(most)]

    def spelt(term: str, rank: int | None) -> list[str]:
        before, found, after = term.partition("...")
        n = 0 if not found else most if rank is None else rank - len(before) - len(after)
        return [*before, *dots[most - n :], *after] if found else [*term]

    letters = [spelt(t, x.dim()) for x, t in zip(operands, terms, strict=True)]
    if not arrow:
        flat = [one for term in letters for one in term if not one.startswith("dot")]
        result = ("..." if most else "") + "".join(sorted(one for one in set(flat) if flat.count(one) == 1))
    return letters, spelt(result, None)


# --- reductions, windows ---------------------------------------------------------------------------------------------


def reduced(given: Provenance, x: Tensor, dims: Iterable[int], out: Tensor) -> Contracted:
    """A reduction over `dims`: what varied along them alone is no place any more; windows of places are a new grid."""
    gone = {d % max(x.dim(), 1) for d in dims}
    found, mixed = [], []
    for one in given.maps:
        if any(axis in gone for axis in one.axes):
            mixed += [] if one.key.of_weight else [one.key]
            if one.key.of_weight or gone.issuperset(one.axes):
                continue
        with DisableTorchFunction():
            cells = one.cells
            for axis in gone:
                cells = beginning(cells, axis)
            kept = [n for axis, n in enumerate(cells.shape) if axis not in gone]
            found.append(place_map(one.key, cells if out.dim() == x.dim() else cells.reshape(kept)))
    return Contracted(given.but(maps=found, pair=given.pair and not gone), mixed=mixed)


def renewed(one: PlaceMap, axis: int, n: int) -> PlaceMap:
    """The map of a coarser or finer grid of n cells: each cell is the place, on the old grid, at which it begins."""
    with DisableTorchFunction():
        at = torch.arange(n) * one.cells.shape[axis] // n
        return place_map(one.key, one.cells.index_select(axis, at))


def windowed(given: Provenance, x: Tensor, spatial: int, convolves: bool, out: Tensor) -> Contracted:
    """Convolution, pooling, interpolation over the last `spatial` axes: a new grid where its size changes."""
    found, summed, mixed = [], [], []
    lost = given.lost
    channel = x.dim() - spatial - 1
    for one in given.maps:
        if convolves and channel in one.axes:
            summed += [] if one.key.of_weight else [one.key]
            continue
        over = [axis for axis in one.axes if axis >= x.dim() - spatial]
        if not over:
            found.append(one)
            continue
        mixed += [] if one.key.of_weight else [one.key]
        if len(one.axes) > 1:
            lost = True
        elif out.shape[over[0]] > 1:
            found.append(one if out.shape[over[0]] == x.shape[over[0]] else renewed(one, over[0], out.shape[over[0]]))
    if convolves and out.shape[channel] > 1:
        found.append(counting(FREE, out.shape[channel], channel, out.dim()))
    weighed = {m.key.stream for m in given.maps if not m.key.of_weight} if convolves else set()
    return Contracted(given.but(maps=found, step=given.step + 1, lost=lost), summed, mixed, weighed)
