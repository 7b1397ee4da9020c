"""Where in the sequence an answer is asked for: the default place of each kind of model, and the tokens of a piece of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import TargetError
from ..inputs.arguments import RAISED
from ..inputs.model_input import Labels
from ..inputs.text import tokenizer_of
from .labels import label_names


@dataclass(frozen=True)
class Span:
    """The tokens of a text as places: of "fox", or of what stands between two characters."""

    text: str


@dataclass(frozen=True)
class Spread:
    """Several places, and the text that stands there."""

    places: tuple[int, ...]
    text: str


def default_place(row: Tensor, model: Any, processor: Any, tokens: Sequence[str]) -> int | None:
    """Where an answer is asked for if nobody said: the last place; the one [MASK]; None where there is one answer.

    Raises TargetError for a model that labels every token, and where there is no mask, or are several.
    """
    if row.dim() == 1:
        return None
    names, name = label_names(model, row.shape[-1]), type(model).__name__
    if names and len(row) > 1:
        raise TargetError(
            f"{name} labels each of {len(row)} places, so a target needs one; {shown(tokens) or f'they are 0 to {len(row) - 1}'}. "
            f"Type target.label({next(iter(names.values()))!r}, at=1)."
        )
    if not fills_masks(model, row):
        return -1
    mask = getattr(tokenizer_of(processor), "mask_token", None)
    masks = [i for i, t in enumerate(tokens) if mask is not None and t == mask]
    if len(masks) == 1:
        return masks[0]
    if masks:
        raise TargetError(
            f"{name} fills masks, and the text has {len(masks)}, at {', '.join(map(str, masks))}. Say which: "
            f'type target.token("word", at={masks[0]}).'
        )
    hint = "" if mask is not None else " Without its tokenizer nobody knows which token is the mask: type processor=tokenizer."
    raise TargetError(
        f"{name} fills masks, and there is none in the input{'' if mask is None else f' (its mask is {mask})'}.{hint} "
        f'Or say a place: type target.token("word", at={max(len(row) - 2, 0)}).'
    )


def fills_masks(model: Any, row: Tensor) -> bool:
    """Whether this is a masked language model: one of transformers that gives every place a token, and writes no text."""
    config = getattr(model, "config", None)
    vocabulary = getattr(getattr(config, "text_config", config), "vocab_size", None)
    writes = getattr(model, "can_generate", None)
    return writes is not None and row.shape[-1] == vocabulary and not writes() and not getattr(config, "is_decoder", False)


def writes(model: Any) -> bool:
    """Whether the model writes text, and reads nothing else."""
    config = getattr(model, "config", None)
    return bool(getattr(model, "can_generate", bool)()) and not getattr(config, "is_encoder_decoder", False)


def refuse_own_place(model: Any, name: str, ids: Tensor) -> None:
    """Raise TargetError where a model that writes puts a token of its own behind the text and predicts there, as XLNet and XLM do.

    Elsewhere the last place of a text predicts what follows.  How a model writes it says itself: by what it would be called with.
    """
    try:
        given = model.prepare_inputs_for_generation(ids) if name == "input_ids" and writes(model) else {}
    except RAISED:  # it needs more than a text, so it does not tell
        return
    longer = given.get("input_ids")
    if isinstance(longer, Tensor) and longer.shape[-1] > ids.shape[-1]:
        raise TargetError(
            f"{type(model).__name__} writes a token in a place of its own behind the text, so no place of the text predicts what follows. "
            "Explain one token as it is written: explain(model, model.prepare_inputs_for_generation(input_ids), "
            "target=target.token(7, at=-1))."
        )


def shown(tokens: Sequence[str]) -> str:
    """The first tokens with their places; nothing without any."""
    if not tokens:
        return ""
    return "places are " + ", ".join(f"{i} {t!r}" for i, t in enumerate(tokens[:8])) + (", ..." if len(tokens) > 8 else "")


def spread(span: Span, labels: Labels | None, among: Sequence[int] = ()) -> Spread:
    """The places of the tokens of a piece of text, or of what stands `among` some places. Raises TargetError if it is not there once."""
    if not isinstance(span.text, str) or not span.text.strip():
        raise TargetError(f'A span is a piece of the text, got {span.text!r}. Type target.span("fox").')
    if labels is None or labels.text is None or labels.offsets is None:
        raise TargetError("A span is looked up in a text; this input is none, or its tokenizer is not fast. Type at=3, a place.")
    spans = [o for i in among if (o := labels.offsets[i]) is not None]
    start, end = (min(o[0] for o in spans), max(o[1] for o in spans)) if spans else (0, len(labels.text))
    wanted, text = span.text.strip(), labels.text[start:end]
    count = text.count(wanted)
    if count != 1:
        place = f"stands there {count} times" if count else f"does not stand in {text[:60]!r}"
        raise TargetError(
            f"A span must stand in the text once; {wanted!r} {place}. "
            f"Type {'more of the text around it' if count else 'a piece of it'}, or at=3, a place."
        )
    first = start + text.index(wanted)
    found = [i for i, o in enumerate(labels.offsets) if o is not None and o[0] < first + len(wanted) and o[1] > first and o[1] > o[0]]
    if not found:
        raise TargetError(f"No token stands for {wanted!r}. Type at=3, a place.")
    return Spread(tuple(found), wanted)
