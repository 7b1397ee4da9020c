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
    strangers: dict[str, str | None] = {}  # where, and how the function is typed
    seen, todo = set(), [value.grad_fn for value in values]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for before, _ in node.next_functions:
            todo.append(before)
        number = node._sequence_nr()
        at = bisect.bisect_right(starts, number) - 1
        inside = at >= 0 and number < ends[at]
        if inside or node.name() == "torch::autograd::AccumulateGrad" or is_linear(node):
            continue
        refused = next((told for start, end, *told in flow.refused if start <= number < end), None)
        where, function = refused or (f"`{node.name()}` (made where the engine does not see)", None)
        strangers.setdefault(where, function)
    found = tuple(strangers)
    if found and flow.composite.unknown == "refuse":
        raise RuleError(no_rule(found[0], strangers[found[0]]))
    return found


def no_rule(where: str, function: str | None) -> str:
    """What is said of an operation that has no rule, and of one that no torch call of this thread made."""
    give = (
        f"Give it one, `with pelrp_nb.register({function}, handler):`" if function is not None else
        "Make it an operator, @torch.library.custom_op, and give that a rule, `with pelrp_nb.register(operator, handler):`"
    )  # fmt: skip
    return (
        f"No rule for {where}: its relevance would be a plain gradient, which conserves nothing. "
        f'{give}, or accept the gradient: dataclasses.replace(composite, unknown="gradient").'
    )


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
