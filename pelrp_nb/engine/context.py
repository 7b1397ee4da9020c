"""What handlers, positions and boundaries may ask of the pass that is running, written down once.

`Propagation` is a `Context`.  Who is below it in the house knows this page alone, so that imports run one way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from ..composites import Composite
from ..rules import Rule
from .account import Account
from .depth import Depth
from .edges import RouteRecord
from .leaves import Attention, Inputs, Leaf
from .options import Options
from .notes import Knows
from .places.follow import Places
from .places.maps import Axis
from .places.meetings import Meeting
from .places.values import Values
from .replay import Chain
from .projections import Choice, Projections
from .streams import Streams
from .widening import Widening

REFUSED: Any = object()  # what a handler returns when this call has no rule


@dataclass
class Step:
    """One operation as it was met: for `plan`."""

    place: str
    operation: str
    rule: str
    reason: str = ""  # its kind, for instance "gate"
    applied: Rule | None = None  # the rule itself, where there is one


class Steps(dict[tuple[str, str, str], Step]):
    """Operations by (module, function, kind); `short`: the same by what is at hand when one comes by; `met`: (module, function)."""

    def __init__(self) -> None:
        super().__init__()
        self.short: dict[tuple, Step] = {}
        self.met: set[tuple[str, str]] = set()

    def __setitem__(self, key: tuple[str, str, str], step: Step) -> None:
        super().__setitem__(key, step)
        self.met.add(key[:2])


@dataclass
class Block:
    """One layer while it runs."""

    layer: int
    start: int  # number of the graph's node that comes next when it begins
    attention: bool = False


class Worth(Protocol):
    """Who asks, while the walk back runs, what positions are worth in each attention (`positions/exchanging.py`)."""

    def eager(self, flow: Any, chain: Chain, inputs: dict[int, Tensor], into: Tensor, where: str) -> None:
        """Weights that a softmax made, and the gradient of what they were multiplied as."""

    def fused(self, flow: Any, chain: Chain, inputs: dict[int, Tensor], into: Tensor, where: str, causal: bool, more: dict) -> None:
        """A fused kernel of queries, keys and a mask, and the gradient of its weights."""


class Permuted(Protocol):
    """Positions that stand elsewhere (`positions/permuting.py`)."""

    def constant(self, flow: Any, leaf: Leaf, x: Tensor) -> Tensor:
        """What is added or multiplied for each place, read at another one."""

    def scores(self, flow: Any, given: list[Tensor], bias: Leaf | None, where: str, kernel: dict | None) -> Tensor | None:
        """Scores (heads, Tq, Tk) with pairs permuted; None where nothing enters them pair by pair."""


class Context(Knows, Protocol):
    """The rules in force, where the forward pass is, and what it met.

    account:    who keeps how much; inputs: leaves at which relevance ends; attentions: those whose heads were asked for
    leaves:     all leaves by identity, in the order in which they were met
    places:     what the forward pass has shown of the inputs' axes; values: what was seen of constants
    memory:     the parameter that lies at an address; parameters: their names
    aside:      quantised layers that run, and what carries into them
    blocks:     layers that run, innermost last; streams, stream_of: the inputs that parts of the model, and leaves, belong to
    function:   torch's own function that is being handled; audited: whether every softmax was measured
    projections: which linear maps feed or follow a softmax product; wide: what a walk in float32 over half precision needs, or None
    shapes:      torch's fake tensors, where `plan` follows shapes in place of values; else None
    power:      the loss scale: what the walk back begins with
    taped:      whether calls are kept, to be done again (`taped.py`); worth: who is told of attentions where positions enter scores;
                weighed: how many uses of weights are followed; permuted: whose positions stand where, if not where they are
    routes:     what is remembered for routes, where they were asked for
    """

    model: nn.Module
    options: Options
    account: Account
    inputs: Inputs
    attentions: list[Attention]
    leaves: dict[int, Tensor]
    places: Places
    values: Values
    memory: dict[int, str]
    parameters: frozenset[str]
    aside: list[tuple[nn.Module, Tensor]]
    blocks: list[Block]
    streams: Streams
    stream_of: dict[int, str]
    function: Callable | None
    audited: bool
    projections: Projections
    wide: Widening | None
    shapes: Any
    power: float
    taped: bool
    weighed: int
    worth: Worth | None
    routes: RouteRecord | None
    permuted: Permuted | None

    def role_of(self, name: str) -> str | None:
        """What the user says an argument, a parameter or a buffer is."""

    def is_position(self, found: Meeting) -> bool:
        """Whether a constant is a position, as far as is known now."""

    def may_be_position(self, found: Meeting) -> bool:
        """Whether a constant is a position, or is one should the batch lie elsewhere than where it is looked for meanwhile."""

    def keys_of(self, found: Meeting) -> tuple[Axis, ...]:
        """The axes of inputs on whose places a constant depends."""

    def __enter__(self) -> Any:
        """Put the rules in force once more: a handler that calls torch again has each call handled."""

    def __exit__(self, *raised: Any) -> None: ...

    @property
    def composite(self) -> Composite:
        """The rules in force here: those of the running layer and module, where the composite has some for them."""

    @property
    def place(self) -> str:
        """Path of the module that is running."""

    @property
    def layer(self) -> int | None:
        """Index of the running layer in call order, within its stream; None outside of layers."""

    @property
    def depth(self) -> Depth:
        """How far the forward pass is: see `Streams.depth`."""

    def where_am_i(self) -> str:
        """The running layer, else the running module."""

    def softmax_name(self, attention: bool) -> str:
        """The ledger's line for a softmax here."""

    def name_of(self, tensor: Tensor | None, fallback: str) -> str:
        """The parameter or buffer a constant was made from, else the running module."""

    def function_name(self, func: Any) -> str:
        """How the function is spelt."""

    @property
    def began(self) -> int | None:
        """The number of the first node of the running layer; None outside of layers."""

    def linear_rule(self, x: Tensor, weight: Tensor | None = None) -> Choice:
        """The rule of a linear map here, or two of which one will turn out to be."""

    def used(self, kind: str, rule: Rule) -> Step:
        """Note which rule was applied to the running operation."""

    def saw_attention(self) -> None:
        """The branch that is running holds an attention."""

    def cover(self, start: int, end: int) -> None:
        """A handler made the nodes of the graph from `start` up to `end`."""

    def leaf(self, x: Tensor) -> Tensor:
        """A place where relevance ends: the same memory as x, a gradient of its own."""

    def token_leaf(self, vectors: Tensor) -> Tensor:
        """Token vectors (B, T, D) just looked up."""

    def residual(self, a: Tensor, b: Tensor, add: Callable, plain: bool) -> Tensor:
        """a + b of two carriers; the block's stream and a branch of it, or just a sum."""

    def normed(self, x: Tensor, out: Tensor) -> Tensor:
        """In a post-norm block the norm of the stream is the stream."""


Handler = Callable[[Context, Callable, tuple, dict], Any]
