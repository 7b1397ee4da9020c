"""What patching does, measured: the model runs with a part of the corrupted run in place of its own; and what a circuit keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from ..engine.exact_softmax import shared, softmax
from ..engine.visits import Slot
from ..results.measured import Site
from .pair import Pair

ROWS = 16  # patches in one forward pass


def effects(pair: Pair, sites: Sequence[Site]) -> list[float]:
    """By how much the number changes with each of the sites as it is in the corrupted run, one at a time."""
    clean, _, _, corrupt = pair.both
    found: list[float] = []
    for some in chunks(sites, ROWS):
        slots = {site: pair.of(site.kind)[site.name] for site in some}

        def visit(slot: Slot, x: Tensor, some=some, slots=slots) -> Tensor:
            x = x.clone()
            for row, site in enumerate(some):
                if slots[site] == slot:
                    head = slice(None) if site.head is None else slice(site.head, site.head + 1)
                    at = slice(None) if site.at is None else slice(site.at, site.at + 1)
                    x[row, head, at] = corrupt[slot][0, head, at]
            return x

        values = pair.run(pair.clean, list(dict.fromkeys(slots.values())), visit, len(some))
        found += [value - clean for value in values]
    return found


def left(pair: Pair, circuits: Sequence[Mapping[str, Tensor]]) -> list[float]:
    """The numbers of runs in which each attention hands over what it does along the edges of a circuit, and else what it does in the
    corrupted run; by attention (H, Tq, Tk) whether an edge is in it.

        out_i = out'_i + sum_j in circuit (A_ij v_j - A'_ij v'_j)           with ' in the corrupted run

    Tokens, MLPs and what is skipped on are those of the run itself.
    """
    _, _, _, corrupt = pair.both
    scores, values = pair.of("scores"), pair.of("values")
    found: list[float] = []
    for some in chunks(circuits, ROWS):
        kept = {name: torch.stack([circuit[name] for circuit in some]) for name in some[0]}
        now: dict[Slot, Tensor] = {}

        def visit(slot: Slot, x: Tensor, kept=kept, now=now) -> Tensor | None:
            if slot.kind != "heads":
                now[slot] = x
                return None
            keep = kept[slot.name].to(x.device)
            handed = [
                (softmax(run[scores[slot.name]].double()) * keep) @ shared(run[values[slot.name]].double(), keep.shape[1])
                for run in (now, corrupt)
            ]
            return corrupt[slot] + (handed[0] - handed[1])

        slots = [slot for slot in pair.found.slots if slot.kind in ("scores", "values", "heads")]
        found += pair.run(pair.clean, slots, visit, len(some))
    return found


def chunks(items: Sequence, size: int) -> Iterator[Sequence]:
    """Some at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))
