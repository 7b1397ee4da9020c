"""Arrays, lists and tables as tensors and texts: what else a person holds numbers and sentences in."""

from __future__ import annotations

import types
import typing
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..engine.support import device_of
from ..errors import InputError
from .arguments import of_transformers, parameters_of

SEQUENCE_TYPES = (list, tuple, Sequence, Iterable)  # annotations of arguments that are lists
SEQUENCE_NAMES = ("list", "tuple", "sequence", "iterable")  # the same where they cannot be looked up


def is_array(x: Any) -> bool:
    """Whether x is a tensor, a numpy array, or a column of a table."""
    return isinstance(x, Tensor) or (hasattr(x, "__array__") and hasattr(x, "ndim") and not hasattr(x, "convert"))


def in_numpy(x: Tensor) -> np.ndarray:
    """A tensor's numbers in numpy, which has no bfloat16."""
    x = x.detach().cpu()
    return (x.float() if x.is_floating_point() and x.element_size() < 4 else x).numpy()


def is_table(x: Any) -> bool:
    """Whether x has columns with names and rows with numbers: a DataFrame."""
    return hasattr(x, "columns") and hasattr(x, "iloc")


def plain(given: Any) -> Any:
    """Texts out of arrays, columns and tables; anything else as it is.

    Raises InputError for what can be read only once, and for what has no order.
    """
    if is_table(given):
        usual = {"text", "text_pair", "images", "audio"}
        twice = [name for name, count in Counter(given.columns).items() if count > 1]
        if twice:
            raise InputError(
                f"A table must have each column once; {twice[0]!r} is there several times. Type table.loc[:, ~table.columns.duplicated()]."
            )
        if len(given.columns) > 1 and not usual & set(given.columns) and not all(kind.kind in "biuf" for kind in given.dtypes):
            came, one = ", ".join(map(str, given.columns)), given.columns[0]
            raise InputError(f"A table must have a column `text`, `images` or `audio`, or one alone; got {came}. Type table[{one!r}].")
        if all(kind.kind in "biuf" for kind in given.dtypes):
            return given.to_numpy()
        rows = given.to_dict("records")
        return [next(iter(row.values())) for row in rows] if len(given.columns) == 1 else rows
    if type(given).__module__.startswith("datasets.") and hasattr(given, "__getitem__") and not isinstance(given, Sequence | Mapping):
        return list(given)
    if isinstance(given, Set):
        raise InputError(f"Inputs must come in an order; a {type(given).__name__} has none. Type a list: [first, second].")
    if isinstance(given, Iterable) and not (isinstance(given, Sequence | Mapping) or is_array(given) or hasattr(given, "convert")):
        raise InputError(f"Inputs must come in a list, which can be read twice; got a {type(given).__name__}. Type list(...) around it.")
    if is_array(given) and not isinstance(given, Tensor) and not is_number(given):
        return given.tolist()
    return given


def is_number(array: Any) -> bool:
    """Whether an array holds numbers or booleans, rather than texts or objects."""
    return isinstance(array, Tensor) or getattr(getattr(array, "dtype", None), "kind", "O") in "biufc"


def is_nested_numbers(x: Any) -> bool:
    """Whether x is a list of numbers, or of such lists."""
    if not isinstance(x, list | tuple) or not x:
        return False
    return all(isinstance(y, int | float) or is_scalar(y) or is_nested_numbers(y) for y in x)


def is_scalar(x: Any) -> bool:
    """Whether x is one number of numpy or torch."""
    return hasattr(x, "item") and getattr(x, "ndim", 0) == 0


def is_missing(x: Any) -> bool:
    """Whether x is an empty cell of a table: None, NaN, or what pandas writes for them."""
    return x is None or type(x).__name__ in ("NAType", "NaTType") or (isinstance(x, float) and x != x)


def is_uneven(x: Any) -> bool:
    """Whether x is a list of rows of numbers that differ in length, or have none: rows without padding."""
    return isinstance(x, list | tuple) and len(x) > 1 and all(map(is_numbers, x)) and len({len(y) for y in x}) > 1


def is_hollow(x: Any) -> bool:
    """Whether x is a list with nothing in it, or of such lists."""
    return isinstance(x, list | tuple) and all(map(is_hollow, x))


