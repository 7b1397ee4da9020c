"""The plain data that every view draws: strings, floats and lists, as `Explanation.plain()` gives them."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import numpy as np

from ..amounts import State


class Parts(TypedDict):
    """One reduction per token: `content` + `position` = `both`; each of length T."""

    content: list[float]
    position: list[float]
    both: list[float]


class PlainBoundary(TypedDict):
    """Relevance at one place of the model; kind is "embeddings", "layer", "attention", "mlp" or "cross"."""

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
    allowed: float
    precision: str
    state: State
    closed: bool
    opened: str | None
    audited: bool
    layers: dict[str, float]
    unknown: list[str]
    kept: NotRequired[dict[str, dict[str, float]]]


class PlainWord(TypedDict):
    """A word, the indices of its tokens, and its place in the text, in characters, where that is known."""

    text: str
    tokens: list[int]
    start: NotRequired[int | None]
    end: NotRequired[int | None]


class Plain(TypedDict):
    """One explanation without tensors.

    parts:      reduction -> content, position and both per token; "signed" is always there
    positional: (sinks, T) signed
    words:      subwords merged; every token is in exactly one
    """

    tokens: list[str]
    special: list[bool]
    words: NotRequired[list[PlainWord]]
    text: NotRequired[str | None]
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
    """JSON that may stand inside a script element and that every parser reads; nan and infinities by name, bytes as base64."""
    text = json.dumps(clean(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"), default=_base64)
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def clean(value: Any) -> Any:
    """The same with text for keys, nan and infinities by name, floats of eight figures: what JSON and a widget can carry."""
    if isinstance(value, Mapping):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return float(f"{value:.8g}")
    return value if value is None or isinstance(value, str | int | bool | bytes) else str(value)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def single(values: Any) -> dict[str, Any]:
    """An array as bytes in single precision: 4 bytes a number, seven figures of it."""
    array = np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore"):  # beyond 3e38 a number is infinite
        return {"shape": list(array.shape), "f32": array.astype("<f4").tobytes()}


def packed(values: Any) -> dict[str, Any]:
    """An array as bytes, half precision under a common power of two: 2 bytes a number, three figures of it."""
    array = np.asarray(values, dtype=np.float64)
    finite = np.abs(array[np.isfinite(array)])
    scale = 2.0 ** math.ceil(math.log2(finite.max())) if finite.size and finite.max() > 0 else 1.0
    return {"shape": list(array.shape), "scale": scale, "f16": (array / scale).astype("<f2").tobytes()}


def coarse(values: Any) -> dict[str, Any]:
    """An array as bytes, one a number: its part of the largest in 127 steps, -128 for nan; for what is seen as a colour alone."""
    array = np.asarray(values, dtype=np.float64)
    most = float(np.abs(array[np.isfinite(array)]).max(initial=0.0))
    steps = np.clip(array / (most or 1.0), -1, 1) * 127
    return {"shape": list(array.shape), "scale": most / 127, "i8": np.where(np.isnan(steps), -128, steps.round()).astype("i1").tobytes()}
