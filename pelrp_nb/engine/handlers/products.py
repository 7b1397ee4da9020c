"""Products of several carriers: where relevance is shared; a rotation, a gate and a bare constant factor among them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ... import rules
from ...verbs import freeze, scale, share
from .. import heads
from ..context import Context
from ..positions import detection
from ..provenance import Note, carries, note_of, pick, write
from . import attention
from .chains import elementwise, elementwise_note, one_activation
from .linear import weighted
from .sums import add


def addmm(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """bias + x @ W, as GPT-2 writes a linear map."""
    bias, x, weight = (pick(args, kwargs, i, n) for i, n in enumerate(("input", "mat1", "mat2")))
    if kwargs.get("beta", 1) != 1 or kwargs.get("alpha", 1) != 1 or carries(weight) or carries(bias) or not carries(x):
        return add(flow, torch.add, (product(flow, torch.mm, (x, weight), {}), bias), {})

    def apply(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return torch.mm(x, w.T) if b is None else torch.addmm(b, x, w.T)

    return weighted(flow, x, weight.T, bias, apply, axis=-1)


def multiply(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
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
    leaf = detection.enters_by_product(flow, constant, carrier)
    if leaf is not None:
        flow.used("rotation", flow.composite.product)
        rule = flow.composite.product
        real = rule == rules.uniform and not (carrier.is_complex() or leaf.tensor.is_complex())
        note = note_of(flow, carrier)
        again = note.again if note is not None else None
        out = share(carrier, leaf.tensor, 1 / 2, again=again) if real else rule.forward(carrier, leaf.tensor, multiply=torch.mul)
        return write(out, Note(sinks=(*detection.sinks_of(flow, carrier), leaf)))
    out = func(a, b, **{k: v for k, v in kwargs.items() if k not in ("input", "other")})
    return elementwise_note(flow, func, (a, b), {}, out)


def product(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """matmul and its kin: 1/n to each of n carriers; one carrier gets all."""
    operands = [a for a in args if isinstance(a, Tensor)]
    operands += [kwargs[k] for k in ("input", "other", "mat2", "vec2", "tensor2") if isinstance(kwargs.get(k), Tensor)]
    flat = [x for a in args if isinstance(a, list | tuple) for x in a if isinstance(x, Tensor)]
    n = sum(map(carries, operands + flat))
    weighed = next((x for x in operands if (m := note_of(flow, x)) is not None and m.made == "softmax"), None)
    if len(operands) == 2 and not flat:
        if weighed is None:
            detection.take_roles(flow, operands)
        else:
            detection.take_roles(flow, [operands[1]], ("value",))
        if n == 1 and carries(operands[0]) and func in (torch.matmul, Tensor.matmul, torch.mm, Tensor.__matmul__):
            weight = operands[1]
            if weight.dim() == 2 and bends(flow, operands[0]) and not detection.relative_embeddings(flow, weight):
                return weighted(flow, operands[0], weight.T, None, lambda x, w, b: x @ w.T, axis=-1)
        if n == 1 and flow.composite.values != 1 and weighed is operands[0]:
            return of_attention(flow, operands, weighed, attention.values_only(flow, func(*args, **kwargs)))
    flow.used("product", flow.composite.product)
    constant = next((x for x in operands if not carries(x)), None) if n == 1 and len(operands) == 2 else None
    if constant is not None and detection.relative_embeddings(flow, constant):
        return detection.met_in_product(flow, scale(func(*args, **kwargs), 1 / 2))
    out = flow.composite.product.forward(multiply=partial(func, *args, **kwargs), n=n)
    if weighed is not None and flow.attentions and out.dim() > 2:
        heads.at_output(flow, flow.attentions[-1], out, 1 / n)
    of_attention(flow, operands, weighed, out)
    return write(out, Note(scores=True)) if n == 2 and weighed is None and out.dim() > 2 else out


def bends(flow: Context, x: Tensor) -> bool:
    """Whether a linear map of x has, or may have, more than its plain gradient."""
    choice = flow.linear_rule(x)
    return not (choice.known and choice.rule == rules.epsilon)


def of_attention(flow: Context, operands: list[Tensor], weighed: Tensor | None, out: Tensor) -> Tensor:
    """The same product, noted if it is one of attention: scores, or values with the weights that a softmax of scores has made."""
    note = None if weighed is None else note_of(flow, weighed)
    if weighed is None:
        if all(x.dim() > 2 for x in operands) or sum(map(carries, operands)) > 1:
            flow.projections.note(flow.projections.scores, out)
    elif note is not None and note.attends:
        flow.projections.feed(tuple(x for x in operands if x is not weighed), flow.began)
        flow.projections.attend(out, weighed.shape[1] if weighed.dim() == 4 else max(weighed.shape[0] // flow.account.rows, 1))
    return out


def baddbmm(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """added + a @ b: only the product is halved, which is one of queries and keys."""
    out = added_product(flow, func, args, kwargs)
    flow.projections.note(flow.projections.scores, out)
    return out


def added_product(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """What is added may be a bias of positions, so it is looked at before the sum."""
    added, a, b = (pick(args, kwargs, i, n) for i, n in enumerate(("input", "batch1", "batch2")))
    more = {k: v for k, v in kwargs.items() if k in ("beta", "alpha")}
    detection.take_roles(flow, [a, b])
    if carries(a) and carries(b):
        a, b = scale(a, 1 / 2), scale(b, 1 / 2)
    beta = more.get("beta", 1)
    if carries(added) or beta == 0:
        return func(added, a, b, **more)
    shape = (*a.shape[:-1], b.shape[-1])
    sink = detection.enters_scores(flow, added, shape) if isinstance(added, Tensor) and added.is_floating_point() else None
    if sink is not None:
        return func(sink, a, b, **more)
    out = func(added, a, b, **more)
    flow.account.constant(out, added * beta, flow.name_of(added, "added to scores"), flow.depth)
    return out


