"""One example of a data set, whatever it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from ..errors import InputError


@dataclass(frozen=True)
class Example:
    """What is explained, and what is known about it.

    text:   a text, or None for a picture
    label:  a class as number or name; for a language model the next token as text
    truth:  the relevant part of the text: character spans (start, end), or words as text; None if not known
    image:  a picture (PIL), an array (H, W, C) of bytes, or a tensor (C, H, W) as the model takes it
    mask:   (H, W), true on the object, 255 where nobody judged; or a function of the explained class that returns one
    picture_of: the file of the picture, for the report
    """

    text: str | None = None
    label: int | str | None = None
    truth: tuple[Any, ...] | None = None
    image: Any = None
    mask: Any = None
    picture_of: str | None = None

    def digest(self) -> str:
        """Twelve characters that depend on the content alone."""
        mixed = hashlib.sha256(repr((self.text, self.label, self.truth)).encode("utf-8", "surrogatepass"))
        for value in (self.image, self.mask):
            if value is not None and not callable(value):
                mixed.update(np.asarray(value).tobytes())
        return mixed.hexdigest()[:12]


def first(examples: Iterable[Example], limit: int | None) -> Iterator[Example]:
    """The first few; raises InputError where there is none at all."""
    empty = True
    for example in islice(examples, limit):
        empty = False
        yield example
    if empty:
        raise InputError("The data must hold at least one example, and are empty. Look at the file, the split and the columns.")


def seed_of(seed: int, digest: str, index: int, purpose: str) -> int:
    """A seed that depends on the example and the purpose, not on who runs it or in which order."""
    mixed = hashlib.sha256(f"{seed}:{digest}:{index}:{purpose}".encode()).digest()
    return int.from_bytes(mixed[:7], "little")
