"""Several explanations as one array: a row for each, a column for each token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from ..errors import InputError
from .arrays import Rows
from .explanation import Explanation
from .reductions import Reduction

Part = Literal["both", "content", "position"]
PARTS = ("both", "content", "position")


def rows_of(found: Sequence[Explanation], names: tuple[str, ...], reduction: Reduction, part: Part) -> Rows:
    """The relevance of each token in each explanation; nan where one has no such place. Raises InputError."""
    if part not in PARTS:
        raise InputError(f"part must be one of {', '.join(PARTS)}, got {part!r}. Type matrix(part='content').")
    if not found:
        raise InputError("There must be an explanation to make a matrix of, got none. Type explain(model, texts, ...).matrix().")
    longest = max(found, key=lambda e: len(e.tokens)).tokens
    alike = all(e.tokens == longest[: len(e.tokens)] for e in found)
    values = torch.full((len(found), len(longest)), torch.nan, dtype=found[0].semantic.dtype)
    for row, e in zip(values, found, strict=True):
        content, position = e.parts(reduction)
        row[: len(e.tokens)] = content + position if part == "both" else content if part == "content" else position
    return Rows(values, names, longest if alike else tuple(map(str, range(len(longest)))))


def parts_of(found: Any) -> tuple[dict[str, np.ndarray], list[str], list[str]]:
    """Each part as an array, and the names of rows and columns."""
    each = {part: found.matrix(part=part) for part in PARTS}
    whole = each["both"]
    return {part: np.asarray(rows, dtype=float) for part, rows in each.items()}, list(whole.names), [str(t) for t in whole.columns]
