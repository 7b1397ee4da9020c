"""Which of several inputs a part of the model works on: encoder and decoder, the towers of text and image.

stream   a name, "" where there is only one
depth    how far the forward pass is, see `Depth`
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from .depth import AFTER, INSIDE, Depth
from .places.follow import provenance_of

ORDER = ("encoder", "decoder", "text", "image", "audio")
ENCODERS, DECODERS = ("encoder", "text_encoder", "speech_encoder"), ("decoder", "text_decoder")
TOWERS = {
    "text_model": "text", "language_model": "text", "text_encoder": "text", "text_decoder": "text",
    "vision_model": "image", "vision_tower": "image", "visual": "image", "vision_encoder": "image", "image_encoder": "image",
    "audio_model": "audio", "audio_tower": "audio", "audio_encoder": "audio",
}  # fmt: skip
PIXELS, SOUND = "pixel_values", ("input_features", "input_values")


def roots(model: nn.Module) -> dict[int, str]:
    """The modules that a stream runs through, by identity; none where the model has one stream."""
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        for module in model.modules():
            encoders = [m for name in ENCODERS if (m := module._modules.get(name)) is not None]
            decoder = next((m for name in DECODERS if (m := module._modules.get(name)) is not None), None)
            if encoders and decoder is not None:
                return {**{id(m): "encoder" for m in encoders}, id(decoder): "decoder"}
        return {}
    for module in model.modules():
        if TOWERS.keys().isdisjoint(module._modules):
            continue
        found = {id(child): TOWERS[name] for name, child in module._modules.items() if name in TOWERS and child is not None}
        if len(set(found.values())) > 1:
            return found
    return {}


class Streams:
    """Where among its streams the forward pass is, and how many layers of each have begun."""

    def __init__(self, model: nn.Module) -> None:
        self.roots: Mapping[int, str] = roots(model)
        there = set(self.roots.values())
        self.names: tuple[str, ...] = tuple(name for name in ORDER if name in there) or ("",)
        self.inputs: list[str] = []  # inputs that are content, of a model whose parts do not tell its streams
        self.current = self.names[0]
        self.calls = dict.fromkeys(self.names, 0)
        self.outputs: dict[int, tuple[str, Tensor]] = {}  # what a stream handed out, by identity

    def apart(self) -> Streams:
        """The same state, for layers that are run again."""
        twin = copy.copy(self)
        twin.inputs, twin.calls, twin.outputs = [*self.inputs], {**self.calls}, {**self.outputs}
        return twin

    @property
    def several(self) -> bool:
        """Whether the model has more than one."""
        return len(self.names) > 1

    @property
    def prefix(self) -> str:
        """What the names of layers begin with."""
        return f"{self.current} " if self.several else ""

    def begin(self, content: list[str]) -> bool:
        """The model was called with these inputs that are content: each is a stream, unless its parts have told the streams.

        Whether what was the only stream has a name now.
        """
        if self.roots:
            return False
        alone = not self.several
        known = [name for name in self.inputs if name not in content]
        self.inputs = [*known, *content]
        if len(self.inputs) > 1:
            first = self.names == ("",)
            self.names = tuple(self.inputs)
            self.calls = {name: self.calls.get("" if first and i == 0 else name, 0) for i, name in enumerate(self.names)}
            self.current = content[0] if content else self.names[0]
        return alone and self.several

    def follow(self, x: Tensor | None) -> None:
        """A layer begins to work on x: the stream whose places x has."""
        known = None if x is None or self.roots or not self.several else provenance_of(x)
        found = [] if known is None else [m.key.stream for m in known.maps if not m.key.of_weight]
        self.current = next((name for name in self.names if name in found), self.current)

    def enter(self, module: nn.Module) -> None:
        """A module begins to run."""
        self.current = self.roots.get(id(module), self.current)

    def leave(self, module: nn.Module, path: list[nn.Module], output: Any) -> None:
        """A module has run; what follows belongs to the stream around it, else still to this one."""
        name = self.roots.get(id(module))
        if name is None:
            return
        pieces = output if isinstance(output, tuple | list) else output.values() if isinstance(output, Mapping) else (output,)
        first = next((x for x in pieces if isinstance(x, Tensor) and x.requires_grad), None)
        if first is not None:
            self.outputs[id(first)] = (name, first)
        around = [self.roots[id(m)] for m in path if id(m) in self.roots]
        self.current = around[-1] if around else name

    def begin_layer(self) -> int:
        """Number of the layer that begins, within its stream."""
        self.calls[self.current] += 1
        return self.calls[self.current] - 1

    def depth(self, layer: int | None) -> Depth:
        """In a layer; outside of layers (None) after the last that has begun."""
        begun, stream = self.calls[self.current], self.names.index(self.current)
        if layer is not None:
            return Depth(stream, layer, INSIDE)
        return Depth(stream, begun - 1, AFTER) if begun else Depth(stream)

    def start(self, name: str) -> Depth:
        """Where a stream begins: its tokens are there."""
        return Depth(self.names.index(name))

    def of_input(self, name: str) -> str:
        """The stream that an input of the model belongs to."""
        if not self.roots:
            return name if name in self.names else self.names[0]
        if name.startswith("decoder_") and "decoder" in self.names:
            return "decoder"
        wanted = "image" if name.startswith(PIXELS) else "audio" if name in SOUND else "text"
        return wanted if wanted in self.names else self.names[0]

    def reads(self, x: Any) -> str | None:
        """The other stream whose output x is."""
        name, _ = self.outputs.get(id(x), (None, None))
        if not self.roots and self.several and isinstance(x, Tensor) and x.requires_grad:
            known = provenance_of(x)
            found = [] if known is None else [m.key.stream for m in known.moving()]
            name = None if self.current in found else next((n for n in self.names if n in found), None)
        return name if name != self.current else None
