"""One input as the model takes it, and as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

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
    """One input as tensors, a batch of one without padding, and what its places are called.

    labels:  by stream: "" for a model with one, else "encoder", "decoder", "text" ...
    picture: (height, width) of the user's own picture, before any processor
    cropped: whether the processor cut its edges off
    seconds: how long the sound is
    given:   what the input was, for the card: a text, or words that describe it
    """

    tensors: Mapping[str, Tensor]
    labels: Mapping[str, Labels] = field(default_factory=dict)
    picture: tuple[int, int] | None = None
    given: Any = None
    cropped: bool = False
    seconds: float | None = None

    @property
    def shown(self) -> tuple[int, int] | None:
        """The size at which a map of the picture is shown: the picture's own, unless its edges were cut off."""
        return None if self.cropped else self.picture

    @property
    def main(self) -> str:
        """The name of the input that is explained first."""
        return next(name for name in MAIN if name in self.tensors)

    @property
    def length(self) -> int:
        """How many places the main input has; 0 for pictures and sound."""
        return self.tensors[self.main].shape[1] if self.main in SEQUENCES else 0
