"""Handlers of one's own, as the engine calls them: see `operations.py` for the door.

The value is the model's own function on the model's own input; what a handler returns gives its gradient alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from ... import rules
from ...errors import PelrpError, RuleError
from ...rules import Rule
from ...rules._rule import base
from ...verbs import route, scale
from .. import operations
from ..context import Context, Handler
from . import passthrough
from .activations import activation


def table(own: operations.Operations) -> dict[Any, Handler]:
    """The engine's handler for every name that torch has for those functions, forms in place included."""
    found: dict[Any, Handler] = {}
    for function, handler in own:
        handle = partial(ruled, rule=handler) if isinstance(handler, Rule) else partial(called, handler=handler)
        found.update(dict.fromkeys(spellings(function), handle))
        name = operations.plain_name(function) if operations.home(function) else ""
        if name and not name.endswith("_") and hasattr(Tensor, f"{name}_") and hasattr(Tensor, name):
            found[getattr(Tensor, f"{name}_")] = partial(passthrough.in_place, handler=handle, out_of_place=getattr(Tensor, name))
    return found


def spellings(function: Any) -> Iterable[Any]:
    """The function under all its names; an operator with its overloads."""
    if isinstance(function, str):
        space, _, name = function.partition("::")
        packet = getattr(getattr(torch.ops, space), name)
        return packet, *(getattr(packet, overload) for overload in packet.overloads())
    if not operations.home(function):
        return (function,)
    name = operations.plain_name(function)
    others = [found for room in operations.ROOMS if callable(found := getattr(room, name, None)) and not isinstance(found, type)]
    return (*others, function) if not str(function.__name__).endswith(f"{name}_") else others


def called(flow: Context, func: Callable, args: tuple, kwargs: dict, handler: Callable) -> Any:
    """A function in place of the model's."""
    signature = inspect.signature(handler)
    given, named = spoken(args, kwargs, signature.parameters)
    try:
        signature.bind(func, *given, **named)
    except TypeError as error:
        raise RuleError(
            f"The handler of {operations.spelt(func)} was called in {flow.place} with {len(given)} arguments"
            f"{''.join(f' and {k}=' for k in named)} after the function; it is {operations.shape(handler)}. Write {operations.SHAPE}."
        ) from error
    flow.used("own", rules.make(word(handler), handler))
    return valued(flow, func, args, kwargs, handler(func, *given, **named))


def spoken(args: tuple, kwargs: dict, takes: Mapping[str, Any]) -> tuple[tuple, dict]:
    """The arguments that the model gave: the first without its name, and without torch's own (`inplace=False`, `_stacklevel=3`)."""
    kwargs = dict(kwargs)
    args = args or ((kwargs.pop("input"),) if "input" in kwargs else ())
    if not any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        kwargs = {k: v for k, v in kwargs.items() if k in takes or not (k.startswith("_") or v is None or v is False)}
    return args, kwargs


def word(handler: Callable) -> str:
    """What the handler is called in a plan."""
    name = str(getattr(handler, "__name__", ""))
    return name if name.isidentifier() else "handler"


def valued(flow: Context, func: Callable, args: tuple, kwargs: dict, out: Any) -> Any:
    """The model's own value with the gradient of `out`. Raises RuleError where these are not of one shape."""
    with torch.no_grad():
        value = func(*args, **kwargs)
    wanted, how = tree_flatten(value)
    came, _ = tree_flatten(out)
    if shapes(wanted) != shapes(came):
        raise RuleError(
            f"A handler returns what the function returns; {operations.spelt(func)} in {flow.place} gives {shapes(wanted)}, its handler "
            f"{shapes(came)}. Write {operations.SHAPE}."
        )
    pieces = [route(v, o) if isinstance(o, Tensor) and o.requires_grad else v for v, o in zip(wanted, came, strict=True)]
    return tree_unflatten(pieces, how)


def shapes(pieces: Iterable[Any]) -> list[Any]:
    """Shapes of tensors, types of the rest."""
    return [tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__ for x in pieces]


def ruled(flow: Context, func: Callable, args: tuple, kwargs: dict, rule: Rule) -> Any:
    """A rule, called as the model called the function; where its fast form takes the function (`f`, `multiply`, `apply`), it gets it."""
    takes = inspect.signature(rule.forward).parameters
    way = next((how for name, how in WAYS.items() if name in takes), as_called)
    try:
        return way(flow, func, args, kwargs, rule)
    except PelrpError:
        raise
    except Exception as error:
        given = ", ".join(str(tuple(x.shape)) if isinstance(x, Tensor) else repr(x) for x in (*args, *kwargs.values()))
        raise RuleError(
            f"The rule {rule} cannot be applied to {operations.spelt(func)} in {flow.place}, which was given {given}: {error}. "
            f"Register another rule, or {operations.SHAPE}."
        ) from error


