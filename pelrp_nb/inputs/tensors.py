"""The arguments of `forward` as the user prepared them: nothing is dropped, rows of a batch apart, padding known as such."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.places.roles import role_of
from ..engine.streams import streams_of
from ..engine.support import device_of
from ..errors import InputError
from . import own
from .arguments import check_names, check_required, named, of_transformers
from .convert import as_tensor, holds_tensors, is_array, is_hollow, is_uneven, wants_list
from .decoder import add_decoder
from .model_input import MAIN, SEQUENCES, Encoded, main_of
from .rows import Errors
from .text import foreign_processor, of_ids, pad_ids

CACHES = ("past_key_values", "cache_params", "mems")
SHARED = ("cache_position", "logits_to_keep")  # never one for each row, however long they are


def from_tensors(model: nn.Module, given: Mapping[str, Any], processor: Any, errors: Errors | None = None) -> list[Any]:
    """One Encoded per row of a mapping of arguments; tokens by the tokenizer, if there is one."""
    if any(is_uneven(given.get(name)) for name in MAIN):
        return apart(model, given, processor, errors)
    notes = check_names(model, given)
    for name in CACHES:
        if given.get(name) is not None:
            raise InputError(f"A cached prefix ({name}) hides the tokens it came from. Pass the whole input_ids instead.")
    written = given.get("labels") if isinstance(given.get("labels"), str) else None
    values = {k: as_tensor(model, k, v) for k, v in given.items() if not (k == "labels" and written is not None)}
    check_required(model, values)
    check_ids(values.get("input_ids"))
    tensors = with_batch({k: v for k, v in values.items() if isinstance(v, Tensor)}, of_transformers(model))
    more = {k: v for k, v in values.items() if not isinstance(v, Tensor)}
    main = content_of(model, tensors, more)
    check_device(model, tensors)
    notes += tuple(
        f"`{k}` holds tensors inside a {type(v).__name__}: they are taken for constants" for k, v in more.items() if holds_tensors(v)
    )
    notes += foreign_processor(model, processor) if "input_ids" in tensors else ()
    rows, shared, alone = apart_by_rows(model, tensors, more, main)
    shared = {**more, **shared}
    numbers = range(len(rows))
    return (errors or Errors()).of(len(rows) > 1).each(numbers, lambda i: row(model, rows[i], shared, processor, written, i, notes, alone))


def apart(model: nn.Module, given: Mapping[str, Any], processor: Any, errors: Errors | None) -> list[Any]:
    """Rows of unequal length, each a mapping of its own."""
    main = next(name for name in MAIN if is_uneven(given.get(name)))
    if not of_transformers(model) and any(isinstance(x, Tensor) for x in given[main]):
        raise InputError(
            f"Rows must be in one tensor, or in lists; `{main}` is a list of tensors. Type [dict({main}=x[None]) for x in rows]."
        )
    B = len(given[main])
    rowed = {k: v for k, v in given.items() if has_rows(v) and k not in SHARED and not wants_list(model, k)}
    if not of_transformers(model):  # what is no list may be as long as it likes: a table that all rows share
        rowed = {k: v for k, v in rowed.items() if not is_array(v) or len(v) == B}
    for name, v in rowed.items():
        if len(v) != B and not (is_array(v) and len(v) == 1):
            raise InputError(f"`{name}` must have {B} rows, like {main}; got {len(v)}. Pass one row of it for each input.")

    def one(i: int) -> Any:
        found = from_tensors(model, {k: part(v, i) if k in rowed and len(v) == B else v for k, v in given.items()}, processor)
        if len(found) > 1:
            raise InputError(f"A row of `{main}` must be one input, got {len(found)} in it. Pass one mapping for each.")
        return found[0]

    return (errors or Errors()).of(True).each(range(B), one)


def has_rows(x: Any) -> bool:
    """Whether x has a first axis: a list, or an array of one axis at least."""
    return isinstance(x, list | tuple) or (is_array(x) and x.ndim > 0)


def part(x: Any, i: int) -> Any:
    """Row i as a batch of one; of texts that a decoder wrote, the text."""
    return x[i] if isinstance(x, list | tuple) and isinstance(x[i], str) else x[i : i + 1]


def with_batch(tensors: dict[str, Tensor], known: bool) -> dict[str, Tensor]:
    """Ids and masks of one row as a batch of one, as transformers' models take them."""
    main = next((k for k in SEQUENCES if k in tensors), None) if known else None
    if main is None:
        return tensors
    x = tensors[main]
    flat = x.dim() == SEQUENCES.index(main) + 1
    T = 0 if x.dim() == 0 else len(x) if flat else x.shape[1] if len(x) == 1 else 0
    mine = {k for k, v in tensors.items() if v.dim() == 1 and len(v) == T and k.endswith(("_ids", "mask"))} | ({main} if flat else set())
    return {k: v[None] if k in mine else v for k, v in tensors.items()}


