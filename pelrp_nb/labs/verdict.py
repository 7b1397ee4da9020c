"""What a check says: one small value that shows itself as text or as a framed note."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from ..views.table import coded

GREEN, AMBER = "#2a7f62", "#b35806"


@dataclass(frozen=True)
class Verdict:
    """The result of a check; true where the answer is right.

    name:    of the exercise
    passed:  whether it is right
    message: what was found, what leaked and where
    hint:    the next hint, if it is time for one
    mistake: name of the known mistake that the answer makes, if it makes one
    tried:   False where there was nothing to look at yet
    """

    name: str
    passed: bool
    message: str
    hint: str = ""
    mistake: str = ""
    tried: bool = True

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        state = "right" if self.passed else "not yet" if self.tried else "waiting"
        return f"{self.name}: {state}. {self.message}" + (f"\nHint: {self.hint}" if self.hint else "")

    def _repr_html_(self) -> str:
        colour = GREEN if self.passed else AMBER
        body = coded(escape(repr(self))).replace("\n", "<br>")
        return f'<div role="status" style="border-left:4px solid {colour};padding:4px 12px;white-space:pre-wrap">{body}</div>'
