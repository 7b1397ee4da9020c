"""Which way relevance goes through attention: what each head at each place hands to other places; heard on demand.

    out_i  =  sum_j values_ij  +  sum_j scores_ij  +  positions_i  +  kept_i        for every head, at every place i

    values_ij   f A_ij (g_i . v_j): what place j is paid for its value (f: the part that goes to values)
    scores_ij   (q_i . k_j) times its gradient: half is the query's, at i, half the key's, at j, where both carry
    positions_i what else arrived at the scores: biases and relative embeddings; what positions changed of the weights (delta attention)
    kept_i      what the softmax keeps

Places are those of the axes; several windows of one attention are put where they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
import torch
from torch import Tensor

from .. import rules
from ..errors import InputError, ModelError
from .context import Context
from .edges import Edges, Node, Product
from .leaves import Attention
from .numerics import better, dot, finer
from .places.follow import provenance_of
from .places.maps import PlaceMap, padded
from .places.products import scores_of
from .places.provenance import Provenance
from .saved import held


def begin(flow: Context) -> Edges | None:
    """Edges of an attention that was met; None unless "routes" was asked for."""
    if "routes" not in flow.options.detail:
        return None
    if flow.composite.product != rules.uniform:
        raise InputError(
            f"Routes need products shared by rules.uniform, and this composite has {flow.composite.product!r}. Type composite=PA_LRP."
        )
    return Edges(flow.options.routes_top)


def node(flow: Context, name: str, inside: str) -> Node | None:
    """A residual sum; the attentions of this layer, `inside`, that were met since the last one are in its branch."""
    met = flow.routes
    if met is None:
        return None
    mine = [a.name for a in flow.attentions[met.linked :] if a.name == inside or a.name.startswith(f"{inside} ")]
    met.linked = len(flow.attentions)
    met.nodes.append(Node(name, flow.streams.current, tuple(mine)))
    return met.nodes[-1]


# --- products and a softmax that the model calls itself ---------------------------------------------------------------


def of_two(flow: Context, out: Tensor, again: Callable[..., Tensor], operands: Sequence[Tensor]) -> None:
    """A product that may be one of queries and keys: if a softmax of it follows, what arrives there is heard."""
    if flow.routes is None or out.grad_fn is None or not all(of_input(x) for x in operands):
        return
    met = flow.routes.products[out.grad_fn._sequence_nr()] = Product()
    kept = [held(x) for x in operands]

    def hear(g: Tensor) -> None:
        if met.edges is None:
            return
        with torch.no_grad():
            value = again(*(x() for x in kept))
        R, alike = dot(value, finer(g, flow.power)), value.dim() == met.dims
        met.edges.through_scores(by_pairs(flow, R, met.known if alike else None, met.keys_axis if alike else -1))

    out.register_hook(hear)


def of_input(x: Tensor) -> bool:
    """Whether a tensor depends on the values of an input."""
    known = provenance_of(x)
    return known is not None and known.content


def softmax(flow: Context, met: Attention | None, x: Tensor, dim: int, attends: bool) -> None:
    """A softmax of scores: its products of queries and keys are found behind it."""
    scored = x.requires_grad and not flow.composite.softmax_is_constant
    if met is None or met.edges is None or flow.routes is None:
        return
    edges = met.edges
    edges.scored, edges.feeds, edges.axis = scored, attends, dim - x.dim() if dim >= 0 else dim
    for number in flow.projections.scores_behind(x, flow.began) if scored else ():
        product = flow.routes.products.get(number)
        if product is not None:
            product.edges, product.dims, product.known, product.keys_axis = edges, x.dim(), provenance_of(x), edges.axis
            edges.key = edges.query = 0.5


def left(flow: Context, met: Attention | None, known: Provenance | None, arrived: Tensor, through: Tensor) -> None:
    """What arrived at the weights, and what goes on through scores, entry by entry, as a softmax is measured."""
    if met is not None and met.edges is not None:
        arrived, through = (by_pairs(flow, finer(R, flow.power), known, met.edges.axis) for R in (arrived, through))
        met.edges.left(through.sum(-1), (arrived - through).sum(-1))


def values(flow: Context, met: Attention, out: Tensor, weights: Tensor, v: Tensor, put: Callable[..., Tensor], part: float) -> None:
    """Weights times values, `put(weights, values)`, of whose relevance `part` is the values'."""
    edges = met.edges
    if edges is None or not out.requires_grad:
        return
    begun(flow, edges, v)
    edges.pairs, edges.many = weights.numel(), weights.shape[edges.axis]
    A, u, known, axis = held(weights), held(v), provenance_of(weights), edges.axis
    carries, constant = v.requires_grad, not weights.requires_grad

    def hear(g: Tensor) -> None:
        a = better(A()).detach().requires_grad_()
        with torch.enable_grad():
            (into,) = torch.autograd.grad(put(a, better(u())), a, finer(g, flow.power))
        R = by_pairs(flow, a.detach() * into, known, axis)
        edges.out = R.sum(-1) if edges.out is None else edges.out + R.sum(-1)
        if carries:
            edges.through_values(R if part == 1 else part * R)
        if constant and part != 1:
            edges.left(torch.zeros_like(R[..., 0]), (1 - part) * R.sum(-1))

    out.register_hook(hear)


def begun(flow: Context, edges: Edges, v: Tensor) -> None:
    """Weights meet values: whose places these are."""
    edges.used = True
    edges.keys = flow.streams.reads(v) or flow.streams.current


# --- fused kernels ----------------------------------------------------------------------------------------------------