def content_of(model: nn.Module, tensors: Mapping[str, Tensor], more: Mapping[str, Any]) -> str:
    """The name of the input that is explained first; InputError where there is none."""
    if not any(role_of(k, v) == "content" for k, v in tensors.items()):
        came = ", ".join(f"{k} ({type(v).__name__})" for k, v in {**tensors, **more}.items()) or "nothing"
        inside = [k for k, v in more.items() if holds_tensors(v)]
        if inside:
            raise InputError(
                f"An input that is explained must be an argument of its own; `{inside[0]}` holds tensors inside a "
                f"{type(more[inside[0]]).__name__}, which are not followed. Wrap the model in a module whose forward takes them one by one."
            )
        hollow = next((k for k, v in more.items() if is_hollow(v) and k in named(model)), None)
        if hollow is not None:
            raise InputError(f"`{hollow}` must not be empty; got {more[hollow]}. Pass at least one place of it.")
        taken = f"one of {', '.join(MAIN)} as a tensor" if of_transformers(model) else "a tensor that is no mask"
        raise InputError(f"The mapping must hold {taken}; got {came}. Type {example(model)}.")
    main = main_of(tensors)
    x = tensors[main]
    if 0 in x.shape:
        raise InputError(f"`{main}` must not be empty; got {tuple(x.shape)}. Pass at least one place of it.")
    if x.dim() == 0 and not of_transformers(model):
        raise InputError(f"`{main}` must have an axis, got a single number, {x.item():g}. Type {main}[None].")
    if x.dim() < 2 and of_transformers(model):
        raise InputError(f"`{main}` must be a batch (B, ...), got {tuple(x.shape)}. Type {main}[None] for one row.")
    if main == "input_ids" and x.dim() != 2 and of_transformers(model):
        raise InputError(f"`input_ids` must be rows of token ids (B, T), got {tuple(x.shape)}. Type input_ids.flatten(0, -2).")
    return main


def check_ids(ids: Any) -> None:
    """Refuse token ids that are no whole numbers, and kinds of them that torch hardly computes with."""
    if isinstance(ids, Tensor) and ids.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
        kind = "whole numbers" if ids.is_floating_point() or ids.dtype == torch.bool else "whole numbers of torch.int64 or torch.int32"
        raise InputError(f"Token ids must be {kind}, got {ids.dtype}. Type input_ids=ids.long(), or inputs_embeds= for vectors.")


def example(model: nn.Module) -> str:
    """How a mapping for this model is typed."""
    if of_transformers(model):
        name = getattr(model, "main_input_name", "input_ids")
        return f"dict({name}={'ids' if name == 'input_ids' else 'x'})"
    return f"explain(model, dict({own.called(model)}))"


def apart_by_rows(
    model: nn.Module, tensors: dict[str, Tensor], more: Mapping[str, Any], main: str
) -> tuple[list[dict[str, Tensor]], dict[str, Tensor], bool]:
    """The tensors of each row, those that all rows share, and whether the rows must not meet in a batch."""
    if not of_transformers(model):
        return own.rows_of(model, tensors, more, main)
    B = len(tensors[main])
    flat = [k for k, v in tensors.items() if v.dim() == 0 or (v.dim() == 1 and k.endswith(("_ids", "mask")))]
    shared = {k: v for k, v in tensors.items() if k in (*flat, *SHARED) or (B == 1 and len(v) != 1)}
    T = tensors[main].shape[1]
    for name, x in tensors.items():
        if name == "attention_mask" and x.dim() == 2 and main in SEQUENCES and x.shape[1] != T:
            raise InputError(f"`{name}` must have {T} places, like {main}; got {tuple(x.shape)}. Type torch.ones_like(input_ids).")
        of_rows = x.dim() == 2 and name.endswith(("attention_mask", "token_type_ids"))
        if (name not in shared or of_rows) and x.shape[0] not in (1, B):
            raise InputError(f"`{name}` must have {B} rows, like {main}; got {tuple(x.shape)}. Pass one row of it for each input.")
    mine = {k: v for k, v in tensors.items() if k not in shared}
    return [{k: v if len(v) == 1 else v[i : i + 1] for k, v in mine.items()} for i in range(B)], shared, False


