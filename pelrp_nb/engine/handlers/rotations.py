"""A carrier times what may be a position: a rotation, a decay, another modulation by place."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import rules
from ...verbs import share
from ..context import Context
from ..leaves import Leaf
from ..notes import note_of
from ..numerics import times


def turned(flow: Context, carrier: Tensor, leaf: Leaf) -> Tensor:
    """A carrier times what may be a position: half to each if it is one, else all to the carrier."""
    rule, factor = flow.composite.product, leaf.tensor
    assert factor is not None  # a factor's leaf has a gradient of its own
    flow.used("rotation", rule)
    if rule != rules.uniform:
        return rule.forward(carrier, factor, multiply=torch.mul)
    if carrier.is_complex() or factor.is_complex():
        return leaf.halved(carrier * factor)
    note = note_of(flow, carrier)
    again = note.again if note is not None else None
    return times(carrier * factor, leaf.half()) if again is None else share(carrier, factor, leaf.half(), again=again)
