"""Relevance by layer and by head as arrays whose rows have names.

result.layers                     (L, T), row "layer 3" is the relevance of each token after that layer
result.layers["layer 3"]          (T,), the same as result.layers[3]
result.heads["layer 3"][1]        (T,), head 1 of its attention
numpy.asarray(result.layers), result.layers.to_frame()
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..engine.trace import Boundary
from ..errors import InputError
from ..pickling import Portable

if TYPE_CHECKING:
    import numpy as np
    from pandas import DataFrame


@dataclass(frozen=True, eq=False, repr=False)
class Rows(Portable):
    """An array whose rows have names; numpy, matplotlib and torch.as_tensor(rows.values) take it as it is.

    values:  (L, T) or (L, H, T), on the CPU
    names:   of the rows (L)
    columns: of the last axis (T): the tokens
    """

    values: Tensor
    names: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the values."""
        return tuple(self.values.shape)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.values)

    def __getitem__(self, at: Any) -> Tensor:
        """A row by its name, or whatever the values have at that place."""
        return self.values[self.index(at) if isinstance(at, str) else at]

    def index(self, name: str) -> int:
        """The number of the row of that name."""
        if name not in self.names:
            near = get_close_matches(name, self.names, 1, 0.0)
            raise InputError(f"There is no row {name!r}; the rows are {listed(self.names)}. Type [{near[0]!r}] or a number.")
        return self.names.index(name)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.values.numpy()
        return array.astype(dtype or array.dtype, copy=bool(copy))

    def to_frame(self) -> DataFrame:
        """The same as a DataFrame: a row per name (and head), a column per token."""
        import pandas as pd

        *rows, _ = self.shape
        index: Any = pd.Index(self.names, name="row")
        if len(rows) == 2:
            index = pd.MultiIndex.from_product([self.names, range(rows[1])], names=["row", "head"])
        return pd.DataFrame(self.values.reshape(-1, self.shape[-1]).numpy(), index=index, columns=list(self.columns))

    def __repr__(self) -> str:
        return f"Rows({' x '.join(map(str, self.shape))}: {listed(self.names)})"

    def _repr_html_(self) -> str:
        from ..views.text import visible

        frame = self.to_frame()
        return str(
            frame.set_axis([visible(name, 30) for name in frame.columns], axis=1).to_html(max_rows=40, max_cols=40, float_format="%+.4g")
        )


def listed(names: Sequence[str], most: int = 6) -> str:
    """Some names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def by_layer(boundaries: Sequence[Boundary], tokens: Sequence[str]) -> Rows:
    """(L, T) the relevance of each token after each layer."""
    kept = {b.name: b.relevance for b in boundaries if b.kind == "layer"}
    if not kept:
        raise InputError(
            "layers needs the boundaries of layers, and this explanation has none: it was made with Options(ledger=False), or the "
            "model has no layers. Type explain(model, inputs) without it."
        )
    return stacked("layers", kept, tokens, "boundaries")


def by_head(detail: Mapping[str, Any], tokens: Sequence[str]) -> Rows:
    """(L, H, T) the relevance that arrived at the output of each head of each attention, by the token that asks."""
    found = detail.get("attention") or detail.get("routes", {}).get("attention", {})
    kept = {name: parts["heads"] for name, parts in found.items()}
    if not kept:
        raise InputError(
            'heads needs the heads of an attention, and this explanation has none. Type explain(..., options=Options(detail={"heads"})).'
        )
    return stacked("heads", kept, tokens, 'detail["attention"]')


def stacked(what: str, kept: Mapping[str, Tensor], tokens: Sequence[str], apart: str) -> Rows:
    """One array of all; InputError where they are not of one shape."""
    shapes = {tuple(x.shape) for x in kept.values()}
    if len(shapes) > 1:
        raise InputError(f"{what} must be of one shape to be one array, got {sorted(shapes)}. Type result.{apart} for each of them.")
    values = torch.stack(list(kept.values()))
    places = tuple(tokens) if len(tokens) == values.shape[-1] else tuple(map(str, range(values.shape[-1])))
    return Rows(values, tuple(kept), places)
