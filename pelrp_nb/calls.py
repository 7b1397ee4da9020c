"""A call that does not fit its signature is told what to type, before anything runs.

explain(model, text, tokenizer=t)
explain has no argument `tokenizer`. Type processor=tokenizer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from .errors import CallError

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)


def fitting(meant: Mapping[str, str]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: arguments that the function does not take raise CallError, which says what to type.

    meant: a keyword that people try -> what to type in its place, `{}` for the value that came
    """

    def around(function: Callable[P, R]) -> Callable[P, R]:
        return _checked(function, function.__name__, meant)

    return around


def fitting_fields(meant: Mapping[str, str]) -> Callable[[C], C]:
    """The same for the fields of a class."""

    def around(kind: C) -> C:
        kind.__init__ = _checked(kind.__init__, kind.__name__, meant)  # type: ignore[misc]
        return kind

    return around


def _checked(function: Callable[P, R], name: str, meant: Mapping[str, str]) -> Callable[P, R]:
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args: P.args, **given: P.kwargs) -> R:
        try:
            signature.bind(*args, **given)
        except TypeError as error:
            raise CallError(_told(name, signature, args, given, meant, error)) from None
        return function(*args, **given)

    return call


def _told(
    name: str, signature: inspect.Signature, args: tuple[Any, ...], given: Mapping[str, Any], meant: Mapping[str, str], error: TypeError
) -> str:
    """What does not fit, and what to type."""
    known = {k: p for k, p in signature.parameters.items() if k != "self"}
    args = args[len(signature.parameters) - len(known) :]
    by_place = [k for k, p in known.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    by_name = [k for k, p in known.items() if p.kind is p.KEYWORD_ONLY]
    unknown = next((k for k in given if k not in known), None)
    if unknown is not None:
        return f"{name} has no argument `{unknown}`. {_instead(unknown, given[unknown], known, meant)}"
    if len(args) > len(by_place):
        line = f"{name}({', '.join([*by_place, *(f'{k}=...' for k in by_name[:1])])})"
        return f"{name} takes {' and '.join(by_place)} by place and the rest by name; {len(args)} came by place. Type {line}."
    needed = [k for k in by_place if known[k].default is inspect.Parameter.empty]
    missing = [k for k in needed[len(args) :] if k not in given]
    if missing:
        return f"{name} needs {' and '.join(missing)}, and none came. Type {name}({', '.join(needed)})."
    return f"{name}: {error}. Type each argument once."


def _instead(unknown: str, value: Any, known: Mapping[str, Any], meant: Mapping[str, str]) -> str:
    if unknown in meant:
        return f"Type {meant[unknown].format(shown(value))}."
    near = get_close_matches(unknown.lower(), [*known, *meant], 1, 0.7)
    if near:
        return f"Did you mean {near[0]}? Type {meant[near[0]].format(shown(value)) if near[0] in meant else f'{near[0]}={shown(value)}'}."
    return f"It takes {', '.join(known)}. Type one of them."


def shown(value: Any) -> str:
    """A value as one would type it; `...` where that takes long."""
    said = repr(value)
    return "..." if len(said) > 40 or said.startswith("<") or "\n" in said else said
