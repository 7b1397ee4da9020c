"""What happens to each kind of operation when relevance is to flow back through it.

Every function here takes `(flow, func, args, kwargs)`: the flow in force, torch's own function and how it was called, with parameters
already replaced by constants.  It returns what `func` returns, to the bit, with the gradient that the composite's rule asks for.
How torch spells these kinds is `operations.py`; what the rules are is `rules/`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import rules
from ..errors import ModelError
from ..rules.identity import SLOPES
from ..verbs import freeze, route, scale, share
from . import attend, positions
from .notes import Note, Origin, carries, chain, note_of, origin_of, pick, write

if TYPE_CHECKING:
    from .propagation import Flow

Handler = Callable[["Flow", Callable, tuple, dict], Any]


# --- linear maps -----------------------------------------------------------------------------------------------------


def linear(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """F.linear and convolutions: z = W x + b."""
    x, weight = pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, "weight")
    bias = pick(args, kwargs, 2, "bias")
    rest, more = args[3:], {k: v for k, v in kwargs.items() if k not in ("input", "weight", "bias")}
    if not carries(x) or carries(weight):
        out = func(x, weight, None, *rest, **more)
        out = scale(out, 1 / 2) if carries(x) else out
        return out if bias is None else add(flow, torch.add, (out, bias), {})

    def apply(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return func(x, w, b, *rest, **more)

    return weighted(flow, x, weight, bias, apply, axis=1 - weight.dim() if func is not F.linear else -1)


def addmm(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """bias + x @ W, as GPT-2 writes a linear map."""
    bias, x, weight = (pick(args, kwargs, i, n) for i, n in enumerate(("input", "mat1", "mat2")))
    if kwargs.get("beta", 1) != 1 or kwargs.get("alpha", 1) != 1 or carries(weight) or carries(bias) or not carries(x):
        return add(flow, torch.add, (product(flow, torch.mm, (x, weight), {}), bias), {})

    def apply(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return torch.mm(x, w.T) if b is None else torch.addmm(b, x, w.T)

    return weighted(flow, x, weight.T, bias, apply, axis=-1)


def weighted(flow: Flow, x: Tensor, weight: Tensor, bias: Tensor | None, apply: Callable, axis: int) -> Tensor:
    """One linear map under the composite's rule for this place, and its keepers."""
    rule = flow.linear_rule(x, weight)
    if bias is not None and carries(bias):
        return add(flow, torch.add, (weighted(flow, x, weight, None, apply, axis), bias), {})
    name = flow.name_of(bias, "bias") if bias is not None else flow.name_of(weight, "weight")
    flow.used("linear", rule)
    if rule == rules.epsilon:
        out = apply(x, weight, bias)
        if bias is not None:
            flow.account.constant(out, bias.reshape(-1, *[1] * (-1 - axis)), name, flow.depth)
        return out
    if rule == rules.zbox:
        return positions.boxed(flow, rule, x, weight, bias, apply, name)
    fresh = scale(x, 1)
    out = rule.forward(fresh, weight=weight, bias=bias, apply=apply)
    flow.account.kept("stabilisers" if bias is None else "constants", name, flow.depth, out, (fresh,))
    return out


# --- products and quotients ------------------------------------------------------------------------------------------


