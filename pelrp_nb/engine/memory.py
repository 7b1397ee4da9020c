"""What an explanation needs beside the model, and what is free: bytes, counted on a forward pass that keeps nothing, or as it runs.

Kept for the way back: every tensor that the graph or a hook of ours saves, distinct memory counted once, the model's own weights
left out (but for those that accelerate brings for each layer, which the graph then pins).  On the way back: the gradients of all
leaves, and the largest tensors in passing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves

from ..errors import InputError
from .forward_pass import ForwardPass
from .places.values import storage_of
from .saved import Slot, here, stack

LIMIT = "PELRP_MEMORY_LIMIT"  # bytes, as an environment variable: take no more than that for free
PASSING = 3  # tensors of the largest size that are there at once while one is made, one more in a gate: its slope
LARGE = 100  # a layer keeps less than so many times the bytes of its stream
LITTLE = 2**28  # bytes of which nobody asks whether they are free


class Tally:
    """Counts what a forward pass would keep; lets go of it at the end of each layer."""

    running, pinned = True, False  # as of a layer that has not ended: what is saved can be read

    def __init__(self, flow: ForwardPass) -> None:
        self.flow = flow
        self.kept: dict[int | None, int] = {}  # bytes by layer, None outside of layers
        self.made: dict[int | None, int] = {}  # with what is saved for a moment only
        self.weights: dict[int | None, int] = {}  # of weights that accelerate brings
        self.inputs: dict[int, int] = {}  # bytes that a layer is given
        self.largest = 0
        self.at: int | None = None
        self.slots: list[ref[Slot]] = []
        self.here: dict[int, StorageWeakRef] = {}
        self.brought: set[int] = set()
        self.seen = {(r := StorageWeakRef(x.untyped_storage())).cdata: r for x in flow.owned if not x.is_meta}
        self.own = frozenset(self.seen)

    def save(self, x: Tensor) -> Any:
        """Count x, and keep it until its layer ends."""
        if x.numel() <= 1:
            return x.detach()
        if self.at != self.flow.layer:
            self.let_go()
        slot = Slot(self, x)
        self.slots.append(ref(slot))
        known = StorageWeakRef(x.untyped_storage())
        if known.cdata not in self.own:
            self.largest = max(self.largest, size(x))
        if known.cdata not in self.seen and known.cdata not in self.here:
            self.here[known.cdata] = known
            self.made[self.at] = self.made.get(self.at, 0) + x.untyped_storage().nbytes()
        if self.at is not None and self.at not in self.inputs:
            self.inputs[self.at] = size(x)  # the first that a layer saves is its input, or as large
        if self.is_brought(x.untyped_storage()):
            self.brought.add(storage_of(x))
        return slot

    def let_go(self) -> None:
        """Another layer begins: count what is still wanted."""
        for slot in filter(None, (s() for s in self.slots)):
            if slot.value is not None:
                self.count(slot.value.untyped_storage())
                slot.value = None
        self.slots, self.at = [], self.flow.layer
        self.here.clear()
        self.brought.clear()

    def count(self, storage: torch.UntypedStorage) -> None:
        """Distinct memory once; the weak reference keeps its identity from being used again."""
        known = StorageWeakRef(storage)
        if known.cdata not in self.seen:
            self.seen[known.cdata] = known
            by = self.weights if storage._cdata in self.brought else self.kept
            by[self.at] = by.get(self.at, 0) + storage.nbytes()

    def is_brought(self, storage: torch.UntypedStorage) -> bool:
        """Whether this is a weight that accelerate has brought to the running module."""
        module = self.flow.path[-1] if self.flow.path else None
        own = module.parameters(recurse=False) if module is not None and hasattr(module, "_hf_hook") else ()
        return any(storage_of(p) == storage._cdata for p in own if not p.is_meta)


@contextmanager
def tally(flow: ForwardPass) -> Iterator[Tally]:
    """Count what the forward pass inside would keep, and keep none of it: there is no way back from there."""
    counted = Tally(flow)
    before = stack()
    here.layers = (*before, counted)
    try:
        with saved_tensors_hooks(counted.save, lambda kept: kept.take() if isinstance(kept, Slot) else kept):
            yield counted
    finally:
        here.layers = before
        counted.let_go()


def needed(flow: ForwardPass, counted: Tally, output: Any, again: bool) -> dict[str, int]:
    """Bytes of an explanation of one target: activations, weights, passing; and gradients, which take their place by and by.

    again: whether each layer is run again
    """
    kept, weights = sum(counted.kept.values()), sum(counted.weights.values())
    if again:
        kept = counted.kept.get(None, 0) + sum(counted.inputs.values()) + most(counted.made)
        weights = counted.weights.get(None, 0) + most(counted.weights)
    made = [x for x in tree_leaves(output) if isinstance(x, Tensor)]
    outputs = sum({storage_of(x): x.untyped_storage().nbytes() for x in made}.values())
    largest = max([counted.largest, *map(size, made)], default=0)
    passing = PASSING + any(step.reason == "gate" for step in flow.steps.values())
    return {"activations": kept + outputs, "weights": weights, "passing": passing * largest, "gradients": arriving(flow)}


def most(layers: dict[int | None, int]) -> int:
    """The largest of the layers."""
    return max((n for layer, n in layers.items() if layer is not None), default=0)


def at_peak(needs: Mapping[str, int]) -> int:
    """Either all activations are there and no gradient, or all gradients and no activation."""
    return max(needs["activations"] + needs["weights"], needs["gradients"]) + needs["passing"] if needs else 0


def size(x: Tensor) -> int:
    """Bytes of x as if it were written out."""
    return x.numel() * x.element_size()


def arriving(flow: ForwardPass) -> int:
    """Bytes of what arrives at the end: gradients, and with detail what is made of them."""
    split, asked = sum(size(x) for x in flow.inputs.leaves()), flow.options.detail
    pairs = [s.pairs * 4 for s in flow.inputs.sinks]  # of all heads
    kept = sum(pairs) if {"pairs", "heads"} <= asked else max(pairs, default=0) if "pairs" in asked else 0
    edges = sum(a.edges.size for a in flow.attentions if a.edges is not None)
    return (split + kept) * (2 if asked else 1) + edges


def check_detail(flow: ForwardPass) -> None:
    """Before the way back: refuse more detail than memory allows.

    Raises InputError with what it needs, what there is, and what would fit.
    """
    if not flow.options.detail:
        return
    device = next((x.device for x in flow.inputs.leaves()), torch.device("cpu"))
    need, there = arriving(flow), free(device)
    if there is None or need <= there:
        return
    less = sum(x.untyped_storage().nbytes() for x in flow.inputs.leaves())
    asked = ", ".join(sorted(flow.options.detail))
    raise InputError(
        f"The detail asked for ({asked}) needs {said(need)} for {len(flow.inputs.sinks)} places of positions; {said(there)} are "
        f"free on {device}. Leave detail out: Options() needs about {said(less)} for them. Or shorten the text."
        + (" Fewer edges of routes: Options(detail={'routes'}, routes_top=16)." if "routes" in flow.options.detail else "")
    )


def said(n: float) -> str:
    """Bytes as one reads them."""
    for unit in ("bytes", "KiB", "MiB"):
        if n < 1024:
            return f"{n:.0f} {unit}" if unit == "bytes" else f"{n:.1f} {unit}"
        n /= 1024
    return f"{n:.1f} GiB"


# --- while a forward pass runs ---------------------------------------------------------------------------------------


class Room:
    """Whether what the layers keep will be free, asked as each of them begins, from what those before it took.

    layers: how many there are; told: what was decided, in words
    """

    def __init__(self, layers: int) -> None:
        self.layers, self.begun = layers, 0
        self.there: int | None = None
        self.start = self.last = self.each = 0
        self.told: tuple[str, ...] = ()

    def is_short(self, stream: Tensor) -> bool:
        """A layer begins, and this goes into it: whether to run it again on the way back, and those after it.

        Raises InputError if even that takes more than is free.
        """
        now = taken(stream.device) if self.layers * LARGE * size(stream) > LITTLE else None
        if now is None:
            return False
        if not self.begun:
            self.start = self.last = now
        self.begun, self.each, self.last = self.begun + 1, max(self.each, now - self.last), now
        used, left = now - self.start, max(self.layers - self.begun + 1, 0)
        need = used + (left + 1) * self.each  # one more for what is passing
        if need <= LITTLE:
            return False
        self.there = free(stream.device) if self.there is None else self.there
        if self.there is None or need <= self.there:
            return False
        least = used + left * size(stream) + self.each
        if least > self.there:
            raise InputError(
                f"An explanation needs {said(least)} or more beside the model, each layer run again on the way back; {said(self.there)} "
                f"are free on {stream.device}. Shorten the text, or type Options(checkpoint=False) to try it all the same."
            )
        self.told = (why_again(used + left * self.each, self.there),)
        return True


def why_again(need: int, there: int) -> str:
    """Why layers are run again, in words."""
    return f"layers are run again on the way back: about {said(need)} would be kept otherwise, and {said(there)} are free"


# --- what there is ---------------------------------------------------------------------------------------------------


def taken(device: torch.device) -> int | None:
    """Bytes that this process has taken there; None where nobody says."""
    if device.type == "cuda" and torch.cuda.is_available():
        return torch.cuda.memory_allocated(device)
    file = Path("/proc/self/statm")
    if device.type != "cpu" or not file.is_file():
        return None
    _, resident, shared, *_ = map(int, file.read_text().split())  # weights that lie in a file are shared with it
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def free(device: torch.device) -> int | None:
    """Bytes that can still be taken there; None where nobody says."""
    found = [n for n in (_limit(), _on(device)) if n is not None]
    return min(found, default=None)


def _limit() -> int | None:
    text = os.environ.get(LIMIT, "").strip()
    return int(text) if text.isdecimal() else None


def _on(device: torch.device) -> int | None:
    if device.type == "cuda" and torch.cuda.is_available():
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # of what torch has taken already
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type == "mps" and torch.backends.mps.is_available():
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    if device.type != "cpu":
        return None
    return min((n for n in (_in_machine(), _in_container()) if n is not None), default=None)


def _in_machine() -> int | None:
    """What the kernel says could be taken without swapping."""
    file = Path("/proc/meminfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    said_so = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
    if said_so is None and hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return said_so


def _in_container() -> int | None:
    """The limit of the control group less what it uses, files it could drop left out; version 2, then version 1."""
    for folder, limit, usage, droppable in (
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory/", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        most, used = cgroup(folder + limit), cgroup(folder + usage)
        if most.isdecimal() and used.isdecimal():
            stat = dict(line.split() for line in cgroup(folder + "memory.stat").splitlines())
            return max(int(most) - int(used) + int(stat.get(droppable, 0)), 0)
    return None


def cgroup(name: str) -> str:
    """A file of this process's control group; empty where there is none."""
    file = Path("/sys/fs/cgroup") / name
    return file.read_text().strip() if file.is_file() else ""
