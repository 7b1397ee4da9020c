"""Heat maps of rows by columns, one chosen at a time, and stepped through row by row: what is written, token by token; parts by places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .data import packed
from .payload import label
from .sheet import Sheet
from .text import visible


def sheet(
    maps: Sequence[Mapping[str, Any]], title: str, means: str, line: str, table: str, notes: Sequence[str] = (), steps: str = ""
) -> Sheet:  # fmt: skip
    """A view that is not drawn yet.

    maps:  each with its "name", the names of its "rows" and "columns", and "amounts" (rows, columns), nan where there is none
    means: what the numbers are; line: the same as one line of text; table: as HTML without scripts
    steps: what a row is called where one steps through them ("token written"); "" where rows are only looked at
    """
    shown = {
        "title": visible(title, 200), "means": means, "notes": [visible(note, 400) for note in notes], "steps": steps,
        "maps": [
            {
                "name": visible(one["name"]), "rows": [label(row) for row in one["rows"]],
                "columns": [label(column) for column in one["columns"]], "amounts": packed(one["amounts"]),
            }
            for one in maps
        ],
    }  # fmt: skip
    return Sheet("maps", shown, visible(title, 120), line, table)
