"""A run as plain data: what the monitor shows while it runs and when it has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..amounts import MINUS, is_rounding
from ..engine.trace import Boundary
from ..errors import PelrpError
from ..results.explanation import Explanation
from ..views.data import clean
from ..views.payload import column, label, rounds_below, sent
from ..views.text import meaning, positions, verdict, visible
from ..views.text import state as account
from .worker import State

LONGEST = 2000  # characters of an error that are shown
TRUNK = ("layer", "embeddings")  # boundaries that all relevance crosses


def reported(run: State, serial: int, labels: Sequence[str] = ()) -> dict[str, Any]:
    """Everything about a run; `serial` tells runs apart, `labels` are what this model answers with.

    phase: "idle", "waiting", "loading", "forward", "backward", "done", "cancelled", "failed"
    boundaries: in the order in which the walk back reached them
    times in seconds, memory as [bytes, of what] or None, error as {kind, text} or None, result only when it is done
    """
    return clean({
        "serial": serial,
        **pulse(run),
        "tokens": [label(token) for token in (run.tokens if run.result is None else run.result.tokens)],
        "special": list(run.special if run.result is None else run.result.special),
        "labels": [visible(name, 60) for name in labels],
        "boundaries": crossed(run.boundaries, run.result),
        "error": None if run.error is None else told(run.error),
        "result": None if run.result is None else outcome(run.result),
    })  # fmt: skip


def held(report: Mapping[str, Any]) -> dict[str, Any]:
    """Of a report with a result what is shown beside the next one; nothing of another."""
    return {name: report[name] for name in ("tokens", "special", "result")} if report.get("result") else {}


def pulse(run: State) -> dict[str, Any]:
    """What changes all the time."""
    return {"phase": run.phase, "times": dict(run.times), "memory": None if run.memory is None else list(run.memory)}


def crossed(boundaries: Sequence[Boundary], result: Explanation | None = None) -> list[dict[str, Any]]:
    """Boundaries with what the account lacks at them and whether that is rounding, as far as it is known.

    While the walk runs it is what the engine knew when relevance arrived there (`Crossing`), afterwards what the ledger says.
    Only those that all relevance crosses are shown, with their numbers packed.
    """
    every = [] if result is None else [b for stream in (result, *result.streams.values()) for b in stream.boundaries]
    gaps, book = {b.name: b.gap for b in every}, None if result is None else result.ledger
    found = []
    for b in (one for one in boundaries if one.kind in TRUNK):
        gap, allowed = (b.gap, getattr(b, "allowed", None)) if book is None else (gaps.get(b.name), book.allowed)
        tells = book is None or book.state in ("closed", "open")
        found.append({
            "name": visible(b.name), "kind": b.kind, "layer": b.layer, "relevance": column(b.relevance.tolist()), "total": b.total,
            "gap": gap, "closed": is_rounding(gap, allowed) if tells and gap is not None and allowed is not None else None,
        })  # fmt: skip
    return found


def outcome(result: Explanation) -> dict[str, Any]:
    """The result as the monitor shows it: what was explained, its text with [start, end, tokens] of each word, the account."""
    book, plain = result.ledger, result.plain()
    content, position = result.parts("signed")
    words = [[w["start"], w["end"], w["tokens"]] for w in plain["words"] if w["start"] is not None]
    return {
        "text": result.text or "", "words": words,
        "target": visible(result.target, 120), "value": result.value,
        "model": visible(result.model), "method": visible(result.method, 120),
        "content": sent(content.tolist()), "position": sent(position.tolist()),
        "share": result.positional_share, "share_means": meaning(plain),
        "unbooked": None if result.sinks else positions(plain),
        "rows": [list(row) for row in book.rows()], "gap": book.gap, "allowed": rounds_below(plain["ledger"]), "closed": book.closed,
        "verdict": verdict(plain), "account": account(plain, MINUS),
    }  # fmt: skip


def told(error: BaseException) -> dict[str, Any]:
    """An error in words; `ours` where it says itself what to do."""
    text = visible(str(error) or "no reason was given", LONGEST)
    return {"kind": type(error).__name__, "text": text, "ours": isinstance(error, PelrpError)}
