"""Which rows share a batch: those alike in everything but length, sorted by it, cut where padding costs more than one more batch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..engine.support import device_of
from .model_input import Encoded
from .padding import belongs, lengths

TOKENS = 4096  # padded places in one batch, at most (a longer row is a batch of its own)
SHORTEST = 64  # places that a row is taken to have at least: there are no more than TOKENS / SHORTEST rows in a batch
CALLS = 4e6  # products of two numbers that take a processor as long as all calls about one weight
PLAIN = (bool, int, float, str, type(None))  # arguments that are the same if they are written alike, of one type (1 == True)


def grouped(rows: Sequence[Encoded], padded: bool, tokens: int = TOKENS, begun: float | None = None) -> list[list[int]]:
    """Numbers of rows that share a batch: alike in everything but length, sorted by it; of equal length if not `padded`.

    tokens: how many padded places a batch has at most; begun: how many take as long as beginning a batch (None: more than that)
    """

    def alike(i: int) -> tuple:
        row = rows[i]
        shapes = tuple((k, v.dtype, v.dim(), None if belongs(row, k, v) else tuple(v.shape)) for k, v in sorted(row.tensors.items()))
        shared = tuple((k, type(v), repr(v) if isinstance(v, PLAIN) else id(v)) for k, v in sorted(row.more.items()))
        return shapes, shared, () if padded else lengths(row), i if row.alone else None

    places = [sum(lengths(row)) for row in rows]
    groups: dict[tuple, list[int]] = {}
    for i in sorted(range(len(rows)), key=lambda i: (places[i], i)):
        groups.setdefault(alike(i), []).append(i)
    return [members[a:b] for members in groups.values() for a, b in cut([places[i] for i in members], tokens, begun)]


def cut(places: Sequence[int], tokens: int, begun: float | None) -> list[tuple[int, int]]:
    """Where rows of rising length are cut into batches, (first, end) of each: the fewest padded places, `begun` counted for each batch."""
    begun = tokens if begun is None else begun
    least, firsts = [0.0], [0]
    for end, longest in enumerate(places, 1):
        most = max(tokens // max(SHORTEST, longest), 1)
        cost, first = min((least[f] + begun + (end - f) * longest, f) for f in range(max(end - most, 0), end))
        least.append(cost)
        firsts.append(first)
    found, end = [], len(places)
    while end:
        found.append((firsts[end], end))
        end = firsts[end]
    return found[::-1]


def beginning(model: nn.Module) -> float | None:
    """How many places take as long as beginning a batch: calls about each weight, by products with the mean one; None on a device."""
    if device_of(model).type != "cpu":
        return None
    tables = {id(table.weight) for table in model.modules() if isinstance(table, nn.Embedding)}
    sizes = [p.numel() for p in model.parameters() if id(p) not in tables]
    return CALLS * len(sizes) / sum(sizes) if sum(sizes) else None
