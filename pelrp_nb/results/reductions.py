"""How what a token's position received becomes one number, by name."""

from __future__ import annotations

from typing import Literal

Reduction = Literal["signed", "absolute", "positive", "l2"]
REDUCTIONS: tuple[Reduction, ...] = ("signed", "absolute", "positive", "l2")
KEPT = {  # reduction -> where its content and its position are kept
    "signed": (None, None),
    "absolute": (None, "positional.absolute"),
    "positive": ("semantic.positive", "positional.positive"),
    "l2": ("semantic.l2", "positional.l2"),
}
