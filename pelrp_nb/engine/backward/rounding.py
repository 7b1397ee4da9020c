"""How precise a walk back is, and what rounding may take of its account.

Rounding is independent from entry to entry, so what it takes grows as the root of the squares of what passes:

    BOUND eps sqrt( value^2 + sum over the entries of every boundary of (x g)^2 )

That is measured in half precision, and in double precision where a part of the model works in single, as norms and gates often do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...ledger import TOLERANCE
from ..forward_pass import ForwardPass
from ..numerics import exact, sums

BOUND = 3.0  # right accounts were seen to take at most 1


@dataclass(frozen=True)
class Precision:
    """What a walk back rounds to.

    name:      the coarsest dtype of the target, the inputs and the boundaries
    tolerance: the part of the ledger's scale that rounding may take; 0.0 where it is measured instead
    eps:       of the rounding that is measured; 0.0 where the tolerance covers it
    """

    name: str
    tolerance: float
    eps: float

    def bound(self, flow: ForwardPass) -> Tensor:
        """What rounding may have taken of what passed so far, per row of the batch; float64 on the CPU."""
        rows, passed = flow.account.rows, flow.starts.square()
        for mark in flow.recorder.marks if self.eps else ():
            passed = passed if mark.squares is None else passed + sums(exact(mark.squares), rows)
        return BOUND * self.eps * passed.sqrt()


def precision_of(flow: ForwardPass, targets: Sequence[Tensor]) -> Precision:
    """How precise the walk back from the targets will be."""
    dtypes = {x.dtype for x in (*targets, *flow.inputs.tokens, *flow.inputs.pixels)} | {m.dtype for m in flow.recorder.marks}
    coarsest = max(map(torch.finfo, dtypes), key=lambda info: info.eps)
    tolerance, eps = TOLERANCE.get(coarsest.dtype, 0.0), 0.0
    if not tolerance:
        eps = coarsest.eps
    elif coarsest.dtype == "float64" and flow.options.ledger and has_single(targets):
        eps = torch.finfo(torch.float32).eps
    return Precision(coarsest.dtype, tolerance, eps)


def has_single(targets: Sequence[Tensor]) -> bool:
    """Whether a node of the graph behind the targets works in single precision."""
    seen, todo = set(), [value.grad_fn for value in targets]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        if any(made.dtype == torch.float32 for made in getattr(node, "_input_metadata", ())):  # what not every torch tells
            return True
        seen.add(node)
        todo += [n for n, _ in node.next_functions]
    return False
