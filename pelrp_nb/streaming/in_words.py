"""Settings in words: the same in every process, and others where they do something else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

from ..inputs.fingerprint import inputs_of, weights_of
from ..rules import Rule

LONGEST = 400  # characters of a setting, in words
OWN = f"{__name__.partition('.')[0]}."  # what stands in this package is told by its version
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
PLAIN = (str, bytes, int, float, complex, type(None), type(...), type)
HIDDEN = "\0"  # before a part that a value does not print: the code of a function, the numbers of a tensor or of an object


def words(value: Any) -> str:
    """A value as one reads it, without addresses, sets in order; with eight characters of what it does not print, if anything.

    Functions are told apart by what they do and hold, wherever they stand in the value. What they look up by name when they are called
    is not looked at.
    """
    said, parts = shown(value), list(content(value, {}))
    if any(part.startswith(HIDDEN) for part in parts):
        said = f"{said if len(said) <= LONGEST else said[:LONGEST]} {short(repr(parts))}"
    return said if len(said) <= LONGEST else f"{said[: LONGEST // 2]} ... {short(said)}"


def shown(value: Any) -> str:
    """A value as it prints itself."""
    if isinstance(value, FunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(str, value)))}}}"
    return ADDRESS.sub("", repr(value))


def content(value: Any, seen: dict[int, Any]) -> Iterator[str]:
    """All that a value is made of, in an order that is the same in every process."""
    if isinstance(value, PLAIN):
        yield repr(value)
    elif isinstance(value, Tensor) or hasattr(value, "tobytes"):
        yield HIDDEN + inputs_of([value])
    elif isinstance(value, nn.Module):
        yield HIDDEN + weights_of(value)
    elif isinstance(value, set | frozenset):
        yield from sorted(part for one in value for part in content(one, seen))
    elif id(value) not in seen:
        seen[id(value)] = value  # kept, or another one might get its number
        yield type(value).__qualname__
        if isinstance(value, CodeType):
            yield HIDDEN + value.co_code.hex()
        elif not isinstance(value, FunctionType | partial | MethodType) and ADDRESS.search(repr(value)):
            yield HIDDEN
        for part in parts_of(value):
            yield from content(part, seen)


def parts_of(value: Any) -> tuple[Any, ...]:
    """What a value holds."""
    if isinstance(value, CodeType):
        return (value.co_names, value.co_consts)
    if isinstance(value, FunctionType):
        held = tuple(cell.cell_contents for cell in value.__closure__ or ())
        name = f"{value.__module__}.{value.__qualname__}"
        return (name, held) if name.startswith(OWN) else (name, value.__code__, value.__defaults__, value.__kwdefaults__, held)
    if isinstance(value, Rule) and value.page.startswith(OWN):
        return (value.page, value.options)
    if isinstance(value, partial):
        return (value.func, value.args, value.keywords)
    if isinstance(value, MethodType):
        return (value.__func__, value.__self__)
    if isinstance(value, Mapping):
        return tuple(value.items())
    return tuple(value) if isinstance(value, list | tuple) else tuple(getattr(value, "__dict__", {}).items())


def short(text: str) -> str:
    """Eight characters that tell one text from another."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
