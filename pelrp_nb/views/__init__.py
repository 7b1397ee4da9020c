"""What people look at: plain data in; a page, a live widget, text or a figure out.  No view knows torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .data import Plain
from .payload import parts_of, payload
from .sheet import Sheet
from .table import table
from .text import line, title

__all__ = ["Sheet", "explained"]


def explained(
    data: Plain, kind: str = "explanation", *, rules: Mapping[str, Any] | None = None, detail: Mapping[str, Any] | None = None
) -> Sheet:
    """One explanation as a sheet; `rules` as `pages.pages` gives them, `detail` with arrays."""
    drawn = payload(data, rules)
    more = parts_of(detail or {})
    drawn["offers"] = sorted(more)
    state = {"step": max(0, len(drawn["walk"]) - 1)}
    return Sheet(kind, drawn, f"{title(data)}, {data['model']}", line(data), table(data), more, state)
