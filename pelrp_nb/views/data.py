"""The plain data that every view draws: strings, floats and lists, as `Explanation.plain()` gives them."""

from __future__ import annotations

import json
import math
from typing import Any, TypedDict


class Parts(TypedDict):
    """One reduction per token: `content` + `position` = `both`; each of length T."""

    content: list[float]
    position: list[float]
    both: list[float]


class PlainBoundary(TypedDict):
    """Relevance at one place of the model; kind is "embeddings", "layer", "attention" or "mlp"."""

    name: str
    kind: str
    layer: int | None
    relevance: list[float]
    total: float
    gap: float | None


class PlainLedger(TypedDict):
    """The account; `rows` in the order of the equation, the value last."""

    rows: list[tuple[str, float]]
    constants: dict[str, float]
    softmax: dict[str, float]
    gap: float
    scale: float
    tolerance: float
    closed: bool
    opened: str | None
    audited: bool
    layers: dict[str, float]
    unknown: list[str]


class Plain(TypedDict):
    """One explanation without tensors.

    parts:      reduction -> content, position and both per token; "signed" is always there
    positional: (sinks, T) signed
    """

    tokens: list[str]
    special: list[bool]
    target: str
    value: float
    model: str
    method: str
    parts: dict[str, Parts]
    positional: list[list[float]]
    sinks: list[str]
    sink_kinds: list[str]
    positional_share: float
    boundaries: list[PlainBoundary]
    ledger: PlainLedger
    card: dict[str, Any]
    streams: dict[str, Plain]


def as_json(value: Any) -> str:
    """JSON that may stand inside a script element and that every parser reads; nan and infinities become their names."""
    text = json.dumps(_finite(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return float(f"{value:.8g}")
    return value if value is None or isinstance(value, str | int | bool) else str(value)
