"""Attention and every softmax: the one place where relevance is lost by rule, and where it is measured.

In a fused kernel the attention weights A are never seen.  Fast: what the softmax keeps is the difference of what is seen.
Audit: A is computed again in chunks of queries, R(A) = A * (g_o V^T) times its factor, and the softmax is measured as
everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError
from ...rules.attention import Factors, factors
from ...verbs import freeze, scale
from .. import heads, routes
from ..context import Context
from ..depth import Depth
from ..edges import Edges
from ..leaves import Attention
from ..numerics import better, dot, visible
from ..places.contractions import beside_itself
from ..places.follow import provenance_of
from ..places.products import scores_of
from ..positions import detection, permuting, relative
from ..positions.sinks import tap
from ..notes import Note, carries, pick, write
from ..saved import by_graph, held
from . import forms, weighing
from .fused_node import bent_kernel, on_its_node
from .weighing import CHUNK, attention_weights


def softmax(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """A softmax: the plain gradient, and what it keeps measured; or a constant."""
    x, dim = pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, "dim", -1)
    flow.used("softmax", flow.composite.softmax)
    detection.softmax_follows(flow, x, -1 if dim is None else dim)
    related = permuting.of_softmax(flow, relative.relative_scores(flow, x, -1 if dim is None else dim))
    taken = weighing.entered(flow, x)
    if related is not x:
        args, x = ((related, *args[1:]), related) if args else (args, related)
        kwargs = kwargs if args else {**kwargs, "input": related}
    attention = x.dim() >= 3
    met = None
    if attention:
        flow.saw_attention()
        met = heads.begin(flow)
    form = forms.Form("softmax", forms.kept(flow, x), dim=-1 if dim is None else dim)
    note = Note(made="softmax", attends=flow.projections.are_scores(x, flow.began), weights=taken, form=form)
    if note.attends:
        flow.projections.feed((x,), flow.began)
    routes.softmax(flow, met, x, -1 if dim is None else dim, note.attends)
    if flow.composite.softmax_is_constant:
        return write(func(freeze(x), *args[1:], **{k: v for k, v in kwargs.items() if k != "input"}), note)
    out = func(*args, **kwargs)
    name, layer = flow.softmax_name(attention), flow.depth
    detection.of_biases(flow, x, held(out))
    if flow.options.ledger:
        keep_softmax(flow, met, x, out, dim, (name, layer))
    return write(out, note)


def keep_softmax(flow: Context, met: Attention | None, x: Tensor, out: Tensor, dim: int, line: tuple[str, Depth]) -> None:
    """What a softmax keeps, R(A) - R(s), booked on its `line` of the ledger; and place by place where routes were asked for."""
    weights, scores, known = held(out), held(x), provenance_of(x)

    def keep(g: Tensor) -> None:
        A = better(weights())
        arrived = dot(A, g)
        into = arrived - A * arrived.sum(dim, keepdim=True)
        R = visible(scores(), into)
        through = flow.account.sums(R)
        routes.left(flow, met, known, arrived, R)
        flow.account.add("softmax", *line, flow.account.sums(arrived) - through)
        if met is not None:
            met.scores = through / flow.power

    out.register_hook(keep)


def logsumexp(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """log sum exp x = sum p x + entropy of p, p = softmax(x): the sum is paid by the plain gradient, the entropy is kept."""
    x, dim = pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, "dim")
    flow.used("softmax", flow.composite.softmax)
    if flow.composite.softmax_is_constant:
        return noted(flow, func(freeze(x), *args[1:], **{k: v for k, v in kwargs.items() if k != "input"}), x, dim)
    out = func(*args, **kwargs)
    name, layer, y, s = f"{flow.where_am_i()} logsumexp", flow.depth, held(out), held(x)

    def keep(g: Tensor) -> None:
        lifted = g if pick(args, kwargs, 2, "keepdim", False) else g.unsqueeze(dim)
        scores = s()
        kept = flow.account.sums(dot(y(), g)) - flow.account.sums(visible(scores, better(scores).softmax(dim) * lifted))
        flow.account.add("softmax", name, layer, kept)

    if flow.options.ledger:
        out.register_hook(keep)
    return noted(flow, out, x, dim)


def noted(flow: Context, out: Tensor, x: Tensor, dim: Any) -> Tensor:
    """A logsumexp over one axis remembers of what it is one."""
    return forms.be(flow, out, forms.Form("logsumexp", forms.kept(flow, x), dim=dim)) if isinstance(dim, int) else out


def fused_attention(flow: Context, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """scaled_dot_product_attention behind its factors; the kernel, and so the output, is the model's own."""
    q, k, v = args[:3] if len(args) > 2 else (pick(args, kwargs, i, n) for i, n in enumerate(("query", "key", "value")))
    mask, causal = pick(args, kwargs, 3, "attn_mask"), pick(args, kwargs, 5, "is_causal", False)
    more = {n: kwargs[n] for n in ("scale", "enable_gqa") if n in kwargs}
    refuse_dropout(flow, pick(args, kwargs, 4, "dropout_p", 0.0))
    flow.saw_attention()
    flow.used("attention", flow.composite.softmax)
    detection.take_roles(flow, [q, k])
    detection.take_roles(flow, [v], ("value",))
    flow.projections.feed((q, k, v), flow.began)
    given, entered = mask, len(flow.inputs.entered)
    mask = added_to_scores(flow, mask, q, k)
    bias = next((leaf for leaf in flow.inputs.entered[entered:] if leaf.part == "score" and leaf.constant is not None), None)
    constant = flow.composite.softmax_is_constant
    for leaf in () if constant else filter(None, (bias, *detection.awaiting(flow, mask))):
        leaf.weights = by_graph(mask, weighing.weights_of(held(q), held(k), held(given), causal, more))
    f = Factors(0, 0, flow.composite.values, 0) if constant else factors(*map(carries, (q, k, v, mask)))

    def kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return func(q, k, v, attn_mask=mask, dropout_p=0.0, is_causal=causal, **more)

    if (out := permuting.of_kernel(flow, (q, k, given), v, bias, {"causal": causal, "scale": more.get("scale")})) is not None:
        return out
    edges = routes.of_kernel(flow, met := heads.begin(flow), q, k, v)
    out = weighing.fused(flow, kernel, (q, k, v, given), bias, causal, more, edges) if constant and carries(v) else None
    scored, bent, own = not constant and any(map(carries, (q, k, mask))), [None] * 4, False
    if out is None:
        how = None if constant or carries(mask) or listened(flow, edges) else (causal, *more.items())
        out, bent, own = bent_kernel(kernel, (q, k, v, mask), f, how)
        weighing.heard(flow, None if scored else edges, out, (q, k, v, given), f.v, causal, more)
    flow.projections.attend(out, q.shape[1] if q.dim() == 4 else 1)
    listen(flow, met, out, (q, k, mask), bent, f)
    if own:
        on_its_node(flow, out, (q, k), f)
    elif flow.options.ledger and carries(out) and scored:
        measured(flow, out, bent, (q, k, v, mask), f, causal, more, edges)
    elif flow.options.ledger and carries(out) and constant and f.v != 1:
        book_lost(flow, out, 1 - f.v)
    return out


