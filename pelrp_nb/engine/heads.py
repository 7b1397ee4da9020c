"""Relevance of each attention head, and how much of it went on through values and how much through scores; heard on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from . import routes
from .context import Context
from .leaves import Attention
from .numerics import dot, finer
from .places.follow import provenance_of
from .places.maps import Axis, PlaceMap, padded
from .places.provenance import Provenance
from .routes import axes_of, by_rows
from .saved import held

OTHER = 7919  # a length that no axis has by chance


def begin(flow: Context) -> Attention | None:
    """An attention was met; None unless "heads" or "routes" was asked for."""
    if not flow.options.detail & {"heads", "routes"}:
        return None
    taken = {a.name for a in flow.attentions}
    name = flow.where_am_i()
    found = Attention(name if name not in taken else f"{name} {flow.place}", flow.streams.current, edges=routes.begin(flow))
    flow.attentions.append(found)
    return found


@dataclass(frozen=True)
class Layout:
    """Which axes of an attention's output hold features and places: those of (B, H, T, d), or (B H, T, d), if nothing else is said.

    places:  axes that may hold places of the queries, each with that of the weights which it comes from
    weights: what is known of the weights' axes, of how many
    rows:    axes that may hold rows of the batch, each with its map
    """

    features: int = -1
    places: tuple[tuple[int, int], ...] = ((-2, -2),)
    weights: tuple[Provenance | None, int] = (None, 4)
    rows: tuple[tuple[PlaceMap, int], ...] = ()

    def place(self, flow: Context) -> int:
        """The axis of the places."""
        known = axes_of(flow, *self.weights)
        return next((axis for axis, own in self.places if own in known), self.places[0][0])


def layout(operands: Sequence[Tensor], weights: Tensor, out: Tensor, again: Callable[..., Tensor]) -> Layout:
    """How the output of weights times values lies: the product is done `again`, without values, with one axis of another length."""
    which = next(i for i, x in enumerate(operands) if x is weights)
    places = [(axis, own) for own in reversed(range(weights.dim())) if (axis := becomes(operands, which, own, again)) is not None]
    values = reversed(range(operands[1 - which].dim()))
    features = next((axis for own in values if (axis := becomes(operands, 1 - which, own, again)) is not None), None)
    if not places or features is None:
        return Layout()
    mine, theirs = (along(operands[i]) for i in (which, 1 - which))
    both = [(one, becomes(operands, which, axis, again, theirs[one.key][1])) for one, axis in mine.values() if one.key in theirs]
    return Layout(features, tuple(places), (provenance_of(weights), weights.dim()), tuple((m, a) for m, a in both if a is not None))


def of_kernel(q: Tensor) -> Layout:
    """How the output of a fused kernel lies: as its queries do."""
    return Layout(rows=tuple(along(q).values()))


def along(x: Tensor) -> dict[Axis, tuple[PlaceMap, int]]:
    """Axes of inputs, each with its map and the one axis of the tensor along which it differs."""
    known = provenance_of(x)
    maps = [] if known is None else [padded(m, x.dim()) for m in known.moving()]
    return {m.key: (m, m.axes[0]) for m in maps if len(m.axes) == 1}


def becomes(operands: Sequence[Tensor], which: int, axis: int, again: Callable[..., Tensor], other: int | None = None) -> int | None:
    """The axis of a product that an axis of one operand alone becomes; None of an axis that both have, or that is summed over.

    other: the same axis of the other operand, where both have it
    """
    shapes = [list(x.shape) for x in operands]
    shapes[which][axis] = OTHER
    if other is not None:
        shapes[1 - which][other] = OTHER
    try:
        found = again(*(torch.empty(shape, dtype=x.dtype, device="meta") for shape, x in zip(shapes, operands, strict=True))).shape
    except (RuntimeError, IndexError):
        return None
    return found.index(OTHER) if OTHER in found else None


def at_output(flow: Context, met: Attention | None, out: Tensor, part: float, lies: Layout | None = None) -> None:
    """Relevance at the output of an attention, however it `lies`; `part` of it goes to the values."""
    if met is None or "heads" not in flow.options.detail or not out.requires_grad:
        return
    value, lies = held(out), lies or Layout()

    def hear(g: Tensor) -> None:
        R = dot(value(), finer(g, flow.power))
        met.heads = by_rows(flow, R, lies.rows, (lies.place(flow) % R.dim(), lies.features % R.dim())).sum(-1)
        met.values = part * met.heads.sum((1, 2))

    out.register_hook(hear)


def to_scores(flow: Context, met: Attention | None, x: Tensor | None, factor: float = 1.0) -> Callable[[Tensor], None] | None:
    """A hook that adds what comes to queries, keys or biases; the gradient of `x` times `factor`."""
    if met is None or x is None:
        return None
    value = held(x)

    def hear(g: Tensor) -> None:
        amount = factor * flow.account.inner(value(), finer(g, flow.power))
        met.scores = amount if met.scores is None else met.scores + amount

    return hear


def detail(attentions: list[Attention]) -> dict[str, dict[str, Tensor]]:
    """{"layer 0": {"heads" (B, H, T), "values" (B,), "scores" (B,)}}."""
    found = {}
    for met in attentions:
        if met.heads is not None and met.values is not None:
            scores = met.heads.new_zeros(met.heads.shape[0]) if met.scores is None else met.scores
            found[met.name] = {"heads": met.heads.cpu(), "values": met.values.cpu(), "scores": scores.cpu()}
    return found
