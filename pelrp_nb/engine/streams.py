"""Several inputs are several streams, each named by its argument: encoder and decoder, text and image.

stream   a name, "" where there is only one
depth    how far the forward pass is, see `Depth`

Which stream is running is told by what is worked on: places of an input's values, followed through the model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from .depth import AFTER, INSIDE, Depth, depth_of
from .places.follow import provenance_of
from .places.maps import Axis
from .places.roles import role_of

ORDER = ("encoder", "decoder", "text", "image", "audio")
TEXT, PIXELS, SOUND = ("input_ids", "inputs_embeds"), "pixel_values", ("input_features", "input_values")


def kind_of(name: str) -> str | None:
    """What an argument of transformers holds, by its name; None for any other argument."""
    if name.startswith("decoder_") and name.removeprefix("decoder_") in TEXT:
        return "decoder"
    return "image" if name.startswith(PIXELS) else "audio" if name in SOUND else "text" if name in TEXT else None


def named(inputs: Sequence[str]) -> dict[str, str]:
    """The stream of each of several inputs: an encoder's and a decoder's, of text and of other kinds, else the argument's own name."""
    calls = {name: name.partition(" (") for name in inputs}
    kinds = {name: kind_of(argument) for name, (argument, _, _) in calls.items()}
    there = set(kinds.values()) - {None}
    if "decoder" in there:
        kinds = {name: kind and ("decoder" if kind == "decoder" else "encoder") for name, kind in kinds.items()}
    elif len(there) < 2:
        kinds = dict.fromkeys(inputs)
    return {name: f"{kind}{mark}{call}" if (kind := kinds[name]) else name for name, (_, mark, call) in calls.items()}


def streams_of(given: Mapping[str, Any]) -> dict[str, str]:
    """The stream that each of the inputs belongs to which a model is about to be called with; "" where there is only one."""
    found = named([name for name, value in given.items() if role_of(name, value) == "content"])
    return dict.fromkeys(given, "") | (found if len(set(found.values())) > 1 else {})


class Streams:
    """Where among its streams the forward pass is, and how many layers of each have begun."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ("",)
        self.several = False  # whether the model has more than one
        self.inputs: dict[str, str] = {}  # inputs that are content, and the stream of each
        self.current = ""
        self.calls = {"": 0}

    def apart(self) -> Streams:
        """The same state, for layers that are run again."""
        twin = copy.copy(self)
        twin.inputs, twin.calls = {**self.inputs}, {**self.calls}
        return twin

    @property
    def prefix(self) -> str:
        """What the names of layers begin with."""
        return f"{self.current} " if self.several else ""

    def begin(self, content: list[str]) -> bool:
        """The model was called with these inputs that are content. Whether what was the only stream has a name now."""
        alone, before = not self.several, [name for name in self.inputs if name not in content]
        self.inputs = named([*before, *content])
        names = dict.fromkeys([self.inputs[name] for name in before])
        names |= dict.fromkeys(sorted((self.inputs[name] for name in content), key=rank))
        if len(names) > 1:
            first = next(iter(names))
            self.names, self.several = tuple(names), True
            self.calls = {name: self.calls.get("" if alone and name == first else name, 0) for name in self.names}
            self.current = self.inputs[content[0]] if content else first
        return alone and self.several

    def follow(self, values: Iterable[Any], is_batch: Callable[[Axis], bool]) -> None:
        """A layer, or an operation outside of layers, works on these: the stream whose places the first of them has."""
        for x in values if self.several else ():
            known = provenance_of(x) if isinstance(x, Tensor) else None
            maps = [] if known is None or not known.content else [m for m in known.maps if not (m.key.of_weight or is_batch(m.key))]
            found = {self.of_input(m.key.stream) for m in [m for m in maps if m.axes] or maps}  # else one place picked out
            if found:
                self.current = next(name for name in self.names if name in found)
                return

    def begin_layer(self) -> int:
        """Number of the layer that begins, within its stream."""
        self.calls[self.current] += 1
        return self.calls[self.current] - 1

    def depth(self, layer: int | None) -> Depth:
        """In a layer; outside of layers (None) after the last that has begun."""
        stream = self.names.index(self.current)
        if layer is not None:
            return depth_of(stream, layer, INSIDE)
        begun = self.calls[self.current]
        return depth_of(stream, begun - 1, AFTER) if begun else depth_of(stream, -1, INSIDE)

    def start(self, name: str) -> Depth:
        """Where a stream begins: its tokens are there."""
        return Depth(self.names.index(name))

    def of_input(self, name: str) -> str:
        """The stream that an input of the model belongs to."""
        return self.inputs.get(name, self.names[0]) if self.several else ""

    def reads(self, x: Any) -> str | None:
        """The other stream whose places x has, where it has none of the running one."""
        known = provenance_of(x) if self.several and isinstance(x, Tensor) and x.requires_grad else None
        found = set() if known is None else {self.of_input(m.key.stream) for m in known.moving()}
        return None if self.current in found else next((name for name in self.names if name in found), None)


def rank(stream: str) -> int:
    """Where a stream stands among others of one call."""
    name = stream.partition(" (")[0]
    return ORDER.index(name) if name in ORDER else len(ORDER)
