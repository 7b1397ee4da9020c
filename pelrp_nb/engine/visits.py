"""Places inside a model where something can be read, replaced, or listened to: counted, so that every forward pass has the same ones.

    Finder      in a pass with the rules in force (`slot_finder.py`)
    Visitor     in any other pass: `visit(slot, x)` is given what passes there, and gives back what is to go on

A slot is a number of a call, and which of its arguments or its result is meant.  The model itself runs, with its own kernels; hooks on
layers act in the thread of the pass alone, and go with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import DisableTorchFunction
from torch.overrides import TorchFunctionMode

from ..errors import ModelError
from .handlers.weighing import attention_weights
from .layers import layers
from .places.maps import words

FUSED, SOFTMAX = words("scaled_dot_product_attention"), words("softmax")
PRODUCTS = {"matmul": (0, 1), "__matmul__": (0, 1), "bmm": (0, 1), "baddbmm": (1, 2)}  # where their two factors stand
SUMS = words("add __add__ __radd__ add_ __iadd__")
COUNTED = {*FUSED, *SOFTMAX, *PRODUCTS, *SUMS}
OUT, WEIGHTS = "out", "weights"
KEYWORDS = {
    **dict.fromkeys(FUSED, ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")),
    "softmax": ("input", "dim"), "baddbmm": ("input", "batch1", "batch2"), "bmm": ("input", "mat2"),
}  # fmt: skip


@dataclass(frozen=True)
class Slot:
    """What passes at one place: heads (B, H, T, d), queries, keys, values; scores (B, H, Tq, Tk); a branch or a stream (B, 1, T, D).

    kind: "heads", "queries", "keys", "values", "scores", "attention", "mlp" or "residual"; name: "layer 0"
    call: which call of torch, or of a layer; part: which argument of it, "out", or of a fused kernel its "weights"
    turned: whether the last two axes stand the other way round
    """

    kind: str
    name: str
    call: int
    part: int | str = OUT
    turned: bool = False

    def seen(self, x: Tensor, rows: int) -> Tensor:
        """What passes, in the order of axes above."""
        x = x.transpose(-1, -2) if self.turned else x
        if self.kind in ("attention", "mlp", "residual"):
            return x.reshape(rows, 1, *x.shape[-2:])
        return x.reshape(rows, -1, *x.shape[-2:])

    def put(self, found: Tensor, like: Tensor) -> Tensor:
        """The same in the shape in which it passes."""
        found = found.transpose(-1, -2) if self.turned else found
        return found.reshape(like.shape).to(like.dtype)


@dataclass
class Calls:
    """How many calls were counted, of torch and of layers."""

    torch: int = 0
    layers: int = 0


class Counting(TorchFunctionMode):
    """Counts the calls at which there may be a slot."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.calls = model, Calls()

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = getattr(func, "__name__", "")
        if name not in COUNTED or (name in SUMS and not of_vectors(args)):
            return func(*args, **kwargs or {})
        self.calls.torch += 1
        return self.called(func, name, args, dict(kwargs or {}))

    def called(self, func: Callable, name: str, args: tuple, kwargs: dict) -> Any:
        """One call."""
        raise NotImplementedError

    def layer(self, args: tuple, kwargs: dict) -> Any:
        """A layer begins; what it is given instead, or None."""

    def left(self, output: Any) -> Any:
        """A layer has ended; what it hands on instead, or None."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inside the `with` the model is visited, in this thread alone."""
        blocks, thread, handles = layers(self.model), threading.get_ident(), []

        def before(module: nn.Module, args: tuple, kwargs: dict) -> Any:
            return self.layer(args, kwargs) if threading.get_ident() == thread else None

        def after(module: nn.Module, args: tuple, kwargs: dict, output: Any) -> Any:
            return self.left(output) if threading.get_ident() == thread else None

        try:
            for module in self.model.modules():
                if id(module) in blocks:
                    handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
                    handles.append(module.register_forward_hook(after, with_kwargs=True))
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()


def of_vectors(args: tuple) -> bool:
    """Whether both of two arguments are vectors (B, T, D) of one shape, as in a residual sum."""
    alike = len(args) == 2 and all(isinstance(x, Tensor) and x.is_floating_point() and x.dim() == 3 for x in args)
    return alike and args[0].shape == args[1].shape


