"""Which way relevance went: from word to word, through each head of each layer, as numbers that add up.

    result = explain(model, text, processor=tokenizer, options=Options(detail={"routes"}))
    print(result.routes)                                  # the largest edges, in words
    result.routes.matrix("layer 3", head=1)               # (T, T): row, the place that hands on; column, the place that receives
    result.routes.edges(20), result.routes.to_frame()     # the largest ones; the account of every head
    result.routes.figure()

A *node* is a residual sum at one place: what it holds is what was skipped on plus what its branch was paid.  The branch of an MLP stays
at its place.  In the branch of an attention, each head at each place i holds

    heads_i = sum_j values_ij + sum_j scores_ij + positions_i + kept_i

values_ij goes to place j; of scores_ij the key's part to j, the query's stays at i; positions_i went to biases and the like, and kept_i
stayed with the softmax.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor

from ..amounts import HYPHEN, signed
from ..engine.numerics import better
from ..errors import InputError
from .arrays import listed
from .patterns import looks
from .routes_parts import Part, edges, given, keys_of, named, received
from .routes_plain import plain
from .shown import Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from ..views.sheet import Sheet


@dataclass(frozen=True)
class Edge:
    """Relevance that one head handed from one place to another.

    attention: "layer 3"; head; at: the place that handed on, to: the place that received; token, other: what stands there
    amount:    what was handed to that place: values, and the key's part of scores; in units of `value`
    """

    attention: str
    head: int
    at: int
    to: int
    token: str
    other: str
    amount: float
    values: float
    scores: float


class Routes(Shown):
    """What each head at each place handed to other places, and what each residual sum was made of; T places, H heads.

    names: of the attentions, in call order ("layer 0"; those of several streams begin with their stream's name)
    nodes: of each residual sum by name ("layer 0 attention", "layer 0 mlp"): "relevance", "skip", "branch", (T,) each, where
           relevance = skip + branch, and "attentions", the names of those in its branch
    """

    def __init__(
        self, streams: Mapping[str, tuple[Sequence[str], Mapping[str, Any]]], target: str, value: float, about: str = ""
    ) -> None:  # fmt: skip
        """`streams`: of each the tokens, and what `Options(detail={"routes"})` found; about: what was explained by what, in words."""
        self.target, self.value, self.about = target, value, about
        self.found: dict[str, Mapping[str, Any]] = {}
        self.nodes: dict[str, Mapping[str, Any]] = {}
        self._streams: dict[str, str] = {}
        self._names: dict[str, tuple[Sequence[str], Sequence[str]]] = {}
        tokens = {name: own for name, (own, _) in streams.items()}
        for stream, (own, found) in streams.items():
            self.nodes |= found["nodes"]
            for name, one in found["attention"].items():
                self.found[name], self._streams[name] = one, stream
                self._names[name] = (named(own, one["heads"].shape[-1]), named(tokens.get(one["of"], ()), keys_of(one)))

    @property
    def names(self) -> tuple[str, ...]:
        """The attentions, in call order."""
        return tuple(self.found)

    def tokens(self, layer: str | int) -> tuple[Sequence[str], Sequence[str]]:
        """What stands at the places that hand on (Tq), and at those that receive (Tk)."""
        return self._names[self._name(layer)]

    def matrix(self, layer: str | int, head: int | None = None, part: Part = "handed") -> Tensor:
        """(Tq, Tk) what each place (row) handed to each place (column), through one head or all of them.

        part: "handed": values and the key's part of scores, which is what the other place received; "values"; "scores": all that went
              through the product of query and key, of which `share(layer)` says whose it is

        Where only the largest edges of each node were kept, the others are 0 here, and `rest` has their sums.
        """
        one = self.found[self._name(layer)]
        whole = edges(one, part)
        if head is None:
            return whole.sum(0)
        if not is_number(head) or not 0 <= head < len(whole):
            raise InputError(f"head must be a number from 0 to {len(whole) - 1}, got {head!r}. Type matrix({self._name(layer)!r}, head=0).")
        return whole[head]

    def rest(self, layer: str | int, part: Part = "handed") -> tuple[Tensor, Tensor]:
        """(H, Tq) and (H, Tk): of the edges that were not kept, what places handed on, and what they received; 0 where all were kept."""
        one = self.found[self._name(layer)]
        whole = edges(one, part)
        if "at" not in one:
            return torch.zeros_like(whole[..., 0]), torch.zeros_like(whole[:, 0])
        return given(one, part) - whole.sum(-1), received(one, part) - whole.sum(-2)

    def share(self, layer: str | int) -> tuple[float, float]:
        """The query's part and the key's part of what goes through scores."""
        one = self.found[self._name(layer)]
        return float(one["query"]), float(one["key"])

    def edges(self, top: int = 20, layer: str | int | None = None, head: int | None = None) -> list[Edge]:
        """The largest edges by size, of all attentions or of one, through all heads or one."""
        if not is_number(top) or top < 1:
            raise InputError(f"top must be a number of edges from 1, got {top!r}. Type edges(20).")
        found: list[Edge] = []
        for name in self.names if layer is None else (self._name(layer),):
            one = self.found[name]
            whole = edges(one)
            if head is not None:
                self.matrix(name, head)
                whole = torch.where(torch.arange(len(whole))[:, None, None] == head, whole, 0)
            _, q, k = whole.shape
            values, scores = edges(one, "values"), edges(one, "scores")
            queries, keys = self._names[name]
            for place in whole.flatten().abs().topk(min(top, whole.numel())).indices.tolist():
                h, i, j = place // (q * k), place // k % q, place % k
                amounts = (float(x[h, i, j]) for x in (whole, values, scores))
                found.append(Edge(name, h, i, j, str(queries[i]), str(keys[j]), *amounts))
        return sorted((e for e in found if e.amount), key=lambda e: -abs(e.amount))[:top]

    def to_frame(self) -> DataFrame:
        """One row per attention and head, summed over places: relevance = values + queries + keys + positions + kept.

        handed: the size of its edges added up, by which heads can be compared
        looks like, part: the pattern that has most of that, "previous token", "first token", "itself", "same word" or "distance 4",
                and its part; "" where none has half
        """
        import pandas as pd

        rows = []
        for name, one in self.found.items():
            values, scores = (given(one, part).sum(-1) for part in ("values", "scores"))
            whole = edges(one)
            sizes = whole.abs().sum((-2, -1))
            for h in range(len(whole)):
                query, key = float(one["query"]), float(one["key"])
                pattern, part = looks(whole[h], *self._names[name])
                rows.append({
                    "attention": name, "head": h, "relevance": float(better(one["heads"])[h].sum()), "values": float(values[h]),
                    "queries": query * float(scores[h]), "keys": key * float(scores[h]),
                    "positions": float(better(one["positions"])[h].sum()),
                    "kept": float(better(one["kept"])[h].sum()),
                    "handed": float(sizes[h]), "looks like": pattern, "part": part,
                })  # fmt: skip
        return pd.DataFrame(rows)

    def figure(self, *, ax: Axes | None = None, size: Any = None, colours: Any = None, stream: str | None = None) -> Figure:
        """Tokens along one axis, layers along the other; the edges that carry most, as wide as their relevance, coloured by sign.

        stream: of several, the one whose edges between its own places are drawn; None: the last that has some
        """
        from ..views.routes_figure import drawn

        own = [name for name in self.names if self.found[name]["of"] == self.stream(name)]
        streams = list(dict.fromkeys(self.stream(name) for name in own))
        if stream is not None and stream not in streams:
            raise InputError(f"stream must be one of {', '.join(streams)}, got {stream!r}. Type figure(stream={streams[-1]!r}).")
        shown = [name for name in own if self.stream(name) == (streams[-1] if stream is None else stream)]
        levels = [{"name": name, "amounts": self.matrix(name).tolist(), "skip": self._skipped(name)} for name in shown]
        tokens = [str(token) for token in self._names[shown[0]][0]]
        return drawn(tokens, levels, f"{self.target}: which way relevance went", ax, size, colours)

    def thumbnails(self, top: int = 12, *, size: Any = None, colours: Any = None) -> Figure:
        """The matrices of the heads that handed on most, the largest first, each with the pattern that it looks like."""
        from ..views.routes_figure import thumbnails

        table = self.to_frame().sort_values("handed", ascending=False, kind="stable")[:top]
        shown = []
        for row in table.to_dict("records"):
            said = f", {row['looks like']} {row['part']:.0%}" if row["looks like"] else ""
            matrix = self.matrix(row["attention"], row["head"])
            shown.append({"name": f"{row['attention']} head {row['head']}{said}", "amounts": matrix.tolist()})
        return thumbnails(shown, f"{self.target}: heads by what they handed on", size, colours)

    def __repr__(self) -> str:
        H = max(one["heads"].shape[0] for one in self.found.values())
        return f"Routes({len(self.names)} attentions, {H} heads, {len(self.nodes)} residual sums)"

    def __str__(self) -> str:
        lines = [f"{self!r} of {self.target} {signed(self.value, 4, HYPHEN)}"]
        for e in self.edges(10):
            lines.append(f"{e.amount:+10.4f}  {e.attention} head {e.head}: {e.token!r} at {e.at} -> {e.other!r} at {e.to}")
        return "\n".join(lines)

    def sheet(self, kind: str = "routes") -> Sheet:
        """The same as a view that is not drawn yet: "routes", tokens by layers with edges between them, or "heads", their matrices."""
        from ..views.routes_page import KINDS, page

        if kind not in KINDS:
            raise InputError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}. Type sheet('routes').")
        one_by_one = {
            f"{name} head {head}": partial(self._as_array, name, head)
            for name in self.names
            for head in range(self.found[name]["heads"].shape[0])
        }
        return page(kind, plain(self), one_by_one)

    # --- behind it -----------------------------------------------------------------------------------------------------

    def _name(self, layer: str | int) -> str:
        if is_number(layer) and -len(self.found) <= layer < len(self.found):
            return self.names[layer]
        if isinstance(layer, str) and layer in self.found:
            return layer
        raise InputError(f"There is no attention {layer!r}; there are {listed(self.names)}. Type matrix({self.names[0]!r}).")

    def stream(self, name: str) -> str:
        """Of the places that hand on in this attention."""
        node = next((n for n, one in self.nodes.items() if name in one["attentions"]), None)
        return self._streams[name] if node is None else node.partition("layer ")[0].strip()

    def _as_array(self, name: str, head: int) -> Any:
        return self.matrix(name, head).numpy()

    def _skipped(self, name: str) -> list[float]:
        node = next((one for one in self.nodes.values() if name in one["attentions"]), None)
        return [] if node is None else node["skip"].tolist()


def is_number(given: Any) -> TypeGuard[int]:
    """Whether it is a whole number, Python's or numpy's."""
    return isinstance(given, Integral) and not isinstance(given, bool)
