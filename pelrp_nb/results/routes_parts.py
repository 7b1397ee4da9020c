"""What one attention handed on, out of what `Options(detail={"routes"})` kept of it: whole matrices, or the largest edges and sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ..engine.numerics import better
from ..errors import InputError

Part = Literal["handed", "values", "scores"]
PARTS = ("handed", "values", "scores")
Kept = Mapping[str, Any]  # as `engine.edges.Edges.found` gives it, of one row


def edges(one: Kept, part: str = "handed") -> Tensor:
    """(H, Tq, Tk); 0 where an edge was not kept."""
    if "at" not in one:
        return made_of(one, part, lambda name: one[name])
    H, q = one["heads"].shape
    keys = keys_of(one)

    def spread(name: str) -> Tensor:
        flat = torch.zeros(q, H * keys, dtype=one[name].dtype)
        return flat.scatter_add(1, one["at"].long(), one[name]).unflatten(1, (H, keys)).transpose(0, 1)

    return made_of(one, part, spread)


def given(one: Kept, part: str = "handed") -> Tensor:
    """(H, Tq) what each place handed on by all its edges, those that were not kept included."""
    return made_of(one, part, lambda name: better(one[name]).sum(-1) if "at" not in one else one[f"given {name}"])


def received(one: Kept, part: str = "handed") -> Tensor:
    """(H, Tk) what each place received by all edges, those that were not kept included."""
    return made_of(one, part, lambda name: better(one[name]).sum(-2) if "at" not in one else one[f"received {name}"])


def made_of(one: Kept, part: str, take: Callable[[str], Tensor]) -> Tensor:
    """A part made of values and scores, as `take` gives them."""
    if part not in PARTS:
        raise InputError(f"part must be one of {', '.join(PARTS)}, got {part!r}. Type matrix(layer, part='values').")
    values = better(take("values"))
    scores = better(take("scores")) if "scores" in one else torch.zeros_like(values)
    return values if part == "values" else scores if part == "scores" else values + float(one["key"]) * scores


def keys_of(one: Kept) -> int:
    """How many places receive."""
    return (one["values"] if "at" not in one else one["received values"]).shape[-1]


def named(tokens: Sequence[str], places: int) -> Sequence[str]:
    """The names of so many places: the tokens, or numbers where there are others."""
    return tokens if len(tokens) == places else tuple(map(str, range(places)))
