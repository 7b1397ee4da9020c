"""Explanations as rows of a Parquet file, and back: what everybody may read has columns of its own, the rest is one of bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from ..engine.trace import Boundary
from ..errors import InputError
from ..extras import extra
from ..inputs.rows import Skipped
from ..ledger import Ledger
from .explanation import Explanation
from .serialisation import from_bytes, to_bytes

PARTS = ("sinks", "reductions", "boundaries", "ledger", "card", "detail", "picture")  # what may be left out
CARD = ("model", "class", "text", "target", "method")  # what is kept of a card in any case
OWN = {  # fields of an explanation that have columns; all others stand together in "more"
    "tokens", "target", "value", "semantic", "positional", "sinks", "sink_kinds", "boundaries", "ledger", "card", "reductions", "offsets",
    "text", "special", "word_ids",
}  # fmt: skip
Row = dict[str, Any]


def slim(e: Explanation, keep: Iterable[str]) -> Explanation:
    """The explanation without the parts that are not to be kept; tokens, their relevance, value and the ledger's sums stay.

    Without "sinks" positions are one row, the sum; without "ledger" its lines are sums.
    """
    kept, changed = set(keep), dict[str, Any]()
    if "sinks" not in kept and len(e.sinks) > 1:
        kinds = set(e.sink_kinds)
        changed |= {"positional": e.positional.sum(0, keepdim=True), "sinks": ("all sinks",)}
        changed |= {"sink_kinds": tuple(kinds) if len(kinds) == 1 else ("several kinds",)}
        changed["reductions"] = {n: x.sum(0, keepdim=True) if n.startswith("positional.") else x for n, x in e.reductions.items()}
    if "reductions" not in kept:
        changed["reductions"] = {}
    if "boundaries" not in kept:
        changed["boundaries"] = ()
    if "ledger" not in kept:
        changed["ledger"] = _sums(e.ledger)
    if "card" not in kept:
        changed["card"] = {name: e.card[name] for name in CARD if name in e.card}
    empty: dict[str, Any] = {"detail": {}, "picture": None}
    changed |= {name: nothing for name, nothing in empty.items() if name not in kept}
    return replace(e, **changed, streams={name: slim(stream, kept) for name, stream in e.streams.items()})


def _sums(ledger: Ledger) -> Ledger:
    """The same account with one line for each kind of keeper, and of the layers only that which opened it."""
    opened = ledger.opened
    return replace(
        ledger,
        constants={"constants": sum(ledger.constants.values())},
        softmax={"softmax": sum(ledger.softmax.values())},
        layers={name: gap for name, gap in ledger.layers.items() if name == opened},
        kept={},
    )


def parts_of(keep: Any) -> tuple[str, ...]:
    """The parts to keep, in their usual order. Raises InputError where there is no such part."""
    named = {keep} if isinstance(keep, str) else set(keep)
    if unknown := named - set(PARTS):
        raise InputError(f"keep must be some of {', '.join(PARTS)}; got {', '.join(sorted(map(str, unknown)))}. Type keep=('sinks',).")
    return tuple(name for name in PARTS if name in named)


# --- to rows ---------------------------------------------------------------------------------------------------------


def schema(double: bool) -> Any:
    """The columns of a shard; relevance in float64 or in float32."""
    pa = extra("pyarrow", "A folder of explanations")
    number = pa.float64() if double else pa.float32()
    texts, numbers = pa.list_(pa.string()), pa.list_(number)
    parts = pa.list_(pa.struct([("name", pa.string()), ("values", numbers)]))
    boundary = [("name", pa.string()), ("kind", pa.string()), ("layer", pa.int32()), ("gap", pa.float64()), ("relevance", numbers)]
    return pa.schema(
        [
            ("index", pa.int64()), ("id", pa.string()), ("question", pa.int32()), ("skipped", pa.string()), ("target", pa.string()),
            ("value", pa.float64()), ("text", pa.string()), ("tokens", texts), ("special", pa.list_(pa.bool_())),
            ("offsets", pa.list_(pa.list_(pa.int32()))), ("word_ids", pa.list_(pa.int32())), ("content", numbers), ("position", numbers),
            ("sinks", texts), ("sink_kinds", texts), ("positional", numbers), ("reductions", parts),
            ("boundaries", pa.list_(pa.struct(boundary))), ("verdict", pa.string()), ("gap", pa.float64()), ("ledger", pa.string()),
            ("card", pa.string()), ("more", pa.binary()),
        ]
    )  # fmt: skip


def rows_of(index: int, name: str | None, found: Any) -> Iterator[Row]:
    """The rows of one input's answer: one for each question; one that says why where it was skipped."""
    if isinstance(found, Skipped):
        skipped = json.dumps({"why": found.why, "kind": found.kind})
        yield {"index": index, "id": name, "question": None, "skipped": skipped}
        return
    if isinstance(found, list) and not found:
        yield {"index": index, "id": name, "question": -1}
    several = isinstance(found, list)
    for k, e in enumerate(found if several else [found]):
        yield {"index": index, "id": name, "question": k if several else None, **_row(e)}