def refuse_dropout(flow: Context, p: float) -> None:
    """Raise ModelError where a kernel would drop weights by chance."""
    if p > 0:
        raise ModelError(f"The attention dropout in {flow.place} is active (p = {p}). Type model.eval().")


def listened(flow: Context, edges: Edges | None) -> bool:
    """Whether somebody wants to know more of a fused kernel than what comes to it and what it hands on."""
    return edges is not None or flow.options.audit or "heads" in flow.options.detail


def measured(
    flow: Context, out: Tensor, bent: list, given: tuple, f: Factors, causal: bool, more: dict, edges: Edges | None
) -> None:  # fmt: skip
    """What the softmax of a fused kernel keeps: audited if that is wanted, or routes are, else by difference."""
    share = 1 - f.v if carries(given[2]) else 1.0
    if flow.options.audit or edges is not None:
        audited(flow, out, given, share, causal, more, edges)
    else:
        by_difference(flow, out, bent, given, f, share)


def listen(flow: Context, met: Attention | None, out: Tensor, given: tuple, bent: list, f: Factors) -> None:
    """Heads, values and scores of a fused kernel, if they were asked for."""
    if met is None or "heads" not in flow.options.detail:
        return
    heads.at_output(flow, met, out, f.v, heads.of_kernel(given[0]))
    for x, fresh, factor in zip(given, (bent[0], bent[1], bent[3]), (f.q, f.k, f.bias), strict=True):
        if carries(fresh):
            fresh.register_hook(heads.to_scores(flow, met, x, factor))


