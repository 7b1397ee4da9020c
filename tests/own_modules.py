"""Modules as people write them, each with what it is called with: names, tuples, containers, axes, flags."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, List, Optional  # noqa: UP035

import torch
from torch import Tensor, nn

Pair = namedtuple("Pair", "hidden logits")


@dataclass
class Answer:
    scores: Tensor
    extra: None = None


class Thing:
    def __init__(self, hidden: Tensor, logits: Tensor) -> None:
        self.hidden, self.logits = hidden, logits


class Base(nn.Module):
    """Features (B, T, 4) through a mixing over places to three numbers."""

    def __init__(self, pack: Callable[[Tensor, Tensor], Any] = lambda hidden, logits: logits) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lift, self.mix, self.head = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.pack = pack
        self.double().eval()

    def body(self, x: Tensor, axis: int = -2) -> Tensor:
        h = torch.relu(self.lift(x))
        return h + torch.relu(self.mix(h)).mean(axis, keepdim=True)

    def forward(self, x: Tensor) -> Any:
        h = self.body(x)
        return self.pack(h, self.head(h.mean(-2)))


class EachPlace(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class Squeezed(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean(-2)).squeeze()


class FirstOnly(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))[0]


class Single(Base):
    """One number for each row, without an axis of classes."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean(-2))[..., 0]


class Total(Base):
    """One number for all rows together."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean(-2)).sum()


class SequenceFirst(Base):
    def forward(self, src: Tensor) -> Tensor:
        return self.head(self.body(src, 0).mean(0))


class SequenceFirstPlaces(Base):
    def forward(self, src: Tensor) -> Tensor:
        return self.head(self.body(src, 0))


class Named(Base):
    def forward(self, some_measurements: Tensor, temperature: float = 1.0, flip: bool = False, weights: Any = None) -> Tensor:
        out = Base.forward(self, some_measurements) / temperature
        out = out if weights is None else out * weights
        return -out if flip else out


class Stars(Base):
    def forward(self, *inputs: Tensor) -> Tensor:
        return Base.forward(self, inputs[0])


class PositionalOnly(Base):
    def forward(self, x: Tensor, /, scale: float = 1.0) -> Tensor:
        return Base.forward(self, x) * scale


class Masked(Base):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        h = self.body(x) * mask[..., None]
        return self.head(h.sum(-2) / mask.sum(-1, keepdim=True))


class Two(Base):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head(self.body(left).mean(-2) - self.body(right).mean(-2))


class Contained(Base):
    """Weights of places in a list, beside the features."""

    def forward(self, x: Tensor, more: dict) -> Tensor:
        return Base.forward(self, x) * more["scale"] + more["shift"][0]


class WithLoss(Base):
    """Logits, and the mean loss over all rows where targets are given."""

    def forward(self, x: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        y = Base.forward(self, x)
        return y, None if targets is None else (y - targets).square().mean()


class Open(Base):
    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        return Base.forward(self, x) * kwargs.get("scale", 1.0)


class Words(nn.Module):
    """Ids (B, T) or (T,) to a number for each class."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.head = nn.Embedding(96, 6), nn.Linear(6, 3)
        self.double().eval()

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.relu(self.table(tokens)).mean(-2))


class Inputs(Words):
    """Three numbers for each place, of an argument with a usual name; ids that stand in for them, a mode that is no number."""

    def forward(self, inputs: Tensor, input_ids: Tensor | None = None, mode: int = 0) -> Tensor:
        seen = inputs if input_ids is None else input_ids
        return self.head(torch.relu(self.table(seen))) * (2 if mode is True else 1)


class Flat(Words):
    """Ids (T,) alone, to a number for each class; lists of whole numbers that it is to be told as lists."""

    def forward(self, input_ids: Tensor, sizes: Optional[List[int]] = None, more: list[int] | None = None) -> Tensor:  # noqa: UP006, UP045
        if not all(x is None or isinstance(x, list) for x in (sizes, more)):
            raise TypeError("sizes and more must be lists")
        return self.head(torch.relu(self.table(input_ids)).mean(0)) * (1 + sum(sizes or ()) + sum(more or ()))


class WithTable(Base):
    """Logits, and beside them a table of as many rows as two inputs have."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.head(self.body(x).mean(1)), "table": self.head.weight[:2], "numbers": torch.arange(2)}


PACKS: dict[str, tuple[Callable, bool]] = {  # how a module packs (hidden, logits), and whether its logits can be told
    "a tuple of one": (lambda h, y: (y,), True),
    "a tuple with None": (lambda h, y: (y, None), True),
    "a list": (lambda h, y: [y], True),
    "a dict": (lambda h, y: {"hidden": h, "logits": y}, True),
    "a dict of one": (lambda h, y: {"scores": y}, True),
    "a named tuple": (lambda h, y: Pair(h, y), True),
    "a dataclass": (lambda h, y: Answer(y), True),
    "a namespace": (lambda h, y: SimpleNamespace(hidden=h, logits=y), True),
    "an object": (lambda h, y: Thing(h, y), True),
    "a tuple of two": (lambda h, y: (h, y), False),
    "a dict of two": (lambda h, y: {"a": h, "b": y}, False),
}
