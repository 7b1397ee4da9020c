"""Texts, pairs of texts and conversations through a tokenizer; the tokens as a person reads them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.support import device_of
from ..errors import InputError
from .arguments import documented, first_of, named, of_transformers, open_ended, processed, refuse_unheard, takes
from .marks import words_of
from .model_input import Labels


def tokenizer_of(processor: Any) -> Any:
    """The tokenizer that a processor is or holds; None without one."""
    found = getattr(processor, "tokenizer", processor)
    return found if hasattr(found, "convert_ids_to_tokens") else None


def needed(model: nn.Module, processor: Any) -> Any:
    """The tokenizer; InputError without one, and for a model that takes no text."""
    if of_transformers(model):
        refuse_unheard(model, "A text", ("input_ids", "decoder_input_ids"))
    if processor is None and not of_transformers(model):
        raise InputError(
            f"A text needs a tokenizer, and {type(model).__name__} takes {', '.join(named(model)[:4])}. Type processor=tokenizer, or pass "
            f"numbers: explain(model, dict({first_of(model)}=...))."
        )
    if processor is None:
        raise InputError(
            f"A text needs the tokenizer that {type(model).__name__} was trained with. Type processor=AutoTokenizer.from_pretrained(name)."
        )
    found = tokenizer_of(processor)
    if found is None or not callable(found) or isinstance(processor, type):
        raise InputError(f"processor must be a tokenizer or hold one, got {shown_type(processor)}. Type processor=tokenizer.")
    return found


def shown_type(x: Any) -> str:
    """What x is, in an error: a class by its name, anything else by that of its class."""
    return f"the class {x.__name__} itself" if isinstance(x, type) else type(x).__name__


def from_text(
    model: nn.Module, text: str, processor: Any, pair: str | None = None, truncation: bool = False
) -> tuple[dict[str, Tensor], Labels]:
    """Tensors and labels of a text, or of two texts that the model compares; `truncation` cuts it to what the model takes.

    Offsets count in the text; of a pair, in the two with a line break between them.
    """
    for piece in (text,) if pair is None else (text, pair):
        not_empty(piece)
    tokenizer = needed(model, processor)
    texts = (text,) if pair is None else (text, pair)
    encoding = processed(tokenizer, "this text", *texts, **ways(tokenizer), **(shortened(model, tokenizer) if truncation else {}))
    starts = (0,) if pair is None else (0, len(text) + 1)
    labels = read_off(tokenizer, encoding, text if pair is None else f"{text}\n{pair}", starts)
    return accepted(model, encoding), labels


def from_texts(
    model: nn.Module, texts: Sequence[str], processor: Any, truncation: bool = False
) -> list[tuple[dict[str, Tensor], Labels]] | None:
    """`from_text` of each of several texts, from one call of the tokenizer; None of a tokenizer that does not tell their places."""
    tokenizer = tokenizer_of(processor)
    if not getattr(tokenizer, "is_fast", False):
        return None
    cut = shortened(model, tokenizer) if truncation else {}
    encoding = processed(tokenizer, "these texts", list(texts), return_special_tokens_mask=True, return_offsets_mapping=True, **cut)
    marks, spans = encoding.pop("special_tokens_mask"), encoding.pop("offset_mapping")
    taken, device = taken_by(model, encoding), device_of(model)
    found = []
    for i, text in enumerate(texts):
        ids = encoding["input_ids"][i]
        if not ids:
            raise InputError(no_token(text))
        tensors = {called: torch.tensor([encoding[name][i]], device=device) for name, called in taken.items()}
        special, raw = tuple(map(bool, marks[i])), tuple(map(str, tokenizer.convert_ids_to_tokens(ids)))
        words = tuple([None if s else w for w, s in zip(encoding.word_ids(i), special, strict=True)])
        found.append((tensors, placed(raw, special, text, spans[i], words)))
    return found


def not_empty(text: Any) -> str:
    """The text. Raises InputError for what is none, and for a text without a word."""
    if not isinstance(text, str):
        several = "one mapping for each: [dict(text=t) for t in texts]" if isinstance(text, list | tuple) else 'text="some words"'
        raise InputError(f"A text must be a str, got {type(text).__name__} {text!r:.60}. Type {several}.")
    if not text.strip():
        raise InputError("The text is empty; there is nothing to explain. Type at least one word.")
    if (half := next((c for c in text if "\ud800" <= c <= "\udfff"), None)) is not None:
        raise InputError(
            f"A text must hold whole characters; at {text.index(half)} it holds {half!a}, half of one. "
            'Type text.encode("utf-8", "replace").decode().'
        )
    return text


def no_token(text: str) -> str:
    """The message for a text of which a tokenizer makes nothing."""
    return f"The tokenizer makes no token of {text!r}. Type another text."


def from_messages(model: nn.Module, messages: Sequence[Mapping[str, Any]], processor: Any) -> tuple[dict[str, Tensor], Labels]:
    """A conversation through the chat template; the answer is to come, unless the assistant has begun it."""
    tokenizer = needed(model, processor)
    for message in messages:
        if "content" not in message:
            came = ", ".join(map(str, message))
            raise InputError(f'Each message must have a role and a content, got {came}. Type dict(role="user", content="Hello").')
    template = next((p for p in (processor, tokenizer) if getattr(p, "chat_template", None)), None)
    if template is None:
        raise InputError(
            f"{type(tokenizer).__name__} has no chat template to write messages with. Pass the text, or a chat model's tokenizer."
        )
    begun = messages[-1].get("role") == "assistant"
    text = processed(
        template.apply_chat_template, "this conversation", list(messages), tokenize=False, add_generation_prompt=not begun,
        continue_final_message=begun,
    )  # fmt: skip
    encoding = processed(tokenizer, "this conversation", text, add_special_tokens=False, **ways(tokenizer))
    marked = [i in tokenizer.all_special_ids for i in encoding["input_ids"][0].tolist()]
    encoding["special_tokens_mask"] = torch.tensor([marked]).long()
    return accepted(model, encoding), read_off(tokenizer, encoding, text, (0,), keep=True)


def shortened(model: nn.Module, tokenizer: Any) -> dict[str, Any]:
    """How a tokenizer is asked to cut a text to what the model takes."""
    limit = min(limit_of(model), getattr(tokenizer, "model_max_length", None) or sys.maxsize)
    return {"truncation": True, "max_length": limit} if limit < 10**9 else {}


def limit_of(model: nn.Module) -> int:
    """The most tokens that the model has positions for, as far as it says so; dynamic NTK scaling stretches them to any length."""
    config = getattr(model, "config", None)
    config = getattr(config, "text_config", config)
    if (getattr(config, "rope_parameters", None) or {}).get("rope_type") == "dynamic":
        return sys.maxsize
    limit = getattr(config, "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else sys.maxsize


def foreign_processor(model: nn.Module, processor: Any) -> tuple[str, ...]:
    """A note where a tokenizer knows more tokens than the model, or not half of them: valid ids may mean other words."""
    tokenizer, size = tokenizer_of(processor), getattr(table_of(model), "num_embeddings", None)
    known = len(tokenizer) if hasattr(tokenizer, "__len__") else 0
    if size is None or not known or size / 2 <= known <= size:  # tables are padded, and keep rows for tokens to come
        return ()
    return (f"the tokenizer knows {known} tokens and the model {size}: it may be another model's, and the tokens other words",)


def ways(tokenizer: Any) -> dict[str, Any]:
    """How a tokenizer is asked."""
    fast = bool(getattr(tokenizer, "is_fast", False))
    return {"return_tensors": "pt", "return_special_tokens_mask": True, "return_offsets_mapping": fast}


def read_off(tokenizer: Any, encoding: Any, text: str, starts: tuple[int, ...], keep: bool = False) -> Labels:
    """Labels of the first row; `starts`: where each text of a pair begins; `keep` the offsets of special tokens."""
    ids = encoding["input_ids"]
    if ids.shape[1] == 0:
        raise InputError(no_token(text))
    special = tuple(bool(s) for s in encoding.pop("special_tokens_mask")[0])
    raw = tuple(map(str, tokenizer.convert_ids_to_tokens(ids[0].tolist())))
    if "offset_mapping" not in encoding:
        return Labels(raw, special, text, words=words_of(raw, special, tokenizer))
    spans = [tuple(map(int, span)) for span in encoding.pop("offset_mapping")[0]]
    which = encoding.sequence_ids(0) if len(starts) > 1 else [0] * len(raw)
    moved = [(a + starts[n or 0], b + starts[n or 0]) for (a, b), n in zip(spans, which, strict=True)]
    numbers = encoding.word_ids(0)
    ends = 1 + max((w for w, n in zip(numbers, which, strict=True) if w is not None and n == 0), default=-1)
    words = tuple(None if s or w is None else w + (ends if n == 1 else 0) for w, s, n in zip(numbers, special, which, strict=True))
    return placed(raw, special, text, moved, words, keep)


def placed(
    raw: tuple[str, ...],
    special: tuple[bool, ...],
    text: str,
    spans: Sequence[tuple[int, int]],
    words: tuple[int | None, ...],
    keep: bool = False,
) -> Labels:
    """Labels of tokens whose places in the text are known; `keep` those of special tokens."""
    offsets = tuple([None if (s and not keep) or a == b else (a, b) for (a, b), s in zip(spans, special, strict=True)])
    tokens = tuple([text[o[0] : o[1]].strip() or r if o else r for o, r in zip(offsets, raw, strict=True)])
    return Labels(tokens, special, text, offsets, words)


def of_ids(ids: Sequence[int], processor: Any) -> Labels:
    """Labels of token ids that no text is known for."""
    tokenizer = tokenizer_of(processor)
    if tokenizer is None:
        return Labels(tuple(map(str, ids)), (False,) * len(ids))
    among = set(tokenizer.all_special_ids)
    tokens, special = tuple(map(str, tokenizer.convert_ids_to_tokens(list(ids)))), tuple(i in among for i in ids)
    return Labels(tokens, special, words=words_of(tokens, special, tokenizer))


def table_of(model: nn.Module) -> nn.Module | None:
    """The table of token vectors, of the text's tower where there are several; None where the model does not say."""
    holders: tuple[Any, ...] = (model, getattr(model, "text_model", None))
    for holder in holders:
        try:
            return holder.get_input_embeddings()
        except (AttributeError, NotImplementedError):
            continue
    return None


def pad_ids(model: nn.Module, processor: Any) -> list[int]:
    """The ids that stand for padding: the model's own, then its table's, then the tokenizer's."""
    said = (
        getattr(getattr(model, "config", None), "pad_token_id", None),
        getattr(table_of(model), "padding_idx", None),
        getattr(tokenizer_of(processor), "pad_token_id", None),
    )
    return [i for i in said if isinstance(i, int)]


def accepted(model: nn.Module, encoding: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors that the model's forward takes, where the model is; ids under the name that a module of one's own has for them."""
    device = device_of(model)
    return {called: v.to(device) for k, called in taken_by(model, encoding).items() if isinstance(v := encoding[k], Tensor)}


def taken_by(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Those of a processor's names that the model's forward takes, and what it calls them."""
    anything = open_ended(model)
    found = {name: name for name in names if takes(model, name) or (anything and name == "attention_mask")}
    if "input_ids" in names and "input_ids" not in found:
        found["input_ids"] = "input_ids" if anything and "input_ids" in documented(model) else first_of(model)
    return found
