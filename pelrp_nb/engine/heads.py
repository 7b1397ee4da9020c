"""Relevance of each attention head, and how much of it went on through values and how much through scores; heard on demand."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from . import routes
from .context import Context
from .leaves import Attention
from .numerics import dot, finer
from .saved import held


def begin(flow: Context) -> Attention | None:
    """An attention was met; None unless "heads" or "routes" was asked for."""
    if not flow.options.detail & {"heads", "routes"}:
        return None
    taken = {a.name for a in flow.attentions}
    name = flow.where_am_i()
    found = Attention(name if name not in taken else f"{name} {flow.place}", flow.streams.current, edges=routes.begin(flow))
    flow.attentions.append(found)
    return found


def at_output(flow: Context, met: Attention | None, out: Tensor, part: float) -> None:
    """Relevance at the output (B, H, T, d), or (B H, T, d), of an attention; `part` of it goes to the values."""
    if met is None or "heads" not in flow.options.detail or not out.requires_grad:
        return
    value = held(out)

    def hear(g: Tensor) -> None:
        R = dot(value(), finer(g, flow.power)).sum(-1)
        met.heads = R.reshape(flow.account.rows, -1, R.shape[-1])
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