def multiply(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """a * b: a rotation, a gate, one activation written out, a constant factor, or a plain product."""
    a, b = pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, "other")
    if carries(a) and carries(b):
        merged = elementwise(flow, func, (a, b), kwargs)
        one = one_activation(flow, func, (a, b), merged) if merged is not None else None
        if one is not None:
            return one
        gate = next((x for x in (a, b) if (n := note_of(flow, x)) and n.made), None)
        rule = flow.composite.gate if gate is not None else flow.composite.product
        flow.used("gate" if gate is not None else "product", rule)
        if rule == rules.constant:
            return func(freeze(a), b) if gate is a else func(a, freeze(b))
        if rule == rules.uniform and not (a.is_complex() or b.is_complex()):
            first, other = (b, a) if gate is b else (a, b)
            note = note_of(flow, first)
            return share(first, other, 1 / 2, again=note.again if note is not None else None)
        return rule.forward(a, b, multiply=func)
    carrier, constant = (a, b) if carries(a) else (b, a)
    leaf = positions.enters_by_product(flow, constant, carrier)
    if leaf is not None:
        flow.used("rotation", flow.composite.product)
        rule = flow.composite.product
        real = rule == rules.uniform and not (carrier.is_complex() or leaf.tensor.is_complex())
        note = note_of(flow, carrier)
        again = note.again if note is not None else None
        out = share(carrier, leaf.tensor, 1 / 2, again=again) if real else rule.forward(carrier, leaf.tensor, multiply=torch.mul)
        return write(out, Note(sinks=(*positions.sinks_of(flow, carrier), leaf)))
    out = func(a, b, **{k: v for k, v in kwargs.items() if k not in ("input", "other")})
    return elementwise_note(flow, func, (a, b), {}, out)


