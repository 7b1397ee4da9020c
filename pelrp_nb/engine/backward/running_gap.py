"""The account while the walk back runs: what is known of it when relevance reaches a boundary.

Autograd takes the youngest node that is ready, so on one device all that stands behind a boundary has been walked when its gradient
arrives: what was kept there is booked, and what leaves received is heard here.  So the gap of a boundary is the same then as at the
end.  Where that does not hold (a stream that is walked later, several devices, a walk that may be begun again) it is not known yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from ..boundaries import Mark
from ..depth import Depth
from ..forward_pass import ForwardPass
from ..numerics import exact, sums, visible
from . import ledger_builder
from .ledger_builder import Kept
from .rounding import Precision


class Watch:
    """The running balance: adds up what leaves receive, and closes the account of each layer boundary when relevance reaches it.

    precision: of the walk
    """

    def __init__(self, flow: ForwardPass, precision: Precision) -> None:
        self.flow, self.precision = flow, precision
        self.meet = ledger_builder.meetings(flow) if flow.streams.several else {}
        self.heard: list[tuple[Depth, Tensor]] = []  # depth, amount per row
        self.reached: set[str] = set()  # streams whose tokens have theirs

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hooks on the leaves inside the `with`."""
        flow, inputs = self.flow, self.flow.inputs
        hooks = [self._hook(leaf.tensor, leaf.depth) for leaf in inputs.sinks if leaf.tensor is not None]
        hooks += [self._hook(x, depth) for _, depth, x in inputs.constants]
        for x in (*inputs.tokens, *inputs.pixels):
            stream = flow.stream_of.get(id(x), flow.streams.names[0])
            hooks.append(self._hook(x, flow.streams.start(stream), partial(self.reached.add, stream)))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _hook(self, leaf: Tensor, depth: Depth, then: Callable[[], None] = lambda: None):
        rows = self.flow.account.rows

        def hear(g: Tensor) -> None:
            self.heard.append((depth, sums(exact(visible(leaf.detach(), g)), rows)))
            then()

        return leaf.register_hook(hear)

    def gap(self, mark: Mark) -> Tensor | None:
        """What the account lacks between the value and here, per row; None where that is not known yet."""
        flow = self.flow
        later = [name for name in flow.streams.names if name != mark.stream and self.meet[mark.stream, name] == "apart"]
        if mark.kind not in ("layer", "embeddings") or not self.reached.issuperset(later):
            return None
        kept = [(depth, exact(amount)) for (_, _, depth), amount in flow.account.amounts.items()]
        kept += [(leaf.depth, sums(exact(leaf.columns["signed"]), flow.account.rows)) for leaf in flow.inputs.sinks if leaf.columns]
        found = ledger_builder.gap_at(flow, mark, flow.starts, Kept(kept + self.heard, flow.account.rows), self.meet)
        wide = found is not None and not flow.streams.several and bool((found.abs() > self.allowed(mark)).any())
        return None if wide and ledger_builder.passed_by(flow, mark.name) else found

    def allowed(self, mark: Mark) -> Tensor:
        """How much of a gap is rounding there, per row; the ledger's own scale is known at the end and seldom smaller."""
        part = self.precision.tolerance * sums(exact(mark.relevance.abs()), self.flow.account.rows)
        return torch.maximum(part, self.precision.bound(self.flow))


def watch_of(flow: ForwardPass, precision: Precision) -> Watch | None:
    """None where nobody watches, or the account cannot be followed during the walk."""
    options = flow.options
    wanted = options.watch is not None and options.ledger and not flow.conditions
    return Watch(flow, precision) if wanted and len({x.device for x in flow.inputs.leaves()}) == 1 else None