def given(name: str, args: tuple, kwargs: dict, i: int) -> Any:
    """One argument of a call."""
    return args[i] if i < len(args) else kwargs.get(dict(enumerate(KEYWORDS.get(name, ("input", "other")))).get(i, ""))


def first_vectors(values: Sequence[Any]) -> Tensor | None:
    """The first tensor of vectors (B, T, D)."""
    return next((x for x in values if isinstance(x, Tensor) and x.is_floating_point() and x.dim() == 3), None)


# --- visiting ----------------------------------------------------------------------------------------------------------


class Visitor(Counting):
    """`visit(slot, x)` is given what passes at each of these slots, rows first, and says what goes on instead (None: that itself).

    `weigh(slot, weights, values)` is given those of an attention with its result, where it is wanted, before that is visited.
    """

    def __init__(self, model: nn.Module, slots: Sequence[Slot], visit: Callable[[Slot, Tensor], Tensor | None], rows: int) -> None:
        super().__init__(model)
        self.visit, self.rows = visit, rows
        self.at: dict[tuple[bool, int], list[Slot]] = {}
        for slot in slots:
            self.at.setdefault((slot.kind == "residual", slot.call), []).append(slot)
        self.met: set[Slot] = set()

    def through(self, slot: Slot, x: Any) -> Any:
        """One slot."""
        if not isinstance(x, Tensor):
            raise ModelError(f"The {slot.kind} of {slot.name} are gone in another pass: the model computes something else each time.")
        self.met.add(slot)
        with DisableTorchFunction():  # what is done here is no call of the model's
            found = self.visit(slot, slot.seen(x, self.rows))
            return x if found is None else slot.put(found, x)

    def called(self, func: Callable, name: str, args: tuple, kwargs: dict) -> Any:
        slots = self.at.get((False, self.calls.torch), ())
        for slot in slots:
            if isinstance(slot.part, int):
                args, kwargs = replaced(name, args, kwargs, slot.part, self.through(slot, given(name, args, kwargs, slot.part)))
        for slot in slots:
            if slot.part == WEIGHTS:
                self.met.add(slot)
                self.visit(slot, slot.seen(scores_of(args, kwargs), self.rows))
        out = func(*args, **kwargs)
        for slot in slots:
            if slot.part == OUT:
                out = self.through(slot, out)
        return out

    def layer(self, args: tuple, kwargs: dict) -> Any:
        self.calls.layers += 1
        slots = self.at.get((True, 0), ()) if self.calls.layers == 1 else ()
        for slot in slots:
            x = first_vectors((*args, *kwargs.values()))
            new = self.through(slot, x)
            args, kwargs = tuple(new if a is x else a for a in args), {k: new if a is x else a for k, a in kwargs.items()}
        return (args, kwargs) if slots else None

    def left(self, output: Any) -> Any:
        for slot in self.at.get((True, self.calls.layers), ()):
            several = isinstance(output, tuple | list)
            x = first_vectors(output if several else (output,))
            new = self.through(slot, x)
            output = type(output)(new if a is x else a for a in output) if several else new
        return output


def replaced(name: str, args: tuple, kwargs: dict, i: int, x: Tensor) -> tuple[tuple, dict]:
    """The arguments of a call with another one in place of the i-th."""
    if i < len(args):
        return (*args[:i], x, *args[i + 1 :]), kwargs
    return args, {**kwargs, KEYWORDS.get(name, ("input", "other"))[i]: x}


def scores_of(args: tuple, kwargs: dict) -> Tensor:
    """(B, H, Tq, Tk) the scores in a fused kernel; -inf where a mask hides them."""
    name = next(iter(FUSED))
    q, k, mask = (given(name, args, kwargs, i) for i in (0, 1, 3))
    causal, more = bool(given(name, args, kwargs, 5)), {n: kwargs[n] for n in ("scale",) if kwargs.get(n) is not None}
    with torch.no_grad():
        A, s = attention_weights((q.double(), k.double(), mask), slice(None), causal, more)
    return torch.where((A == 0) & (s == 0), -torch.inf, s)
