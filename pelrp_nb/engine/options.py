"""What is wanted of an explanation beyond itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from .only import conditions
from .operations import operations
from .trace import Boundary


@dataclass(frozen=True)
class Options:
    """What is wanted beyond the explanation itself.

    detail:     any of "heads", "query_key", "frequencies", "pairs"
    audit:      measure every softmax, fused ones too (METHOD: what a fast ledger cannot prove)
    checkpoint: recompute each layer in the backward pass, for memory
    only:       conditional relevance: {"layer 3": {"heads": [1]}}; see `engine/only.py`
    watch:      called with each boundary (`Crossing`) while the backward pass runs
    ledger:     keep boundaries and accounts; False: tokens and sinks only
    operations: handlers of one's own, {torch.special.i0: rules.identity}; `pelrp_nb.register` says what a handler is
    """

    detail: frozenset[str] = frozenset()
    audit: bool = False
    checkpoint: bool = False
    only: Any = None
    watch: Callable[[Boundary], None] | None = None
    ledger: bool = True
    operations: Any = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", frozenset(self.detail))
        unknown = self.detail - {"heads", "query_key", "frequencies", "pairs"}
        if unknown:
            raise InputError(
                f"detail must be some of heads, query_key, frequencies, pairs; got {', '.join(sorted(unknown))}. "
                'Type Options(detail={"heads"}).'
            )
        object.__setattr__(self, "only", conditions(self.only))
        object.__setattr__(self, "operations", operations(self.operations))