def added_to_scores(flow: Context, mask: Tensor | None, q: Tensor, k: Tensor) -> Tensor | None:
    """A float mask of a fused kernel: a sink if it is a bias of positions, a constant by name if it is another, else as it is."""
    if mask is None or not mask.is_floating_point():
        return mask
    scores = scores_of(q, k)
    flow.places.mix(beside_itself(scores.maps))
    if carries(mask):
        out = relative.relative_to(flow, scores, mask, (*q.shape[:-1], k.shape[-2]))
        detection.softmax_follows(flow, out, -1)
        return out
    sink = detection.added_to_scores(flow, mask, scores, (*q.shape[:-1], k.shape[-2]), waits=False)
    if sink is not None or flow.values.hides(mask):
        return mask if sink is None else sink
    return constant_tap(flow, mask.expand(*q.shape[:-1], k.shape[-2]), flow.name_of(mask, "added to scores"), flow.depth)


def constant_tap(flow: Context, constant: Tensor, name: str, depth: Depth) -> Tensor:
    """A constant inside a fused kernel, its share booked by name."""
    value = held(constant)
    return tap(flow, constant, lambda g: flow.account.add("constants", name, depth, flow.account.sums(visible(value(), g))))


def values_only(flow: Context, out: Tensor) -> Tensor:
    """Constant weights times values, of which the composite passes on a part only."""
    out = scale(out, flow.composite.values)
    book_lost(flow, out, 1 - flow.composite.values)
    return out


def book_lost(flow: Context, out: Tensor, lost: float) -> None:
    """The part of attention that a composite drops (the authors' image recipe): it stays with the weights."""
    flow.account.hear("softmax", flow.softmax_name(True), flow.depth, out, held(out), lost)


def by_difference(flow: Context, out: Tensor, bent: list, given: tuple, f: Factors, share: float) -> None:
    """Fast: share of R(output) - R(q) - R(k) - R(bias). It balances by construction."""
    name, layer = flow.softmax_name(True), flow.depth
    flow.audited = False
    flow.account.hear("softmax", name, layer, out, held(out), share)
    for fresh, x, factor in ((bent[0], given[0], f.q), (bent[1], given[1], f.k), (bent[3], given[3], f.bias)):
        if x is not None and carries(x):
            flow.account.hear("softmax", name, layer, fresh, held(x), -factor)


def audited(flow: Context, out: Tensor, given: tuple, share: float, causal: bool, more: dict, edges: Edges | None) -> None:
    """Audit: the weights once more, in chunks of queries; what the softmax keeps, measured, and the edges, if they were asked for."""
    inputs = [None if x is None else held(x) for x in given]
    name, layer = flow.softmax_name(True), flow.depth

    def keep(g: Tensor) -> None:
        q, k, v, mask = (None if x is None else x() for x in inputs)
        total: Tensor | None = None
        for first in range(0, q.shape[-2], CHUNK):
            rows = slice(first, first + CHUNK)
            A, s = attention_weights((q, k, mask), rows, causal, more)
            values = v if v.dim() < 4 or v.shape[1] == A.shape[1] else v.repeat_interleave(A.shape[1] // v.shape[1], 1)
            g_A = share * torch.matmul(better(g[..., rows, :]), better(values).transpose(-1, -2))
            arrived = A * g_A
            into = arrived - A * arrived.sum(-1, keepdim=True)
            through = visible(s, into)
            kept = flow.account.sums(arrived) - flow.account.sums(through)
            if edges is not None:
                added = weighing.added(mask, rows, q, s)
                routes.chunk(flow, edges, arrived, through, None if added is None else added * into, share)
            total = kept if total is None else total + kept
        if total is not None:
            flow.account.add("softmax", name, layer, total)

    out.register_hook(keep)
