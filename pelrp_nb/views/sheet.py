"""One view with its data: it shows itself in a notebook, becomes a file, or comes alive as a widget."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingError
from .page import document, duo

if TYPE_CHECKING:
    from .widget import View


@dataclass(frozen=True, eq=False, repr=False)
class Sheet:
    """A view that is not drawn yet.

    kind:   which view draws, a key of `module.KINDS`
    data:   what it draws, plain data
    title:  of the page
    line:   the same in one line of text
    table:  the same as HTML that survives without scripts
    more:   large parts by name, each made when it is asked for
    state:  where the view stands at first: step, token, anything a reader can set
    asked:  parts that are too large for a page, which a kernel sends to a live view that asks for them
    """

    kind: str
    data: Mapping[str, Any]
    title: str
    line: str
    table: str
    more: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)
    asked: Mapping[str, Callable[[], Any]] = field(default_factory=dict)

    def html(self, framed: bool = False) -> str:
        """The page as text."""
        more = {name: made() for name, made in self.more.items()}
        table = "" if framed else self.table  # a frame stands beside its table
        return document(self.kind, self.data, title=self.title, fallback=table, more=more, framed=framed, **self.state)

    def to_html(self, path: str | os.PathLike | None = None) -> str | None:
        """An interactive page in one file that needs no network; written to `path`, or returned as text if there is none."""
        if path is None:
            return self.html()
        Path(path).write_text(self.html(), encoding="utf-8")
        return None

    def explore(self, **state: Any) -> View:
        """The live view, an ipywidget: link it, observe it, put it into boxes.

        Raises MissingError where the widget library is missing.
        """
        try:
            from .widget import View
        except ImportError as error:
            raise MissingError(
                "A live view needs the widget library anywidget, and it is not here. Type %pip install anywidget, then restart the "
                "kernel. Without it the result still shows itself, and .to_html(path) writes the same view as a page."
            ) from error
        through = {"through": True} if "step" in state and "reading" in self.data else {}  # who asks for a step is shown all steps
        return View(self.kind, self.data, parts={**self.more, **self.asked}, **{**self.state, **through, **state})

    def __repr__(self) -> str:
        return self.line

    def _repr_html_(self) -> str:
        return duo(self.table, self.html(framed=True), self.title)