def _row(e: Explanation) -> Row:
    more = {name: part for name, part in e._tree().items() if name not in OWN and part is not None and len(part)}
    return {
        "target": e.target, "value": float(e.value), "text": e.text, "tokens": e.tokens, "special": e.special, "offsets": e.offsets,
        "word_ids": e.word_ids, "content": e.semantic.numpy(), "position": e.positional.sum(0).numpy(), "sinks": e.sinks,
        "sink_kinds": e.sink_kinds, "positional": _flat(e.positional),
        "reductions": [{"name": name, "values": _flat(x)} for name, x in e.reductions.items()],
        "boundaries": [
            {"name": b.name, "kind": b.kind, "layer": b.layer, "gap": b.gap, "relevance": _flat(b.relevance)} for b in e.boundaries
        ],
        "verdict": e.ledger.verdict, "gap": float(e.ledger.gap),
        "ledger": json.dumps({f.name: getattr(e.ledger, f.name) for f in fields(Ledger)}), "card": json.dumps(dict(e.card)),
        "more": to_bytes(more) if more else None,
    }  # fmt: skip


def _flat(x: Tensor) -> Any:
    return x.reshape(-1).numpy()


def is_double(rows: Iterable[Row]) -> bool:
    """Whether any relevance is in float64."""
    tensors = (row["content"] for row in rows if row.get("content") is not None)
    return any(str(x.dtype) == "float64" for x in tensors)


# --- and back --------------------------------------------------------------------------------------------------------


def explanation_of(row: Mapping[str, Any], double: bool) -> Explanation:
    """The explanation that a row holds."""
    kind = torch.float64 if double else torch.float32

    def tensor(values: Sequence[float], *shape: int) -> Tensor:
        return torch.tensor(values, dtype=kind).reshape(shape or (len(values),))

    T, S = len(row["tokens"]), len(row["sinks"])
    shapes = {"semantic": (T,), "positional": (S, T)}
    book = json.loads(row["ledger"])
    more = {} if row["more"] is None else from_bytes(row["more"])
    more["streams"] = {name: Explanation._grown(tree) for name, tree in more.get("streams", {}).items()}
    return Explanation(
        tokens=tuple(row["tokens"]), target=row["target"], value=row["value"], semantic=tensor(row["content"]),
        positional=tensor(row["positional"], S, T), sinks=tuple(row["sinks"]), sink_kinds=tuple(row["sink_kinds"]),
        boundaries=tuple(Boundary(b["name"], b["kind"], b["layer"], tensor(b["relevance"]), b["gap"]) for b in row["boundaries"]),
        ledger=Ledger(**{**book, "unknown": tuple(book["unknown"])}), card=json.loads(row["card"]),
        reductions={x["name"]: tensor(x["values"], *shapes[x["name"].partition(".")[0]]) for x in row["reductions"]},
        offsets=_spans(row["offsets"]), text=row["text"], special=tuple(row["special"]),
        word_ids=None if row["word_ids"] is None else tuple(row["word_ids"]), **more,
    )  # fmt: skip


def _spans(offsets: Any) -> Any:
    return None if offsets is None else tuple([None if span is None else (span[0], span[1]) for span in offsets])
