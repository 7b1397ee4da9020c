"""What positions are worth, as a value that draws itself: pairs of places, attention by attention."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..amounts import HYPHEN, signed
from ..errors import FileError, InputError
from ..pickling import Portable
from .as_promised import as_promised, fitting
from .serialisation import read, write
from .shown import Shown

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..views.sheet import Sheet
    from ..views.worth import PlainExchange


@dataclass(frozen=True, repr=False)
class Exchange(Shown, Portable):
    """What the explained number owes to each token's position: what exchanging it with others' would change.

    tokens:   names of all places, T of them; target, value: what was explained
    places:   (n,) those that took part: no special tokens, unless they were asked for
    pairs:    (P, 2) pairs of places that were exchanged
    values:   attention ("layer 3"), or "added positions" -> (heads, P), in units of the value
    semantic: (T,) relevance of the tokens under CP-LRP, beside which the share is taken
    partners: of each place; None: all. seed: how they were drawn
    kinds:    kinds of positions; notes: what must be said with it; streams: the same for each input where there are several
    """

    tokens: tuple[str, ...]
    target: str
    value: float
    places: Tensor
    pairs: Tensor
    values: Mapping[str, Tensor]
    semantic: Tensor
    partners: int | None
    seed: int
    kinds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    streams: Mapping[str, Exchange] = field(default_factory=dict)

    @property
    def totals(self) -> Tensor:
        """(P,) what each pair is worth, over all layers and heads."""
        return sum((v.double().sum(0) for v in self.values.values()), torch.zeros(len(self.pairs), dtype=torch.float64))

    @property
    def matrix(self) -> Tensor:
        """(T, T) symmetric; 0 for a place with itself, nan where two places were not exchanged."""
        return self._matrix(self.totals)

    def of(self, attention: str, head: int | None = None) -> Tensor:
        """(T, T) of one attention, of one head of it. Raises InputError for a name or number that there is not."""
        if attention not in self.values:
            raise InputError(
                f"There is no attention {attention!r}; there are {', '.join(self.values)}. Type of({next(iter(self.values))!r})."
            )
        heads = self.values[attention].double()
        if head is not None and not 0 <= head < len(heads):
            raise InputError(f"{attention} has heads 0 to {len(heads) - 1}, got {head}.")
        return self._matrix(heads.sum(0) if head is None else heads[head])

    def _matrix(self, amounts: Tensor) -> Tensor:
        T = len(self.semantic)
        found = torch.full((T, T), torch.nan, dtype=torch.float64)
        found[self.places, self.places] = 0.0
        a, b = self.pairs.T
        found[a, b] = found[b, a] = amounts
        return found

    @property
    def signed(self) -> Tensor:
        """(T,) mean over partners, signed; nan for places that took no part."""
        return self._mean(self.totals)

    @property
    def absolute(self) -> Tensor:
        """(T,) mean size over partners; nan for places that took no part."""
        return self._mean(self.totals.abs())

    @property
    def layers(self) -> Tensor:
        """(L, T) `signed` of each entry of `values`, in their order."""
        return (
            torch.stack([self._mean(v.double().sum(0)) for v in self.values.values()])
            if self.values
            else torch.zeros(0, len(self.semantic))
        )

    @property
    def heads(self) -> dict[str, Tensor]:
        """Attention -> (heads, T), `signed` of each head."""
        return {name: torch.stack([self._mean(head) for head in v.double()]) for name, v in self.values.items()}

    def _mean(self, amounts: Tensor) -> Tensor:
        T = len(self.semantic)
        total, count = torch.zeros(T, dtype=torch.float64), torch.zeros(T, dtype=torch.float64)
        for side in self.pairs.T:
            total.index_add_(0, side, amounts.double())
            count.index_add_(0, side, torch.ones_like(amounts, dtype=torch.float64))
        return torch.where(count > 0, total / count.clamp(min=1), torch.nan)

    @property
    def share(self) -> float:
        """sum |P_t| / (sum |P_t| + sum |S_t|), P_t signed and S_t the token's relevance under CP-LRP, at the same places."""
        P, S = self.signed[self.places].nan_to_num(0.0).abs().sum(), self.semantic[self.places].double().abs().sum()
        return float(P / (P + S)) if P + S > 0 else 0.0

    def by_distance(self) -> pandas.DataFrame:
        """A row for each distance |t - u|: mean signed worth, mean size, and how many pairs."""
        import pandas

        away = (self.pairs[:, 0] - self.pairs[:, 1]).abs()
        rows = [(int(d), (x := self.totals[away == d]).mean().item(), x.abs().mean().item(), len(x)) for d in away.unique()]
        return pandas.DataFrame(rows, columns=["distance", "signed", "size", "pairs"])

    def plain(self) -> PlainExchange:
        """The same without tensors, of the places that took part: what every view draws."""
        at = self.places.sort().values
        away = self.by_distance()

        def square(x: Tensor) -> list[list[float]]:
            return x[at][:, at].tolist()

        return {
            "target": self.target, "value": self.value, "share": self.share, "places": at.tolist(),
            "tokens": [self.tokens[i] for i in at.tolist()], "matrix": square(self.matrix),
            "attentions": {name: square(self.of(name)) for name in self.values},
            "signed": self.signed[at].tolist(), "size": self.absolute[at].tolist(),
            "away": {name: away[name].tolist() for name in away}, "notes": list(self.notes),
            "streams": {name: one.plain() for name, one in self.streams.items()},
        }  # fmt: skip

    def sheet(self) -> Sheet:
        """The same as a view that is not drawn yet: a cell of a notebook, a file, or a widget."""
        from ..views.worth import sheet

        return sheet(self.plain())

    def figure(self, kind: str = "all", *, ax: Axes | None = None, size: tuple[float, float] | None = None) -> Figure:
        """A matplotlib Figure for a paper: the matrix, each place's worth, and the profile over distance.

        kind: "all", or one panel: "matrix", "places", "distance"
        ax:   draw one panel into these axes, and give their figure back; size: (width, height) in inches

        Raises InputError for another kind, or what cannot be drawn so.
        """
        from ..views.exchange import draw

        return draw(self.plain(), kind, ax, size)

    def save(self, path: str | os.PathLike) -> None:
        """Write it to one file, .npz or .safetensors. Raises FileError."""
        write(path, {"exchange": self._tree()})

    def _tree(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("target", "value", "places", "pairs", "semantic", "partners", "seed")}
        lists = {"tokens": list(self.tokens), "kinds": list(self.kinds), "notes": list(self.notes)}
        return {**plain, **lists, "values": dict(self.values), "streams": {name: one._tree() for name, one in self.streams.items()}}

    @classmethod
    def load(cls, path: str | os.PathLike) -> Exchange:
        """What `save` wrote. Raises FileError for anything else."""
        tree = read(path)
        if "exchange" not in tree:
            raise FileError(f"{path} must hold an exchange, and holds something else. Type pelrp_nb.Explanation.load({str(path)!r}).")
        with as_promised(path, "a whole exchange", "Save it again with exchange.save(path)."):
            return fitting(cls._of(tree["exchange"]))._checked()

    def _checked(self) -> Exchange:
        """Itself, if its parts fit together. Raises ValueError."""
        T, P = len(self.tokens), len(self.pairs)
        shapes = {"semantic": (self.semantic, (T,)), "places": (self.places, (len(self.places),)), "pairs": (self.pairs, (P, 2))}
        shapes |= {name: (x, (*x.shape[:1], P)) for name, x in self.values.items()}
        for name, (x, shape) in shapes.items():
            if tuple(x.shape) != shape:
                raise ValueError(f"{name} must have shape {shape}, and has {tuple(x.shape)}")
            if x.is_complex() or x.is_floating_point() == (name in ("places", "pairs")):
                raise ValueError(f"{name} cannot be {x.dtype}")
        for name in ("places", "pairs"):
            if (x := getattr(self, name)).numel() and not 0 <= int(x.min()) <= int(x.max()) < T:
                raise ValueError(f"{name} must be numbers of {T} tokens")
        for stream in self.streams.values():
            stream._checked()
        return self

    @classmethod
    def _of(cls, tree: Mapping[str, Any]) -> Exchange:
        lists = {name: tuple(tree[name]) for name in ("tokens", "kinds", "notes")}
        return cls(**{**tree, **lists, "streams": {name: cls._of(one) for name, one in tree["streams"].items()}})

    def __repr__(self) -> str:
        most = self.signed.nan_to_num(0.0).abs().topk(min(3, len(self.places))).indices.tolist()
        named = ", ".join(f"{self.tokens[i]!r} {signed(self.signed[i].item(), 3, HYPHEN)}" for i in most)
        value = signed(self.value, 4, HYPHEN)
        return f"Exchange({self.target} {value}: {named}; share of positions {self.share:.2f}, {len(self.pairs)} pairs)"

    def __str__(self) -> str:
        from ..views.worth import MEANS

        return "\n".join([repr(self), MEANS, *self.notes])
