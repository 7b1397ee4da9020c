"""aggregate(explanations, by=...) -> DataFrame: many explanations together: tokens, places, layers, heads, distances."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InputError
from ..inputs.rows import Skipped
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
        explanations: Explanations in any nesting of lists, as `explain` returns them, or a generator of them: each is read once
            and let go.
        share: divide each explanation by its sum of |relevance| first, so that each counts alike.

    Returns:
        One row per group with `count`, the number of occurrences (token, position) or explanations that it is the mean of; where
        explanations have several streams, `stream` says which.

    Raises InputError if there is no explanation, or none with the detail that `by` needs.
    """
    if by not in RECORDS:
        raise InputError(f'by must be one of {", ".join(RECORDS)}; got {by!r}. Type aggregate(explanations, by="token").')
    keys, records = RECORDS[by]
    keys = ["stream", *keys]
    groups: dict[tuple[Any, ...], Group] = {}
    met = paired = False
    for one in flat(explanations):
        met = True
        whole = _whole(one) if share else 1.0
        for name, stream in (one.streams or {"": one}).items():
            paired = paired or "pairs" in stream.detail
            for record in records(stream):
                place = (name, *(record.pop(key) for key in keys[1:]))
                groups.setdefault(place, Group()).add(record, whole)
    if not met:
        raise InputError("There must be at least one explanation to aggregate, got none. Type aggregate(explain(model, texts)).")
    if not groups and by == "distance" and paired:
        raise InputError(NO_PAIRS)
    if not groups:
        raise InputError(LACKING.get(by, f"No explanation has anything by {by}. Explain a model with layers."))
    return _framed(groups, keys, by)


class Group:
    """Occurrences of one thing: how many, and of each of its numbers the sum and how many there were."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, tuple[float, int]] = {}

    def add(self, record: Record, whole: float) -> None:
        """One more, as a part of `whole`; what is no number is left out, as in a mean of pandas."""
        self.count += 1
        for name, amount in record.items():
            total, n = self.sums.get(name, (0.0, 0))
            self.sums[name] = (total, n) if math.isnan(amount) else (total + amount / (whole or 1.0), n + 1)

    def means(self) -> Record:
        """The mean of each number."""
        return {"count": self.count, **{name: total / n if n else math.nan for name, (total, n) in self.sums.items()}}


def _framed(groups: Mapping[tuple[Any, ...], Group], keys: list[str], by: str) -> DataFrame:
    """The largest tokens first; the rest in the order of what they are grouped by."""
    import pandas as pd

    frame = pd.DataFrame([dict(zip(keys, place, strict=True)) | group.means() for place, group in groups.items()])
    ordered: dict[str, Any] = {"by": "size", "ascending": False} if by == "token" else {"by": keys}
    frame = frame.sort_values(kind="stable", ignore_index=True, **ordered)
    return frame if any(name for name, *_ in groups) else frame.drop(columns="stream")


def _whole(one: Explanation) -> float:
    """The sum of |relevance| over all streams."""
    return sum(float(part.relevance().abs().sum()) for part in (one.streams or {"": one}).values())


def flat(given: Any) -> Iterator[Explanation]:
    """The explanations in any nesting of lists; placeholders of inputs that were skipped are passed over."""
    if isinstance(given, Explanation):
        yield given
    elif isinstance(given, Skipped):
        return
    elif isinstance(given, Iterable) and not isinstance(given, str | Mapping) and not hasattr(given, "columns"):
        for one in given:
            yield from flat(one)
    else:
        raise InputError(f"aggregate takes explanations, got {type(given).__name__}. Type aggregate(explain(model, texts, ...)).")


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
    """Each layer."""
    for b in e.boundaries:
        if b.kind != "layer":
            continue
        inside = [x for x in e.boundaries if x.layer == b.layer]
        branches = {kind: sum(x.total for x in inside if x.kind == kind) for kind in ("attention", "mlp")}
        here = [i for i, name in enumerate(e.sinks) if f"{name} ".startswith(f"{b.name} ")]
        kept = sum(v for name, v in e.ledger.softmax.items() if f"{name} ".startswith(f"{b.name} "))
        yield {
            "layer": b.name, "number": b.layer, "relevance": b.total, "size": float(b.relevance.abs().sum()),
            "positional": float(e.positional[here].sum()), **branches, "softmax": kept,
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
NO_PAIRS = (
    "Distances are those of pairs of tokens that positions enter at (biases of attention scores, relative embeddings), and the models "
    "explained here have none. Type exchange(model, inputs).by_distance() for what the positions of any model are worth over distance."
)
LACKING = {
    "head": 'Heads need explanations made with their detail. Type explain(..., options=Options(detail={"heads"})).',
    "distance": (
        "Distances need the pairs of tokens that a bias is paid at (relative bias, ALiBi), in explanations made with that detail. "
        'Type explain(..., options=Options(detail={"pairs"})).'
    ),
}
