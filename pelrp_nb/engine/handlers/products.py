"""Products of several carriers: where relevance is shared; a rotation, a gate and a bare constant factor among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from ... import rules
from ...verbs import freeze, route, scale, share
from .. import heads, routes
from ..context import Context
from ..leaves import Leaf
from ..places.contractions import of_einsum
from ..places.follow import provenance_of
from ..places.matrices import matrices
from ..places.products import product_of_two
from ..positions import detection, relative
from ..notes import Note, carries, made_note, note_of, pick, write
from ..numerics import spread, times
from . import attention, composed, forms, idioms, weighing
from .chains import elementwise, elementwise_note, one_activation
from .linear import weighted
from .passthrough import looked_up
from .rotations import turned
from .sums import entered


def addmm(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """bias + x @ W, as GPT-2 writes a linear map."""
    bias, x, weight = (pick(args, kwargs, i, n) for i, n in enumerate(("input", "mat1", "mat2")))
    if kwargs.get("beta", 1) != 1 or kwargs.get("alpha", 1) != 1 or carries(weight) or carries(bias) or not carries(x):
        return composed.composed(flow, func, args, kwargs, composed.addmm)

    def apply(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return torch.mm(x, w.T) if b is None else torch.addmm(b, x, w.T)

    return weighted(flow, x, weight.T, bias, apply, axis=-1)


def multiply(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """a * b: a rotation, a gate, one activation written out, a constant factor, or a plain product."""
    a, b = args if len(args) == 2 else (pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, "other"))
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
            again = note.again if note is not None else None
            return times(first * other, 1 / 2) if again is None else share(first, other, 1 / 2, again=again)
        return rule.forward(a, b, multiply=func)
    carrier, constant = (a, b) if carries(a) else (b, a)
    shape = spread(a, b) if isinstance(constant, Tensor) else carrier.shape
    if isinstance(constant, int | float) and func in SCALING and detection.one_place_left(flow, carrier):
        constant = torch.tensor(float(constant), dtype=carrier.dtype, device=carrier.device)
    leaf = detection.multiplied(flow, constant, carrier, shape)
    if leaf is not None:
        out = turned(flow, carrier, leaf)
        before = made_note(carrier) or Note()
        note = Note(sinks=(*before.sinks, leaf), awaiting=before.awaiting)
        if constant.numel() == 1:  # of one place alone: an activation may be written out of it all the same
            note.origin, note.zero = elementwise(flow, func, (carrier, constant), {}) or (None, None)
        write(out, note)
        return idioms.masked(flow, carrier, constant, out)
    noted = note_of(flow, carrier) is not None
    whole = idioms.quotient(flow, func, carrier, constant) if noted else None
    if whole is not None:
        return whole
    out = func(a, b, **({k: v for k, v in kwargs.items() if k not in ("input", "other")} if kwargs else kwargs))
    if noted or not isinstance(constant, Tensor) or constant.numel() == 1:
        elementwise_note(flow, func, (a, b), {}, out)
    return idioms.masked(flow, carrier, constant, out) if noted and isinstance(constant, Tensor) else out


SCALING = {torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__}


def product(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """matmul and its kin: 1/n to each of n carriers; one carrier gets all."""
    if getattr(func, "__name__", "") == "einsum":
        args = (args[0], *(args[1] if isinstance(args[1], list | tuple) else args[1:])) if isinstance(args[0], str) else args
        if composed.entry_by_entry(args):
            return multiply(flow, partial(func, args[0]), args[1:], {})
        if (definition := composed.pairwise(args)) is not None:
            return composed.composed(flow, func, args, {}, definition)
    named = [kwargs.get(k) for k in ("input", "other", "mat2", "vec2", "tensor2")]
    operands = [a for a in (*args, *named) if isinstance(a, Tensor)]
    flat = [x for a in args if isinstance(a, list | tuple) for x in a if isinstance(x, Tensor)]
    n = sum(map(carries, operands + flat))
    if not n:  # ids as rows of zeros and a one, times their table
        return looked_up(flow, func(*args, **kwargs), args, kwargs)
    weighed = next((x for x in operands if (m := note_of(flow, x)) is not None and m.made == "softmax"), None)
    if len(operands) == 2 and not flat:
        detection.take_roles(flow, *((operands,) if weighed is None else (operands[1:], ("value",))))
        plain = func in (torch.matmul, Tensor.matmul, torch.mm, Tensor.__matmul__) and operands[1].dim() == 2
        if n == 1 and plain and carries(operands[0]) and bends(flow, operands[0]):
            return weighted(flow, operands[0], operands[1].T, None, lambda x, w, b: x @ w.T, axis=-1)
        if n == 1 and weighed is operands[0] and carries(operands[1]) and flow.composite.softmax_is_constant:
            out = weighing.product(flow, func, args, kwargs, *operands)
            if out is not None:
                return of_attention(flow, operands, weighed, out, 1.0, forms.put(func, args, kwargs, *operands), edges=False)
        if n == 1 and flow.composite.values != 1 and weighed is operands[0]:
            out = attention.values_only(flow, func(*args, **kwargs))
            return of_attention(flow, operands, weighed, out, flow.composite.values, forms.put(func, args, kwargs, *operands))
    flow.used("product", flow.composite.product)
    leaf: Leaf | None = None
    if n == 1 and len(operands) == 2 and not flat and flow.composite.positions == "sink":
        args, kwargs, leaf = by_place(flow, func, args, kwargs, operands)
    if n == 1 and len(operands) == 2 and not flat and leaf is None and weighed is None:
        x, weight = operands if carries(operands[0]) else operands[::-1]
        if provenance_of(weight) is None and bends(flow, x):
            return weighted(flow, x, weight, None, *left_open(func, args, kwargs, x, weight))
    out = flow.composite.product.forward(multiply=partial(func, *args, **kwargs), n=n)
    of_attention(flow, operands, weighed, out, 1 / n, forms.put(func, args, kwargs, *operands) if len(operands) == 2 and not flat else None)
    if len(operands) == 2 == len(args) and func in MATRIX_PRODUCTS:
        not_yet_divided(flow, func, operands[0], operands[1], out)
    return out if leaf is None else write(out, Note(sinks=(leaf,)))


def left_open(func: Callable, args: tuple, kwargs: dict, x: Tensor, weight: Tensor) -> tuple[Callable, int]:
    """A product as a linear map `apply(x, weight, bias)`, and the axis of its outputs, from the end."""
    pieces, how = tree_flatten((args, kwargs))
    places = [next(i for i, one in enumerate(pieces) if one is wanted) for wanted in (x, weight)]
    pieces = [None if i in places else one for i, one in enumerate(pieces)]

    def apply(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        given = list(pieces)
        given[places[0]], given[places[1]] = x, w
        those, named = tree_unflatten(given, how)
        z = func(*those, **named)
        return z if b is None else z + b

    if isinstance(args[0], str):
        letters, out = of_einsum(args[0], [one for one in args[1:] if isinstance(one, Tensor)])
        first = next(i for i, one in enumerate(args[1:]) if one is x)
        return apply, next((i for i, one in enumerate(out) if one not in letters[first]), len(out) - 1) - len(out)
    return apply, -2 if places[0] > places[1] and x.dim() > 1 and weight.dim() > 1 and func not in INNER else -1


INNER = {torch.inner, Tensor.inner}
MATRIX_PRODUCTS = {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm}


def not_yet_divided(flow: Context, func: Callable, part: Tensor, values: Tensor, out: Tensor) -> None:
    """Exponentials times values, whose sum may divide them later: remembered as such."""
    form = forms.form_of(flow, part, "exp")
    if form is not None and not form.then:
        beside = (*form.beside, *forms.held(values))
        forms.be(flow, out, replace(form, kind="weighted", again=partial(again, func, values), beside=beside))


def again(func: Callable, values: Tensor, weights: Tensor, size: bool = False) -> Tensor:
    """The product once more, with other weights; or the size of what is added up in it."""
    return func(weights, values.abs() if size else values)


def by_place(flow: Context, func: Callable, args: tuple, kwargs: dict, operands: list[Tensor]) -> tuple[tuple, dict, Leaf | None]:
    """The operands of a carrier and a constant; if that has a matrix, or a vector, for each place, half is its own."""
    carrier = operands[0] if carries(operands[0]) else operands[1]
    constant = operands[1] if carrier is operands[0] else operands[0]
    found = matrices(func, args, kwargs, operands) if flow.composite.product == rules.uniform else None
    given = detection.per_place(flow, *found, carrier) if found is not None else None
    leaf = None
    if given is not None:
        leaf, fresh = given
    elif bends(flow, carrier):
        return args, kwargs, None
    elif carrier is operands[0] and constant.dim() == 2:
        leaf, fresh = detection.looped(flow, constant, relative.relative_values(flow, carrier), "matmul")
    else:
        leaf, fresh = detection.looped(flow, constant, carrier, "matmul")
    if fresh is carrier:
        return args, kwargs, None

    def swapped(x: Any) -> Any:
        return fresh if x is carrier else x

    return tuple(map(swapped, args)), {k: swapped(v) for k, v in kwargs.items()}, leaf


def chain(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """multi_dot: a product of several carriers, or linear maps of one, one after another."""
    matrices = args[0] if isinstance(args[0], list | tuple) else args
    if sum(map(carries, matrices)) == 1:
        return composed.composed(flow, func, args, kwargs, composed.chained)
    return product(flow, func, args, kwargs)


def bends(flow: Context, x: Tensor) -> bool:
    """Whether a linear map of x has, or may have, more than its plain gradient."""
    choice = flow.linear_rule(x)
    return not (choice.known and choice.rule == rules.epsilon)


def of_attention(
    flow: Context, operands: list[Tensor], weighed: Tensor | None, out: Tensor, part: float,
    again: Callable[..., Tensor] | None = None, edges: bool = True,
) -> Tensor:  # fmt: skip
    """The same product, noted if it is one of attention: scores, or values with the weights that a softmax of scores has made.

    Its heads are listened to if they were asked for, `part` of which goes to the values; its `edges`, if it can be done `again`.
    """
    if weighed is not None and flow.attentions and out.dim() > 2:
        lies = None if again is None or "heads" not in flow.options.detail else heads.layout(operands, weighed, out, again)
        heads.at_output(flow, flow.attentions[-1], out, part, lies)
        if edges and again is not None:
            put = again if weighed is operands[0] else lambda weights, values: again(values, weights)
            routes.values(flow, flow.attentions[-1], out, weighed, operands[weighed is operands[0]], put, part)
    if weighed is None:
        if all(x.dim() > 2 for x in operands) or sum(map(carries, operands)) > 1:
            flow.projections.note(flow.projections.scores, out)
            if again is not None:
                routes.of_two(flow, out, again, operands)
    elif (note := note_of(flow, weighed)) is not None and note.attends:
        flow.projections.feed(tuple(x for x in operands if x is not weighed), flow.began)
        flow.projections.attend(out, weighed.shape[1] if weighed.dim() == 4 else max(weighed.shape[0] // flow.account.rows, 1))
    return out


def baddbmm(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """added + a @ b: only the product is halved, which is one of queries and keys."""
    out = added_product(flow, func, args, kwargs)
    flow.projections.note(flow.projections.scores, out)
    alpha = kwargs.get("alpha", 1)
    routes.of_two(flow, out, lambda a, b: alpha * torch.bmm(a, b), [pick(args, kwargs, i, n) for i, n in ((1, "batch1"), (2, "batch2"))])
    return out


def added_product(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """What is added may be a bias of positions, so it is looked at before the sum."""
    added, a, b = (pick(args, kwargs, i, n) for i, n in enumerate(("input", "batch1", "batch2")))
    more = {k: v for k, v in kwargs.items() if k in ("beta", "alpha")}
    if carries(a) != carries(b):  # weights, or a matrix for each place
        return composed.composed(flow, func, args, kwargs, composed.addmm)
    pair = product_of_two(a, b)
    detection.take_roles(flow, [a, b])
    if carries(a) and carries(b):
        a, b = scale(a, 1 / 2), scale(b, 1 / 2)
    beta = more.get("beta", 1)
    if carries(added) and not (carries(a) or carries(b)):
        with torch.no_grad():
            value = func(added, a, b, **more)
        with flow:
            return route(value, torch.add(added * beta if beta != 1 else added, torch.bmm(a, b), alpha=more.get("alpha", 1)))
    if carries(added) or beta == 0:
        return func(added, a, b, **more)
    shape = (*a.shape[:-1], b.shape[-1])
    sink = None
    if isinstance(added, Tensor) and added.is_floating_point() and (carries(a) or carries(b)):
        sink = detection.added_to_scores(flow, added, pair, shape, waits=True)
    if sink is not None:
        return entered(flow, sink, func(sink, a, b, **more))
    out = func(added, a, b, **more)
    flow.account.constant(out, added * beta, flow.name_of(added, "added to scores"), flow.depth)
    return out
