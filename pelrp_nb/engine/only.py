"""What `Options.only` says: which heads, neurons or places of which layer relevance must pass through.

    only={"layer 3": {"heads": [1]}}                              through head 1 of layer 3's attention
    only={"layer 3": {"neurons": [5, 7]}}                         through two neurons of its MLP's hidden layer
    only={"layer 1": {"heads": [0]}, "layer 3": {"heads": [1]}}   through the one and then the other
    only={"decoder layer 0": {"cross": [2]}}                      through a head of an attention to the encoder
    only={"layer 3 attention": {"places": [4]}}                   through place 4 of the sum that layer 3's attention is added to
    only={"layer 3": {"places": [4]}}                             through place 4 of the last sum of layer 3, which is what it hands on

How the walk back does it is `backward/conditional.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InputError

KINDS = ("heads", "cross", "neurons", "places")
HOW = (
    'Type Options(only={"layer 3": {"heads": [1]}}), or "neurons", or "cross" for an attention to another stream, or "places" for tokens '
    "by number."
)


@dataclass(frozen=True)
class Condition:
    """What is kept in one layer; `kind` is one of KINDS."""

    layer: str
    kind: str
    which: tuple[int, ...]


def conditions(given: Any) -> tuple[Condition, ...]:
    """`Options.only` as conditions; InputError if it says nothing that can be kept."""
    if given is None:
        return ()
    if isinstance(given, tuple) and all(isinstance(c, Condition) for c in given):
        return given
    if not isinstance(given, Mapping) or not given or not all(isinstance(v, Mapping) and v for v in given.values()):
        raise InputError(f"only must say what to keep in which layer; got {given!r}. {HOW}")
    found = []
    for layer, kept in given.items():
        name = f"layer {layer}" if isinstance(layer, int) else str(layer)
        for kind, which in kept.items():
            numbers = (which,) if isinstance(which, int) else tuple(which) if isinstance(which, Iterable) else ()
            if kind not in KINDS or not numbers or not all(isinstance(n, int) and not isinstance(n, bool) for n in numbers):
                raise InputError(f"only must name some heads, cross, neurons or places by number; got {kind!r}: {which!r} in {name}. {HOW}")
            found.append(Condition(name, kind, numbers))
    return tuple(found)
