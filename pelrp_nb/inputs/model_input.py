"""One input as the model takes it, and as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torch import Tensor

from ..engine.places.roles import role_of

MAIN = ("input_ids", "inputs_embeds", "pixel_values", "input_features", "input_values", "inputs")
SEQUENCES = ("input_ids", "inputs_embeds")  # inputs that are padded along their second axis


@dataclass(frozen=True)
class Labels:
    """What the places of one stream are called.

    special: which tokens the tokenizer added; text: what `offsets` count in; offsets: for each token its place in `text`, None
    where it has none; words: for each token its word, None for special tokens
    """

    tokens: tuple[str, ...] = ()
    special: tuple[bool, ...] = ()
    text: str | None = None
    offsets: tuple[tuple[int, int] | None, ...] | None = None
    words: tuple[int | None, ...] | None = None

    def upto(self, T: int | None) -> Labels:
        """The first T places, and the text up to there."""
        if T is None or len(self.tokens) <= T:
            return self
        cut: dict[str, Any] = {n: None if (x := getattr(self, n)) is None else x[:T] for n in ("tokens", "special", "offsets", "words")}
        ends = [span[1] for span in cut["offsets"] or () if span is not None]
        return replace(self, **cut, text=self.text[: max(ends)] if ends and self.text is not None else self.text)


@dataclass(frozen=True)
class Encoded:
    """One input as a batch of one, and what its places are called.

    tensors: the arguments that have a row of their own for each input
    more:    all other arguments of `forward`: numbers, flags, None, containers, tensors that all rows share
    labels:  by stream: "" for a model with one, else "encoder", "decoder", "text" ...
    own:     (first, end) of the places that are no padding, by what their arguments' names begin with: "" or "decoder_"
    whole:   labels with the padding, for models on which padding acts; leaks: this is one
    alone:   it shares no batch with others
    copied:  the decoder reads what the model itself lets it read, for want of `decoder_input_ids`
    notes:   what could have been meant otherwise
    picture: (height, width) of the user's own picture, before any processor
    pixels:  the picture itself, small, (h, w, 3) bytes
    cropped: whether the processor cut its edges off
    seconds: how long the sound is
    given:   what the input was, for the card: a text, or words that describe it
    """

    tensors: Mapping[str, Tensor]
    labels: Mapping[str, Labels] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    whole: Mapping[str, Labels] | None = None
    leaks: bool = False
    alone: bool = False
    copied: bool = False
    notes: tuple[str, ...] = ()
    picture: tuple[int, int] | None = None
    pixels: Any = None
    given: Any = None
    cropped: bool = False
    seconds: float | None = None

    @property
    def shown(self) -> tuple[int, int] | None:
        """The size at which a map of the picture is shown: the picture's own, unless its edges were cut off."""
        return None if self.cropped else self.picture

    @cached_property
    def main(self) -> str:
        """The name of the input that is explained first."""
        return main_of(self.tensors)

    @property
    def length(self) -> int:
        """How many places the main input has; 0 for pictures and sound."""
        x = self.tensors[self.main]
        return x.shape[min(1, x.dim() - 1)] if self.main in SEQUENCES else 0

    def without_padding(self) -> Encoded:
        """The row cut to the places that are no padding."""
        tensors = dict(self.tensors)
        for prefix, (first, end) in self.own.items():
            T = self.tensors["decoder_input_ids" if prefix else self.main].shape[1]
            for name, x in tensors.items():
                if name.startswith("decoder_") == bool(prefix) and not name.startswith("pixel") and x.dim() >= 2 and x.shape[1] == T:
                    tensors[name] = x[:, first:end]
        return replace(self, tensors=tensors, own={}, whole=None)


def main_of(tensors: Mapping[str, Any]) -> str:
    """The argument that is explained first: one of the usual names, else the first that is content."""
    known = next((name for name in MAIN if isinstance(tensors.get(name), Tensor)), None)
    content = (name for name, x in tensors.items() if role_of(name, x) == "content")
    return known or next(content, None) or next(iter(tensors))
