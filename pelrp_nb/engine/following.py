"""What of a propagation follows the inputs: provenance of every tensor, leaves that may be positions, and what is judged in the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch._C import DisableTorchFunction

from ..rules import PositionKind
from . import roles, taped
from .arguments import Met
from .handlers import chains, weighing
from .hidden_writes import HiddenWrites
from .leaves import Leaf
from .model_tree import ModelTree
from .notes import SAME, hand_on, note_of
from .places.follow import CASTS, Places, provenance_of
from .places.follow import write as keep
from .places.maps import Axis, words
from .places.meetings import Meeting
from .places.provenance import provenance
from .places.table import steps_of
from .places.values import Values
from .places.writing import set_item
from .positions import constants
from .positions.judging import judge
from .trace import Role

if TYPE_CHECKING:
    from .forward_pass import ForwardPass

    Base = ForwardPass  # what the class that has this as a base brings along
else:
    Base = object

CUTS, LEAVING = words("detach data detach_"), words("tolist item numpy __array__ __int__ __float__ __index__")
EMPTY = words("empty empty_like new_empty empty_strided new_empty_strided")
NOISE = words("rand randn rand_like randn_like normal normal_ uniform_ bernoulli bernoulli_ randint randint_like")
MADE_FRESH = EMPTY | NOISE
LOOK_UPS = words("embedding __getitem__ index_select gather take take_along_dim linear matmul __matmul__ mm bmm mv einsum")


def fresh(name: str, out: Any) -> Any:
    """Noise is a constant, whatever it is like; what is empty must not hold what lay there by chance, if it is written in part."""
    if name in NOISE:
        keep(out, provenance(fixed=True))
    elif isinstance(out, Tensor):
        out.detach().zero_()  # one that requires a gradient may not be written into itself
    return out


def cuts(name: str) -> bool:
    """Whether a call of this name hands no gradient on."""
    return name in CUTS or not torch.is_grad_enabled()


def cut(out: Any) -> None:
    """What was made carries no more, because the model says so."""
    for piece in out if isinstance(out, tuple | list) else (out,):
        known = provenance_of(piece)
        if known is not None and known.content:
            keep(piece, known.but(cut=True))


class Following(Base):
    """A base of `Propagation`.

    places: what the forward pass has shown of the inputs' axes; values: what was seen of constants
    memory: the parameter that lies at an address; parameters: their names; known: the note for each parameter and buffer
    hidden: where the model could write without autograd; weighed: how many uses of attention weights are followed
    half: whether a parameter is float16; brought: whether accelerate may bring weights
    """

    weighed: int = 0

    def begin_following(self, model: nn.Module, tree: ModelTree, said: Mapping[str, str]) -> None:
        """Nothing is known yet but the model's own tensors, and what the user says of them."""
        self.places, self.values, self.hidden = Places(steps_of), Values(), HiddenWrites()
        self.memory = constants.memory_of(tree) | roles.check(model, said)
        self.parameters = frozenset([n for n, _ in tree.parameters])
        self.known = constants.known_tensors(tree)
        self.half = torch.float16 in {p.dtype for _, p in tree.parameters}
        self.brought = any("_hf_hook" in module.__dict__ for _, module in tree.modules)

    # --- one call -----------------------------------------------------------------------------------------------------

    def notice(self, name: str, met: Met) -> None:
        """Where the stream is cut, or its values leave torch: said if the target turns out to depend on no input."""
        if (met.carrying or name in LOOK_UPS) and cuts(name):
            how = name if torch.is_grad_enabled() else "inference_mode" if torch.is_inference_mode_enabled() else "no_grad"
            self.places.cuts[how, self.place] = None
            self.hidden.meet(name, met.args, met.kwargs, self.place, torch.is_grad_enabled())
        elif met.raw and name in LEAVING:
            known = next(p for x in met.args if (p := provenance_of(x)) is not None)
            self.places.left |= {stream: (name.strip("_"), self.place) for stream in known.streams()}

    def follow(self, func: Callable, name: str, met: Met, out: Any) -> None:
        """What a call without carriers made, of something that is known."""
        if met.placed:
            self.keep_places(func, name, met, out)
            if met.carrying:
                cut(out)
            hand_on(self, met.args[0] if met.args else None, out, same=name in SAME)
            if name in CASTS and chains.told_by(met.args[0]) and (note := note_of(self, met.args[0])) is not None:
                chains.tells(out, note)
        if met.noted or func in constants.COUNTERS:
            constants.inherit(self, func, name, met.noted, met.args, out)

    def follow_carrier(self, func: Callable, name: str, met: Met, out: Any, looked_up: int) -> None:
        """What a call with carriers made; tokens looked up in it belong to the input that they were looked up by."""
        if met.noted and isinstance(out, Tensor) and not out.requires_grad and provenance_of(out) is None:
            constants.inherit(self, func, name, met.noted, met.args, out)  # a carrier lent its shape alone
        if met.placed:
            if name == "__setitem__":
                self.keep_places(func, name, met, out)
            else:
                self.places.follow(func, name, met.args, met.kwargs, out, met.words)
            if name in CUTS:
                cut(out)
        if len(self.inputs.tokens) == looked_up:
            return
        for leaf in self.inputs.tokens[looked_up:]:
            keep(leaf, provenance_of(out))
            its = set() if (known := provenance_of(leaf)) is None else known.streams()
            if its:
                self.stream_of[id(leaf)] = self.streams.of_input(next(s for s in self.places.inputs if s in its))

    def tape(self, func: Callable, name: str, given: tuple, met: Met, out: Any, entered: Sequence[Leaf] | None, weighed: int) -> None:
        """Keep a call, to be done again, and follow attention weights through it; entered: None where nothing carries."""
        made = met.args[0] if name == "__setitem__" else out
        taped.record(func, name, given, met.kwargs, made, entered or (), entered is not None)
        weighing.watched(self, name, met, made, weighed)

    def keep_places(self, func: Callable, name: str, met: Met, out: Any) -> None:
        """Write down what the result has of the inputs."""
        if name == "__setitem__":
            keep(met.args[0], set_item(self.places, met.args))
        else:
            self.places.follow(func, name, met.args, met.kwargs, out, met.words)

    # --- positions ----------------------------------------------------------------------------------------------------

    def role_of(self, name: str) -> str | None:
        """What the user says an argument, a parameter or a buffer is."""
        return self.options.roles.get(name)

    def is_position(self, found: Meeting) -> bool:
        """Whether a constant is a position, as far as is known now."""
        return bool(self.keys_of(found))

    def may_be_position(self, found: Meeting) -> bool:
        """Whether a constant is a position, or is one should the batch lie elsewhere than where it is looked for meanwhile."""
        taken = self.places.rows_along
        self.places.rows_along = frozenset(axis for axis in taken if self.places.is_batch(axis, surely=True))
        try:
            return self.is_position(found)
        finally:
            self.places.rows_along = taken

    def keys_of(self, found: Meeting) -> tuple[Axis, ...]:
        """The axes of inputs on whose places a constant depends."""
        return found.keys(self.places, self.values, partial(constants.own_entries, self))

    def settle(self) -> None:
        """The forward pass has ended: which leaves are positions, and how many rows the batch has."""
        self.places.settle()
        if self.wide is not None:
            self.wide.forget()
        with DisableTorchFunction():  # what is looked at is ours, and none of the model's operations
            judge(self)
            unheard(self)
        roles.contradicted(self, self.inputs.sinks)
        if self.places.inputs:
            self.account.rows = self.places.rows(next(iter(self.places.inputs)))

    def told(self) -> tuple[Role, ...]:
        """What was taken for what, and why."""
        return roles.told(self, self.inputs.sinks)

    def why_lost(self) -> str:
        """Why a target may depend on no input, as far as that was seen."""
        return roles.lost(self)


def unheard(flow: Following) -> None:
    """Note rotations that what is not done again (a linear map, a convolution) keeps from a softmax, under delta attention."""
    for leaf in flow.inputs.sinks if weighing.told(flow) and flow.worth is None else ():
        if leaf.taken and leaf.kind == PositionKind.ROTARY and leaf.role is None and not (leaf.reaches or leaf.behind):
            flow.places.note(
                "between a rotation and its softmax stands what delta attention does not do again: it is paid nothing", leaf.where
            )
