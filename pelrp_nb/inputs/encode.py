"""From what the user has to what the model takes: each kind of input by its own page, all checked here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.places.roles import role_of
from ..engine.streams import streams_of
from ..errors import InputError
from . import audio, image_processor, own
from .arguments import RAW, call, check_names, first_of, named, of_transformers, quiet, takes
from .convert import as_tensor, is_array, is_missing, is_nested_numbers, plain
from .decoder import add_decoder, has_decoder, writes
from .model_input import MAIN, Encoded, Labels
from .rows import Errors, good
from .tensors import from_tensors
from .text import foreign_processor, from_messages, from_text, from_texts, limit_of, needed, not_empty, of_ids, shown_type, table_of

NEEDS = {"text_pair": "text", "sampling_rate": "audio"}  # what a processor takes beside something else alone

__all__ = ["call", "encode", "encode_all", "limit_of", "quiet", "takes"]


def encode_all(
    model: nn.Module, given: Any, processor: Any, truncation: bool = False, errors: Errors | None = None
) -> tuple[list[Any], bool]:
    """Every input as the model takes it (`Encoded`), and whether there may be several: then the answer is a list, even of one.

    What could not be read is refused by its number; with `on_error="skip"` a `Skipped` stands in its place.
    """
    errors = errors or Errors()
    given = plain(given)
    arguments = as_arguments(model, given, processor)
    if arguments is not None:
        found = from_tensors(model, arguments, processor, errors)
        return errors.of(len(found) > 1).each(found, checker(model)), len(found) > 1
    if image_processor.is_batch(given):
        given = list(given)
    if isinstance(given, Sequence) and not isinstance(given, str | bytes) and not is_one(given):
        if not len(given):
            raise InputError("There is no input in the list. Type at least one text.")
        mixed(given, processor)
        return encode_list(model, given, processor, truncation, errors.of(True)), True
    return [encode(model, given, processor, truncation)], False


def encode_list(model: nn.Module, given: Sequence, processor: Any, truncation: bool, errors: Errors) -> list[Any]:
    """Several inputs; texts from one call of the tokenizer, where none has to be read by itself."""
    if any(isinstance(x, str) for x in given) and image_processor.image_processor_of(processor) is None:
        needed(model, processor)  # the same for all of them
    if not all(isinstance(x, str) for x in given) or has_decoder(model):
        return errors.each(given, lambda x: encode(model, x, processor, truncation))
    rows: list[Any] = errors.each(given, not_empty)
    kept = good(rows)
    try:
        found = from_texts(model, [given[i] for i in kept], processor, truncation) if kept else []
    except InputError:  # of one of them a tokenizer makes nothing
        found = None
    if found is None:
        return errors.each(rows, lambda x: encode(model, x, processor, truncation))
    notes = foreign_processor(model, processor)
    for i, (tensors, labels) in zip(kept, found, strict=True):
        rows[i] = Encoded(tensors, {streams_of(tensors)["input_ids"]: labels}, given=labels.text, notes=notes)
    return errors.each(rows, checker(model))


def is_one(given: Sequence) -> bool:
    """Whether a sequence is one input: a pair of texts, a conversation."""
    pair = isinstance(given, tuple) and len(given) == 2 and all(isinstance(x, str) for x in given)
    return pair or is_conversation(given)


def is_conversation(given: Any) -> bool:
    """Whether these are messages with roles."""
    return isinstance(given, Sequence) and bool(given) and all(isinstance(m, Mapping) and "role" in m for m in given)


def mixed(given: Sequence, processor: Any) -> None:
    """Refuse a list of texts and pictures: each of them would lack what the other has."""
    kinds = ["picture" if image_processor.is_picture(x, processor) else "text" if isinstance(x, str) else None for x in given]
    if {"text", "picture"} <= set(kinds):
        first, other = kinds.index("text"), kinds.index("picture")
        raise InputError(
            f"Inputs must be of one kind; input {first} is a text and input {other} a picture. Type dict(text=..., images=...) for "
            "each input, if the model takes both."
        )


def encode(model: nn.Module, given: Any, processor: Any, truncation: bool = False) -> Encoded:
    """One input, checked against the model.

    Raises InputError for empty or too long text, a missing or foreign processor, tensors elsewhere, cached prefixes.
    """
    given = plain(given)
    arguments = as_arguments(model, given, processor)
    if arguments is not None:
        found = from_tensors(model, arguments, processor)
        if len(found) > 1:
            raise InputError(f"There must be one input here, got a batch of {len(found)}. Type explain(model, that batch).")
        return checked(model, found[0])
    raw = as_raw(model, given, processor)
    if raw is not None:
        return checked(model, from_mapping(model, raw, processor, truncation))
    if isinstance(given, Sequence) and is_conversation(given):
        tensors, labels = from_messages(model, given, processor)
        return checked(model, assembled(model, tensors, labels, processor))
    raise InputError(f"An input must be a text or a mapping of tensors (or a picture, sound, a pair of texts, messages), got {told(given)}")


def told(given: Any) -> str:
    """What came in place of an input, and what to type."""
    cells = given if isinstance(given, list | tuple) else (given,)
    if any(map(is_missing, cells)):
        empty = next(filter(is_missing, cells))
        return f"{empty}, an empty cell or a result that is missing. Drop it: texts.dropna(), or [t for t in texts if isinstance(t, str)]."
    if isinstance(given, list | tuple) and all(isinstance(x, str) for x in given):
        return f"a {type(given).__name__} of {len(given)} texts. Type one list of texts, or a tuple of two for a pair: (text, other)."
    return f'{shown_type(given)}. Type explain(model, "some text", processor=tokenizer).'


def as_raw(model: nn.Module, given: Any, processor: Any) -> dict[str, Any] | None:
    """Texts, pictures and sound by name, for the processor; None for something else."""
    if isinstance(given, Mapping):
        return dict(given)
    if image_processor.is_picture(given, processor):
        return {"images": given}
    if audio.is_sound(given):
        return {"audio": given}
    if isinstance(given, str):
        return {"text": given}
    if isinstance(given, tuple) and is_one(given):
        return {"text": given[0], "labels" if writes(model) else "text_pair": given[1]}
    return None


def as_arguments(model: nn.Module, given: Any, processor: Any) -> Mapping[str, Any] | None:
    """The arguments of `forward` by name, where the input is prepared already; None for what needs a processor first."""
    if isinstance(given, Mapping):
        return given if is_prepared(model, given) else None
    if not own.is_tensor_like(given) and not isinstance(given, tuple):
        return None
    if not of_transformers(model):
        return None if image_processor.image_processor_of(processor) or audio.extractor_of(processor) else own.as_arguments(model, given)
    if is_nested_numbers(given):
        return {"input_ids": given} if whole_numbers(given) and reads_ids(model) else None
    if isinstance(given, tuple) or image_processor.image_processor_of(processor) or audio.extractor_of(processor):
        return None
    main = getattr(model, "main_input_name", "input_ids")
    if whole_numbers(given) and reads_ids(model):
        return {"input_ids": given} if given.ndim else None
    return {main: given} if given.ndim >= {"pixel_values": 4, "input_features": 3, "input_values": 2}.get(main, 99) else None


def reads_ids(model: nn.Module) -> bool:
    """Whether a bare tensor of whole numbers can only be token ids."""
    return takes(model, "input_ids") and getattr(model, "main_input_name", "input_ids") == "input_ids"


def whole_numbers(x: Any) -> bool:
    """Whether an array or a list holds whole numbers."""
    if isinstance(x, list | tuple):
        return all(whole_numbers(y) for y in x)
    if isinstance(x, Tensor):
        return not (x.is_floating_point() or x.is_complex() or x.dtype in (torch.bool, torch.uint8))
    return (isinstance(x, int) and not isinstance(x, bool)) or (is_array(x) and x.dtype.kind in "iu" and x.dtype != "uint8")


def is_prepared(model: nn.Module, given: Mapping[str, Any]) -> bool:
    """Whether a mapping holds arguments of `forward`, rather than what a processor takes."""
    for name in given:
        if not isinstance(name, str):
            raise InputError(f"A mapping must hold arguments by name; got {name!r} as a name. Type dict({first_of(model)}=...).")
    if {"role", "content"} & set(given) and not {"role", "content"} & set(named(model)):
        came = ", ".join(map(str, given))
        raise InputError(f'A conversation must be a list of messages with role and content, got one mapping of {came}. '
                         'Type [dict(role="user", content="Hello")].')  # fmt: skip
    lone = next((k for k, needs in NEEDS.items() if k in given and needs not in given and k not in named(model)), None)
    if lone is not None:
        need, came = NEEDS[lone], ", ".join(given)
        raise InputError(f"The mapping must hold {need} beside `{lone}`; got {came}. Type dict({need}=..., {lone}=...), or leave it out.")
    raw = [k for k in ("text", "images", "audio") if k in given and not (k in named(model) and is_array(given[k]))]
    ready = [k for k in MAIN if k in given]
    if raw and ready:
        raise InputError(
            f"An input must be given once; the mapping holds `{raw[0]}` and `{ready[0]}`. Leave one of them out: the processor makes "
            "the second from the first."
        )
    return not raw


def from_mapping(model: nn.Module, given: Mapping[str, Any], processor: Any, truncation: bool = False) -> Encoded:
    """Texts, pictures and sound by name, together: what a processor takes; flags for the model beside them."""
    written = given.get("labels") if isinstance(given.get("labels"), str) else None
    if written is not None and not has_decoder(model):
        raise InputError(
            f"`labels` as a text is what a decoder wrote, and {type(model).__name__} has none. Type labels=tensor, or text_pair=."
        )
    rest = {k: v for k, v in given.items() if k not in RAW or (k == "labels" and written is None) or NEEDS.get(k, k) not in given}
    notes = check_names(model, rest)
    rest = {k: as_tensor(model, k, v) for k, v in rest.items()}
    more = {k: v for k, v in rest.items() if not isinstance(v, Tensor)}
    check_together(model, given)
    tensors: dict[str, Tensor] = {}
    labels = None
    found: dict[str, Any] = {}
    if "text" in given:
        tensors, labels = from_text(model, given["text"], processor, given.get("text_pair"), truncation)
    if "images" in given:
        seen, picture = image_processor.from_picture(model, given["images"], processor, given.get("text"))
        found |= {"picture": (int(picture.shape[0]), int(picture.shape[1])), "pixels": image_processor.small(picture)}
        found["cropped"] = bool(getattr(image_processor.image_processor_of(processor), "do_center_crop", False))
        tensors |= seen
    if "audio" in given:
        heard, found["seconds"] = audio.from_sound(model, given["audio"], processor, given.get("sampling_rate"))
        tensors |= heard
    if labels is not None and "input_ids" in tensors and tensors["input_ids"].shape[1] != len(labels.tokens):
        labels = of_ids(tensors["input_ids"][0].tolist(), processor)  # the processor made room for the picture
    made = assembled(model, {**tensors, **{k: v for k, v in rest.items() if k not in more}}, labels, processor, written, more)
    return replace(made, more=more, notes=(*notes, *made.notes), **found)


def check_together(model: nn.Module, given: Mapping[str, Any]) -> None:
    """Refuse texts beside one picture, and a text for a model that hears and writes."""
    text = given.get("text")
    if isinstance(text, list | tuple) and "images" in given:
        raise InputError(
            f"A picture stands beside one text, got {len(text)}: each is a question of its own. "
            "Type explain(model, [dict(text=t, images=picture) for t in texts], ...)."
        )
    if text is not None and "audio" in given and "input_ids" not in named(model):
        raise InputError(
            f"{type(model).__name__} reads no text beside the sound; what it has written so far is `labels`, what it may write a target. "
            'Type dict(audio=samples, labels="the words so far"), or target=target.logprob("words").'
        )


def assembled(
    model: nn.Module, tensors: dict[str, Tensor], labels: Labels | None, processor: Any, written: str | None = None, more: Any = None
) -> Encoded:
    """The input with what its decoder reads; labels by stream."""
    tensors, decoder = add_decoder(model, tensors, processor, written, more if "labels" in tensors else None)
    by = {} if labels is None else {streams_of(tensors).get("input_ids", ""): labels}
    if decoder is not None:
        by["decoder"] = decoder
    notes = foreign_processor(model, processor) if labels is not None else ()
    return Encoded(tensors, by, given=None if labels is None else labels.text, notes=notes)


# --- checks ----------------------------------------------------------------------------------------------------------


def checked(model: nn.Module, row: Encoded) -> Encoded:
    """The row, if the model takes it. Raises InputError otherwise."""
    return checker(model)(row)


def checker(model: nn.Module) -> Callable[[Encoded], Encoded]:
    """A check of rows: names that the model takes, ids that it has, a length it can, finite numbers; it hands on what passes."""
    known: set[frozenset[str]] = set()
    size, limit = getattr(table_of(model), "num_embeddings", None), limit_of(model)

    def check(row: Encoded) -> Encoded:
        if (names := frozenset(row.tensors)) not in known:
            check_names(model, row.tensors)
            known.add(names)
        for name, tensor in {**row.tensors, **row.more}.items():
            finite(name, tensor)
        if "input_ids" in row.tensors:
            in_range(row.tensors["input_ids"], size, limit)
        return row

    return check


def finite(name: str, x: Any) -> None:
    """Raise InputError for NaN, and for infinite values in what is no mask."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        return
    if x.isnan().any() or (role_of(name, x) != "mask" and not torch.isfinite(x).all()):
        raise InputError(f"`{name}` must be finite; it holds NaN or infinite values. Type torch.nan_to_num({name}), or drop that row.")


def in_range(ids: Tensor, size: int | None, limit: int) -> None:
    """Ids that the model has, `size` of them if it says so, and no more of them than it has positions for."""
    least, most = (int(x) for x in ids.aminmax())
    if size is not None and (most >= size or least < 0):
        raise InputError(
            f"Token ids must lie between 0 and {size - 1} for this model, got {most if most >= size else least}. A processor that makes it "
            "belongs to another model: type processor=AutoTokenizer.from_pretrained(the model's own name)."
        )
    if limit < ids.shape[-1]:
        raise InputError(
            f"The model takes at most {limit} tokens; the text has {ids.shape[-1]}. Shorten it, or type options=Options(truncation=True)."
        )
