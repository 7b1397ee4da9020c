"""Modules that people write: which argument an input is, and along which axis its rows lie.

A model of one's own follows no convention, so its rows are told by what they do: rows are rows where each, alone, gives what it gives
among the others.  The first axis is tried, then the second (sequence first); where neither is one of rows, the input is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.places.roles import role_of
from ..errors import InputError
from .arguments import RAISED, call, first_of, named, required
from .convert import is_array, is_nested_numbers
from .outputs import equal, tensors_in

Rows = tuple[list[dict[str, Tensor]], dict[str, Tensor], bool]


def called(model: nn.Module) -> str:
    """The arguments that `forward` must have, as they are typed."""
    return ", ".join(f"{name}=..." for name in required(model) or named(model)[:1])


def as_arguments(model: nn.Module, given: Any) -> dict[str, Any] | None:
    """Arguments for a module of one input, or of several that came in a tuple; None for what is no such input."""
    needs = required(model)
    if isinstance(given, tuple) and 1 < len(given) <= len(named(model)) and len(needs) > 1 and all(map(is_tensor_like, given)):
        return dict(zip(named(model), given, strict=False))
    return {first_of(model): given} if is_tensor_like(given) else None


def is_tensor_like(x: Any) -> bool:
    """Whether x is an array of numbers, or lists of them."""
    return (is_array(x) and getattr(x.dtype, "kind", "f") in "biufc") or is_nested_numbers(x)


def rows_of(model: nn.Module, tensors: Mapping[str, Tensor], more: Mapping[str, Any], main: str) -> Rows:
    """The rows of a batch, told by what they do; what all share; whether they must not meet in a batch."""
    flat = {k for k, v in tensors.items() if v.dim() == 1 and v.is_floating_point() and role_of(k, v) == "content"}
    tensors = with_axis(model, tensors, more, flat)
    x = tensors[main]
    for axis in range(min(2, x.dim())):
        B = x.shape[axis]
        if B == 1 and axis == 0:
            return one_row(tensors, False)
        if B == 1:
            break
        mine = {k: v for k, v in tensors.items() if v.dim() > axis and v.shape[axis] == B}
        shared = {k: v for k, v in tensors.items() if k not in mine}
        rows = [{k: v.narrow(axis, i, 1) for k, v in mine.items()} for i in range(B)]
        if independent(model, tensors, rows, {**more, **shared}, axis):
            return rows, shared, axis > 0
    refuse_uneven(tensors, main)
    flat = {k for k, v in tensors.items() if v.dim()} if x.dim() < 3 else set()
    return one_row(with_axis(model, tensors, more, flat), True)


def one_row(tensors: Mapping[str, Tensor], alone: bool) -> Rows:
    """All of it is one input; tensors that have no row of their own are shared."""
    shared = {k: v for k, v in tensors.items() if v.dim() == 0 or (not alone and v.shape[0] != 1)}
    return [{k: v for k, v in tensors.items() if k not in shared}], shared, alone


def refuse_uneven(tensors: Mapping[str, Tensor], main: str) -> None:
    """Raise InputError where two inputs have batches of different size, of which neither is one."""
    x = tensors[main]
    for name, other in tensors.items():
        if other.dim() == x.dim() > 2 and len(other) != len(x) and other.shape[1:] == x.shape[1:]:
            raise InputError(f"`{name}` must have {len(x)} rows, like `{main}`; got {len(other)}. Pass one row of it for each input.")


@torch.no_grad()
def independent(
    model: nn.Module, tensors: Mapping[str, Tensor], rows: Sequence[Mapping[str, Tensor]], more: Mapping[str, Any], axis: int
) -> bool:
    """Whether the first and the last row, each alone, give what they give among all."""
    B = len(rows)
    with torch.random.fork_rng(devices=[]):
        try:
            together = probed(model, {**tensors, **more})
            alone = {i: probed(model, {**rows[i], **more}) for i in (0, B - 1)}
        except RAISED:
            return False
    return any(all(is_row(together, alone[i], i, B, out) for i in alone) for out in range(axis + 1))


def probed(model: nn.Module, given: Mapping[str, Any]) -> Any:
    """The output for these arguments made finite: rows are rows whatever one of them holds, and NaN equals nothing."""
    return call(model, {k: made_finite(k, v) if isinstance(v, Tensor) and v.is_floating_point() else v for k, v in given.items()})


def made_finite(name: str, x: Tensor) -> Tensor:
    """x with zero for what `encode.finite` refuses: NaN, and infinite values in what is no mask."""
    return x.nan_to_num(0.0, torch.inf, -torch.inf) if role_of(name, x) == "mask" else x.nan_to_num(0.0, 0.0, 0.0)


def is_row(together: Any, alone: Any, i: int, B: int, axis: int) -> bool:
    """Whether all that has B rows along an axis of the output has, in row i, what that row gives alone.

    A mean loss has no rows, and neither has what is the same for every input: a table of weights, of any size.
    """
    mine, theirs = dict(tensors_in(together)), dict(tensors_in(alone))
    if mine.keys() != theirs.keys():
        return False
    rowed = [k for k, x in mine.items() if x.dim() > axis and x.shape[axis] == B and not torch.equal(x, theirs[k])]
    return bool(rowed) and all(equal(mine[k].select(axis, i).squeeze(), theirs[k].squeeze()) for k in rowed)


def alike(ours: Any, theirs: Any) -> bool:
    """Whether two outputs hold the same numbers, axes of length one apart: some models drop them."""
    mine, others = [[x.squeeze() for _, x in tensors_in(y)] for y in (ours, theirs)]
    return len(mine) == len(others) and all(map(equal, mine, others))


@torch.no_grad()
def with_axis(model: nn.Module, tensors: Mapping[str, Tensor], more: Mapping[str, Any], names: Set[str]) -> dict[str, Tensor]:
    """These tensors as a batch of one, where the model gives the same for them: so their places are told from rows."""
    wider = {k: v[None] if k in names else v for k, v in tensors.items()}
    try:
        same = bool(names) and alike(probed(model, {**wider, **more}), probed(model, {**tensors, **more}))
    except RAISED:
        same = False
    return wider if same else dict(tensors)


def batch_first(logits: Tensor) -> Tensor:
    """Logits of ONE input with the axis of the batch in front, where the module drops it or has it second.

    Raises InputError where that cannot be told.
    """
    if logits.dim() < 2:
        return logits.reshape(1, -1)
    if logits.shape[0] == 1:
        return logits
    if logits.dim() < 3:
        return logits[None]
    if logits.dim() == 3 and logits.shape[1] == 1:
        return logits.movedim(1, 0)
    raise InputError(
        f"Which axis of an output {tuple(logits.shape)} is that of the batch cannot be told. Say what to explain: "
        "target=lambda output: output[0, 0, 1], or whichever place it has."
    )
