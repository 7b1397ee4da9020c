"""A result as plain data that JSON takes: what `to_dict` gives and `python -m pelrp_nb explain --json` prints."""

from __future__ import annotations

from typing import Any

from ..views.data import Plain


def as_dict(plain: Plain) -> dict[str, Any]:
    """The whole result; numbers as they are, not rounded."""
    signed = plain["parts"]["signed"]
    ledger = plain["ledger"]
    found: dict[str, Any] = {
        "model": plain["model"], "method": plain["method"], "target": plain["target"], "value": plain["value"],
        "tokens": plain["tokens"], "special": plain["special"], "semantic": signed["content"],
        "positional": plain["positional"], "sinks": plain["sinks"], "sink_kinds": plain["sink_kinds"],
        "positional_share": plain["positional_share"],
        "relevance": {name: parts["both"] for name, parts in plain["parts"].items()},
        "boundaries": plain["boundaries"],
        "ledger": {**dict(ledger["rows"]), **{k: v for k, v in ledger.items() if k != "rows"}},
        "card": plain["card"],
    }  # fmt: skip
    if plain["streams"]:
        found["streams"] = {name: as_dict(stream) for name, stream in plain["streams"].items()}
    return found
