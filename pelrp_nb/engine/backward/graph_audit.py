"""The audit of the graph: every node between the target and the inputs was made by a handler, or is refused."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ...errors import RuleError
from ..forward_pass import ForwardPass


def audit_graph(flow: ForwardPass, values: Sequence[Tensor]) -> tuple[str, ...]:
    """Refuse every node on the way that no handler made; the names of those that the composite accepts."""
    ends = [end for _, end in flow.handled]
    starts = [start for start, _ in flow.handled]
    strangers: dict[str, None] = {}
    seen, todo = set(), [value.grad_fn for value in values]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        todo += [n for n, _ in node.next_functions]
        number = node._sequence_nr()
        at = bisect.bisect_right(starts, number) - 1
        inside = at >= 0 and number < ends[at]
        if inside or node.name() == "torch::autograd::AccumulateGrad" or is_linear(node):
            continue
        refused = next((where for start, end, where in flow.refused if start <= number < end), None)
        strangers[refused or f"`{node.name()}`, made where the engine does not see,"] = None
    found = tuple(strangers)
    if found and flow.composite.unknown == "refuse":
        raise RuleError(
            f"No rule for {found[0]}: its relevance would be a plain gradient, which conserves nothing. "
            "Add it to pelrp_nb/engine/handlers/torch_table.py, or accept that: "
            'dataclasses.replace(composite, unknown="gradient").'
        )
    return found


STRUCTURE = {
    "Select", "Slice", "Index", "View", "UnsafeView", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "T", "Permute", "Expand",
    "Clone", "ToCopy", "Alias", "Gather", "Sum", "Mean", "Neg", "Add", "Sub", "Cat", "Stack", "Unbind", "Split", "CopySlices",
    "Copy", "Max", "Amax", "AsStrided",
}  # fmt: skip


def is_linear(node: Any) -> bool:
    """Whether a node nobody made is linear all the same: a target picked from the output, a difference of two."""
    kind = node.name().rstrip("0123456789").removesuffix("Backward")
    carriers = sum(n is not None for n, _ in node.next_functions)
    return kind in STRUCTURE or (kind in ("Mul", "Div") and carriers == 1)
