"""compare_methods(model, inputs) -> Explanations: one answer by several composites, in one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from .calls import fitting
from .composites import Composite, as_composite
from .engine.options import Options
from .errors import InputError
from .explain import MEANT, explain_one
from .results.explanations import Explanations

__all__ = ["compare_methods"]

Method = Composite | str


@fitting(MEANT | {"methods": "composites={}", "composite": "composites=({}, ...)"})
def compare_methods(
    model: nn.Module,
    inputs: Any,
    *,
    composites: Sequence[Method] = ("pa-lrp", "delta-lrp", "attn-lrp", "cp-lrp"),
    processor: Any = None,
    target: Any = None,
    contrast: Any = None,
    options: Options | None = None,
) -> Explanations:
    """The same input and the same number explained by several methods: a row for each.

        found = compare_methods(model, "not a good film", processor=tokenizer)
        found.matrix().to_frame()           # methods by tokens
        found.table()                       # value, share of positions, ledger of each
        found.compare()                     # side by side

    Takes what `explain` takes, for one input and one target; `composites` are Composites or their names, each once.

    Raises InputError where there are several inputs or targets, or no composite.
    """
    if isinstance(composites, str | Composite) or not isinstance(composites, Sequence) or not composites:
        came = "none" if isinstance(composites, Sequence) and not composites else type(composites).__name__
        raise InputError(f'composites must be several Composites or names, got {came}. Type composites=("pa-lrp", "attn-lrp").')
    chosen = [as_composite(one) for one in composites]
    if len(set(chosen)) < len(chosen):
        raise InputError("Each composite must be given once, and one came twice. Type each of them once.")
    given = {"processor": processor, "target": target, "contrast": contrast, "options": options}
    return Explanations(explain_one(model, inputs, composite=one, **given) for one in chosen)