def is_numbers(x: Any) -> bool:
    """Whether x is a row of numbers, which may be empty: a list or an array of one axis at least."""
    return is_nested_numbers(x) or is_hollow(x) or (is_array(x) and x.ndim > 0 and is_number(x))


def as_tensor(model: nn.Module, name: str, value: Any) -> Any:
    """An array or a list of numbers as the tensor that it stands for, where the model is; anything else as it is.

    Floats that are no tensor get the type of the model's weights.  Raises InputError for rows of unequal length.
    """
    if isinstance(value, Tensor) and value.is_nested:
        raise InputError(
            f"`{name}` must be a tensor of rows of one length, got a nested one. Type [dict({name}=x[None]) for x in {name}.unbind()]."
        )
    if isinstance(value, Tensor) and value.layout != torch.strided:
        raise InputError(f"`{name}` must be a dense tensor, got {value.layout}. Type {name}.to_dense().")
    if isinstance(value, Tensor):
        return value.clone() if value.is_inference() else value
    if is_array(value) and not is_number(value):
        value = value.tolist()
    listed = isinstance(value, list | tuple) and not wants_list(model, name)
    if listed and name.endswith("input_ids") and value and is_spelt(value):
        raise InputError(
            f"`{name}` must be whole numbers, got tokens as texts. Type tokenizer.convert_tokens_to_ids(tokens), or pass the text itself."
        )
    if listed and value and all(is_array(x) and is_number(x) for x in value) and len({tuple(x.shape) for x in value}) == 1:
        if not any(isinstance(x, Tensor) for x in value):
            value = np.stack([np.asarray(x) for x in value])
        elif of_transformers(model):  # a module of one's own may take a list of tensors
            return torch.stack([torch.as_tensor(x) for x in value])
    if not (is_array(value) or (listed and is_nested_numbers(value))):
        return value
    if listed and (large := next(beyond(value), None)) is not None:
        raise InputError(
            f"`{name}` must hold numbers of 64 bits at most, got {large}. Drop that row, or type the number that it stands for."
        )
    try:
        array = np.array(value)
        if not array.ndim:
            return array.item()
        found = torch.as_tensor(array)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"`{name}` must be numbers in rows of one length, got lists that differ. Pad them, or pass one mapping for each row."
        ) from error
    return like_weights(model, found).to(device_of(model))


def like_weights(model: nn.Module, x: Tensor) -> Tensor:
    """Real numbers in the type of the model's weights; other numbers as they are."""
    return x.to(next((p.dtype for p in model.parameters() if p.is_floating_point()), x.dtype)) if x.is_floating_point() else x


def is_spelt(x: Any) -> bool:
    """Whether x is a text, or a list of texts or of such lists."""
    return isinstance(x, str) or (isinstance(x, list | tuple) and bool(x) and all(map(is_spelt, x)))


def beyond(x: Any) -> Iterator[int]:
    """The whole numbers in lists that no 64 bits hold."""
    for y in x if isinstance(x, list | tuple) else ():
        if isinstance(y, list | tuple):
            yield from beyond(y)
        elif isinstance(y, int) and not -(2**63) <= y < 2**63:
            yield y


def wants_list(model: nn.Module, name: str) -> bool:
    """Whether an argument is annotated as a list and as no tensor, so that one is passed on as it is."""
    if of_transformers(model) or name not in parameters_of(model):
        return False
    try:
        kind = typing.get_type_hints(model.forward).get(name)
    except Exception:  # names that only a type checker can look up
        kind = parameters_of(model)[name].annotation
    if isinstance(kind, str):
        return kind.lower().removeprefix("typing.").removeprefix("optional[").removeprefix("typing.").startswith(SEQUENCE_NAMES)
    several = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    kinds = [typing.get_origin(k) or k for k in several if k is not type(None)]
    return bool(kinds) and all(k in SEQUENCE_TYPES for k in kinds)


def holds_tensors(x: Any) -> bool:
    """Whether a container holds tensors, at any depth."""
    if isinstance(x, Mapping):
        return any(isinstance(v, Tensor) or holds_tensors(v) for v in x.values())
    return isinstance(x, list | tuple) and any(isinstance(v, Tensor) or holds_tensors(v) for v in x)
