"""The places whose logits are read: the head of a language model computes no others.

transformers' causal models take `logits_to_keep`, the places at which the head is applied.  All logits of 8,192 tokens and a
vocabulary of 128,000 are 4 GiB; a target at one place reads half a megabyte of them.  A logit is then the same to the bit as
`model(..., logits_to_keep=...)` gives it, and up to rounding as all at once are: a matrix product of few rows is another kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.trace import Visible
from ..errors import TargetError
from ..inputs.arguments import takes
from ..inputs.model_input import MAIN, main_of
from .computed import AtPlace, Word
from .given import whole
from .logits import Kept, standing
from .neurons import Neuron
from .places import Spread, writes
from .resolve import LOGITS, Asked, Question, spoken

KEEP = "logits_to_keep"
TEXT = {"input_ids", "inputs_embeds", "attention_mask", "position_ids", "token_type_ids"}  # with these a logit is that of its token


def keeping(
    model: nn.Module, given: Mapping[str, Any], asked: Sequence[Asked], visible: Sequence[Mapping[str, Visible]]
) -> dict[str, Any]:  # fmt: skip
    """What a model is called with beside `given`, so that it makes logits at the places alone that are asked about; or nothing."""
    return at_places(model, given, places_read(asked, visible)) if takes(model, KEEP) else {}


def at_places(model: nn.Module, given: Mapping[str, Any], places: Sequence[int] | None) -> dict[str, Any]:
    """The same for places by their numbers along the axis of tokens; None for all of them."""
    tensors = {name for name, x in given.items() if isinstance(x, Tensor)}
    if places is None or KEEP in given or not tensors <= TEXT or tensors.isdisjoint(MAIN) or not takes(model, KEEP) or not writes(model):
        return {}
    x = given[main_of(given)]
    return {KEEP: torch.tensor(places, device=x.device)} if len(places) < x.shape[1] else {}


def kept(logits: Any, more: Mapping[str, Any], asked: Asked, visible: Mapping[str, Visible]) -> Any:
    """The logits of one row by its own places, where the model made some alone; else as they are. `more`: what `keeping` said."""
    places = more[KEEP].tolist() if more else []
    if not isinstance(logits, Tensor) or not places or logits.shape[1] != len(places):
        return logits
    row_of, own = {n: k for k, n in enumerate(places)}, own_places(asked, visible)
    return Kept(logits, {at: row_of[n] for at, n in enumerate(own) if n in row_of}, len(own))


def places_read(asked: Sequence[Asked], visible: Sequence[Mapping[str, Visible]]) -> list[int] | None:
    """The places of a batch at which its questions read logits, in order; None where one may read all of them."""
    found: set[int] = set()
    for one, places in zip(asked, visible, strict=True):
        own = own_places(one, places)
        read = [places_of(x, spoken(one), len(own)) for question in one.questions for x in told_by(question)]
        if None in read:
            return None
        found |= {own[at] for at in set().union(*filter(None, read))}
    return sorted(found)


def own_places(asked: Asked, visible: Mapping[str, Visible]) -> Sequence[int]:
    """Where the places of a row are in its batch: it may be padded."""
    found = next(iter(visible.values()), None)
    return range(asked.row.length) if found is None else found.at.tolist()


def told_by(question: Question) -> tuple[Any, ...]:
    """What says where a question reads: its target, and a contrast that does not stand where its target does."""
    foil = question.foil
    beside = foil is None or isinstance(foil, int | str) or hasattr(foil, "item") or getattr(foil, "at", 0) is None
    return (question.target,) if beside else (question.target, foil)


def places_of(target: Any, tokens: Sequence[str], T: int) -> set[int] | None:
    """Where a target reads logits of T tokens, the last place where it says none; None where that is not known."""
    if isinstance(target, Word):
        return {at for at, _ in target.asked}
    if not (target is None or isinstance(target, (int, str, AtPlace, Neuron, *LOGITS)) or hasattr(target, "item")):
        return None
    at = whole(getattr(target, "at", None))
    if isinstance(at, str):
        try:
            at = standing(at, tokens)
        except TargetError:  # raised where it is read
            return None
    numbers = at.places if isinstance(at, Spread) else (-1 if at is None else at,)
    return {n % T for n in numbers} if all(isinstance(n, int) and -T <= n < T for n in numbers) else None
