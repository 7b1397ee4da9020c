"""The logits of a model's output, and those at the place that is asked about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..engine.trace import Visible
from ..errors import TargetError
from ..inputs.arguments import of_transformers
from ..inputs.marks import STARTS
from ..inputs.outputs import tensors_in
from ..inputs.own import batch_first
from .given import whole
from .labels import label_names
from .places import Spread, default_place, shown

Names = Mapping[int, str]  # what the classes are called; none for tokens
Part = tuple[Tensor, str, Any]  # a number of the logits of one place, its name, what tells it from others


@dataclass(frozen=True)
class Kept:
    """Logits (1, K, classes) of one input at K of its T places; `at`: which of the K is that of a place."""

    logits: Tensor
    at: Mapping[int, int]
    T: int


@dataclass(frozen=True)
class Chosen:
    """A target found in an output: the scalar, how to call it, what tells it from others, and the place where it stands."""

    value: Tensor
    text: str
    key: Any = None
    at: int | Spread | None = None


def found_at(
    target: Any, output: Any, model: Any, processor: Any, tokens: Sequence[str], of: Callable[[Tensor, Names, Any, Any], Part]
) -> Chosen:
    """What `of` makes of the logits at the target's place; at several it is added up; where it says none, at the default place."""
    row, at = row_of(output, model), getattr(target, "at", None)
    if matches(output) and isinstance(getattr(target, "text", target), str):
        raise TargetError(
            f"{type(model).__name__} says how well a picture and a text match; its answers are the texts by number, not words. "
            "Type target=None, and explain(model, [(one mapping of text and picture for each text)])."
        )
    if one_per_token(row[None], model, len(tokens)):
        return at_place(row[:, None], asked_place(at, model, tokens), tokens, lambda x: of(x, {0: "logit"}, model, processor))
    at = default_place(row, model, processor, tokens) if at is None else at
    classes = row.shape[-1]
    names = {i: f"match of picture and text {i}" for i in range(classes)} if matches(output) else label_names(model, classes)
    return at_place(row, at, tokens, lambda x: of(x, names, model, processor), output if isinstance(output, Kept) else None)


def one_per_token(logits: Any, model: Any, T: int) -> bool:
    """Whether a model of transformers answers with one logit for each of T tokens, as one that tells which of them were replaced.

    Where its labels are as many as the tokens, they are the labels.
    """
    if not isinstance(logits, Tensor) or logits.dim() > 2 or not logits.shape[-1] == T > 1:
        return False
    return of_transformers(model) and not matches_labels(model, T)


def answers_each(output: Any, model: Any, visible: Mapping[str, Visible]) -> bool:
    """Whether each token of a row that stands among padding has one logit, and padding one as well."""
    logits = getattr(output, "logits", None)
    return any(len(place.at) != place.length and one_per_token(logits, model, place.length) for place in visible.values())


def matches_labels(model: Any, classes: int) -> bool:
    """Whether the model has a label for each of these, or says that it has none."""
    return len(getattr(getattr(model, "config", None), "id2label", None) or {}) in (0, classes)


def asked_place(at: Any, model: Any, tokens: Sequence[str]) -> Any:
    """The place that is asked about, of a model that answers for each token; TargetError without one."""
    if at is None:
        raise TargetError(
            f"{type(model).__name__} gives each of {len(tokens)} tokens one logit, so a target needs a place; {shown(tokens)}. "
            'Type target.label("logit", at=1).'
        )
    return at


def at_place(row: Tensor, at: Any, tokens: Sequence[str], of: Callable[[Tensor], Part], kept: Kept | None = None) -> Chosen:
    """What `of` makes of one place of (T, ...), or of several and added up; `kept`: which of the T there are."""
    several = at if isinstance(at, Spread) else None
    found = [place(row, i, tokens, kept) for i in (several.places if several else (at,))]
    parts = [of(x) for _, x in found]
    value = parts[0][0]
    for part, _, _ in parts[1:]:
        value = value + part
    names, keys = [name for _, name, _ in parts], [key for _, _, key in parts]
    called = names[0] if len(set(keys)) == 1 else " + ".join(names)
    if several:
        return Chosen(value, f"{called} at {several.text!r} ({several.places[0]} to {several.places[-1]})", (keys, several), several)
    where = found[0][0]
    return Chosen(value, called if where is None else f"{called} at {where}", (keys, where), where)


