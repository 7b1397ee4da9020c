"""What shows itself by a view of its own: in a notebook's cell, live, or as a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .serialisation import put

if TYPE_CHECKING:
    from ..views.sheet import Sheet
    from ..views.widget import View


class Shown:
    """It has a `sheet()`, a view that is not drawn yet, and all else follows from that."""

    if TYPE_CHECKING:
        sheet: Callable[..., Sheet]

    def explore(self, **state: Any) -> View:
        """The live view, an ipywidget. Raises ImportError where the widget library is missing, and says what to type."""
        return self.sheet().explore(**state)

    def to_html(self, path: str | os.PathLike | None = None) -> str | None:
        """An interactive page in one file that needs no network; written to `path`, or returned as text if there is none."""
        return written(self.sheet(), path)

    def _repr_html_(self) -> str:
        return self.sheet()._repr_html_()


def written(sheet: Sheet, path: str | os.PathLike | None, called: str = "explanation.html") -> str | None:
    """A page as text, or written to `path`. Raises FileError if the file cannot be written, with a name that it could be `called`."""
    text = sheet.html()
    if path is None:
        return text
    put(Path(path), text.encode(), called)
    return None
