"""A bank of small hand-written models: programs of one function in many spellings, which must have one explanation.

A group is a function with a reference spelling, its twins, and what is true of all of them; a family is a kind of group.
`python -m tests.spellings` prints what today's engine makes of each.
"""

from __future__ import annotations

from . import added, constants, factors, followed, history, inputs, layouts, products, relative, rotary, scores, texts, traps, turns
from .base import Group

FAMILIES = (added, rotary, scores, relative, products, layouts, constants, history, inputs, texts, traps, followed, turns, factors)

GROUPS: dict[tuple[str, str], Group] = {}
for family in FAMILIES:
    for found in list(vars(family).values()):
        for group in found.values() if isinstance(found, dict) else (found,):
            if isinstance(group, Group):
                GROUPS.setdefault((group.family, group.name), group)
