"""A circuit: the edges from word to word that carry most of a difference, and how much of it they keep alone."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..amounts import HYPHEN, MINUS, as_drawn, signed
from ..errors import FileError
from ..pickling import Portable
from ..views.routes_data import PlainGroup, PlainHead, PlainLevel, Sparse
from .as_promised import as_promised
from .routes import named
from .serialisation import read, write
from .shown import Shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from ..views.sheet import Sheet

Edges = Mapping[str, Tensor]


@dataclass(frozen=True)
class Message:
    """What one head hands to the place `at` from the place `source`, and what it is estimated to be worth.

    token, other: what stands at the place that gets it, and at the one that it comes from
    """

    attention: str
    head: int
    at: int
    source: int
    token: str
    other: str
    amount: float

    def __str__(self) -> str:
        amount = signed(self.amount, 3, HYPHEN)
        return f"{self.attention} head {self.head}: {self.other!r} at {self.source} -> {self.token!r} at {self.at} ({amount})"


@dataclass(frozen=True, repr=False)
class Circuit(Portable, Shown):
    """Edges, and the number that is left when every other edge hands over what it does in the corrupted run.

    messages: the edges, the largest first; tokens: of the clean input; value: what is left; clean, corrupt: the numbers of both runs
    amounts:  attention -> (H, Tq, Tk) what the edges of the circuit are worth, 0 elsewhere
    """

    messages: tuple[Message, ...]
    tokens: tuple[str, ...]
    target: str
    value: float
    clean: float
    corrupt: float
    amounts: Edges

    @classmethod
    def of(cls, edges: Edges, kept: Edges, tokens: Sequence[str], target: str, value: float, clean: float, corrupt: float) -> Circuit:
        """The circuit of the edges that are `kept`."""
        found = []
        for name, keep in kept.items():
            queries, keys = (named(tokens, n) for n in keep.shape[1:])
            for h, i, j in keep.nonzero().tolist():
                found.append(Message(name, h, i, j, str(queries[i]), str(keys[j]), float(edges[name][h, i, j])))
        found.sort(key=lambda one: -abs(one.amount))
        amounts = {name: torch.where(keep, edges[name], 0.0) for name, keep in kept.items()}
        return cls(tuple(found), tuple(tokens), target, value, clean, corrupt, amounts)

    @property
    def faithfulness(self) -> float:
        """What is left, as a part of the difference of the two runs: 0 as corrupted, 1 as clean."""
        return (self.value - self.corrupt) / (self.clean - self.corrupt) if self.clean != self.corrupt else float("nan")

    def to_frame(self) -> DataFrame:
        """One row per edge."""
        import pandas as pd

        return pd.DataFrame([vars(one) for one in self.messages])

    def figure(self, *, ax: Any = None, size: Any = None, colours: Any = None) -> Figure:
        """Tokens along one axis, layers along the other; the edges of the circuit."""
        from ..views.routes_figure import drawn

        levels = [{"name": name, "amounts": x.sum(0).tolist(), "skip": []} for name, x in self.amounts.items() if x.shape[1] == x.shape[2]]
        title = f"{self.target}: {len(self.messages)} edges keep {as_drawn(f'{self.faithfulness:.0%}')}"
        return drawn([str(token) for token in self.tokens], levels, title, ax, size, colours)

    def sheet(self) -> Sheet:
        """The same as a view that is not drawn yet: places by layers with the messages between them; click a place, a message."""
        from ..views.circuit_page import page

        messages = [vars(one) for one in self.messages]
        return page({
            "target": self.target, "value": self.value, "clean": self.clean, "corrupt": self.corrupt, "line": repr(self),
            "head": self._line(MINUS), "messages": messages, "groups": groups(self.amounts, self.tokens),
        })  # fmt: skip

    def save(self, path: str | os.PathLike) -> None:
        """Write it to one file, .npz or .safetensors. Raises FileError."""
        kept = {name: torch.tensor([[m.head, m.at, m.source] for m in self.messages if m.attention == name]) for name in self.amounts}
        numbers = {name: getattr(self, name) for name in NUMBERS}
        write(path, {"circuit": {**numbers, "tokens": list(self.tokens), "amounts": dict(self.amounts), "kept": kept}})

    @classmethod
    def load(cls, path: str | os.PathLike) -> Circuit:
        """What `save` wrote. Raises FileError for anything else."""
        tree = read(path)
        if "circuit" not in tree:
            raise FileError(f"{path} must hold a circuit, and holds something else. Type pelrp_nb.Explanation.load({str(path)!r}).")
        with as_promised(Path(path), "what circuit.save wrote", "Save the circuit again with circuit.save(path)."):
            found = tree["circuit"]
            kept = {name: torch.zeros_like(x, dtype=torch.bool) for name, x in found["amounts"].items()}
            for name, edges in found["kept"].items():
                kept[name][tuple(edges.reshape(-1, 3).long().T)] = True
            return cls.of(found["amounts"], kept, found["tokens"], **{name: found[name] for name in NUMBERS})

    def __repr__(self) -> str:
        return self._line(HYPHEN)

    def _line(self, minus: str) -> str:
        kept = f"{self.faithfulness:.0%}".replace(HYPHEN, minus)
        return f"Circuit({len(self.messages)} edges keep {kept} of {self.target} {signed(self.clean, 4, minus)})"

    def __str__(self) -> str:
        return "\n".join([repr(self), *map(str, self.messages[:20])])


NUMBERS = ("target", "value", "clean", "corrupt")
PLACE = re.compile(r"(.*)\blayer \d+")  # of an attention that is the first of its layer


def groups(amounts: Edges, tokens: Sequence[str]) -> list[PlainGroup]:
    """What the view draws: attentions between the same places lie above each other, others apart."""
    found: dict[tuple[str | None, int, int], list[str]] = {}
    for name, x in amounts.items():
        place = PLACE.fullmatch(name)
        found.setdefault((place[1].strip() if place else None, *x.shape[1:]), []).append(name)
    return [_group(amounts, tokens, stream, names) for (stream, _, _), names in found.items()]


def _group(amounts: Edges, tokens: Sequence[str], stream: str | None, names: list[str]) -> PlainGroup:
    _, q, k = amounts[names[0]].shape
    own = stream is not None and q == k
    together = [[name] for name in names] if own else [names]
    levels = [_level(part, torch.stack([amounts[name].sum(0) for name in part]).sum(0)) for part in together]
    heads = [
        PlainHead(
            attention=name, level=level, head=h, relevance=0.0, handed=float(x.sum()), size=float(x.abs().sum()), looks="", part=0.0,
            edges=_sparse(x),
        )
        for level, part in enumerate(together)
        for name in part
        for h, x in enumerate(amounts[name])
        if x.any()
    ]  # fmt: skip
    queries, keys = ([str(token) for token in named(tokens, n)] for n in (q, k))
    return PlainGroup(
        stream=stream or "cross", of=stream or "cross", own=own, tokens=queries, others=keys, levels=levels, heads=heads
    )  # fmt: skip


def _level(names: list[str], whole: Tensor) -> PlainLevel:
    nothing = [0.0] * whole.shape[0]
    return PlainLevel(
        name=names[0] if len(names) == 1 else f"{len(names)} attentions", attentions=names, given=whole.sum(1).tolist(),
        received=whole.sum(0).tolist(), query=nothing, positions=nothing, kept=nothing, node=None, size=float(whole.abs().sum()),
        edges=_sparse(whole),
    )  # fmt: skip


def _sparse(whole: Tensor) -> Sparse:
    flat = whole.flatten()
    at = flat.nonzero()[:, 0]
    return Sparse(at=at.numpy(), amount=flat[at].numpy())


def count(edges: Edges) -> int:
    """How many edges there are: pairs that no mask hides, of each head."""
    return sum(int((~x.isnan()).sum()) for x in edges.values())


def chosen(edges: Edges, n: int) -> dict[str, Tensor]:
    """By attention (H, Tq, Tk) whether an edge is among the n largest."""
    flat = torch.cat([x.abs().flatten() for x in edges.values()]).nan_to_num(-1.0)
    kept = torch.zeros_like(flat, dtype=torch.bool)
    kept[flat.topk(n).indices] = True
    sizes = [x.numel() for x in edges.values()]
    return {name: part.reshape(x.shape) for (name, x), part in zip(edges.items(), kept.split(sizes), strict=True)}
