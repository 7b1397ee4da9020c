"""What a head looks like, by where it hands relevance to: the previous token, the first, itself, the same word elsewhere, a distance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

HALF = 0.5  # the part of all that a head hands on that makes a pattern
FAR = 1 / 2  # of a distance, the largest edge has less than this part of it: else it is one edge, and no pattern


def looks(handed: Tensor, tokens: Sequence[str], others: Sequence[str]) -> tuple[str, float]:
    """The pattern that carries most of a head's (Tq, Tk) edges by size, and its part; ("", part) where none carries half of them.

    Patterns are looked at in the order: previous token, first token, itself, same word (elsewhere), distance d.  Of keys that are no places
    of the queries' own stream only the first token and the same word make sense.
    """
    sizes = handed.abs()
    whole = float(sizes.sum())
    if not whole:
        return "", 0.0
    q, k = sizes.shape
    own = list(tokens) == list(others)
    found: list[tuple[str, float]] = []
    rows, columns = torch.arange(q)[:, None], torch.arange(k)[None, :]
    distance = rows - columns
    if own:
        found.append(("previous token", float(sizes[distance == 1].sum())))
    found.append(("first token", float(sizes[(columns == 0) & ((distance != 0) & (distance != 1) if own else distance == distance)].sum())))
    if own:
        found.append(("itself", float(sizes[distance == 0].sum())))
    same = torch.tensor([[a == b for b in others] for a in tokens])
    found.append(("same word", float(sizes[same & (distance != 0) if own else same].sum())))
    for d in range(2, q) if own else ():
        edges = sizes.diagonal(-d)
        if float(edges.max()) < FAR * float(edges.sum()):
            found.append((f"distance {d}", float(edges.sum())))
    name, most = max(found, key=lambda one: one[1])
    return (name if most >= HALF * whole else "", most / whole)
