"""patch(model, clean, corrupt) -> Patch: what each part of the model does for an answer, by putting in what it is for another input.

The effect of a part with activation a is estimated by (a_corrupt - a_clean) . g, g the gradient of the metric in the clean run, bent
as RelP bends it (arXiv 2508.21258); of queries and keys by the softmax computed again exactly (AtP*, arXiv 2403.00745).  The truth is
the forward pass with the part replaced: `found.true(20)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .batches import spoken
from .calls import fitting
from .engine.leaving import Leaving
from .engine.support import device_of, inspect
from .engine.slot_finder import Found
from .errors import InputError, ModelError
from .explain import of_pipeline
from .inputs.encode import encode_all
from .patching import estimates, measured
from .patching.pair import Pair, alike, asked_of, room
from .results.measured import Site
from .results.patch import Patch

__all__ = ["patch"]

KINDS = estimates.SITES
BY_KEYS = "The queries and keys of {} cannot be told apart, so what comes to other parts through its scores is left out of the estimates."


@fitting({"target": "metric={}", "contrast": "metric=(target, contrast)", "tokenizer": "processor={}", "corrupted": "corrupt={}"})
def patch(
    model: nn.Module, clean: Any, corrupt: Any, *, processor: Any = None, metric: Any = None, sites: str | Sequence[str] = "heads"
) -> Patch:  # fmt: skip
    """The effect of putting each part of the corrupted run into the clean one: by how much the metric changes.

        found = patch(model, "sun moon star sun", "sun fish star sun", processor=tokenizer, metric=("moon", "fish"))
        found.table(), found.true(20), found.circuit(5)

    Args:
        model, processor: as for `explain`.
        clean, corrupt: two inputs of the same length in tokens.
        metric: a number of the output: a target as for `explain`, or a pair of two, the one rather than the other.
        sites: which parts: "heads" (what each hands on), "queries", "keys", "values", "attention" and "mlp" (whole branches),
            "residual" (the stream after each layer); several in a list, or "all".

    Returns:
        a `Patch`: estimates by relevance and by the plain gradient, each for every site at every place.

    Raises:
        InputError: the inputs have another length or are the same, the metric is no single number, the model has no such part, or
        more passes at its parts than there is memory for. ModelError: an attention hides its products. What `explain` raises.
        The model is left as it was, whatever happens.
    """
    kinds = named(sites)
    model, processor = of_pipeline(model, processor)
    with Leaving(), ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        inspect(model)
        pair = paired(model, processor, clean, corrupt, metric)
        pair.settle()
        pair.found = estimates.find(pair)
        wanted = there(pair.found, kinds, model)
        room(pair.found, device_of(model) or torch.device("cpu"))
        relevance, gradient = estimates.by_relevance(pair), estimates.by_gradient(pair)
        return told(pair, wanted, relevance, gradient)


def named(sites: Any) -> tuple[str, ...]:
    """The kinds of sites; none for "all" that there are. Raises InputError for others."""
    if isinstance(sites, str) and sites == "all":
        return ()
    found = (sites,) if isinstance(sites, str) else tuple(sites) if isinstance(sites, Sequence) else ()
    wrong = [kind for kind in found if kind not in KINDS]
    if wrong or not found:
        raise InputError(f'sites must be some of {", ".join(KINDS)}, or "all"; got {sites!r}. Type sites="heads".')
    return tuple(dict.fromkeys(found))


def paired(model: nn.Module, processor: Any, clean: Any, corrupt: Any, metric: Any) -> Pair:
    """The two inputs with their question. Raises InputError where they do not fit each other."""
    rows = [row for one in (clean, corrupt) for row in encode_all(model, one, processor)[0]]
    if len(rows) != 2:
        raise InputError(f"clean and corrupt must be one input each, and hold {len(rows)}. Type patch(model, text, other, ...).")
    first, second = (asked_of(model, processor, row, metric) for row in rows)
    alike(first.row, second.row)
    return Pair(model, processor, first, second, Found())


def there(found: Found, wanted: Sequence[str], model: nn.Module) -> Sequence[str]:
    """The kinds that were asked for; all that there are where none was. Raises where the model has no such part, or hides it."""
    wanted = wanted or [kind for kind in KINDS if found.of(kind)] or ["residual"]
    missing = next((kind for kind in wanted if not found.of(kind)), None)
    if missing in ("queries", "keys") and found.hidden:
        raise ModelError(
            f"The scores of {found.hidden[0]} are no product of two tensors with places and features last, so its {missing} cannot be "
            'told. Write them as torch.matmul(queries, keys.transpose(-1, -2)), or type sites="heads".'
        )
    if missing is not None:
        kinds = list(dict.fromkeys(slot.kind for slot in found.slots if slot.kind in KINDS))
        said = f"it has {', '.join(kinds)}. Type sites={kinds[0]!r}." if kinds else "nothing of it can be patched."
        what = "attention whose weights meet values in one product" if missing in ("heads", "values", "queries", "keys") else missing
        raise InputError(f"{type(model).__name__} has no {what}; {said}")
    return wanted


def told(pair: Pair, wanted: Sequence[str], relevance: estimates.Estimates, gradient: estimates.Estimates) -> Patch:
    """The result."""
    clean, corrupt, _, _ = pair.both
    notes = [BY_KEYS.format(name) for name in pair.found.hidden]
    return Patch(
        spoken(pair.clean), spoken(pair.corrupt), pair.name, clean, corrupt,
        {kind: relevance.sites[kind] for kind in wanted}, {kind: gradient.sites[kind] for kind in wanted},
        relevance.edges, tuple(notes), Runs(pair),
    )  # fmt: skip


@dataclass(frozen=True)
class Runs:
    """The model, kept to measure what was estimated."""

    pair: Pair

    def effects(self, sites: Sequence[Site]) -> list[float]:
        """By how much the number changes with each site as it is in the corrupted run."""
        with Leaving():
            return measured.effects(self.pair, sites)

    def left(self, circuits: Sequence[Mapping[str, Tensor]]) -> list[float]:
        """The numbers when all but these edges hand over what they do in the corrupted run."""
        with Leaving():
            return measured.left(self.pair, circuits)
