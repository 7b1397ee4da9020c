"""aggregate(explanations, by=...) -> DataFrame: many explanations together: tokens, places, layers, heads, distances."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InputError
from .explanation import Explanation

if TYPE_CHECKING:
    from pandas import DataFrame

By = Literal["token", "position", "head", "distance", "layer"]
Record = dict[str, Any]


def aggregate(explanations: Any, by: By = "token", share: bool = False) -> DataFrame:
    """Means over many explanations, in units of the explained values.

    token:    token, special; semantic, positional, relevance of an occurrence, and `size`, the mean |relevance|
    position: the same for each place of the sequence, counted from 0
    layer:    positional of the layer's sinks, relevance its attention and MLP contributed, what its softmax kept
    head:     sink (or layer), role ("query", "key", "score", "attention"), head; needs Options(detail={"heads"})
    distance: sink, distance (query - key), relevance summed over the pairs so far apart; needs Options(detail={"pairs"})

    Args:
        explanations: Explanations in any nesting of lists, as `explain` returns them.
        share: divide each explanation by its sum of |relevance| first, so that each counts alike.

    Returns:
        One row per group with `count`, the number of occurrences (token, position) or explanations that it is the mean of.

    Raises InputError if there is no explanation, or none with the detail that `by` needs.
    """
    import pandas as pd

    if by not in RECORDS:
        raise InputError(f'by must be one of {", ".join(RECORDS)}; got {by!r}. Type aggregate(explanations, by="token").')
    found = list(flat(explanations))
    if not found:
        raise InputError("There must be at least one explanation to aggregate, got none. Type aggregate(explain(model, texts)).")
    keys, records = RECORDS[by]
    rows = [record for one in found for record in scaled(records(one), one, keys, share)]
    if not rows:
        raise InputError(LACKING.get(by, f"No explanation has anything by {by}. Explain a model with layers."))
    frame = pd.DataFrame(rows).groupby(keys, sort=by != "token", dropna=False)
    means = frame.mean(numeric_only=True)
    means.insert(0, "count", frame.size())
    means = means.sort_values("size", ascending=False, kind="stable") if by == "token" else means
    return means.reset_index()


def flat(given: Any) -> Iterator[Explanation]:
    """The explanations in any nesting of lists."""
    if isinstance(given, Explanation):
        yield given
    elif isinstance(given, Iterable) and not isinstance(given, str | Mapping):
        for one in given:
            yield from flat(one)
    else:
        raise InputError(f"aggregate takes explanations, got {type(given).__name__}. Type aggregate(explain(model, texts, ...)).")


def scaled(records: Iterable[Record], one: Explanation, keys: list[str], share: bool) -> Iterator[Record]:
    """The records, as parts of the explanation's sum of |relevance| if asked."""
    whole = float(one.relevance().abs().sum()) if share else 1.0
    for record in records:
        yield {k: v / whole if k not in keys and whole else v for k, v in record.items()} if share else record


# --- what one explanation says ---------------------------------------------------------------------------------------


def by_token(e: Explanation) -> Iterator[Record]:
    """Each occurrence of each token."""
    for name, special, numbers in zip(e.tokens, e.special, _numbers(e), strict=True):
        yield {"token": name, "special": special, **numbers}


def by_position(e: Explanation) -> Iterator[Record]:
    """Each place."""
    for place, numbers in enumerate(_numbers(e)):
        yield {"position": place, **numbers}


def _numbers(e: Explanation) -> Iterator[Record]:
    R, P = e.relevance(), e.positional.sum(0)
    for s, p, r in zip(e.semantic.tolist(), P.tolist(), R.tolist(), strict=True):
        yield {"semantic": s, "positional": p, "relevance": r, "size": abs(r)}


def by_layer(e: Explanation) -> Iterator[Record]:
    """Each layer of each stream."""
    for stream in (e.streams or {"": e}).values():
        for b in stream.boundaries:
            if b.kind != "layer":
                continue
            inside = [x for x in stream.boundaries if x.layer == b.layer]
            branches = {kind: sum(x.total for x in inside if x.kind == kind) for kind in ("attention", "mlp")}
            here = [i for i, name in enumerate(stream.sinks) if f"{name} ".startswith(f"{b.name} ")]
            kept = sum(v for name, v in e.ledger.softmax.items() if f"{name} ".startswith(f"{b.name} "))
            yield {
                "layer": b.name, "number": b.layer, "relevance": b.total, "size": float(b.relevance.abs().sum()),
                "positional": float(stream.positional[here].sum()), **branches, "softmax": kept,
            }  # fmt: skip


def by_head(e: Explanation) -> Iterator[Record]:
    """Each head: of the positions at each sink by role, and of the attention of each layer."""
    detail: Mapping[str, Mapping[str, Any]] = e.detail
    for sink, roles in detail.get("heads", {}).items():
        for role, R in roles.items():
            for head, row in enumerate(R):
                yield {"sink": sink, "role": role, "head": head, "relevance": float(row.sum()), "size": float(row.abs().sum())}
    for layer, parts in detail.get("attention", {}).items():
        for head, row in enumerate(parts["heads"]):
            yield {"sink": layer, "role": "attention", "head": head, "relevance": float(row.sum()), "size": float(row.abs().sum())}


def by_distance(e: Explanation) -> Iterator[Record]:
    """Each distance between a query and a key, at sinks that are paid at pairs."""
    import torch

    for sink, parts in e.detail.get("pairs", {}).items():
        R = parts["relevance"]
        apart = torch.arange(R.shape[0])[:, None] - torch.arange(R.shape[1])
        for distance in apart.unique().tolist():
            at = R[apart == distance]
            sums = {"relevance": float(at.sum()), "size": float(at.abs().sum())}
            yield {"sink": sink, "distance": distance, **sums, "pairs": len(at)}


RECORDS: dict[str, tuple[list[str], Callable[[Explanation], Iterable[Record]]]] = {
    "token": (["token", "special"], by_token), "position": (["position"], by_position), "layer": (["number", "layer"], by_layer),
    "head": (["sink", "role", "head"], by_head), "distance": (["sink", "distance"], by_distance),
}  # fmt: skip
LACKING = {
    "head": 'Heads need explanations made with their detail. Type explain(..., options=Options(detail={"heads"})).',
    "distance": (
        "Distances need the pairs of tokens that a bias is paid at (relative bias, ALiBi), in explanations made with that detail. "
        'Type explain(..., options=Options(detail={"pairs"})).'
    ),
}
