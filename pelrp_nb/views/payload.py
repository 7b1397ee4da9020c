"""What the module reads: the numbers as they are, their sums, and every text already made visible."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from ..amounts import MINUS, by_size, digits, largest
from .colour import STEPS
from .data import Parts, Plain, PlainLedger, packed, single
from .steps import layer_of, walk
from .text import conventional, meaning, notes, pieces, positions, state, verdict, visible

LISTED, FINE = 100, 512  # tokens up to which numbers are sent as they are, and with seven figures


def payload(data: Plain, rules: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One explanation for the views; `rules` is {"fields": ..., "pages": ...}, the rules in force as `pages.pages` gives them."""
    ledger, parts = data["ledger"], data["parts"]
    rules = rules or {"fields": {}, "pages": {}}
    words = any(len(w["tokens"]) > 1 or w["text"] != data["tokens"][w["tokens"][0]] for w in data.get("words", ()))
    return {
        "steps": STEPS,
        "tokens": [label(token) for token in data["tokens"]],
        "special": data["special"] if any(data["special"]) else [],
        "words": [{"ids": list(w["tokens"]), "text": label(w["text"])} for w in data["words"]] if words else None,
        "target": visible(data["target"], 120),
        "value": data["value"],
        "model": visible(data["model"]),
        "method": visible(data["method"], 120),
        "share": data["positional_share"],
        "share_means": meaning(data),
        "conventional": conventional(data),
        "unbooked": None if data["sinks"] else positions(data),
        "notes": notes(data),
        "parts": {name: {part: sent(signed) for part, signed in columns.items()} for name, columns in parts.items()},
        "sums": {name: sums(columns) for name, columns in parts.items()},
        "sinks": [
            {"name": visible(name), "kind": visible(kind), "layer": layer_of(name), "relevance": column(row), "total": total(row)}
            for name, kind, row in zip(data["sinks"], data["sink_kinds"], data["positional"], strict=True)
        ],
        "boundaries": [{**one, "name": visible(one["name"]), "relevance": column(one["relevance"])} for one in data["boundaries"]],
        "walk": [{**step, "name": visible(step["name"])} for step in walk(data, rules["fields"])],
        "rules": rules["pages"],
        "ledger": {
            "rows": ledger["rows"],
            "closed": ledger["state"] == "closed",
            "allowed": rounds_below(ledger),
            "verdict": verdict(data),
            "state": state(data, MINUS),
            "keepers": {what: ordered(ledger[what], ledger["rows"]) for what in ("constants", "softmax")},
            "layers": [[visible(name), gap] for name, gap in ledger["layers"].items()],
        },
        "card": [[visible(key), told(value)] for key, value in data["card"].items()],
        "streams": {visible(name): payload(stream, rules) for name, stream in data["streams"].items()},
    }  # fmt: skip


def column(values: list[float]) -> dict[str, Any]:
    """The numbers of one place of the model: seven figures of each, three where there are many; their sum is told beside them."""
    return single(values) if len(values) <= FINE else packed(values)


def sent(values: Any) -> list[float] | dict[str, Any]:
    """The numbers at the inputs: as they are, or seven figures of each where there are many."""
    return values if len(values) <= LISTED else single(values)


def rounds_below(ledger: PlainLedger) -> float | None:
    """Below which a gap is rounding, and nothing else: of an account that cannot tell there is none; None where none was kept."""
    allowed = ledger["allowed"] if math.isfinite(ledger["allowed"]) else -1.0
    return {"not kept": None, "cannot tell": -1.0}.get(ledger["state"], allowed)


def label(token: str) -> str | list[list[Any]]:
    """A token as text, or as pieces [text, whether it is a name for something unseen]."""
    cut = pieces(token)
    return cut[0].text if len(cut) == 1 and not cut[0].chip else [[piece.text, piece.chip] for piece in cut]


def ordered(amounts: Mapping[str, float], rows: Iterable[tuple[str, float]]) -> list[list[Any]]:
    """Keepers by the size that is printed beside the ledger's rows, what is no number first."""
    show = digits(largest(amount for _, amount in rows), 5)
    return [[visible(name, 120), amount] for name, amount in by_size(amounts, show)]


def told(value: Any) -> str:
    """An entry of the card as text."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return visible(text, 4000)


def sums(columns: Parts) -> dict[str, float]:
    """What the tokens of one reduction come to, content and position apart and together."""
    return {"content": total(columns["content"]), "position": total(columns["position"]), "both": total(columns["both"])}


def total(column: list[float]) -> float:
    """The sum without the rounding of a long chain; inf and -inf together are nan."""
    return math.fsum(column) if all(map(math.isfinite, column)) else sum(column)


def parts_of(detail: Mapping[str, Any]) -> dict[str, Callable[[], Any]]:
    """What was asked for in detail, by name, each packed when it is asked for: {"heads": {sink: {"query": ...}}, ...}.

    What the model has nothing of is not offered; heads of sinks are beside those of attention, and offered with them.
    """
    kept = {name: found for name, found in detail.items() if isinstance(found, Mapping) and (found or name == "heads")}
    return {name: partial(_packed, found) for name, found in kept.items()}


def _packed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {visible(str(key)): _packed(item) for key, item in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else packed(value)
