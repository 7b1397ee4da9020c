"""Residual sums: a block's stream and a branch of it; what the branch contributed is a boundary, and where routes were asked for, the
sum a node of theirs."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .. import rules
from . import routes
from .backward import conditional
from .boundaries import at_places
from .forward_pass import ForwardPass
from .notes import Note, note_of, write
from .numerics import finer
from .places.follow import provenance_of
from .places.provenance import Provenance
from .saved import held


def residual(flow: ForwardPass, a: Tensor, b: Tensor, add: Callable, plain: bool) -> Tensor:
    """a + b of two carriers; the block's stream and a branch of it, or just a sum."""
    block = flow.blocks[-1] if flow.blocks else None
    streams = [block is not None and (n := note_of(flow, x)) is not None and n.stream is block for x in (a, b)]
    if block is None or not any(streams) or a.shape != b.shape or not plain:
        return add(a, b)
    flow.used("residual", flow.composite.residual)
    alike = flow.composite.residual == rules.residual
    known = provenance_of(a if streams[0] else b)
    if alike:
        out = add(a, b)
    else:  # each is paid by a gradient of its own, heard where nothing else is
        a, b = a.view(a.shape), b.view(b.shape)
        out = flow.composite.residual.forward(a, b)
    stream, branch = (a, b) if streams[0] else (b, a)
    name = flow.recorder.branch("attention" if block.attention else "mlp", block.layer, branch, out if alike else branch)
    node = None if flow.routes is None else routes.node(flow, name, flow.where_am_i())
    if node is not None:
        for part, x, at in (("relevance", out, out), ("skip", stream, stream), ("branch", branch, branch)):
            listen(flow, node, part, x, out if alike else at, known)
    block.attention, out = False, conditional.summed(flow, name, out, known)
    flow.projections.note(flow.projections.sums, out)
    return write(out, Note(stream=block))


def listen(flow: ForwardPass, node: routes.Node, part: str, x: Tensor, at: Tensor, known: Provenance | None) -> None:
    """Relevance of x, by place, when the gradient of `at` arrives."""
    value = held(x)
    at.register_hook(lambda g: setattr(node, part, at_places(flow, known, value(), finer(g, flow.power)).detach()))
