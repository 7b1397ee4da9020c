"""What an explanation is handed on as: arrays, a data frame, a dict, LaTeX, figures, pages."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..engine.trace import Boundary
from ..calls import fitting
from ..errors import CallError, InputError
from ..pickling import Portable
from . import arrays
from .as_dict import as_dict
from .latex import latex
from .reductions import Reduction
from .routes import Routes
from .shown import written
from .subwords import Span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from ..views.data import Plain
    from ..views.sheet import Sheet


CALLED = {  # what other libraries call it -> what to type
    **dict.fromkeys(("scores", "attributions", "attribution", "relevances", "importance", "saliency", "heatmap"), "relevance()"),
    **dict.fromkeys(("logit", "logits", "score", "prediction", "output"), "value, and target for its name"),
    **dict.fromkeys(("plot", "show", "display", "visualise", "visualize", "render"), "figure(), or explore() in a notebook"),
    **dict.fromkeys(("to_df", "to_pandas", "df", "dataframe", "table"), "to_frame()"),
    **dict.fromkeys(("to_json", "json", "as_dict", "asdict"), "to_dict()"),
    **dict.fromkeys(
        ("to_svg", "to_png", "save_svg", "svg", "png"),
        'figure("text").savefig("why.svg"), or to_html("why.html"): its page saves what it shows',
    ),
    **dict.fromkeys(("attention", "attentions"), 'heads, made with Options(detail={"heads"})'),
    **dict.fromkeys(("closed", "gap", "opened"), "ledger.closed, ledger.gap or ledger.opened"),
    **dict.fromkeys(("matrix", "compare", "aggregate", "flat"), "explain(model, [one, other]) for several, which have it"),
}

DRAWN = {  # keywords of figure that people try -> what to type
    **dict.fromkeys(("colors", "color", "colour", "palette"), "colours={}"),
    **dict.fromkeys(("cmap", "colormap"), 'colours={{"plus": "tab:green", "minus": "tab:red"}}'),
    **dict.fromkeys(("axes", "axis"), "ax={}"),
    "figsize": "size={}",
    "path": "figure().savefig({})",
}


class Exports(Portable):
    """What an explanation can be handed on as; it says nothing that the explanation does not hold."""

    tokens: tuple[str, ...]
    target: str
    value: float
    streams: Mapping[str, Any]
    semantic: Tensor
    positional: Tensor
    boundaries: tuple[Boundary, ...]
    offsets: tuple[Span | None, ...] | None
    special: tuple[bool, ...]
    map: Tensor | None
    maps: Mapping[str, Tensor]
    detail: Mapping[str, Any]
    if TYPE_CHECKING:

        @property
        def model(self) -> str: ...
        @property
        def method(self) -> str: ...
        @property
        def offered(self) -> tuple[Reduction, ...]: ...

        plain: Callable[[], Plain]
        sheet: Callable[..., Sheet]
        ledger: Any
        parts: Callable[[Reduction], tuple[Tensor, Tensor]]
        relevance: Callable[[Reduction], Tensor]

    if not TYPE_CHECKING:  # a type checker is to know what there is

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            near = get_close_matches(name, [one for one in dir(self) if not one.startswith("_")], 1)
            hint = CALLED.get(name) or (near[0] if near else "to_frame() for all its numbers")
            raise AttributeError(f"An explanation has no `{name}`. Type {hint}.")

        def __getitem__(self, at: Any) -> Any:
            raise CallError(f"An explanation has no items, and {at!r} was asked for. Type result.relevance()[0], or result.words().")

    @property
    def layers(self) -> arrays.Rows:
        """(L, T) the relevance of each token after each layer, as rows with names: `layers["layer 3"]`, `layers[3]`.

        Raises InputError where there are no layers, or where their places are not the same. Branches, embeddings and gaps are in
        `boundaries`; for a model with several streams see `streams[name].layers`.
        """
        return arrays.by_layer(self.boundaries, self.tokens)

    @property
    def heads(self) -> arrays.Rows:
        """(L, H, T) the relevance at the output of each head of each attention: `heads["layer 3"][1]` is (T,).

        Raises InputError where the explanation was made without `Options(detail={"heads"})`, or "routes".
        """
        return arrays.by_head(self.detail, self.tokens)

    @property
    def routes(self) -> Routes:
        """What each head handed from place to place, as numbers that add up: `routes.matrix("layer 3", head=1)` is (T, T). See `Routes`.

        Those of all streams where there are several.  Raises InputError where the explanation was made without
        `Options(detail={"routes"})`.
        """
        parts = self.streams or {"": self}
        found = {name: (one.tokens, one.detail["routes"]) for name, one in parts.items() if "routes" in one.detail}
        if not any(one["attention"] for _, one in found.values()):
            raise InputError(
                "routes needs what each head handed on, and this explanation has none of it. Type "
                'explain(..., options=Options(detail={"routes"})).'
            )
        return Routes(found, self.target, self.value, f"{self.model} \u00b7 {self.method} \u00b7 ledger {self.ledger.state}")

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data that JSON takes; numbers as they are, not rounded."""
        return as_dict(self.plain())

    def to_frame(self) -> DataFrame:
        """One row per token: token, start, end, special, semantic, positional, and every reduction in `offered`."""
        import pandas as pd

        places = self.offsets or (None,) * len(self.tokens)
        columns: dict[str, Any] = {
            "token": pd.Series(self.tokens, dtype=object),
            "start": pd.array([None if span is None else span[0] for span in places], dtype="Int64"),
            "end": pd.array([None if span is None else span[1] for span in places], dtype="Int64"),
            "special": pd.array(self.special, dtype=bool),
            "semantic": self.semantic.numpy(),
            "positional": self.positional.sum(0).numpy(),
        }
        return pd.DataFrame(columns | {name: self.relevance(name).numpy() for name in self.offered})

    def to_html(self, path: str | os.PathLike | None = None, kind: str = "explanation") -> str | None:
        """An interactive page in one file that needs no network; written to `path`, or returned as text if there is none.

        kind: of view, as for `explore`. Raises FileError if the file cannot be written.
        """
        return written(self.sheet(kind), path)

    def to_latex(self, kind: str = "words", reduction: Reduction = "signed") -> str:
        r"""A fragment for a paper: "words" on their colours (needs xcolor), or a "table" of tokens (needs booktabs).

        Put what you write of it into the text by `\input{why.tex}`; tokens are escaped. Raises InputError for another kind.
        """
        self.parts(reduction)
        return latex(self.plain(), kind, reduction)

    @fitting(DRAWN)
    def figure(
        self,
        kind: str = "all",
        *,
        ax: Axes | None = None,
        size: tuple[float, float] | None = None,
        colours: Mapping[str, str] | None = None,
    ) -> Figure:
        """A matplotlib Figure for print: tokens with content and position, layers, ledger.

        kind:    "all", or one panel: "text" (the words as people read them, in colour), "tokens", "layers", "waterfall" (what
                 the value is made of, term after term), "ledger", "spectrum" where `detail` has "frequencies", "routes" (and
                 "heads": their matrices, the largest first) where it has those
        ax:      draw one panel into these axes, in a grid of your own, and give their figure back
        size:    (width, height) in inches
        colours: of "content", "position" (bars of tokens), "plus", "minus" (words, layers, ledger), as matplotlib takes them

        For images see `overlay` and `patches`.  Raises InputError for another kind, or where there is nothing to draw.
        """
        from ..views.figure import panel

        if kind == "routes":
            return self.routes.figure(ax=ax, size=size, colours=colours)
        if kind == "heads":
            if ax is not None:
                raise InputError("Heads have axes of their own, one each, and cannot be drawn into one. Type figure('routes', ax=ax).")
            return self.routes.thumbnails(size=size, colours=colours)
        return panel(kind, self.plain(), as_arrays(self.detail.get("frequencies", {})), ax, size, colours)

    def overlay(self, picture: Any) -> Figure:
        """For images: the picture (PIL or array) and over it the map of relevance, of content alone, of position alone.

        The maps are spread over the picture's own size; their sums stay.  Raises InputError where there is no map.
        """
        from ..inputs.image_processor import as_picture
        from ..views.overlay import overlay
        from .image_maps import resized

        both, pixels = self._pictured(), as_picture(picture)
        maps = {name: resized(one, pixels.shape[:2]).tolist() for name, one in {"both": both, **self.maps}.items()}
        return overlay(pixels, maps, f"{self.target}, {self.model}, {self.method}")

    def patches(self, reduction: Reduction = "signed") -> Figure:
        """For images: relevance per patch with signed numbers, (rows, columns) as they lie in the picture.

        Raises InputError where there is no map.
        """
        from ..views.overlay import patches

        self._pictured()
        places = [token.removeprefix("patch ").split(",") for token in self.tokens if token.startswith("patch ")]
        columns = 1 + max(int(column) for _, column in places)
        grid = self.relevance(reduction)[-len(places) :].reshape(-1, columns)
        return patches(grid.tolist(), f"{self.target}, {self.model}, {self.method}, {reduction}")

    def _pictured(self) -> Tensor:
        if self.map is None:
            raise InputError("Only an explanation of an image has a map. Type explanation.figure() for one of a text.")
        return self.map


def as_arrays(value: Any) -> Any:
    """Tensors as arrays, through mappings."""
    if isinstance(value, Mapping):
        return {key: as_arrays(item) for key, item in value.items()}
    return value.numpy() if isinstance(value, Tensor) else value
