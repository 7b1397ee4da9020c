"""What the user says arguments, parameters, buffers and attributes are: checked before the forward pass, and after it.

Options(roles={"covariates": "content", "blocks.0.rel": "positions", "scale_table": "constant"})
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn

from ..errors import InputError
from .boundaries import named
from .forward_pass import ForwardPass
from .leaves import Leaf
from .places.roles import reason_of
from .places.values import storage_of
from .trace import Role

FOR_WEIGHTS = ("positions", "constant")


def check(model: nn.Module, roles: Mapping[str, str]) -> dict[int, str]:
    """Where the tensors lie in memory that a role names by their path and that are no parameters: path by address.

    Raises InputError for a name of nothing (with the nearest one), and for a weight that is called content.
    """
    found: dict[int, str] = {}
    arguments = named(model) if roles else []
    for name, role in roles.items():
        if name in arguments:
            continue
        value = at_path(model, name)
        if value is None:
            raise InputError(unknown(model, name, arguments))
        if role not in FOR_WEIGHTS:
            raise InputError(
                f"`{name}` is a tensor of the model's own, which is positions or constant; got {role!r}. "
                f"Type roles={{{name!r}: 'positions'}}, or name an argument of its forward: {', '.join(arguments)}."
            )
        found[storage_of(value)] = name
    return found


def at_path(model: nn.Module, name: str) -> Tensor | None:
    """The tensor at a path of the module tree."""
    value: Any = model
    for part in name.split("."):
        if isinstance(value, nn.ModuleList | nn.Sequential) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            value = getattr(value, part, None)
    return value if isinstance(value, Tensor) else None


def unknown(model: nn.Module, name: str, arguments: list[str]) -> str:
    """The message for a role that names nothing."""
    known = [*arguments, *(n for n, _ in model.named_parameters()), *(n for n, _ in model.named_buffers()), *attributes(model)]
    near = get_close_matches(name, known, 1, 0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return (f"A role must name an argument of {type(model).__name__}.forward, or a parameter, a buffer or a tensor of the model by its "
            f"path; got {name!r}. {hint}The arguments are {', '.join(arguments)}.")  # fmt: skip


def attributes(model: nn.Module) -> Iterable[str]:
    """Paths of tensors that are plain attributes."""
    for path, module in model.named_modules():
        yield from (f"{path}.{n}".removeprefix(".") for n, x in vars(module).items() if isinstance(x, Tensor))


def contradicted(flow: ForwardPass, taken: list[Leaf]) -> None:
    """Raise InputError where what was seen is not what a role says, and where a role has to be asked for."""
    if flow.places.questions:
        name = next(iter(flow.places.questions))
        raise InputError(
            f"`{name}` holds whole numbers that are used as numbers (in {flow.places.questions[name]}), and no table is looked up by "
            f'them: whether they are content, positions or a constant cannot be known. Type Options(roles={{"{name}": "positions"}}), '
            f'or "constant".'
        )
    arguments = named(flow.model) if flow.options.roles else []
    sources = {leaf.source for leaf in taken}
    for name, role in flow.options.roles.items():
        if role == "positions" and name not in arguments and name not in sources:
            raise InputError(
                f"`{name}` was called positions, but it meets what carries relevance only as a weight, or not at all: nothing of it "
                f'differs from place to place. Leave it out of roles={{...}}, or call it "constant".'
            )


def told(flow: ForwardPass, taken: list[Leaf]) -> tuple[Role, ...]:
    """What was taken for what, and why, in one line each."""
    given = {name: one for name, one in flow.recorder.roles.items() if name != "logits_to_keep"}  # `explain` passes it for itself
    found = [Role(name, role, reason_of(name, value, flow.options.roles.get(name))) for name, (role, value) in given.items()]
    for leaf in (leaf for leaf in taken if not leaf.behind):
        why = "as Options(roles=...) says" if leaf.source in flow.options.roles else HOW.get(leaf.part, "it differs from place to place")
        found.append(Role(leaf.source or leaf.name, f"positions, {leaf.kind}", why))
    return tuple(dict.fromkeys(found))


HOW = {
    "sum": "added, and it differs from place to place", "score": "added to attention scores, and it differs from pair to pair",
    "cos": "a factor that differs from place to place, and turns", "sin": "a factor that differs from place to place, and turns",
    "rotary": "a complex factor that differs from place to place, and turns", "factor": "a factor that differs from place to place",
    "matrix": "a product with something of its own for each place", "joined": "beside the features, and it differs from place to place",
}  # fmt: skip


def lost(flow: ForwardPass) -> str:
    """Why a target may depend on no input: where the stream was cut, or left torch."""
    cut = "; ".join(f"{how} in {where}" for how, where in flow.places.cuts)
    if flow.places.left:
        name, (how, where) = next(iter(flow.places.left.items()))
        return f" No ids were seen: the values of `{name}` leave torch by {how}() in {where}. Look tokens up by the tensor itself."
    if cut:
        return f" The stream is cut by {cut}: call that part with gradients."
    numbers = [name for name, (role, x) in flow.recorder.roles.items() if role == "content" and not x.is_floating_point()]
    if flow.inputs.leaves() or not numbers:
        return ""
    said = " or ".join(f"`{name}`" for name in numbers)
    return f" No table was looked up by {said}: look vectors up by table[ids], F.embedding(ids, table) or F.one_hot(ids) @ table."