def elementwise(flow: Context, func: Callable, args: tuple, kwargs: dict, rule: Rule) -> Tensor:
    """f(x) of one tensor, as the composite's activations: f(0) is booked."""
    carriers, again = apart(func, args, kwargs)
    if len(carriers) != 1:
        raise RuleError(
            f"The rule {rule} is for functions of one tensor; {len(carriers)} carry relevance into {operations.spelt(func)} in "
            f"{flow.place}. Register rules.uniform for a product, or {operations.SHAPE}."
        )
    return activation(flow, again, tuple(carriers), {}, rule=rule)


def product(flow: Context, func: Callable, args: tuple, kwargs: dict, rule: Rule) -> Tensor:
    """A product of those tensors that carry."""
    carriers, again = apart(func, args, kwargs)
    flow.used("own", rule)
    return kept(flow, func, rule, carriers, lambda xs: valued(flow, func, args, kwargs, rule.forward(*xs, multiply=again)))


def linear(flow: Context, func: Callable, args: tuple, kwargs: dict, rule: Rule) -> Tensor:
    """What is linear in all that carries: with a weight and a bias as in F.linear, or as a whole; then f(0) is booked."""
    carriers, again = apart(func, args, kwargs)
    flow.used("own", rule)
    weight, bias = (args[i] if len(args) > i else kwargs.get(n) for i, n in ((1, "weight"), (2, "bias")))
    if len(carriers) == 1 and args and carriers[0] is args[0] and isinstance(weight, Tensor):
        rest, more = args[3:], {k: v for k, v in kwargs.items() if k not in ("weight", "bias")}
        apply = lambda x, w, b: func(x, w, b, *rest, **more)
        forward = lambda xs: rule.forward(xs[0], weight=weight, bias=bias, apply=apply)
        return kept(flow, func, rule, carriers, lambda xs: valued(flow, func, args, kwargs, forward(xs)))
    if base(rule.forward) is not base(rules.epsilon.forward):
        raise RuleError(
            f"The rule {rule} needs a weight, as in F.linear; {operations.spelt(func)} in {flow.place} was given none. "
            "Register rules.epsilon for what is linear as a whole."
        )
    whole = lambda x, w, b: again(*carriers)
    out = valued(flow, func, args, kwargs, rule.forward(carriers[0], weight=carriers[0].new_ones(()), apply=whole))
    with torch.no_grad():
        start = again(*map(torch.zeros_like, carriers))
    if isinstance(out, Tensor) and out.is_floating_point() and bool(torch.isfinite(start).all()) and bool(start.any()):
        flow.account.constant(out, start, f"{flow.place}: {flow.function_name(func)}(0)", flow.depth)
    return out


def as_called(flow: Context, func: Callable, args: tuple, kwargs: dict, rule: Rule) -> Any:
    """Any other rule, with the arguments that the model gave."""
    carriers, again = apart(rule.forward, *spoken(args, kwargs, inspect.signature(rule.forward).parameters))
    flow.used("own", rule)
    return kept(flow, func, rule, carriers, lambda xs: valued(flow, func, args, kwargs, again(*xs)))


WAYS = {"f": elementwise, "multiply": product, "apply": linear}


def apart(func: Callable, args: tuple, kwargs: dict) -> tuple[list[Tensor], Callable[..., Any]]:
    """The tensors that carry relevance, and the function of them alone."""
    pieces, how = tree_flatten((args, kwargs))
    places = [i for i, x in enumerate(pieces) if isinstance(x, Tensor) and x.requires_grad]

    def again(*xs: Tensor) -> Any:
        given = list(pieces)
        for i, x in zip(places, xs, strict=True):
            given[i] = x
        those, named = tree_unflatten(given, how)
        return func(*those, **named)

    again.__name__ = getattr(func, "__name__", "function")
    return [pieces[i] for i in places], again


def kept(flow: Context, func: Callable, rule: Rule, carriers: list[Tensor], make: Callable[[list[Tensor]], Any]) -> Any:
    """What `make` makes of the carriers; what it keeps has a line in the ledger, where the rule says that it keeps something."""
    fresh = [scale(x, 1) for x in carriers] if rule.keeps else carriers
    out = make(fresh)
    if rule.keeps and isinstance(out, Tensor) and out.requires_grad:
        flow.account.kept("constants", f"{flow.place}: {flow.function_name(func)}", flow.depth, out, tuple(fresh))
    return out
