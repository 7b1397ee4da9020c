"""The next tokens of a text, written by the model or standing there already: each explained where it is predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.streams import streams_of
from ..errors import TargetError
from ..inputs.decoder import has_decoder, start_of
from ..inputs.encode import limit_of
from ..inputs.marks import words_of
from ..inputs.model_input import Encoded, Labels
from ..inputs.padding import fill_of
from ..inputs.text import of_ids, tokenizer_of
from .places import refuse_own_place
from .target import Generated, Read, Token

Step = tuple[Token, tuple[str, int]]  # a token at its predicting place; (stream, how many places that could see)


def steps(model: nn.Module, row: Encoded, wanted: Generated | Read, processor: Any) -> tuple[Encoded, list[Step]]:
    """The input with its continuation, and the token to explain at each place."""
    if not getattr(model, "can_generate", bool)():
        raise TargetError(f"{type(model).__name__} does not write text, so it has no next token. Type target=None, or load one that does.")
    name = "decoder_input_ids" if has_decoder(model) else "input_ids"
    if name not in row.tensors:
        raise TargetError(f"The next tokens need {name}; the input has {', '.join(row.tensors)}. Pass a text.")
    row = from_start(model, unpadded(row, wanted), name, processor)
    refuse_own_place(model, name, row.tensors[name])
    first = row.tensors[name].shape[1]
    if isinstance(wanted, Generated):
        row = written(model, row, name, wanted, processor)
    elif wanted.first >= first:
        raise TargetError(f"read(first={wanted.first}) needs more tokens than that; the text has {first}. Type target.read().")
    else:
        first = wanted.first
    ids = row.tensors[name][0].tolist()
    stream = streams_of(row.tensors)[name]
    found = [(Token(ids[i], i - 1), (stream, i)) for i in range(first, len(ids))]
    return without_last(row, name, stream), found


def unpadded(row: Encoded, wanted: Generated | Read) -> Encoded:
    """The row as it is written on: without padding, before which a model counts places when it generates."""
    if isinstance(wanted, Read) and any(first for first, _ in row.own.values()):
        raise TargetError("Padding before a text moves its positions, so what is read there is not the text alone. Pass it unpadded.")
    return row.without_padding()


def from_start(model: nn.Module, row: Encoded, name: str, processor: Any) -> Encoded:
    """The row whose decoder has written nothing yet, where the user gave it nothing to read."""
    if not row.copied or name != "decoder_input_ids":
        return row
    start = torch.full_like(row.tensors[name][:, :1], start_of(model))
    return replace(row, tensors={**row.tensors, name: start}, labels={**row.labels, "decoder": of_ids(start[0].tolist(), processor)})


GREEDY = {"do_sample": False, "num_beams": 1, "temperature": None, "top_k": None, "top_p": None}
DRAWS = {"temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"}  # options that mean: draw


def written(model: Any, row: Encoded, name: str, wanted: Generated, processor: Any) -> Encoded:
    """The input with at most so many more tokens, each the likeliest, or chosen as the options of `generate` say."""
    given, count, options = dict(row.tensors), wanted.count, dict(wanted.options)
    room = limit_of(model) - given[name].shape[1] + 1  # the last token need not be read again
    if count > room:
        raise TargetError(f"The model has positions for {room} more tokens after this text, not {count}. Type generated({room}).")
    chosen = {**GREEDY, "do_sample": bool(DRAWS & set(options)), **options}
    with torch.random.fork_rng(), torch.no_grad():
        if wanted.seed is not None:
            torch.manual_seed(wanted.seed)
        try:
            out = model.generate(**given, max_new_tokens=count, pad_token_id=fill_of(model, processor), **chosen)
        except (ValueError, TypeError) as error:
            if not options:
                raise
            said = str(error).strip().split("\n")[0].rstrip(".")
            raise TargetError(f"generate does not take {', '.join(options)} as given: {said}. Type target.generated({count}).") from error
    ids = out if isinstance(out, Tensor) else out.sequences
    before = given[name].shape[1]
    new = ids[:, before:] if torch.equal(ids[:, :before], given[name]) else ids  # some give the new tokens alone
    if not new.shape[1]:
        raise TargetError("The model writes nothing after this text. Type target=None to explain its highest logit.")
    return followed_by(row, name, new, processor)


def continued(model: Any, row: Encoded, ids: Sequence[int], processor: Any) -> tuple[Encoded, int]:
    """The input with these tokens behind it, all but the last, and the place that predicts the first of them."""
    name = "decoder_input_ids" if has_decoder(model) else "input_ids"
    if name not in row.tensors:
        raise TargetError(f"A word of several tokens is written behind a text; the input has {', '.join(row.tensors)}. Pass a text.")
    row = from_start(model, row.without_padding(), name, processor)
    refuse_own_place(model, name, row.tensors[name])
    before = row.tensors[name].shape[1]
    if before + len(ids) - 1 > limit_of(model):
        raise TargetError(f"The model has positions for {limit_of(model) - before + 1} more tokens, not {len(ids)}. Type a shorter word.")
    return followed_by(row, name, torch.tensor([list(ids)[:-1]]), processor), before - 1


def followed_by(row: Encoded, name: str, new: Tensor, processor: Any) -> Encoded:
    """The input with new tokens (1, n) behind it, and its labels with theirs."""
    stream, ids = streams_of(row.tensors)[name], row.tensors[name]
    labels = {**row.labels, stream: longer(row.labels.get(stream, Labels()), ids[0].tolist(), new[0].tolist(), processor)}
    return replace(row, tensors={k: extended(k, v, name, ids.shape[1], new) for k, v in row.tensors.items()}, labels=labels)


def extended(name: str, x: Tensor, main: str, T: int, new: Tensor) -> Tensor:
    """A tensor with places for the new tokens, if it has one for each of the old."""
    if name == main:
        return torch.cat([x, new.to(x)], 1)
    ours = name.startswith("decoder_") == main.startswith("decoder_") and not name.startswith("pixel")
    if not ours or x.dim() != 2 or x.shape[1] != T:
        return x
    more = torch.arange(1, new.shape[1] + 1, device=x.device)[None] if name.endswith("position_ids") else 0
    return torch.cat([x, x[:, -1:].expand(-1, new.shape[1]) + more], 1)


def without_last(row: Encoded, name: str, stream: str) -> Encoded:
    """The last token predicts nothing that is asked for."""
    T = row.tensors[name].shape[1]
    ours = {k: k.startswith("decoder_") == name.startswith("decoder_") and not k.startswith("pixel") for k in row.tensors}
    tensors = {k: v[:, :-1] if ours[k] and v.dim() >= 2 and v.shape[1] == T else v for k, v in row.tensors.items()}
    return replace(row, tensors=tensors, labels={**row.labels, stream: row.labels[stream].upto(T - 1)})


def longer(labels: Labels, before: Sequence[int], new: Sequence[int], processor: Any) -> Labels:
    """Labels with the new tokens; the text goes on where the tokenizer can write it so."""
    more = of_ids(new, processor)
    tokenizer, text, offsets = tokenizer_of(processor), labels.text, labels.offsets
    if text is not None and offsets is not None:
        spans: list[tuple[int, int] | None] = []
        whole = tokenizer.decode(list(before))
        for i in range(len(new)):
            now = tokenizer.decode([*before, *new[: i + 1]])
            piece = now[len(whole) :] if now.startswith(whole) else ""
            spans.append((len(text), len(text) + len(piece)) if piece else None)
            text, whole = text + piece, now
        shown = tuple(text[s[0] : s[1]].strip() or t if s else t for s, t in zip(spans, more.tokens, strict=True))
        return Labels((*labels.tokens, *shown), (*labels.special, *more.special), text, (*offsets, *spans))
    tokens, special = (*labels.tokens, *more.tokens), (*labels.special, *more.special)
    return Labels(tokens, special, text, words=None if tokenizer is None else words_of(tokens, special, tokenizer))