def product(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """matmul and its kin: 1/n to each of n carriers; one carrier gets all."""
    operands = [a for a in args if isinstance(a, Tensor)]
    operands += [kwargs[k] for k in ("input", "other", "mat2", "vec2", "tensor2") if isinstance(kwargs.get(k), Tensor)]
    flat = [x for a in args if isinstance(a, list | tuple) for x in a if isinstance(x, Tensor)]
    n = sum(map(carries, operands + flat))
    if len(operands) == 2 and not flat:
        positions.take_roles(flow, operands)
        if n == 1 and carries(operands[0]) and func in (torch.matmul, Tensor.matmul, torch.mm, Tensor.__matmul__):
            weight = operands[1]
            if weight.dim() == 2 and flow.linear_rule(operands[0]) != rules.epsilon:
                return weighted(flow, operands[0], weight.T, None, lambda x, w, b: x @ w.T, axis=-1)
        if n == 1 and flow.composite.values != 1 and getattr(note_of(flow, operands[0]), "made", None) == "softmax":
            return attend.values_only(flow, func(*args, **kwargs))
    flow.used("product", flow.composite.product)
    return flow.composite.product.forward(multiply=partial(func, *args, **kwargs), n=n)


def baddbmm(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """added + a @ b: only the product is halved."""
    added, a, b = (pick(args, kwargs, i, n) for i, n in enumerate(("input", "batch1", "batch2")))
    more = {k: v for k, v in kwargs.items() if k in ("beta", "alpha")}
    positions.take_roles(flow, [a, b])
    if carries(a) and carries(b):
        a, b = scale(a, 1 / 2), scale(b, 1 / 2)
    beta = more.get("beta", 1)
    if carries(added) or beta == 0:
        return func(added, a, b, **more)
    leaf = positions.enters_by_sum(flow, added, a, scores=True)
    if leaf is not None:
        return func(leaf.tensor.reshape(added.shape), a, b, **more)
    out = func(added, a, b, **more)
    flow.account.constant(out, added * beta, flow.name_of(added, "added to scores"), flow.depth)
    return out


def divide(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """a / b: all to a."""
    a, b = pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, "other")
    if func is Tensor.__rdiv__ or func is Tensor.__rtruediv__:
        return func(freeze(a), b)
    more = {k: v for k, v in kwargs.items() if k not in ("input", "other")}
    if carries(a) and carries(b):
        merged = elementwise(flow, func, (a, b), more)
        one = one_activation(flow, partial(func, **more), (a, b), merged) if merged is not None else None
        if one is not None:
            return one
    flow.used("division", flow.composite.division)
    if carries(b):
        return func(a, freeze(b), **more) if not carries(a) else flow.composite.division.forward(a, freeze(b))
    out = func(a, b, **more)
    return elementwise_note(flow, func, (a, b), more, out)


def frozen(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """1 / x and 1 / sqrt(x): a denominator, which gets nothing."""
    flow.used("division", flow.composite.division)
    return func(freeze(args[0]), *args[1:], **kwargs)


def normalize(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """F.normalize: x / |x|, the norm frozen."""
    x, p, dim, eps = (pick(args, kwargs, i, n, d) for i, (n, d) in enumerate(
        (("input", None), ("p", 2.0), ("dim", 1), ("eps", 1e-12))))
    flow.used("division", flow.composite.division)
    length = freeze(x).norm(p, dim, keepdim=True).clamp_min(eps)
    return route(func(freeze(x), p, dim, eps), x / length)


def power(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """x ** p is homogeneous: 1 / p of the gradient conserves; a negative p is a denominator."""
    x, p = pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, "exponent")
    if func in (torch.sqrt, Tensor.sqrt):
        p = 0.5
    if func in (torch.square, Tensor.square):
        p = 2
    if not isinstance(p, int | float) or not carries(x):
        return flow.refuse(func, func(*args, **kwargs))
    if p <= 0:
        return frozen(flow, func, args, kwargs)
    flow.used("activation", flow.composite.activation)
    out = scale(func(*args, **kwargs), 1 / p)
    return elementwise_note(flow, func, args, kwargs, out)


def variance(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Any:
    """var is homogeneous of degree two."""
    out = func(*args, **kwargs)
    return scale(out, 1 / 2) if isinstance(out, Tensor) else tuple(scale(o, 1 / 2) for o in out)


# --- elementwise functions -------------------------------------------------------------------------------------------


def activation(flow: Flow, func: Callable, args: tuple, kwargs: dict, slope: str | None = None) -> Tensor:
    """y = f(x): identity, and f(0) booked as a constant."""
    x, rest = args[0] if args else kwargs["input"], args[1:]
    more = {k: v for k, v in kwargs.items() if k not in ("input", "inplace")}
    if any(map(carries, rest)):
        return flow.refuse(func, func(*args, **kwargs))

    def f(x: Tensor) -> Tensor:
        return func(x, *rest, **more)

    if slope == "gelu" and more.get("approximate", "none") == "tanh":
        slope = "gelu_tanh"
    rule = flow.composite.activation
    flow.used("activation", rule)
    out = rule.forward(x, f=f, slope=SLOPES[slope] if slope else None)
    out = elementwise_note(flow, func, (x, *rest), more, out, made="activation")
    if slope:
        note_of(flow, out).again = (f, (x.detach(),))
    start = own_start(func, rest, more)
    if start:
        flow.account.constant(out, start, f"{flow.place}: {flow.function_name(func)}(0)", flow.depth)
    return out


def own_start(func: Callable, rest: tuple, more: dict) -> float:
    """f(0) of this function alone."""
    return float(func(torch.zeros((), dtype=torch.float64), *rest, **more))


def elementwise(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> tuple[Origin, Tensor] | None:
    """(origin, zero) if `func` here is an elementwise function of one tensor; None if several take part."""
    origin = None
    for a in args:
        if carries(a):
            if origin is None:
                origin = origin_of(flow, a)
            elif origin_of(flow, a) is not origin:
                return None
        elif isinstance(a, Tensor) and a.numel() != 1:
            return None
    values = [chain(flow, a)[1] if carries(a) else a.detach().double().reshape(()).cpu() if isinstance(a, Tensor) else a
              for a in args]
    first = next((a for a in args if carries(a)), None)
    if first is None:
        return None
    with torch.enable_grad():
        zero = func(*values, **kwargs)
    return chain(flow, first)[0], zero


def elementwise_note(
    flow: Flow, func: Callable, args: tuple, kwargs: dict, out: Tensor, made: str | None = None
) -> Tensor:
    """Remember of which tensor `out` is an elementwise function."""
    found = elementwise(flow, func, args, kwargs)
    sinks = next((positions.sinks_of(flow, a) for a in args if carries(a)), ())
    if found is not None or made or sinks:
        origin, zero = found or (None, None)
        write(out, Note(origin=origin, zero=zero, made=made, sinks=sinks))
    return out


def one_activation(flow: Flow, func: Callable, args: tuple, merged: tuple[Origin, Tensor]) -> Tensor | None:
    """x * f(x) written out: one activation of x, not a product; None if x is gone."""
    origin, zero = merged
    x = origin.ref()
    if x is None:
        return None
    flow.used("activation", flow.composite.activation)
    with torch.no_grad():
        value = func(*args)
        (limit,) = torch.autograd.grad(zero, origin.start, retain_graph=True, allow_unused=True)
        start, at_zero = float(zero), 0.0 if limit is None else float(limit)
        slope = torch.where(x == 0, torch.full_like(value, at_zero), (value - start) / torch.where(x == 0, 1, x))
    out = route(value, scale(x, slope))
    if start:
        flow.account.constant(out, start, f"{flow.place}: f(0)", flow.depth)
    return write(out, Note(origin=origin, zero=zero, made="activation"))


# --- sums, joins and fillers -----------------------------------------------------------------------------------------


def add(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """a + b or a - b: shares in proportion; what is constant is booked, what is a position becomes a sink."""
    a, b = pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, "other")
    more = {k: v for k, v in kwargs.items() if k not in ("input", "other")}
    if carries(a) and carries(b):
        out = flow.residual(a, b, partial(func, **more), plain=not more and func in ADDITIONS)
        found = elementwise(flow, func, (a, b), more) if note_of(flow, out) is None else None
        sinks = (*positions.sinks_of(flow, a), *positions.sinks_of(flow, b))
        if found is not None or sinks:
            origin, zero = found or (None, None)
            write(out, Note(origin=origin, zero=zero, sinks=sinks))
        return out
    carrier, constant = (a, b) if carries(a) else (b, a)
    leaf = positions.enters_by_sum(flow, constant, carrier) if func in ADDITIONS and not more else None
    if leaf is not None:
        return func(leaf.tensor, b) if constant is a else func(a, leaf.tensor)
    out = func(a, b, **more)
    sign = -1.0 if (func in SUBTRACTIONS and constant is b) or (func in REVERSED and constant is a) else 1.0
    sign *= more.get("alpha", 1) if constant is b else 1
    book_constant(flow, out, constant, sign)
    return elementwise_note(flow, func, (a, b), more, out)


def book_constant(flow: Flow, out: Tensor, constant: Any, sign: float = 1.0) -> None:
    """Give an added constant its line in the ledger."""
    if isinstance(constant, Tensor):
        flow.account.constant(out, constant, flow.name_of(constant, "added"), flow.depth, sign)
    elif constant and abs(constant) < 1e30:
        flow.account.constant(out, float(constant), f"{flow.place}: {constant:+g}", flow.depth, sign)


ADDITIONS = {torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__}
SUBTRACTIONS = {torch.sub, Tensor.sub, Tensor.__sub__, torch.subtract, Tensor.subtract}
REVERSED = {Tensor.__rsub__, torch.rsub}


def join(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """cat and stack: constant pieces (CLS, registers) are booked by name."""
    pieces = args[0] if args else kwargs.get("tensors")
    rest = args[1:] if args else ()
    more = {k: v for k, v in kwargs.items() if k != "tensors"}
    if any(map(carries, pieces)):
        pieces = [p if carries(p) or not p.is_floating_point() else positions.joined(flow, p) for p in pieces]
    out = func(pieces, *rest, **more)
    sinks = tuple(s for p in pieces for s in positions.sinks_of(flow, p))
    again = turned(flow, func, pieces, rest, more)
    return write(out, Note(sinks=sinks, again=again)) if sinks or again else out


def turned(flow: Flow, func: Callable, pieces: list, rest: tuple, more: dict) -> tuple | None:
    """How to join two halves again, one of them negated (half of a rotation), from views of what is kept anyway."""
    if len(pieces) != 2 or not all(map(carries, pieces)):
        return None
    notes = [note_of(flow, p) for p in pieces]
    negated = [n is not None and n.again is not None and n.again[0] is torch.neg for n in notes]
    views = [p._is_view() for p in pieces]
    if sorted(negated) != [False, True] or not views[negated.index(False)]:
        return None
    parts = tuple(n.again[1][0] if minus else p.detach() for p, n, minus in zip(pieces, notes, negated, strict=True))
    return lambda *xs: func([-x if minus else x for x, minus in zip(xs, negated, strict=True)], *rest, **more), parts


def negative(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """-x: linear, and cheap to do again."""
    out = plain(flow, func, args, kwargs)
    note = note_of(flow, out) or Note()
    note.again = (torch.neg, (args[0].detach(),))
    return write(out, note)


def masked_fill(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """The filler is a constant of its places, and nothing where it is a mask."""
    out = func(*args, **kwargs)
    value = pick(args, kwargs, 2, "value")
    value = float(value) if isinstance(value, Tensor) and value.numel() == 1 and not carries(value) else value
    mask = pick(args, kwargs, 1, "mask")
    if isinstance(value, int | float) and value and abs(value) < 1e30 and carries(out):
        flow.account.constant(out, mask.to(out.dtype) * value, f"{flow.place}: filled with {value:g}", flow.depth)
    return out


def where(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Any:
    """where(condition, a, b): a constant side is a constant of its places."""
    if func in (Tensor.where,):
        args = (args[1], args[0], *args[2:])
        func = torch.where
    if len(args) + len(kwargs) < 3:
        return func(*args, **kwargs)
    condition, a, b = pick(args, kwargs, 0, "condition"), pick(args, kwargs, 1, "input"), pick(args, kwargs, 2, "other")
    out = func(condition, a, b)
    for side, place in ((a, condition), (b, ~condition)):
        if carries(side) or not carries(out):
            continue
        side = side.detach() if isinstance(side, Tensor) else torch.tensor(float(side), dtype=out.dtype)
        side = torch.where(place, side.to(out.device, out.dtype), torch.zeros((), dtype=out.dtype, device=out.device))
        flow.account.constant(out, side, flow.name_of(side, "filler"), flow.depth)
    return out


# --- norms -----------------------------------------------------------------------------------------------------------


def layer_norm(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """F.layer_norm: the standard deviation frozen, the mean not, the bias booked."""
    x, shape, weight, bias = (pick(args, kwargs, i, n) for i, n in enumerate(
        ("input", "normalized_shape", "weight", "bias")))
    eps = pick(args, kwargs, 4, "eps", 1e-5)
    rule = flow.composite.layer_norm
    flow.used("layer_norm", rule)
    with torch.no_grad():
        value = func(x.detach(), shape, weight, bias, eps)
    out = route(value, rule.forward(wide(x), weight=weight, bias=bias, eps=eps, normalized_shape=tuple(shape)).to(value.dtype))
    if bias is not None:
        flow.account.constant(out, bias, flow.name_of(bias, "bias"), flow.depth)
    return flow.normed(x, out)


def rms_norm(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """F.rms_norm: the root mean square frozen, weight included."""
    x, shape, weight = (pick(args, kwargs, i, n) for i, n in enumerate(("input", "normalized_shape", "weight")))
    eps = pick(args, kwargs, 3, "eps")
    rule = flow.composite.rms_norm
    flow.used("rms_norm", rule)
    with torch.no_grad():
        value = func(x.detach(), shape, weight, eps)
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    bent = rule.forward(wide(x), weight=weight, eps=eps, normalized_shape=tuple(shape))
    return flow.normed(x, route(value, bent.to(value.dtype)))


def group_norm(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """F.group_norm: a layer norm over each group of channels."""
    x, groups, weight, bias = (pick(args, kwargs, i, n) for i, n in enumerate(("input", "num_groups", "weight", "bias")))
    eps = pick(args, kwargs, 4, "eps", 1e-5)
    rule = flow.composite.layer_norm
    flow.used("layer_norm", rule)
    with torch.no_grad():
        value = func(x.detach(), groups, weight, bias, eps)
    parts = x.reshape(x.shape[0], groups, -1)
    y = rule.forward(parts, eps=eps, normalized_shape=parts.shape[-1:]).reshape(x.shape)
    column = [1, -1, *[1] * (x.dim() - 2)]
    out = route(value, y if weight is None else y * weight.reshape(column))
    if bias is not None:
        flow.account.constant(out, bias.reshape(column), flow.name_of(bias, "bias"), flow.depth)
    return out


def batch_norm(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """F.batch_norm with frozen statistics: a linear map and a constant."""
    if pick(args, kwargs, 5, "training", False):
        raise ModelError(
            f"The batch norm in {flow.place} must use its frozen statistics; it is in training mode. Type model.eval()."
        )
    out = func(*args, **kwargs)
    x = pick(args, kwargs, 0, "input")
    zero = torch.zeros(1, x.shape[1], *[1] * (x.dim() - 2), dtype=x.dtype, device=x.device)
    rest, more = args[1:], {k: v for k, v in kwargs.items() if k != "input"}
    constant = func(zero, *rest, **more)
    flow.account.constant(out, constant, f"{flow.place}.bias", flow.depth)
    return out


def wide(x: Tensor) -> Tensor:
    """Half precision widened, as torch's own norms compute."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


# --- everything else -------------------------------------------------------------------------------------------------


def cast(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Any:
    """The same numbers in another dtype, place or order of memory: everything known stays known."""
    out = func(*args, **kwargs)
    note = note_of(flow, args[0]) if args and isinstance(args[0], Tensor) else None
    if not isinstance(out, Tensor) or out is args[0] or not carries(out):
        return out
    origin, zero = chain(flow, args[0])
    note = note or Note()
    return write(out, Note(origin=origin, zero=zero, made=note.made, stream=note.stream, sinks=note.sinks))


def dropout(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """Nothing, unless it is active."""
    x, p = pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, "p", 0.5)
    training = pick(args, kwargs, 2, "training", pick(args, kwargs, 2, "train", True))
    if training and p > 0:
        raise ModelError(
            f"Relevance needs a forward pass without chance; the dropout in {flow.place} is active (p = {p}). Type model.eval()."
        )
    return x


def plain(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Any:
    """Linear in what carries: nothing to bend."""
    out = func(*args, **kwargs)
    first = args[0] if args else None
    sinks = positions.sinks_of(flow, first) if isinstance(first, Tensor) else ()
    if sinks and isinstance(out, Tensor):
        write(out, Note(sinks=sinks))
    elif sinks and isinstance(out, tuple | list):
        for piece in out:
            if isinstance(piece, Tensor):
                write(piece, Note(sinks=sinks))
    return out


def embedding(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """A table looked up by token ids: here relevance arrives."""
    ids = pick(args, kwargs, 0, "input")
    out = func(*args, **kwargs)
    note = note_of(flow, ids)
    if note is None or note.kind != "ids" or out.requires_grad:
        return out
    return flow.token_leaf(out)


def in_place(flow: Flow, func: Callable, args: tuple, kwargs: dict, handler: Handler, out_of_place: Callable) -> Tensor:
    """x op= y: computed apart, by the rule of `op`, then copied back."""
    target = args[0]
    if id(target) in flow.known:
        raise ModelError(f"{flow.place} changes a parameter or buffer in place while it is explained.")
    source = target.clone() if carries(target) else target.detach().clone()
    note = note_of(flow, target)
    if note is not None and carries(target):
        write(source, note)
    out = handler(flow, out_of_place, (source, *args[1:]), kwargs)
    if not carries(out):
        return target.copy_(out)
    target.copy_(out)
    return write(target, note_of(flow, out) or Note())


def silent(flow: Flow, func: Callable, args: tuple, kwargs: dict) -> Any:
    """No arithmetic of the model's."""
    return func(*args, **kwargs)
