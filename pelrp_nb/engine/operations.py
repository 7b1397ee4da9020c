"""Operations of one's own: `register` for a `with`, `Options.operations` for a call.

    with pelrp_nb.register(torch.special.i0, rules.identity):
        pelrp_nb.explain(model, text, processor=tokenizer)
    pelrp_nb.explain(model, text, processor=tokenizer, options=Options(operations={torch.special.i0: rules.identity}))

A handler is a rule, or a function that is called as the model called the operation: `handlers/own.py` calls it.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch._library.custom_ops import CustomOpDef
from torch._ops import OpOverload, OpOverloadPacket
from torch.nn import functional as F

from .. import rules
from ..errors import InputError
from ..rules import Rule

Handler = Rule | Callable[..., Any]
Operations = tuple[tuple[Any, Handler], ...]
ROOMS: dict[Any, str] = {                        # where torch keeps its functions, and how one types it
    torch: "torch", Tensor: "torch.Tensor", F: "torch.nn.functional", torch._C._nn: "torch._C._nn", torch.special: "torch.special",
    torch.linalg: "torch.linalg", torch.fft: "torch.fft",
}  # fmt: skip
HOW = "Type pelrp_nb.register(torch.special.i0, rules.identity), with a function of torch or a custom operator."
SHAPE = "def handler(function, x, ...): return its value with the gradient of your rule"

_registered: ContextVar[tuple[register, ...]] = ContextVar("registered", default=())


class register:
    """Give a function of torch, or a custom operator, a handler: inside the `with`, in this thread.

        with pelrp_nb.register(torch.special.i0, rules.identity):
            pelrp_nb.explain(model, text, processor=tokenizer)

    Args:
        function: what the model calls, wherever torch keeps a function of that name, its form in place included (`torch.i0`, `x.i0()`,
            `torch.special.i0`, `x.i0_()`); a custom operator, by itself or by its name ("mylib::twice"); or a function of Python that
            hands its calls to `torch.overrides.handle_torch_function`.
        handler: a Rule: `rules.identity` for an elementwise function, `rules.uniform` for a product, `rules.epsilon` for what is
            linear in all that carries, a rule of your own called as the model calls the function; where its `forward` takes `f`,
            `multiply` or `apply`, it gets the function there.
            Or `handler(function, *args, **kwargs)`, called in place of the function with what the model passed. It returns what the
            function returns; its gradient is what counts (`pelrp_nb.verbs`), the value stays the model's own. Tensors that carry
            relevance are those that require a gradient.

    What a function of your own keeps is the ledger's gap; what a rule says that it keeps has a line there. Raises InputError for what
    is no such function or handler, if the function has a handler already, and if the `with` is entered a second time.
    """

    def __init__(self, function: Any, handler: Handler) -> None:
        self.function, self.handler = key(function), checked(function, handler)
        self.over = False

    def __enter__(self) -> register:
        if self.over or self in _registered.get():
            state = "has ended" if self.over else "is open"
            raise InputError(
                f"A registration lasts for one `with`, and that of {spelt(self.function)} {state}. Type "
                f"with pelrp_nb.register({spelt(self.function)}, handler): anew, or Options(operations={{...}}) for each call."
            )
        once((*((r.function, r.handler) for r in _registered.get()), (self.function, self.handler)))
        _registered.set((*_registered.get(), self))
        return self

    def __exit__(self, *raised: Any) -> None:
        self.over = True
        _registered.set(tuple(r for r in _registered.get() if r is not self))

    def __repr__(self) -> str:
        return f"pelrp_nb.register({spelt(self.function)}, {getattr(self.handler, '__name__', self.handler)!s})"


def operations(given: Any) -> Operations:
    """`Options.operations` as pairs; InputError where it is no mapping from functions to handlers."""
    pairs = tuple(given.items()) if isinstance(given, Mapping) else given
    if not isinstance(pairs, tuple) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise InputError(f"operations must map functions to handlers, got {given!r}. Type Options(operations={{torch.i0: handler}}).")
    return once(tuple((key(function), checked(function, handler)) for function, handler in pairs))


def in_force(own: Operations) -> Operations:
    """Those of `Options` and those registered in this thread. Raises InputError where one has two handlers."""
    return once((*((r.function, r.handler) for r in _registered.get()), *own))


def once(pairs: Operations) -> Operations:
    """The same. Raises InputError where a function has two handlers, under whichever of its names."""
    seen: dict[Any, Any] = {}
    for function, _ in pairs:
        name = plain_name(function) if isinstance(function, str) or home(function) else function
        if name in seen:
            raise InputError(
                f"{spelt(function)} has a handler already, given to {spelt(seen[name])}; it can have one. Leave the other `with` first, or "
                "take it out of Options(operations=...)."
            )
        seen[name] = function
    return pairs


# --- which functions -------------------------------------------------------------------------------------------------


def key(function: Any) -> Any:
    """A function of torch itself; an operator's name, which can be copied and pickled. InputError for what the engine never meets."""
    if isinstance(function, str | CustomOpDef | OpOverload | OpOverloadPacket):
        return operator_name(function)
    if home(function) or (isinstance(function, types.FunctionType) and "handle_torch_function" in function.__code__.co_names):
        return function
    if isinstance(function, types.FunctionType):
        raise InputError(
            f"`{function.__name__}` is a function of Python: its operations are met one by one, each with its own rule. To give it one as "
            "a whole make it an operator, @torch.library.custom_op, and register that."
        )
    raise InputError(f"A handler belongs to a function of torch or a custom operator, got {function!r}. {HOW}")


