"""Labels and tokens by the names a person gives them: which number in the logits is meant."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from ..errors import TargetError
from ..inputs.marks import STARTS


def label_names(model: Any, classes: int) -> dict[int, str]:
    """The model's labels, if it has one for each class and is no language model."""
    config = getattr(model, "config", None)
    names = getattr(config, "id2label", None) or {}
    names = {int(k): str(v) for k, v in names.items()}
    return names if len(names) == classes and classes != getattr(config, "vocab_size", None) else {}


def problem_type(model: Any, classes: int) -> str:
    """What kind of answer the logits are, in the words of transformers; one logit alone is a number, unless the model says otherwise."""
    said = getattr(getattr(model, "config", None), "problem_type", None)
    return said or ("regression" if classes == 1 else "single_label_classification")


def label_number(wanted: str, names: Mapping[int, str]) -> int:
    """A label's class number, whatever its case."""
    folded = {v.casefold(): k for k, v in names.items()}
    if wanted.casefold() not in folded:
        near = get_close_matches(wanted.casefold(), folded, 1, 0.5)
        known = ", ".join(list(names.values())[:10]) + (", ..." if len(names) > 10 else "")
        hint = f" Did you mean {names[folded[near[0]]]!r}?" if near else ""
        raise TargetError(f"The model has no label {wanted!r}; its labels are {known}.{hint}")
    return folded[wanted.casefold()]


def token_number(wanted: str, processor: Any, classes: int) -> int:
    """The id of a text that is exactly one token, with or without a space before it."""
    tokenizer = getattr(processor, "tokenizer", processor)
    if tokenizer is None or not hasattr(tokenizer, "convert_tokens_to_ids"):
        raise TargetError(f"To find the token {wanted!r} a tokenizer is needed. Type processor=tokenizer, or the token's id.")
    vocabulary = tokenizer.get_vocab()
    for spelt in (wanted, *(mark + wanted for mark in STARTS)):
        if spelt in vocabulary and vocabulary[spelt] < classes:
            return vocabulary[spelt]
    pieces = tokenizer.encode(wanted, add_special_tokens=False)
    if len(pieces) == 1 and pieces[0] != tokenizer.unk_token_id and pieces[0] < classes:
        return pieces[0]
    shown = tokenizer.convert_ids_to_tokens(pieces)
    if tokenizer.unk_token_id in pieces or not pieces:
        raise TargetError(f"The vocabulary has no token {wanted!r}. Type a token's id, or another word.")
    raise TargetError(f"A target must be one token, {wanted!r} is {len(pieces)}: {shown}. Type one of them, or an id, target={pieces[0]}.")


def token_text(number: int, processor: Any) -> str:
    """A token's text, or its number where no tokenizer is at hand."""
    tokenizer = getattr(processor, "tokenizer", processor)
    if tokenizer is None or not hasattr(tokenizer, "decode"):
        return f"class {number}"
    return repr(str(tokenizer.decode([number])).strip() or tokenizer.convert_ids_to_tokens(number))


def known_id(number: int, processor: Any, names: Mapping[int, str], classes: int) -> None:
    """Refuse an id for which the head has a row, but the tokenizer no token: heads are padded to round sizes."""
    tokenizer = getattr(processor, "tokenizer", processor)
    size = len(tokenizer) if hasattr(tokenizer, "get_vocab") else None
    if size is not None and not names and number >= size and size > 2 < classes:
        raise TargetError(f"The tokenizer has tokens 0 to {size - 1}; {number} is a row of the head without one. Type an id below {size}.")


def several_tokens(wanted: Any, processor: Any) -> tuple[int, ...]:
    """The ids of a word of several tokens; nothing for one token, or none."""
    tokenizer = getattr(processor, "tokenizer", processor)
    if not isinstance(wanted, str) or not hasattr(tokenizer, "convert_tokens_to_ids"):
        return ()
    vocabulary = tokenizer.get_vocab()
    if any(spelt in vocabulary for spelt in (wanted, *(mark + wanted for mark in STARTS))):
        return ()
    pieces = tokenizer.encode(wanted, add_special_tokens=False)
    return tuple(pieces) if len(pieces) > 1 and tokenizer.unk_token_id not in pieces else ()