def row(
    model: nn.Module, tensors: dict[str, Tensor], more: Mapping[str, Any], processor: Any, written: str | None, number: int,
    notes: tuple[str, ...], alone: bool,
) -> Encoded:  # fmt: skip
    """One row, with what its decoder reads, its padding, and the names of its places."""
    copied = not any(name in tensors for name in ("decoder_input_ids", "decoder_inputs_embeds", "labels")) and written is None
    tensors, decoder = add_decoder(model, tensors, processor, written, more)
    own_places: dict[str, tuple[int, int]] = {}
    for mask, names, prefix in (("attention_mask", SEQUENCES, ""), ("decoder_attention_mask", ("decoder_input_ids",), "decoder_")):
        found, said = padding(model, processor, tensors, mask, names, number)
        notes += said
        if found is not None:
            own_places[prefix] = found
    streams = streams_of(tensors)
    labels, whole = {}, {}
    ids = {"": tensors.get("input_ids"), "decoder_": tensors.get("decoder_input_ids") if decoder else None}
    for prefix, x in ids.items():
        if x is not None and x.dim() == 2:
            stream = "decoder" if prefix else streams["input_ids"]
            first, end = own_places.get(prefix, (0, x.shape[1]))
            whole[stream] = of_ids(x[0].tolist(), processor)
            labels[stream] = of_ids(x[0, first:end].tolist(), processor)
    return Encoded(tensors, labels, more, own_places, whole if own_places else None, False, alone, copied, notes)


def padding(
    model: nn.Module, processor: Any, tensors: Mapping[str, Tensor], mask: str, names: tuple[str, ...], number: int
) -> tuple[tuple[int, int] | None, tuple[str, ...]]:
    """(first, end) of the places that are no padding; None for all. Real tokens that a mask hides at an end stay, with a note."""
    main = next((name for name in names if name in tensors), None)
    seen = tensors.get(mask)
    if main is None or seen is None or seen.dim() != 2 or seen.shape[1] != tensors[main].shape[1]:
        return None, ()
    if not seen.any():
        raise InputError(f"Each row must have a token left; in row {number} the {mask} hides every one. Drop that row.")
    places = seen[0].nonzero()
    first, end = int(places.min()), int(places.max()) + 1
    T = seen.shape[1]
    if (first, end) == (0, T):
        return None, ()
    x = tensors[main][0]
    ends = torch.cat([x[:first], x[end:]])
    if is_padding(model, processor, ends):
        return (first, end), ()
    where = ", ".join(map(str, [*range(first), *range(end, T)]))
    return None, (f"the {mask} hides tokens that are no padding, at {where}: they keep their places, as the model saw them",)


def is_padding(model: nn.Module, processor: Any, x: Tensor) -> bool:
    """Whether what a mask hides is padding: ids to pad with, or vectors that are all the same."""
    if x.is_floating_point():
        return bool((x == x[:1]).all()) and (len(x) > 1 or not x.any())
    ends = getattr(getattr(model, "config", None), "eos_token_id", None)
    known = set(pad_ids(model, processor)) or {0}
    known |= {ends} if isinstance(ends, int) else set(ends or ())
    return len(x.unique()) == 1 and int(x[0]) in known


def check_device(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Tensors where the model is; accelerate moves them itself."""
    device = device_of(model)
    for name, tensor in tensors.items():
        if tensor.device != device and not hasattr(model, "hf_device_map"):
            raise InputError(f"`{name}` must be on {device}, like the model; it is on {tensor.device}. Type {name}.to(model.device).")
