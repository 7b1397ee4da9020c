"""What was read from a file is what its class promises: each field of the kind that its annotation says, all the way down.

A checksum says that a file is as somebody wrote it, not who wrote it; so nothing is taken for what it is called.
"""

from __future__ import annotations

import os
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from ..errors import FileError

WRONG = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RuntimeError)  # RecursionError is a RuntimeError


@contextmanager
def as_promised(path: str | os.PathLike, what: str, remedy: str) -> Iterator[None]:
    """Whatever goes wrong while parts of a file are put together ends in a FileError that names the file."""
    try:
        yield
    except FileError:
        raise
    except WRONG as error:
        raise FileError(f"{path} must hold {what}, and a part of it does not fit: {error}. {remedy}") from error


def fitting(value: Any) -> Any:
    """The value, a dataclass, if each of its fields is of the promised kind. Raises TypeError with the field's name."""
    for name, kind in _kinds(cast(Any, type(value))).items():
        if not _is(getattr(value, name), kind):
            raise TypeError(f"{name} must be {_said(kind)}, and is {str(getattr(value, name))[:40]!r}")
    return value


@cache
def _kinds(one: Any) -> dict[str, Any]:
    hints = get_type_hints(one)
    return {f.name: hints[f.name] for f in fields(one)}


def _said(kind: Any) -> str:
    return getattr(kind, "__name__", "") if isinstance(kind, type) else str(kind).replace("typing.", "").replace("collections.abc.", "")


def _is(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind; whole numbers are numbers, truth values are not."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(_is(value, one) for one in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple:
        each = inner[:1] * len(value) if isinstance(value, tuple) and inner[-1] is ... else inner
        return isinstance(value, tuple) and len(value) == len(each) and all(map(_is, value, each))
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(_is(k, inner[0]) and _is(v, inner[1]) for k, v in value.items())
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool) and (isinstance(value, float) or abs(value) < 2**63)
    return isinstance(value, kind) and (not is_dataclass(kind) or fitting(value) is value)
