"""Values times attention weights that are constants, where it is told what positions did to the weights.

On the way back the scores are made again without positions.  Under delta attention the values are paid by the weights that these
have, and a sink gets what positions changed of the weights; `flow.worth`, where there is one, is told of the attention.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ... import rules
from ...errors import ModelError
from .. import routes
from ..arguments import Met
from ..context import Context
from ..edges import Edges
from ..leaves import Leaf
from ..notes import ATTRIBUTE, Note, carries, write
from ..numerics import anywhere, better, finer, spread
from ..places.arguments import tensors
from ..places.follow import SHAPE_OF_OTHER, provenance_of
from ..places.maps import words
from ..places.products import scores_of
from ..places.provenance import Provenance
from ..positions import sinks
from ..positions.judging import dismiss
from ..positions.neutral import without_positions
from ..replay import Chain
from ..saved import held
from . import forms

SCALES = words("mul __mul__ __rmul__ div __truediv__")
HIDES = -1e30  # what is added to a score that nobody is to see
CHUNK = 256  # queries whose attention weights are computed at a time
Kept = Callable[[], Tensor]
Walk = Callable[[Tensor, Tensor], Tensor]  # (values, gradient of the output) -> gradient of the values


class _Weigh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, v: Tensor, out: Callable[[Tensor], Tensor], walk: Walk) -> Tensor:
        ctx.save_for_backward(v)
        ctx.walk = walk
        return out(v)

    @staticmethod
    def backward(ctx, g: Tensor):
        (v,) = ctx.saved_tensors
        return ctx.walk(v, g).to(v.dtype), None, None


def told(flow: Context) -> bool:
    """Whether it is asked here what positions did to attention weights."""
    return flow.composite.softmax == rules.delta or flow.worth is not None


def entered(flow: Context, scores: Tensor) -> tuple[Leaf, ...]:
    """Where positions entered the scores of a softmax, if it is asked here what they did to its weights."""
    return tuple(Chain([scores]).entries) if told(flow) and flow.taped else ()


def watched(flow: Context, name: str, met: Met, made: Any, before: int) -> None:
    """Follow weights that are constants through one call: what is computed from them, and where they meet what carries.

    made: what the call made; before: how many uses were followed when it began.  A use that is followed neither by `product` nor by a
    call inside this one raises ModelError on the way back, if the value depends on it and positions entered the scores.
    """
    if name.startswith("new_") or name.endswith("_like"):  # of the same shape, and no more
        return
    given = tensors(met.args[:1], {}) if name in SHAPE_OF_OTHER else tensors(met.args, met.kwargs)
    notes = [x.__dict__.get(ATTRIBUTE) for x in given if not carries(x)]
    leaves = tuple(dict.fromkeys(leaf for note in notes if note is not None for leaf in note.weights))
    if not leaves:
        return
    whole = notes[0] if given and is_weights(name, met.args) else None
    for x in made if isinstance(made, tuple | list) else (made,):
        if isinstance(x, Tensor) and carries(x) and flow.weighed == before:
            x.register_hook(unfollowed(flow, name, leaves))
        elif isinstance(x, Tensor) and not carries(x) and (x.is_floating_point() or x.is_complex()):
            note = replace(x.__dict__.get(ATTRIBUTE) or Note(), weights=leaves)
            write(x, note if whole is None else replace(note, made=whole.made, attends=whole.attends))
    flow.weighed = before + 1


def is_weights(name: str, args: tuple) -> bool:
    """Whether a call makes other weights of weights, row by row: the last keys left away (a learned sink), or a number as a factor."""
    if len(args) != 2:
        return False
    if name == "__getitem__":
        return isinstance(args[1], tuple) and len(args[1]) == 2 and args[1][0] is Ellipsis and isinstance(args[1][1], slice)
    return name in SCALES and isinstance(args[0], Tensor) and isinstance(args[1], int | float)


def unfollowed(flow: Context, name: str, leaves: tuple[Leaf, ...]) -> Callable[[Tensor], None]:
    """What is said on the way back where weights were used in a way that is not followed."""
    place = flow.place

    def hear(g: Tensor) -> None:
        if any(leaf.taken for leaf in leaves) and bool(g.any()):
            raise ModelError(
                f"`{place}` uses attention weights in `{name}`, where what positions changed of them is not followed. Write it as "
                "weights @ values, the weights as softmax made them, or type explain(model, ..., composite=pelrp_nb.PA_LRP)."
            )

    return hear


def replayed(flow: Context, given: list[Tensor], biases: list[tuple[int, Leaf]]) -> Chain | None:
    """The chain behind queries, keys and masks, or behind weights; None where no position enters it.

    biases: (which of `given`, its leaf) of what is a position itself.  Raises ModelError if doing it again gives something else.
    """
    dismiss(flow)
    chain = Chain(given)
    for i, leaf in biases:
        chain.positions[chain.results[i]] = leaf
        chain.entries.append(leaf)
    if not chain.entries:
        return None
    for leaf in chain.entries:
        leaf.reaches = True
    with torch.no_grad():
        replays = chain.run()
    for x, again in zip(given, replays, strict=True):
        if not torch.allclose(x.detach(), again, rtol=1e-3, atol=1e-5, equal_nan=True):
            raise ModelError(
                f"What `{flow.place}` does between its positions and its softmax gives something else when it is done again; it writes "
                "into tensors that it has used before. Type composite=PA_LRP, or CP_LRP."
            )
    return chain


def sink(flow: Context, chain: Chain, known: Provenance, shape: tuple[int, ...]) -> Leaf:
    """What receives what positions changed of the weights; a position if one of those behind it turns out to be one."""
    leaf = sinks.sink(flow, None, "weights", known, shape, None)
    leaf.behind, leaf.pairs = tuple(chain.entries), 1
    return leaf


def product(flow: Context, func: Callable, args: tuple, kwargs: dict, weights: Tensor, v: Tensor) -> Tensor | None:
    """Weights that a softmax made, times values; None where no position entered their scores."""
    chain = replayed(flow, [weights], []) if told(flow) and weights.dim() > 2 else None
    if chain is None:
        return None
    flow.weighed += 1
    delta = flow.composite.softmax == rules.delta
    leaf = sink(flow, chain, provenance_of(weights), tuple(weights.shape)) if delta else None

    put = forms.put(func, args, kwargs, weights, v)
    here, known = flow.where_am_i(), provenance_of(weights)
    edges = flow.attentions[-1].edges if flow.attentions else None
    if edges is not None:
        routes.begun(flow, edges, v)

    def walk(values: Tensor, g: Tensor) -> Tensor:
        inputs = chain.taken()
        (A,) = chain.run(inputs)
        moved = leaf is not None and leaf.taken
        still = better(without_positions(chain, inputs)[0] if moved else A).detach().requires_grad_()
        u = better(values).detach().requires_grad_()
        with torch.enable_grad():
            into, paid = torch.autograd.grad(put(still, u), (still, u), better(g))
        R = changed(better(A), still.detach(), into) if moved else None
        if R is not None:
            sinks.book(flow, leaf, finer(R, flow.power), "as paid")
        if edges is not None:
            routes.paid(flow, edges, still.detach() * into, R, known)
        if flow.worth is not None:
            flow.worth.eager(flow, chain, inputs, finer(into, flow.power), here)
        return paid

    return _Weigh.apply(v, lambda x: put(weights.detach(), x), walk)


def fused(
    flow: Context, kernel: Callable, given: tuple, bias: Leaf | None, causal: bool, more: dict, edges: Edges | None
) -> Tensor | None:  # fmt: skip
    """A fused kernel of (q, k, v, mask), of which the mask may be a `bias` of positions; None where no position enters its scores."""
    q, k, v, mask = given
    operands = [q, k] if mask is None else [q, k, mask]
    chain = replayed(flow, operands, [] if bias is None else [(2, bias)]) if told(flow) else None
    if chain is None:
        return None
    delta = flow.composite.softmax == rules.delta
    leaf = sink(flow, chain, scores_of(q, k), (*q.shape[:-1], k.shape[-2])) if delta else None

    here = flow.where_am_i()

    def walk(values: Tensor, g: Tensor) -> Tensor:
        inputs = chain.taken()
        seen, moved = chain.run(inputs), leaf is not None and leaf.taken
        if flow.worth is not None:
            flow.worth.fused(flow, chain, inputs, by_key(better(g), better(values)) / flow.power, here, causal, more)
        still = without_positions(chain, inputs) if moved else seen
        paid, pieces = in_chunks(seen, still, better(values), better(g), causal, more, edges is not None)
        changes = [changed(*piece) if moved else None for piece in pieces]
        for (_, still_A, into), R in zip(pieces, changes, strict=True) if edges is not None else ():
            routes.paid(flow, edges, still_A * into, R, None)
        if leaf is not None and moved:
            apart = "heads" in flow.options.detail
            pairs = [x if apart or x.dim() < 4 else x.sum(-3, keepdim=True) for x in changes if x is not None]
            sinks.book(flow, leaf, finer(torch.cat(pairs, -2), flow.power), "as paid")
        return paid

    return _Weigh.apply(v, lambda x: kernel(q.detach(), k.detach(), x, None if mask is None else mask.detach()), walk)


def in_chunks(
    seen: list[Tensor], still: list[Tensor], values: Tensor, g: Tensor, causal: bool, more: dict, told: bool
) -> tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]]]:  # fmt: skip
    """What the values are paid by the weights that `still` gives, and (A, A0, g v) of some queries at a time, where that is `told`."""
    paid: Tensor | None = None
    pieces = []
    for first in range(0, g.shape[-2], CHUNK):
        rows = slice(first, first + CHUNK)
        A = attention_weights(seen, rows, causal, more)[0]
        still_A = A if still is seen else attention_weights(still, rows, causal, more)[0]
        part = still_A.transpose(-1, -2) @ g[..., rows, :]
        paid = part if paid is None else paid + part
        if told or still is not seen:
            pieces.append((A, still_A, by_key(g[..., rows, :], values)))
    assert paid is not None
    return (paid.unflatten(-3, (values.shape[-3], -1)).sum(-3) if paid.dim() > 3 else paid), pieces


def heard(flow: Context, edges: Edges | None, out: Tensor, given: tuple, part: float, causal: bool, more: dict) -> None:
    """The edges of a fused kernel of (q, k, v, mask) whose weights are constants; values are paid `part`."""
    if edges is None or not out.requires_grad:
        return
    inputs = [None if x is None else held(x) for x in given]

    def hear(g: Tensor) -> None:
        q, k, v, mask = (None if x is None else x() for x in inputs)
        for first in range(0, q.shape[-2], CHUNK):
            rows = slice(first, first + CHUNK)
            A, _ = attention_weights((q, k, mask), rows, causal, more)
            routes.paid(flow, edges, A * by_key(better(g[..., rows, :]), better(v)), None, None, part)

    out.register_hook(hear)


def added(mask: Tensor | None, rows: slice, q: Tensor, scores: Tensor) -> Tensor | None:
    """Of the scores of some queries of a kernel what was added to them, 0 where it hides; None where nothing was."""
    if mask is None or mask.dtype == torch.bool:
        return None
    part = better(mask[..., rows, :] if mask.dim() >= 2 and mask.shape[-2] == q.shape[-2] else mask)
    return torch.where(scores == 0, 0, torch.where(part < HIDES, 0, part))


def by_key(g: Tensor, values: Tensor) -> Tensor:
    """g_o v_j for each pair, where several query heads may share the values of one."""
    if g.dim() > 3 and g.shape[-3] != values.shape[-3]:
        values = values.repeat_interleave(g.shape[-3] // values.shape[-3], -3)
    return g @ values.transpose(-1, -2)


def changed(A: Tensor, still: Tensor, into: Tensor) -> Tensor:
    """What each pair (..., Tq, Tk) is paid for (A - A0): how far the value stands out of the mean of A0, times what came back to it.

    into: g_o v_j for each pair.  Where rows do not sum to one alike (a learned sink beside the keys), the mean goes by A0.
    """
    mean = (still * into).sum(-1, keepdim=True)
    moved = A - still
    rest = moved.sum(-1, keepdim=True) / still.sum(-1, keepdim=True).clamp(min=torch.finfo(still.dtype).tiny)
    return moved * (into - mean) + still * rest * mean


def weights_of(q: Kept, k: Kept, mask: Kept, causal: bool, more: dict) -> Kept:
    """Attention weights (..., Tq, Tk) of a fused kernel, when they are asked for."""
    return lambda: attention_weights((q(), k(), mask()), slice(None), causal, more)[0]


def attention_weights(given: Sequence[Tensor | None], rows: slice, causal: bool, more: dict) -> tuple[Tensor, Tensor]:
    """Attention weights and scores (B, H, chunk, S) of some queries, of (queries, keys) or (queries, keys, mask); masked scores are 0."""
    q, k, mask = given[0], given[1], given[2] if len(given) > 2 else None
    assert q is not None and k is not None
    if q.dim() == 4 and q.shape[1] != k.shape[1]:
        k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    by = more.get("scale")
    s = torch.matmul(better(q[..., rows, :]) * (q.shape[-1] ** -0.5 if by is None else by), better(k).transpose(-1, -2))
    hidden: Tensor | None = None
    if causal:
        hidden = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=s.device).triu(1)[rows]
    if mask is not None:
        part = mask[..., rows, :] if mask.dim() >= 2 and mask.shape[-2] == q.shape[-2] else mask
        if (shape := spread(s, part)) != s.shape:  # a mask may have more rows than its queries
            s = s.expand(shape).clone()
        away = ~part if part.dtype == torch.bool else s.add_(better(part)) < HIDES
        hidden = away if hidden is None else hidden | away
    if hidden is None or not anywhere(hidden):
        return s.softmax(-1), s
    A = s.masked_fill_(hidden, -torch.inf).softmax(-1).nan_to_num_(0.0)
    return A, s.masked_fill_(hidden, 0)
