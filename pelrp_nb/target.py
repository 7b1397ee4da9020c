"""What to explain, by its public name: see `targets/target.py`."""

from .targets.target import (
    Chosen, Each, Every, Generated, Label, Read, Similar, Token, choose, each, every, generated, label, logits_of, place, read, similar,
    token,
)  # fmt: skip

__all__ = [
    "Chosen", "Each", "Every", "Generated", "Label", "Read", "Similar", "Token", "choose", "each", "every", "generated", "label",
    "logits_of", "place", "read", "similar", "token",
]  # fmt: skip