def row_of(output: Any, model: Any) -> Tensor:
    """The logits of one input, (classes,) or (T, classes), whichever axis is that of the batch."""
    logits = logits_of(output)
    rows = logits if of_transformers(model) else batch_first(logits)
    row = rows.squeeze(0) if len(rows) == 1 else rows[0]  # the gradient of a choice is as large as all of them, that of a view is none
    if row.dim() not in (1, 2):
        raise TargetError(
            f"The logits of one input must have one or two axes, got {tuple(row.shape)}. "
            "Type target=lambda output: output.logits[0, ...] and pick a scalar."
        )
    return row


def matches(output: Any) -> bool:
    """Whether the logits say how well a picture and a text match."""
    return not isinstance(output, Tensor) and logits_of(output) is getattr(output, "logits_per_image", None)


def logits_of(output: Any) -> Tensor:
    """The logits of a model's output."""
    if isinstance(output, Tensor):
        return output
    for name in ("logits", "prediction_logits", "logits_per_image"):
        found = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if found is not None:
            return found
    if getattr(output, "start_logits", None) is not None:
        raise TargetError(
            "A model that answers questions says where the answer starts and where it ends. "
            "Type target=target.answer(), or target=lambda output: output.start_logits[0, 7] for place 7."
        )
    parts = list(tensors_in(output))
    if len(parts) == 1 and not hasattr(output, "to_tuple"):  # a container of one's own
        return parts[0][1]
    if not parts:
        raise TargetError(f"The output ({type(output).__name__}) holds no tensor of numbers. Explain a model whose forward returns one.")
    held, (path, first) = ", ".join(f"{path} {tuple(x.shape)}" for path, x in parts[:4]), parts[0]
    where = f"[{', '.join('0' * first.dim())}]" if first.dim() else ""
    raise TargetError(
        f"The output ({type(output).__name__}) has no logits, it holds {held}; say what to explain. "
        f"Type target=lambda output: {path}{where}."
    )


def place(row: Tensor, at: int | str | None, tokens: Sequence[str], kept: Kept | None = None) -> tuple[int | None, Tensor]:
    """The place of the sequence whose logits are meant, and those logits (classes,)."""
    if row.dim() == 1:
        if whole(at) not in (None, -1):
            raise TargetError(f"This model gives one answer per text, so at={at!r} has no meaning. Type target=... without at.")
        return None, row
    T, given = row.shape[0] if kept is None else kept.T, at
    at = standing(at, tokens) if isinstance(at, str) else -1 if at is None else whole(at)
    if isinstance(at, bool) or not isinstance(at, int):
        raise TargetError(f'at must be a place, its token or target.span("fox"), got {given!r}. Type at=0.')
    if not -T <= at < T:
        raise TargetError(f"at must lie between {-T} and {T - 1} for {T} tokens, got {at}. Type at=-1 for the last.")
    at = at % T
    return at, row[at if kept is None else kept.at[at]]


def index_of(output: Any, at: int) -> int:
    """Which row of `row_of(output)` is that of a place."""
    return output.at[at] if isinstance(output, Kept) else at


def standing(wanted: str, tokens: Sequence[str]) -> int:
    """The place at which a token stands; it must stand at one only."""
    found = [i for i, t in enumerate(tokens) if wanted in (t, t.lstrip("".join(STARTS)))]
    if len(found) == 1:
        return found[0]
    if not found:
        shown = ", ".join(map(repr, tokens[:12])) + (", ..." if len(tokens) > 12 else "")
        raise TargetError(f"There must be a token {wanted!r} in the text; its tokens are {shown}. Type one of them, or at=0.")
    raise TargetError(f"at={wanted!r} must name one place; {wanted!r} stands at {', '.join(map(str, found))}. Type at={found[0]}.")
