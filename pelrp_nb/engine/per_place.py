"""Rules for a layer or a module alone, `composite.where(...)`: the innermost that says something of a field has its way.

Names are looked for when the model is entered; what is in force at a place is worked out once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from typing import Any

import torch
from torch import nn

from ..composites import Composite
from ..errors import InputError
from .forward_pass import ForwardPass
from .boundaries import named as arguments_of
from .layers import layers
from .places.roles import role_of
from .streams import Streams, named


class PerPlace:
    """What a composite says of layers and modules, and what is in force where that was asked."""

    def __init__(self, model: nn.Module, composite: Composite) -> None:
        self.composite = composite
        self.chosen = {name: dict(rules) for name, rules in composite.places}
        known = {name: module for name, module in model.named_modules(remove_duplicate=False) if name}
        self.modules = {name: known[name] for name in self.chosen if name in known}
        self.found: dict[tuple, Composite] = {}
        stacks = counted(model)
        for name in self.chosen:
            if name not in known and not is_layer(name, stacks):
                raise unknown(type(model).__name__, name, [*listed(stacks), *known])

    def here(self, layer: str | None, inside: list[tuple[str, str | None]]) -> Composite:
        """The rules in force in that layer, inside those modules; of each the layer in which it was entered."""
        if not inside and layer not in self.chosen:
            return self.composite
        key = (layer, *inside)
        if key not in self.found:
            around = [name for name, at in inside if at != layer]
            within = [name for name, at in inside if at == layer]
            rules: dict[str, Any] = {}
            for name in (*around, layer, *within):
                rules |= self.chosen.get(name, {}) if name is not None else {}
            self.found[key] = replace(self.composite, **rules)
        return self.found[key]

    def missed(self, model: nn.Module, streams: Streams) -> None:
        """Raises InputError where a layer was named that did not run."""
        for name in self.chosen if streams.inputs else ():
            stream, number = layer_of(name) or ("", -1)
            ran = {stream: streams.calls[stream]} if stream in streams.names else {}
            if name not in self.modules and (not ran or 0 < ran[stream] <= number):
                raise unknown(type(model).__name__, name, listed(ran or streams.calls))


def counted(model: nn.Module) -> dict[str, int]:
    """How many layers a stream may have at most; a single one may run any number of times, but for what its config says."""
    n = len(layers(model))
    again = getattr(getattr(model, "config", None), "num_hidden_layers", None) or 10_000
    arguments = [name for name in arguments_of(model) if role_of(name, torch.empty(0)) == "content"]
    return dict.fromkeys(("", *arguments, *named(arguments).values()), n if n != 1 else again)


def layer_of(name: str) -> tuple[str, int] | None:
    """Stream and number of "decoder layer 0"; None for what is no layer's name."""
    match = re.fullmatch(r"(?:(\w+) )?layer (\d+)", name)
    return (match[1] or "", int(match[2])) if match else None


def is_layer(name: str, stacks: dict[str, int]) -> bool:
    """Whether a layer may be called so."""
    found = layer_of(name)
    return found is not None and found[1] < stacks.get(found[0], 0)


def listed(stacks: dict[str, int]) -> list[str]:
    """The names of layers."""
    return [f"{stream} layer {n}".strip() for stream, count in stacks.items() for n in range(min(count, 1000))]


def unknown(model: str, name: str, known: list[str]) -> InputError:
    """What is said where nothing is called so."""
    near = get_close_matches(name, known, 3, 0.5)
    there = [*map(repr, known[:4]), *(["others"] if len(known) > 4 else [])]
    hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"There are {', '.join(there)}."
    return InputError(
        f"Every layer and module that `where` names must be in the model; {name!r} is not in {model}. {hint} "
        "Layers are called as in the ledger, modules as in model.named_modules()."
    )


# --- where the forward pass is ---------------------------------------------------------------------------------------


def hang(flow: ForwardPass, when: Callable, call: Callable) -> None:
    """Hooks on the modules that the composite names."""
    for name, module in (flow.placed.modules if flow.placed is not None else {}).items():
        when(module, partial(call, name=name))


def entered(flow: ForwardPass, module: nn.Module, args: tuple, kwargs: dict, name: str) -> None:
    """A module that was named begins to run."""
    flow.inside.append((name, flow.layer_name))


def left(flow: ForwardPass, module: nn.Module, args: tuple, kwargs: dict, output: Any, name: str) -> None:
    """It has run, and what it called, after an error too."""
    if any(name == other for other, _ in flow.inside):
        while flow.inside.pop()[0] != name:
            pass
