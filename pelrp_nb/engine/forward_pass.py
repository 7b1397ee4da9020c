"""What a forward pass leaves for the walk back."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from .boundaries import Recorder
from .context import Context, Steps
from .module_hooks import Entry
from .only import Condition
from .trace import Role


class ForwardPass(Context, Protocol):
    """A `Context` whose forward pass has run, or that checkpointing runs again.

    recorder:   boundaries; leaves: all leaves by identity, in the order in which they were met
    handled:    (start, end) numbers of the graph's nodes that handlers made; refused: those of operations without a
                rule, where, and how the function is typed
    conditions: `Options.only`; asked: parts of layers that a target names; candidates: where these parts are
    passing:    copies of what was made before a candidate and used after it, by the number of its node and of the output
    starts:     what relevance begins with, per row
    patch:      (height, width) of a picture's patches; owned: parameters and buffers of the model
                half: whether a parameter is float16
    entry:      its hooks on the model's modules
    placed:     rules of single layers and modules; inside: those modules that run, and in which layer; layer_name: the running one
    steps:      operations as they were met, for `plan`
    shared:     saved tensors by the memory in which they lie
    room:       whether what the layers keep will be free; None where that is not asked
    checkpoint: whether layers are run again; open: those that run and will be; planning: whether this is for `plan`
    """

    def settle(self) -> None:
        """The forward pass has ended: which leaves are positions, and how many rows the batch has."""

    def told(self) -> tuple[Role, ...]:
        """What was taken for what, and why."""

    def why_lost(self) -> str:
        """Why a target may depend on no input, as far as that was seen."""

    recorder: Recorder
    leaves: dict[int, Tensor]
    handled: list[list[int]]
    steps: Steps
    refused: list[tuple[int, int, str, str]]
    conditions: tuple[Condition, ...]
    asked: tuple[Condition, ...]
    candidates: list[Any]
    passing: dict[tuple[int, int], Tensor]
    starts: Tensor
    patch: tuple[int, int] | None
    owned: list[Tensor]
    half: bool
    entry: Entry
    placed: Any
    inside: list[tuple[str, str | None]]
    room: Any
    checkpoint: bool
    open: list[Any]
    shared: dict[int, list[Any]]
    planning: bool

    @property
    def layer_name(self) -> str | None:
        """The running layer, as the ledger calls it; None outside of layers."""
