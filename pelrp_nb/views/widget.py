"""Every view as an ipywidget: it can be linked, observed and put into boxes beside the core widgets.

Loaded with the first live view, for it needs a widget library; what is drawn is in `js/`, and is the same as in a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
from traitlets import Bool, Dict, Int, List, Unicode

from .data import clean
from .module import EXPORT, script, style
from .page import document, shell


class View(anywidget.AnyWidget):
    """One live view.

    kind:  which view draws, a key of `module.KINDS`
    data:  what it draws, plain data
    step:  where a view with steps stands, from 0; `jslink((slider, "value"), (view, "step"))` works without a kernel
    token: index of the chosen token, -1 for none
    state: everything else that the reader has set, by name
    more:  large parts by name, sent when the page asks for them
    """

    _shell = Dict().tag(sync=True)  # so that the browser can keep what it shows as a page
    kind = Unicode().tag(sync=True)
    data = Dict().tag(sync=True)
    state = Dict().tag(sync=True)
    step = Int(0).tag(sync=True)
    token = Int(-1).tag(sync=True)
    wanted = List(Unicode()).tag(sync=True)
    more = Dict().tag(sync=True)
    asks = Bool(False).tag(sync=True)

    def __init__(self, kind: str, data: Mapping[str, Any], parts: Mapping[str, Callable[[], Any]] | None = None, **state: Any):
        """`parts`: what `more` can be asked for, each made when asked; `step`, `token` and any other state as keywords."""
        linked = {name: state.pop(name) for name in ("step", "token") if name in state}
        self._parts, self._drawn = dict(parts or {}), kind
        super().__init__(kind=kind, _shell=shell(kind), data=clean(data), state=clean(state), asks=bool(self._parts), **linked)
        self.observe(self._answer, "wanted")

    @property
    def _esm(self) -> str:
        """The parts of the module that this kind needs: each view holds its script as state."""
        return script(self._drawn) + EXPORT

    @property
    def _css(self) -> str:
        return style(self._drawn)

    def show(self, data: Mapping[str, Any]) -> None:
        """Draw other data in the same view."""
        self.data = clean(data)

    def to_html(self, path: str | os.PathLike | None = None) -> str | None:
        """What is shown now as one file that needs no network; written to `path`, or returned as text if there is none."""
        more = {**{name: made() for name, made in self._parts.items()}, **self.more}
        page = document(self.kind, self.data, title=self.kind, more=more, **{**self.state, "step": self.step, "token": self.token})
        if path is None:
            return page
        Path(path).write_text(page, encoding="utf-8")
        return None

    def __repr__(self) -> str:
        """All that a notebook shows which nobody trusts, or which has no widgets."""
        return f"Live view ({self.kind}): trust this notebook and run the cell, or type .to_html(path) for a page."

    def _answer(self, change: Any) -> None:
        new = [name for name in change.new if name not in self.more]
        if new:
            self.more = self.more | {name: self._parts[name]() if name in self._parts else None for name in new}
