"""What is wanted of an explanation beyond itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from .only import conditions
from .operations import operations
from .places.roles import ROLES
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
    roles:      what an argument of `forward`, a parameter, a buffer or an attribute is, by its name or path: "content", "positions",
                "constant", "mask" or "control"; overrules what the engine sees
    """

    detail: frozenset[str] = frozenset()
    audit: bool = False
    checkpoint: bool = False
    only: Any = None
    watch: Callable[[Boundary], None] | None = None
    ledger: bool = True
    operations: Any = ()
    roles: Mapping[str, str] = field(default_factory=dict)

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
        if not isinstance(self.roles, Mapping):
            came = type(self.roles).__name__
            raise InputError(f'roles must map names to what they are, got {came}. Type roles={{"covariates": "content"}}.')
        wrong = {name: role for name, role in self.roles.items() if role not in ROLES}
        if wrong:
            name, role = next(iter(wrong.items()))
            raise InputError(f"A role must be one of {', '.join(ROLES)}; got {role!r} for {name!r}. Type roles={{{name!r}: 'constant'}}.")
