"""The context manager that puts a composite's rules in force on any torch model.

    with propagate(model, PA_LRP) as flow:
        out = model(**x)
    trace = flow.trace(out.logits[0, -1, 42])

Inside the `with`, every torch call of this thread passes through `Propagation`; outside, nothing is different: no hook, no
flag, no gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from .. import rules
from ..composites import Composite, as_composite
from ..composites import in_force as everywhere
from ..errors import InputError, ModelError
from . import checkpointing, only, residual_sums, taped
from .account import Account
from .arguments import Met, bare, look
from .attach import attach
from .backward import conditional
from .backward.run import rows, whole
from .boundaries import Recorder
from .context import REFUSED, Block, Step, Steps
from .depth import Depth
from .edges import RouteRecord
from .handlers import own
from .following import CUTS, LEAVING, LOOK_UPS, MADE_FRESH, Following, fresh
from .handlers.torch_table import handler_of, spelling
from .layers import layers
from .leaves import Attention, Inputs
from .leaving import Leaving, autocast, kinds
from .model_tree import ModelTree
from .module_hooks import Entry
from .operations import in_force, spelt
from .options import Options, as_options
from .per_place import PerPlace
from .places.values import as_stored, storage_of
from .positions.constants import COUNTERS
from .projections import Choice, Projections
from .notes import Note, carries, note_of, write
from .saved import WRITES, before_write, flows, here
from .shapes import carrier
from .streams import Streams
from .trace import Trace, Visible
from .widening import widening

sequence = torch._C._autograd._get_sequence_nr  # the number of the next node of the graph
transforms = torch._C._functorch.peek_interpreter_stack
GETTERS = {getattr(torch._C.TensorBase, n) for n in ("T", "mT", "H", "real", "imag", "data")}


class Propagation(TorchFunctionMode, Following):
    """The rules in force in this thread, and what they met: a `Context` for handlers, a `ForwardPass` for the walk back."""

    worth: Any = None  # who is told of attentions where positions enter scores
    permuted: Any = None  # whose positions stand where, if not where they are
    patch: tuple[int, int] | None = None  # (height, width) of a picture's patches
    asked: tuple[only.Condition, ...] = ()  # parts of layers that a target names
    usual: Choice | None = None  # the rule of all linear maps, where none is told from another
    room: Any = None  # whether what the layers keep will be free (memory.py)
    shapes: Any = None  # in whose place values are followed (shapes.py)
    spot: str | None = None  # the module that a call belongs to, while planning

    def __init__(self, model: nn.Module, composite: Composite, options: Options, tree: ModelTree | None = None) -> None:
        super().__init__()
        self.model, self.given, self.options = model, composite, options
        self.entry = Entry()  # in force while it is open, and no other flow is further inside
        self.account = Account()
        self.account.open = options.ledger
        self.inputs = Inputs()
        self.projections = Projections(composite.tells_projections or bool(options.only) or "routes" in options.detail)
        self.power = 1.0  # what the walk back begins with (loss_scaling.py)
        self.attentions: list[Attention] = []  # where heads were asked for
        self.routes = RouteRecord() if "routes" in options.detail else None
        self.wide = widening(model, options.precision)
        self.begin_following(model, tree := tree or ModelTree(model), options.roles)
        self.recorder = Recorder(self)
        self.noted = {n.source: n for n in self.known.values() if n.source}
        self.leaves: dict[int, Tensor] = {}
        self.owned = tree.tensors()  # `known` is by identity, so none may go while it is used
        self.names = {id(m): n for n, m in tree.modules}
        self.path: list[nn.Module] = []
        self.blocks: list[Block] = []
        self.streams, self.steps = Streams(), Steps()
        self.placed = PerPlace(model, composite) if composite.places else None
        self.inside: list[tuple[str, str | None]] = []  # modules that run and have rules of their own
        self.own = own.table(in_force(options.operations))
        self.stream_of: dict[int, str] = {}
        self.shared: dict[int, list[Any]] = {}  # saved tensors by the memory in which they lie (saved.py)
        self.conditions: tuple[only.Condition, ...] = options.only
        self.candidates: list[conditional.Candidate] = []
        self.passing: dict[tuple[int, int], Tensor] = {}
        self.starts, self.audited = torch.zeros(1), True  # what relevance started with, per row; whether every softmax was measured
        self.taped = rules.delta in everywhere(composite)  # whether calls are kept, to be done again
        self.handled: list[list[int]] = []
        self.refused: list[tuple[int, int, str, str]] = []
        self.function: Callable | None = None
        self.planning = False  # True: note what needs no rule, too, and to which module a call belongs
        self.checkpoint = bool(options.checkpoint) or checkpointing.theirs(module for _, module in tree.modules)
        self.open: list[checkpointing.Layer] = []
        self.aside: list[tuple[nn.Module, Tensor]] = []  # quantised layers that run, and what carries into them

    # --- every torch call ---------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name, key = getattr(func, "__name__", ""), func
        if name == "__get__":
            key = func.__self__
            if key not in GETTERS:
                return func(*args)
            name = key.__name__
        inside, kwargs = getattr(here, "flows", ()), kwargs or {}
        if not inside or inside[-1] is not self or not self.entry.open:
            return func(*args, **kwargs)
        if transforms() is not None:
            self._refuse_transforms((*args, *kwargs.values()))
        if self.wide is not None:
            wide, name, args, kwargs = self.wide.call(self, func, name, args, kwargs)
            func, key = wide, key if wide is func else wide
        if name in WRITES and args:
            before_write(args[0])
            self.hidden.check(func, name, args[0], self.place, self.leaves)
        if name in MADE_FRESH:
            return fresh(name, func(*args, **kwargs))
        if not (kwargs or self.taped or self.brought or func in COUNTERS) and bare(self.known, args):
            return func(*args)
        met, graded = look(self, args, kwargs), torch.is_grad_enabled()
        if (met.carrying and (name in CUTS or not graded)) or (met.raw and (name in LEAVING or (not graded and name in LOOK_UPS))):
            self.notice(name, met)
        given = taped.before(name, met.args) if self.taped else ()
        if not graded or not (met.carrying or (met.raw and name in LOOK_UPS)):
            out = func(*met.args, **met.kwargs) if graded else func(*args, **kwargs)
            if met.placed or met.noted or func in COUNTERS:
                self.follow(func, name, met, out)
            if self.taped:
                self.tape(func, name, given, met, out, None, self.weighed)
            return out
        if self.conditions and self.candidates:
            conditional.remember(self, (*met.args, *met.kwargs.values()))
        self.function, self.spot = func, self._owner(args, kwargs) if self.planning else None
        return self._handle(func, key, name, met, given)

    def _handle(self, func: Any, key: Any, name: str, met: Met, given: tuple) -> Any:
        """A call in which something carries relevance, or is looked up by an input: by its handler."""
        if self.streams.several and not self.blocks:
            self.streams.follow(met.args, self.places.is_batch)
        start, inputs, weighed = sequence(), self.inputs, self.weighed
        looked_up, entered = len(inputs.tokens), len(inputs.entered)
        handler = handler_of(key, self.own, "inplace" in met.kwargs and met.kwargs["inplace"])
        out = REFUSED if handler is None else handler(self, func, met.args, met.kwargs)
        if refused := out is REFUSED:
            out = self.refuse(func, start, func(*met.args, **met.kwargs))
        self.follow_carrier(func, name, met, out, looked_up)
        if self.taped:
            self.tape(func, name, given, met, out, inputs.entered[entered:], weighed)
        if not refused:
            self.cover(start, sequence())
            if self.planning and handler is not None:
                self._met(handler)
        return out

    def _refuse_transforms(self, given: tuple) -> None:
        """Raise ModelError where a transform of torch.func meets what carries; masks may be built in one."""
        wrapped = carrying = False
        for x in tree_leaves(given):
            while isinstance(x, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(x):
                x, wrapped = torch._C._functorch.get_unwrapped(x), True
            carrying = carrying or (carries(x) and not (x.is_leaf and id(x) not in self.leaves))
        if wrapped and carrying:
            raise ModelError(
                f"`{self.place}` computes inside vmap, jvp, grad or another transform of torch.func, where no rule can follow "
                "relevance. Write that part with plain operations."
            )

    def _owner(self, args: tuple, kwargs: dict) -> str | None:
        """The module inside the running one whose weight takes part, the nearest first."""
        running = self.path[-1] if self.path else self.model
        given = (*args, *kwargs.values())
        tensors = [own for x in given if isinstance(x, Tensor) and isinstance(own := as_stored(x), nn.Parameter)]
        for module in (*running.children(), *running.modules()) if tensors else ():
            if any(own is x for own in module._parameters.values() for x in tensors):
                return self.names.get(id(module))
        return None

    def _met(self, handler: Callable) -> None:
        """An operation that no rule was noted for."""
        place, operation = self.spot or self.place, spelling(self.function)
        kind = getattr(handler, "func", handler).__name__
        if kind != "silent" and (place, operation) not in self.steps.met:
            self.steps[(place, operation, kind)] = Step(place, operation, "plain", kind)

    def cover(self, start: int, end: int) -> None:
        """A handler made the nodes of the graph from `start` up to `end`."""
        if end > start and self.handled and self.handled[-1][1] == start:
            self.handled[-1][1] = end
        elif end > start:
            self.handled.append([start, end])

    def refuse(self, func: Callable, start: int, out: Any) -> Any:
        """No rule: remembered, and refused if the target depends on it."""
        if any(map(carries, out if isinstance(out, tuple | list) else (out,))):
            place = self.spot or self.place
            self.refused.append((start, sequence(), f"`{spelling(func)}` in {self.place}", spelt(func)))
            self.steps[(place, spelling(func), "none")] = Step(place, spelling(func), "none", "no rule")
        return out

    # --- where we are -------------------------------------------------------------------------------------------------

    @property
    def place(self) -> str:
        """Path of the module that is running."""
        return (self.names.get(id(self.path[-1])) if self.path else "") or type(self.model).__name__

    @property
    def layer(self) -> int | None:
        """Index of the running layer in call order, within its stream; None outside of layers."""
        return self.blocks[-1].layer if self.blocks else None

    @property
    def layer_name(self) -> str | None:
        """The running layer, as the ledger calls it; None outside of layers."""
        return f"{self.streams.prefix}layer {self.blocks[-1].layer}" if self.blocks else None

    @property
    def composite(self) -> Composite:
        """The rules in force here: those of the running layer and module, where the composite has some for them."""
        return self.given if self.placed is None else self.placed.here(self.layer_name, self.inside)

    @property
    def depth(self) -> Depth:
        """How far the forward pass is: see `Streams.depth`."""
        return self.streams.depth(self.layer)

    def where_am_i(self) -> str:
        """The running layer, else the running module."""
        return self.layer_name or self.place

    def softmax_name(self, attention: bool) -> str:
        """The ledger's line for a softmax here."""
        return self.where_am_i() if attention else f"{self.where_am_i()} router ({self.place})"

    def saw_attention(self) -> None:
        """The branch that is running holds an attention."""
        if self.blocks:
            self.blocks[-1].attention = True

    def name_of(self, tensor: Tensor | None, fallback: str) -> str:
        """The parameter or buffer a constant was made from, else the running module."""
        note = note_of(self, tensor) if tensor is not None else None
        if note is None or not note.source:
            source = None if tensor is None or tensor.is_meta else self.memory.get(storage_of(tensor))
            return source or f"{self.place}: {fallback}"
        return note.source

    def function_name(self, func: Any) -> str:
        """How the function is spelt."""
        return spelling(func)

    @property
    def began(self) -> int | None:
        """The number of the first node of the running layer; None outside of layers."""
        return self.blocks[-1].start if self.blocks else None

    def linear_rule(self, x: Tensor, weight: Tensor | None = None) -> Choice:
        """The rule of a linear map here: on pixels; elsewhere, where projections of attention have another, one of two."""
        note = note_of(self, x)
        if note is not None and note.pixels:
            if weight is not None and weight.dim() == 4:
                self.patch = (weight.shape[2], weight.shape[3])
            return Choice(self.composite.patch, self.composite.patch)
        if self.usual is not None and not self.projections.wanted:
            return self.usual
        choice = Choice(self.composite.linear, self.composite.projection)
        if choice.known and self.placed is None:
            self.usual = choice
        if not choice.known:
            if rules.zbox in (choice.linear, choice.projection):
                raise InputError("The z-box rule is for pixels, whose bounds are known. Type replace(composite, patch=rules.zbox).")
            choice.projects = self.projections.follows(x, self.began) is not None
        return choice

    def used(self, kind: str, rule: rules.Rule) -> Step:
        """Note for `plan` which rule was applied to the running operation; where nobody plans, once for all places."""
        name = getattr(self.function, "__name__", None) or str(self.function)
        apart = self.path[-1] if self.path and (self.planning or self.projections.wanted) else None
        short = (name, kind, self.spot, apart, None if self.placed is None else repr(rule))
        found = self.steps.short.get(short)
        if found is None:
            operation, place = spelling(self.function), self.spot or self.place
            key = (place, operation, kind if self.placed is None else f"{kind} by {rule!r}")
            found = self.steps.short[short] = self.steps[key] = self.steps.get(key) or Step(place, operation, repr(rule), kind, rule)
        return found

    # --- leaves, residuals, norms -------------------------------------------------------------------------------------

    def leaf(self, x: Tensor) -> Tensor:
        """A place where relevance ends: the same memory as x, a gradient of its own."""
        leaf = x.detach().requires_grad_()
        self.leaves[id(leaf)] = leaf
        self.stream_of[id(leaf)] = self.streams.current
        return leaf

    def token_leaf(self, vectors: Tensor) -> Tensor:
        """Token vectors (B, T, D) just looked up."""
        leaf = self.leaf(carrier(self, vectors))
        self.inputs.tokens.append(leaf)
        return leaf.clone()

    def residual(self, a: Tensor, b: Tensor, add: Callable, plain: bool) -> Tensor:
        """a + b of two carriers; the block's stream and a branch of it, or just a sum."""
        return residual_sums.residual(self, a, b, add, plain)

    def normed(self, x: Tensor, out: Tensor) -> Tensor:
        """In a post-norm block the norm of the stream is the stream."""
        note = note_of(self, x)
        return write(out, Note(stream=note.stream)) if note is not None and note.stream is not None else out

    # --- the end ------------------------------------------------------------------------------------------------------

    def trace(self, value: Tensor, keep: bool = False) -> Trace:
        """Walk back from `value`, a scalar of the forward pass; `keep` the graph for another target.

        Raises InputError if the value is no finite scalar or depends on no input, RuleError if an operation on the way has no rule.
        """
        return whole(self, value, keep)

    def traces(
        self, values: Sequence[Tensor | None], keep: bool = False, visible: Sequence[Mapping[str, Visible]] = ()
    ) -> list[Trace | None]:
        """Walk back from one scalar per row of the batch, all rows in one backward pass; None gives None.

        `visible` holds for each row, by stream, the places that are the row's own: the rest is padding.
        """
        return rows(self, values, keep, visible)