def of_kernel(flow: Context, met: Attention | None, q: Tensor, k: Tensor, v: Tensor) -> Edges | None:
    """A fused kernel: whose keys these are, and how queries and keys share what comes through scores."""
    edges = None if met is None else met.edges
    if edges is None:
        return None
    begun(flow, edges, v)
    edges.known = scores_of(q, k)
    edges.pairs, edges.many = q.shape[:-1].numel() * k.shape[-2], k.shape[-2]
    both = q.requires_grad + k.requires_grad
    if both and not flow.composite.softmax_is_constant:
        edges.query, edges.key = q.requires_grad / both, k.requires_grad / both
    return edges


def chunk(flow: Context, edges: Edges, arrived: Tensor, through: Tensor, added: Tensor | None, share: float) -> None:
    """Some queries of a kernel, (..., q, Tk): what arrived at their weights, `share` of what came; what of it goes on through scores, and
    how much of that is what was `added` to them."""
    own = through if added is None else through - added
    if not (edges.key or edges.query):
        own = torch.zeros_like(through)
    arrived, through, own = (by_pairs(flow, finer(R, flow.power), edges.known, -1) for R in (arrived, through, own))
    edges.arrive(arrived.sum(-1) / share)
    edges.left(through.sum(-1), (arrived - through).sum(-1))
    edges.take({"values": arrived if share == 0.5 else (1 / share - 1) * arrived, "scores": own})


def paid(flow: Context, edges: Edges, R: Tensor, moved: Tensor | None, known: Provenance | None, part: float = 1.0) -> None:
    """Some queries of weights that are constants, (..., q, Tk): what came, of which values are paid `part`; `moved`: what positions are
    paid for having changed the weights."""
    known = known or edges.known
    R = by_pairs(flow, finer(R, flow.power), known, edges.axis)
    rows = R.sum(-1)
    if moved is not None:
        changed = by_pairs(flow, finer(moved, flow.power), known, edges.axis).sum(-1)
        edges.paid = changed if edges.paid is None else torch.cat([edges.paid, changed], -1)
        rows = rows + changed
    edges.arrive(rows)
    if part != 1:
        edges.left(torch.zeros_like(rows), (1 - part) * rows)
    edges.take({"values": R if part == 1 else part * R})


# --- where entries lie ------------------------------------------------------------------------------------------------


def by_pairs(flow: Context, R: Tensor, known: Provenance | None, axis: int) -> Tensor:
    """(rows, H, Tq, Tk) of relevance of pairs, the keys along `axis`, the queries along the axis where places differ else the next."""
    axis %= R.dim()
    queries = axes_of(flow, known, R.dim()) - {axis}
    at = queries.pop() if len(queries) == 1 else axis - 1 if axis else 1
    maps = [] if known is None else [padded(m, R.dim()) for m in known.maps]
    return by_rows(flow, R, [(m, m.axes[0]) for m in maps if len(m.axes) == 1], (at, axis))


def by_rows(flow: Context, R: Tensor, maps: Iterable[tuple[PlaceMap, int]], last: tuple[int, int]) -> Tensor:
    """(rows, H, .., ..) with two axes `last`: what is of one row of the batch comes together, whether heads lie before rows or behind.

    maps: each with the one axis that it is along; where none is of the batch, rows lie in front
    """
    found = next(((m, axis) for m, axis in maps if flow.places.is_batch(m.key)), None) if flow.account.rows > 1 else None
    if found is None:
        R = R.movedim(last, (-2, -1))
    else:
        one, axis = found
        R, cells = R.movedim((axis, *last), (0, -2, -1)), one.cells.flatten()
        if bool((cells.diff() < 0).any()):  # merged with heads that stand before it
            R = R.index_select(0, cells.argsort(stable=True).to(R.device))
    return R.reshape(flow.account.rows, -1, *R.shape[-2:])


def axes_of(flow: Context, known: Provenance | None, dims: int) -> set[int]:
    """Axes along which places of an input differ."""
    moving = [] if known is None else known.moving()
    return {a for m in moving if not flow.places.is_batch(m.key) for a in padded(m, dims).axes}


# --- what was found ---------------------------------------------------------------------------------------------------


def check(flow: Context) -> None:
    """Raise InputError where routes were asked for and no attention was met, ModelError where one hides its products."""
    if flow.routes is None:
        return
    met = [(a.name, a.edges) for a in flow.attentions if a.edges is not None]
    hidden = next((name for name, edges in met if edges.feeds and not edges.used), None)
    if hidden is not None:
        raise ModelError(
            f"The attention in {hidden} does not multiply its weights with values in one product, so which place handed what to which "
            "cannot be seen. Write it as torch.matmul(weights, values), or leave the routes out: Options()."
        )
    if not any(edges.used for _, edges in met):
        raise InputError(f"Routes lead through attention, and {type(flow.model).__name__} has none. Leave them out: type Options().")


def detail(flow: Context, stream: str) -> dict[str, dict[str, Any]]:
    """What one stream's places handed on: {"attention": by name what `Edges.found` gives, "nodes": by name the parts of each residual
    sum, (B, T)}."""
    found = {
        a.name: {**edges, "of": edges["of"] or stream}
        for a in flow.attentions
        if a.stream == stream and a.edges is not None and (edges := a.edges.found())
    }
    nodes = {}
    for one in flow.routes.nodes if flow.routes is not None else ():
        if one.stream == stream and one.relevance is not None and one.skip is not None and one.branch is not None:
            parts = {"relevance": one.relevance.cpu(), "skip": one.skip.cpu(), "branch": one.branch.cpu()}
            nodes[one.name] = {**parts, "attentions": [name for name in one.attentions if name in found]}
    return {"attention": found, "nodes": nodes}
