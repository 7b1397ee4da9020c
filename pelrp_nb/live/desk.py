"""What all live views share: they tell the page that a kernel listens, and do what its buttons ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..views.widget import View


class Desk(View):
    """A view that asks Python to work.

    The page says `{"ask": "hello"}` when it is drawn and is told `{"here": True}`: so it knows whether a kernel answers, and says so
    where none does.  Any other `{"ask": name}` calls the method `ask_name` with the message.
    """

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