def operator_name(operator: Any) -> str:
    """The name of a custom operator, "mylib::twice". Raises InputError if there is none of that name."""
    if isinstance(operator, OpOverload):
        operator = operator._schema.name
    name = str(getattr(operator, "_qualified_op_name", None) or getattr(operator, "_qualname", operator))
    space, _, last = name.partition("::")
    if not last or not hasattr(getattr(torch.ops, space), last):
        raise InputError(f"There is no operator {name!r}; a name has two parts, as in mylib::twice. {HOW}")
    return name


def home(function: Any) -> str:
    """Where torch keeps the function, as one types it; nothing if it is none of torch's."""
    name = getattr(function, "__name__", "")
    spellings = (name, plain_name(function), name.lstrip("_"))
    return next((f"{said}.{n}" for n in spellings for room, said in ROOMS.items() if n and same(getattr(room, n, None), function)), "")


def same(found: Any, function: Any) -> bool:
    """Whether that is the function, and one at all."""
    return callable(found) and not isinstance(found, type) and found == function


def plain_name(function: Any) -> str:
    """`i0` for torch.i0, torch.special.i0, Tensor.i0 and Tensor.i0_; the name of an operator as it is."""
    if isinstance(function, str):
        return function
    name = str(getattr(function, "__name__", ""))
    for room in ("special_", "linalg_", "fft_"):
        name = name.removeprefix(room)
    return name if name.endswith("__") else name.removesuffix("_")


def spelt(function: Any) -> str:
    """The function as one types it; an operator by its name."""
    if isinstance(function, str | OpOverload | OpOverloadPacket):
        return repr(operator_name(function))
    return home(function) or str(getattr(function, "__name__", function))


# --- which handlers --------------------------------------------------------------------------------------------------


def checked(function: Any, handler: Any) -> Handler:
    """The handler. Raises InputError where it cannot be called as one."""
    if isinstance(handler, Rule):
        return handler
    if not callable(handler) or isinstance(handler, type):
        near = "" if not isinstance(handler, str) else f" Did you mean rules.{handler}?" if hasattr(rules, handler) else ""
        raise InputError(f"A handler must be a Rule or a function, got {handler!r}.{near} {HOW}")
    try:
        inspect.signature(handler).bind_partial(function, object())
    except (TypeError, ValueError) as error:
        raise InputError(
            f"A handler must take the function and what the model passes to it; it is {shape(handler)}. Write {SHAPE}."
        ) from error
    return handler


def shape(handler: Callable) -> str:
    """The handler's name and what it takes; the name alone of a built-in function, which does not say."""
    name = str(getattr(handler, "__name__", type(handler).__name__))
    try:
        return f"{name}{inspect.signature(handler)}"
    except ValueError:
        return name
