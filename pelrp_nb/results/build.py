"""From traces to explanations: numbers get the names of their tokens, pictures their patches, and a card."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..composites import in_force, title
from ..engine.propagation import Propagation
from ..engine.support import device_of, dtype_of
from ..engine.trace import Trace
from ..inputs import audio
from ..inputs.model_input import Encoded, Labels
from ..rules.pages import own_pages
from . import image_maps, spectrogram
from .explanation import Explanation


@dataclass(frozen=True)
class Told:
    """One row's question as it is told: its input, what the answer covers (`Question.upto`), the target in words, its value.

    own: whether the target is what the model itself prefers
    """

    row: Encoded
    upto: tuple[str, int] | None
    text: str
    value: float
    own: bool = False


def explanation(flow: Propagation, told: Told, trace: Trace, about: dict[str, Any]) -> Explanation:
    """One row's trace with names; further streams inside. `about`: `common` of the batch."""
    single = Streamed(flow, told, card(told, trace, about))
    if not trace.streams:
        return single.of(flow.streams.names[0] if flow.streams.several else "", trace)
    streams = {name: single.of(name, part) for name, part in trace.streams.items()}
    first = next(iter(trace.streams))
    return single.of(first, trace, streams)


class Streamed:
    """What all streams of one answer share."""

    def __init__(self, flow: Propagation, told: Told, recipe: dict) -> None:
        self.flow, self.row, self.upto, self.text, self.value, self.recipe = flow, told.row, told.upto, told.text, told.value, recipe

    def of(self, stream: str, trace: Trace, streams: dict[str, Explanation] | None = None) -> Explanation:
        """One stream with its names."""
        semantic, reductions = trace.semantic, dict(trace.reductions)
        more: dict[str, Any] = {"positional": trace.positional}
        labels = self.labels(stream, len(semantic))
        if trace.tokens.dim() == 3:
            semantic, reductions, tokens, special, more = image_maps.by_patch(self.flow, trace, self.row.shown)
            labels = Labels(tokens, special)
            more["picture"] = image_maps.as_seen(self.row, trace)
        elif self.is_sound(stream):
            more["picture"] = spectrogram.heard(self.row.tensors, len(semantic))
        return Explanation(
            tokens=labels.tokens, target=self.text, value=self.value, semantic=semantic,
            sinks=tuple(s.name for s in trace.sinks), sink_kinds=tuple(str(s.kind) for s in trace.sinks),
            boundaries=trace.boundaries, ledger=trace.ledger, card=self.recipe, reductions=reductions, offsets=labels.offsets,
            text=labels.text, special=labels.special, word_ids=labels.words, detail=dict(trace.detail), streams=streams or {},
            **more,
        )  # fmt: skip

    def is_sound(self, stream: str) -> bool:
        """Whether the places of a stream are those of a sound."""
        return self.row.main in audio.NAMES and stream != "decoder"

    def labels(self, stream: str, T: int) -> Labels:
        """The names of a stream's places; numbers where nobody gave them names."""
        found = self.row.labels.get(stream)
        if found is not None and self.upto is not None and self.upto[0] == stream:
            found = found.upto(self.upto[1])
        if found is not None and len(found.tokens) == T:
            return found
        if self.is_sound(stream):
            return audio.frames(T, self.row.seconds)
        return Labels(tuple(map(str, range(T))), (False,) * T)


def card(told: Told, trace: Trace, about: dict[str, Any]) -> dict[str, Any]:
    """All that is needed to run it again."""
    found = about | {"text": told.row.given, "target": told.text, "own": told.own}
    if told.row.picture is not None:
        found["picture"] = list(told.row.picture)
    found["roles"] = [[one.name, one.role, one.reason] for one in trace.roles]
    found["notes"] = [*told.row.notes, *trace.notes]
    return found


def common(flow: Propagation) -> dict[str, Any]:
    """The cards of a batch, as far as they are alike."""
    import transformers

    model = flow.model
    config = getattr(model, "config", None)
    found = {
        "model": Path(getattr(config, "_name_or_path", "") or "").name or type(model).__name__,
        "class": type(model).__name__,
        "text": None,
        "target": None,
        "method": title(flow.composite),
        "composite": repr(flow.composite),
        "audit": flow.options.audit,
        "detail": sorted(flow.options.detail),
        "only": [f"{c.kind} {', '.join(map(str, c.which))} of {c.layer}" for c in flow.conditions],
        "attention": getattr(config, "_attn_implementation", None),
        "dtype": str(dtype_of(model)).removeprefix("torch."),
        "device": device_of(model).type,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__},
    }
    if own := own_pages(in_force(flow.composite)):
        found["rules"] = own
    return found
