"""A small reader of ids whose way of knowing positions can be exchanged; every weight is drawn by its name, so twins share them."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

WIDTH, HEADS, VOCABULARY, PLACES, LAYERS, LONGEST = 16, 2, 20, 6, 2, 32
HEAD = WIDTH // HEADS
IDS = torch.tensor([[3, 7, 1, 12, 5, 9]])


# --- weights by name -------------------------------------------------------------------------------------------------


def drawn(key: str, *shape: int, scale: float | None = None) -> Tensor:
    """Normal numbers that depend on the key alone: of variance 2.25 / fan in for tables, biases of 0.05."""
    numbers = torch.randn(*shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())), dtype=torch.float64)
    return numbers * (scale or (1.5 / math.sqrt(shape[-1]) if len(shape) > 1 else 0.05))


def linear(key: str, wide: int, out: int, bias: bool = True) -> nn.Linear:
    """A linear map with drawn weights."""
    made = nn.Linear(wide, out, bias=bias, dtype=torch.float64)
    made.weight.data = drawn(key, out, wide)
    if bias:
        made.bias.data = drawn(f"{key}.bias", out)
    return made


def embedding(key: str, rows: int, wide: int = WIDTH) -> nn.Embedding:
    """A table with drawn rows."""
    return nn.Embedding.from_pretrained(drawn(key, rows, wide).clone(), freeze=False)


def parameter(key: str, *shape: int, scale: float | None = None) -> nn.Parameter:
    """A drawn parameter."""
    return nn.Parameter(drawn(key, *shape, scale=scale))


def norm(key: str, wide: int = WIDTH) -> nn.LayerNorm:
    """A layer norm with weights near 1."""
    made = nn.LayerNorm(wide, dtype=torch.float64)
    made.weight.data, made.bias.data = 1 + 2 * drawn(f"{key}.weight", wide), drawn(f"{key}.bias", wide)
    return made


# --- the reader ------------------------------------------------------------------------------------------------------


def eager(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention written out."""
    return (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1) @ v


class Attention(nn.Module):
    """Heads beside each other; `turn(q, k)` and `attend(q, k, v)` are the parts to exchange."""

    def __init__(self, key: str, turn: Callable | None = None, attend: Callable | None = None) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (linear(f"{key}.{name}", WIDTH, WIDTH) for name in "qkvo")
        self.turn, self.attend = turn, attend or eager

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (HEADS, HEAD)).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        if self.turn is not None:
            q, k = self.turn(q, k)
        return self.o(self.attend(q, k, v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a perceptron, each behind a norm and beside a skip."""

    def __init__(self, key: str, **parts: Any) -> None:
        super().__init__()
        self.before, self.between = norm(f"{key}.before"), norm(f"{key}.between")
        self.attention = Attention(key, **parts)
        self.perceptron = nn.Sequential(linear(f"{key}.up", WIDTH, 2 * WIDTH), nn.GELU(), linear(f"{key}.down", 2 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.before(x))
        return x + self.perceptron(self.between(x))


class Body(nn.Module):
    """Blocks, a norm and a head on the last place: vectors (B, T, D) in, three numbers out."""

    def __init__(self, turn: Callable | None = None, attend: Callable | None = None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(str(i), turn=turn() if turn else None, attend=attend() if attend else None) for i in range(LAYERS)
        )
        self.norm, self.head = norm("last"), linear("head", WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, -1])


class Net(Body):
    """The body behind a table of tokens; `enter(x, ids)` may add positions."""

    def __init__(self, enter: Callable | None = None, **parts: Any) -> None:
        super().__init__(**parts)
        self.tokens, self.enter = embedding("tokens", VOCABULARY), enter

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids)
        return super().forward(x if self.enter is None else self.enter(x, ids))


# --- spellings and what is true of them ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spelling:
    """One program: how it is built, called, and which number of its output is explained.

    read: the token relevance of a stream -> what is compared with the reference's
    row:  of a batch, the row that is explained
    boundaries: whether its modules are those of the reference, so that boundaries are compared
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: tuple = (IDS,)
    call: Callable[..., Any] = lambda model, *inputs: model(*inputs)
    pick: Callable[[Any], Tensor] = lambda out: out[0, 1]
    read: Callable[[Tensor], Tensor] | None = None
    row: int | None = None
    boundaries: bool = True


@dataclass
class Group:
    """Spellings of one function, the first of them the reference, and what must be true of them all.

    kinds:   of the sinks, in call order, over all streams
    places:  how many each stream has
    build:   what is decorated -> the model
    truth:   computed without the engine: {"tokens": (T,), "positional": (S, T) or totals (S,)}
    streams: names of the inputs, where there are several
    exact:   the twins agree to the bit
    """

    family: str
    name: str
    kinds: tuple[str, ...]
    places: tuple[int, ...] = (PLACES,)
    build: Callable[[Any], nn.Module] = lambda part: part()
    truth: Callable[[], dict[str, Tensor]] | None = None
    streams: tuple[str, ...] = ()
    exact: bool = False
    common: dict[str, Any] = field(default_factory=dict)
    spellings: list[Spelling] = field(default_factory=list)

    def __call__(self, part: Any) -> Any:
        """A further spelling, named after what is decorated."""
        return self.spelt()(part)

    def spelt(self, name: str | None = None, **given: Any) -> Callable[[Any], Any]:
        """A further spelling that is called, picked or read in a way of its own."""

        def add(part: Any) -> Any:
            words = name or re.sub(r"(?<!^)(?=[A-Z])|_", " ", part.__name__).lower()
            self.spellings.append(Spelling(words, lambda: self.build(part), **{**self.common, **given}))
            return part

        return add

    def whole(self, name: str, build: Callable[[], nn.Module], **given: Any) -> None:
        """A further spelling that is a model of its own."""
        self.spellings.append(Spelling(name, build, **{**self.common, **given}))

    def again(self, name: str, **changed: Any) -> None:
        """The reference once more, with something changed about how it is built, called or read."""
        self.spellings.append(replace(self.spellings[0], name=name, **changed))