# --- entering and leaving ---------------------------------------------------------------------------------------------


@contextmanager
def propagate(
    model: nn.Module, composite: Composite | str = "pa-lrp", options: Options | None = None, asked: Sequence[only.Condition] = ()
) -> Iterator[Propagation]:  # fmt: skip
    """Put the composite's rules in force on `model` for this thread, inside the `with`.

    Relevance at any tensor t is t * g(t), so that of a module's output needs a hook and nothing of ours:

        heard = []
        with propagate(model) as flow:
            mlp = model.get_submodule("model.layers.1.mlp")
            hook = mlp.register_forward_hook(lambda _, inputs, out: out.register_hook(lambda g: heard.append(out.detach() * g)) and None)
            trace = flow.trace(model(**encoding).logits[0, 1])     # heard[0]: (1, T, D)
        hook.remove()

    `asked` names parts of layers that will be targets (`target.neuron`).

    Raises ModelError if the model hides its operations (compiled, DataParallel, flash or flex attention, active dropout).
    """
    from .support import inspect

    composite, options = as_composite(composite), as_options(options)
    tree = inspect(model)
    if options.checkpoint and not layers(model):
        raise InputError(f"checkpoint=True runs each layer again, and {type(model).__name__} has no layers. Type Options().")
    flow = getattr(composite, "flow", Propagation)(model, composite, options, tree)  # the wrong ones of live/broken.py bring their own
    flow.asked, flow.projections.wanted = tuple(asked), flow.projections.wanted or bool(asked)
    leaving = Leaving(flow.entry)
    with leaving, leaving:
        here.flows = (*flows(), flow)
        torch._C._set_grad_enabled(True)
        if flow.wide is not None:
            autocast([(kind, torch.get_autocast_dtype(kind), False) for kind in kinds()], cache=False)
            saved_tensors_hooks(flow.wide.save, flow.wide.get).__enter__()
        attach(flow)
        conditional.listen(flow)
        flow.__enter__()
        try:
            yield flow
        except Exception as error:  # dynamo traces into the rules themselves, and breaks there
            if not type(error).__module__.startswith("torch._dynamo"):
                raise
            raise ModelError(
                f"`{flow.place}` calls a function compiled by torch.compile, which hides its operations. Call the plain function: "
                'leave the decorator away, or torch.compiler.set_stance("force_eager") around explain.'
            ) from error
        if flow.placed is not None:
            flow.placed.missed(model, flow.streams)
