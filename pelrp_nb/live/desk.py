"""What all live views share: they tell the page that a kernel listens, do what its buttons ask, and can be kept as a page."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..views.sheet import Sheet
from ..views.widget import View


class Desk(View):
    """A view that asks Python to work.

    The page says `{"ask": "hello"}` when it is drawn and is told `{"here": True}`: so it knows whether a kernel answers, and says
    so where none does.  Any other `{"ask": name}` calls the method `ask_name` with the message.

    kept: the traits that a page without a kernel shows
    """

    kept: tuple[str, ...] = ()

    def __init__(self, kind: str, data: Mapping[str, Any], **given: Any) -> None:
        super().__init__(kind, data, **given)
        self.on_msg(self._heard)

    def _heard(self, _: Any, message: Any, buffers: Any = None) -> None:
        name = message.get("ask") if isinstance(message, Mapping) else None
        answer = getattr(self, f"ask_{name}", None) if isinstance(name, str) else None
        if answer is not None:
            answer(message)

    def ask_hello(self, message: Mapping[str, Any]) -> None:
        """A page was drawn: tell it that somebody is here."""
        self.send({"here": True})

    def sheet(self) -> Sheet:
        """The last state as a view that nothing can be set in: `sheet()` as the last line of a cell outlives the kernel."""
        state = {name: getattr(self, name) for name in self.kept}
        line = f"{type(self).__name__} of pelrp_nb, its last state"
        return Sheet(self.kind, self.data, line, line, line, state=state)

    def to_html(self, path: str | os.PathLike | None = None) -> str | None:
        """The last state as one file that needs no network; written to `path`, or returned as text if there is none."""
        return self.sheet().to_html(path)
