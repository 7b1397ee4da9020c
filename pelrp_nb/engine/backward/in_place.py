"""What no walk back can pass: an operation whose saved tensor the model changed in place afterwards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ...errors import ModelError
from ..boundaries import Mark
from ..forward_pass import ForwardPass

OURS = {"share": "A product", "scale": "An elementwise function"}  # what handlers put in place of the model's own operations
WORDS = "modified by an inplace operation"  # what torch says of it


def changed_in_place(flow: ForwardPass, targets: Sequence[Tensor]) -> ModelError:
    """The error for a walk that met one: which operation, and where it stands."""
    node = culprit(targets)
    mark = boundary(flow, node)
    what = "An operation" if node is None else OURS.get(spelt(node.name()), f"`{spelt(node.name())}`")
    where = f"before `{mark.name}`" if mark else f"in {type(flow.model).__name__}"
    copied = "" if flow.checkpoint or mark is None or mark.layer is None else " Or type Options(checkpoint=True), which keeps a copy."
    return ModelError(
        f"{what} {where} needs a tensor on the walk back that the model changed in place afterwards, so there is no way back, as in "
        f"training. Write that change out of place, x = x + y for x += y, or into a copy, p = p.clone() before p[:, 0] = 0.5.{copied}"
    )


def culprit(targets: Sequence[Tensor]) -> Any:
    """The node, nearest to the targets, whose saved tensors are not what they were; None where none says so."""
    seen, todo = set(), [value.grad_fn for value in targets]
    while todo:
        node = todo.pop(0)
        if node is None or node in seen:
            continue
        seen.add(node)
        if is_changed(node):
            return node
        todo += [following for following, _ in node.next_functions]
    return None


def is_changed(node: Any) -> bool:
    """Whether a node finds a saved tensor changed."""
    for name in ("saved_tensors", *(one for one in dir(node) if one.startswith("_saved_"))):
        try:
            getattr(node, name, None)
        except RuntimeError as error:
            if WORDS in str(error):
                return True
    return False


def spelt(name: str) -> str:
    """A node's name as its function is spelt: "NativeLayerNormBackward0" is native_layer_norm."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", re.sub(r"Backward\d*$", "", name).lstrip("_")).lower()


def boundary(flow: ForwardPass, node: Any) -> Mark | None:
    """The first boundary behind a node; None where there is none."""
    number = -1 if node is None else node._sequence_nr()
    behind = [(mark.number, i) for i, mark in enumerate(flow.recorder.marks) if mark.number is not None and mark.number >= number >= 0]
    return flow.recorder.marks[min(behind)[1]] if behind else None
