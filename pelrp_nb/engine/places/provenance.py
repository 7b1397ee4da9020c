"""What a tensor has of the user's inputs: their values (content), only what was compared and counted (a mask), and their places."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import count

from .maps import TOO_MANY, PlaceMap, padded

MOST = 8  # maps that one tensor can have


class Provenance:
    """Interned: equal ones are one object.

    content: depends on the values of an input (a detached carrier too)
    raw:     whole numbers of an input, or what was made of them before anything was looked up by them
    fixed:   made of a constant by name (token types, boxes), which is no position whatever it does
    mask:    made by comparing an input, or a mask that was passed
    maps:    whose places the axes are; without axes: one place that was picked out
    pair:    scores: some axes are the places of queries, others of keys
    lost:    places were there, and an operation that cannot be followed has mixed them up
    cut:     the user cut it from the stream (detach, no_grad), or all that it was made of
    normed:  divided by a statistic over its own places: what it is multiplied with is the affine part of a norm
    along:   axes of inputs along which this tensor differs
    step:    of a place picked out alone: how many operations with weights since then (a loop over places meets the same at the same step)
    """

    __slots__ = ("along", "content", "cut", "fixed", "lost", "maps", "mask", "normed", "number", "pair", "raw", "step")

    def __init__(self, facts: tuple, number: int) -> None:
        self.content, self.raw, self.mask, self.fixed, self.pair, self.lost, self.cut, self.normed, self.step, self.maps = facts
        self.number = number
        self.along = frozenset([m.key for m in self.maps if m.axes and not m.key.of_weight])

    def __repr__(self) -> str:
        words = [w for w in ("content", "raw", "mask", "fixed", "pair", "lost", "cut", "normed") if getattr(self, w)]
        return f"Provenance({' '.join(words)}, {list(self.maps)})"

    def but(self, **changed) -> Provenance:
        """The same with some facts changed."""
        facts = {w: getattr(self, w) for w in FACTS}
        return provenance(**{**facts, **changed})

    def moving(self) -> Iterable[PlaceMap]:
        """Maps of an input's axes (not of weights) that differ along an axis of this tensor."""
        return (m for m in self.maps if m.axes and not m.key.of_weight)

    def streams(self) -> set[str]:
        """The inputs whose places it has."""
        return {m.key.stream for m in self.maps if not m.key.of_weight}

    def place_axes(self) -> set[int]:
        """Axes along which places differ."""
        return {a for m in self.moving() for a in m.axes}


@lru_cache(maxsize=TOO_MANY)
def axes_seen(known: Provenance, dims: int) -> frozenset[int]:
    """Axes along which places differ, as seen from a tensor with so many axes."""
    return frozenset(a for m in known.moving() for a in padded(m, dims).axes)


FACTS = ("content", "raw", "mask", "fixed", "pair", "lost", "cut", "normed", "step", "maps")
_interned: dict[tuple, Provenance] = {}
_numbers = count()


def provenance(
    content: bool = False,
    raw: bool = False,
    mask: bool = False,
    fixed: bool = False,
    pair: bool = False,
    lost: bool = False,
    cut: bool = False,
    normed: bool = False,
    step: int = 0,
    maps: Iterable[PlaceMap] = (),
) -> Provenance:
    """The one object of these facts."""
    maps = tuple(dict.fromkeys(maps))
    if any(m.axes for m in maps):  # `step` matters only where one place was picked out, and no other moves: a row alone is none
        several = not pair and any(m.axes and not m.key.of_weight and m.key.axis for m in maps)
        step = 0 if several or not any(not m.axes for m in maps) else step
    name = (content, raw, mask, fixed, pair, lost, cut, normed, step, tuple(m.number for m in maps))
    found = _interned.get(name)
    facts = (content, raw, mask, fixed, pair, lost, cut, normed, step, maps)
    return found if found is not None else _interned.setdefault(name, Provenance(facts, next(_numbers)))


def unified(given: Sequence[Provenance], shape: Sequence[int]) -> Provenance:
    """Of an elementwise operation: all maps of all operands, seen from the result.

    Of one input axis along the same axes the first one counts; of one place picked out, the later one.
    """
    return _unified(tuple(given), tuple(shape))


@lru_cache(maxsize=TOO_MANY)
def _unified(given: tuple[Provenance, ...], shape: tuple[int, ...]) -> Provenance:
    """Worked out once."""
    content = [p for p in given if p.content] or list(given)
    found: list[PlaceMap] = []
    lost = any(p.lost for p in content)
    for one in (m for p in content for m in p.maps):
        if one.cells.dim() > len(shape):
            lost = True
            continue
        one = padded(one, len(shape))
        if any(n not in (1, size) for n, size in zip(one.cells.shape, shape, strict=True)):
            lost = True
            continue
        same = next((o for o in found if o.key == one.key and o.axes == one.axes), None)
        if same is None:
            found.append(one)
        elif not one.axes and int(one.cells.max()) > int(same.cells.max()):
            found[found.index(same)] = one
    pair = any(p.pair for p in content) or crossed(found)  # of which one side may be a place picked out, while the other side moves
    moving = set() if pair else {m.key for m in found if m.axes}
    maps = [m for m in found if m.axes or m.key not in moving][:MOST]
    settled = any(m.axes and not m.key.of_weight for m in maps)
    return provenance(
        content=any(p.content for p in given), raw=all(p.raw for p in content), mask=all(p.mask for p in given),
        fixed=any(p.fixed for p in given), pair=pair,
        lost=lost and not settled, cut=all(p.cut for p in content), normed=any(p.normed for p in content),
        step=max(p.step for p in content), maps=maps,
    )  # fmt: skip


def crossed(maps: Sequence[PlaceMap]) -> bool:
    """Whether the places of one axis of an input lie along two axes: every one beside every other."""
    moving = [m.key for m in maps if m.axes and not m.key.of_weight]
    return len(moving) > len(set(moving))


def forget() -> None:
    """Drop all that is interned."""
    _interned.clear()
    _unified.cache_clear()
    axes_seen.cache_clear()
