"""Routes without tensors: what their views draw, in no more numbers than a page can hold.

Of the edges, summed over heads, the largest that carry `CARRY` of all, `EDGES` at most; of each head its largest; sums are of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..engine.numerics import better
from ..views.routes_data import PlainGroup, PlainHead, PlainLevel, PlainNode, PlainRoutes, Sparse
from .patterns import looks
from .routes_parts import edges, given, keys_of, received

CARRY = 0.95  # part of all that was handed on, by size, whose edges are kept
EDGES, OF_HEADS, LEAST = 20_000, 30_000, 24  # edges over heads; edges of all heads together; of one head at least


class Found(Protocol):
    """What `Routes` holds."""

    target: str
    value: float
    about: str

    @property
    def found(self) -> Mapping[str, Mapping[str, Any]]: ...
    @property
    def nodes(self) -> Mapping[str, Mapping[str, Any]]: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    def tokens(self, layer: str) -> tuple[Sequence[str], Sequence[str]]: ...
    def stream(self, name: str) -> str: ...


def plain(routes: Found) -> PlainRoutes:
    """All that is drawn: a group for each pair of streams whose places hand to each other."""
    found: dict[tuple[str, str, int, int], list[str]] = {}
    for name in routes.names:
        one = routes.found[name]
        found.setdefault((routes.stream(name), one["of"], one["heads"].shape[-1], keys_of(one)), []).append(name)
    many = sum(one["heads"].shape[0] for one in routes.found.values())
    groups = [_group(routes, stream, of, names, max(LEAST, OF_HEADS // many)) for (stream, of, *_), names in found.items()]
    notes = []
    if any("at" in one for one in routes.found.values()):
        notes.append("Of each place the largest edges were kept, the others together as its rest. Type Options(routes_top=512) for more.")
    carried = min(map(_carried, groups), default=1.0)
    if carried < CARRY - 0.005:
        notes.append(f"A page holds {EDGES:,} edges at most, the largest: {carried:.0%} of what heads handed on. All are in routes.matrix.")
    return {"target": routes.target, "value": float(routes.value), "about": routes.about, "notes": notes, "groups": groups}


def _group(routes: Found, stream: str, of: str, names: list[str], most: int) -> PlainGroup:
    """Attentions between the same places: those of one stream lie above each other, others are taken together."""
    tokens, others = (list(map(str, named)) for named in routes.tokens(names[0]))
    own = stream == of and len(tokens) == len(others)
    together = [[name] for name in names] if own else [names]
    levels = [_level(routes, part) for part in together]
    heads = [one for at, part in enumerate(together) for name in part for one in _heads(routes, name, at, most)]
    whole = torch.stack([sum((edges(routes.found[name]).sum(0) for name in part), torch.zeros(())) for part in together])
    for level, matrix, kept in zip(levels, whole, _largest(whole), strict=True):
        level["size"], level["edges"] = float(matrix.abs().sum()), kept
    return {"stream": stream, "of": of, "own": own, "tokens": tokens, "others": others, "levels": levels, "heads": heads}


def _carried(group: PlainGroup) -> float:
    """The part, by size, of what its heads handed on that its edges hold."""
    whole = sum(level["size"] for level in group["levels"])
    return sum(float(np.abs(level["edges"]["amount"]).sum()) for level in group["levels"]) / whole if whole else 1.0


def _level(routes: Found, names: list[str]) -> PlainLevel:
    """What places gave and received in these attentions, and the residual sum that they are in."""
    ones = [routes.found[name] for name in names]
    return {
        "name": names[0] if len(names) == 1 else f"{len(names)} attentions", "attentions": names,
        "given": _total(map(given, ones)), "received": _total(map(received, ones)),
        "query": _total(float(one["query"]) * given(one, "scores") for one in ones),
        "positions": _total(one["positions"] for one in ones), "kept": _total(one["kept"] for one in ones),
        "node": _node(routes, names[0]) if len(names) == 1 else None,
        "edges": Sparse(at=np.zeros(0), amount=np.zeros(0)), "size": 0.0,
    }  # fmt: skip


def _node(routes: Found, name: str) -> PlainNode | None:
    """The residual sum that an attention is in."""
    found = next((node for node in routes.nodes.values() if name in node["attentions"]), None)
    if found is None:
        return None
    relevance, skip, branch = (found[part].tolist() for part in ("relevance", "skip", "branch"))
    return {"relevance": relevance, "skip": skip, "branch": branch}


def _total(parts: Iterable[Tensor]) -> list[float]:
    return sum((better(part).sum(0) for part in parts), torch.zeros(())).tolist()


def _largest(whole: Tensor) -> list[Sparse]:
    """Of (L, Tq, Tk) the entries that carry most, level by level."""
    sizes = whole.abs().nan_to_num().flatten()
    order = sizes.argsort(descending=True, stable=True)
    carried = sizes[order].double().cumsum(0)
    n = int((carried < CARRY * carried[-1]).sum()) + 1 if carried[-1] > 0 else 0
    kept = torch.zeros_like(sizes, dtype=torch.bool)
    kept[order[: min(n, EDGES)]] = True
    return [_sparse(level, mine) for level, mine in zip(whole.flatten(1), kept.unflatten(0, (len(whole), -1)), strict=True)]


def _sparse(flat: Tensor, kept: Tensor) -> Sparse:
    at = kept.nonzero()[:, 0]
    return {"at": at.numpy(), "amount": flat[at].numpy()}


def _heads(routes: Found, name: str, level: int, most: int) -> list[PlainHead]:
    """Each head of an attention, with its largest edges: as many as carry nearly all, `most` at most."""
    found = []
    one = routes.found[name]
    for head, matrix in enumerate(edges(one)):
        sizes = matrix.abs().nan_to_num().flatten()
        largest = sizes.topk(min(most, int((sizes > 0).sum()))).indices
        carried = sizes[largest].double().cumsum(0)
        whole = float(sizes.double().sum())
        largest = largest[: int((carried < (CARRY if most < len(sizes) else 1) * whole).sum()) + 1]
        kept = torch.zeros_like(sizes, dtype=torch.bool)
        kept[largest] = True
        pattern, part = looks(matrix, *routes.tokens(name))
        found.append(
            PlainHead(
                attention=name, level=level, head=head, relevance=float(better(one["heads"])[head].sum()),
                handed=float(matrix.sum()), size=whole, looks=pattern, part=part, edges=_sparse(matrix.flatten(), kept),
            )
        )  # fmt: skip
    return found
