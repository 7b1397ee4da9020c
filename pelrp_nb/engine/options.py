"""What is wanted of an explanation beyond itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Literal

from ..calls import fitting_fields, shown
from ..errors import InputError
from .only import conditions
from .operations import operations
from .places.roles import ROLES
from .trace import Boundary


DETAIL = ("heads", "query_key", "frequencies", "pairs", "coordinates", "routes")


@fitting_fields(dict.fromkeys(DETAIL, 'Options(detail={{...}}) with its name, as in Options(detail={{"heads"}})'))
@dataclass(frozen=True)
class Options:
    """What is wanted beyond the explanation itself.

    detail:     what is kept beside tokens and sinks, any of
                "heads":       of each attention, and of each sink that has heads, (H, T)
                "query_key":   of rotary sinks, what came by queries and by keys, (T,)
                "frequencies": of rotary sinks, relevance and wavelength of each frequency, (T, F)
                "pairs":       of biases and relative embeddings, queries by keys, (T, T); with "heads" too, (H, T, T) beside it
                "coordinates": of rotary sinks, what cos and sin received, (1, T, d); with "heads" too, (H, T, d)
                "routes":      of each attention, what each head handed from place to place; see `Explanation.routes`
    audit:      measure every softmax, fused ones too (METHOD: what a fast ledger cannot prove)
    checkpoint: recompute each layer in the backward pass, for memory; None: where what they would keep is not free, which the result
                says (on Linux and CUDA); False: never
    only:       conditional relevance: {"layer 3": {"heads": [1]}}, {"layer 3 attention": {"places": [4]}}; see `engine/only.py`
    watch:      called with each boundary (`Crossing`) while the backward pass runs
    ledger:     keep boundaries and accounts; False: tokens and sinks only
    operations: handlers of one's own, {torch.special.i0: rules.identity}; `pelrp_nb.register` says what a handler is
    routes_top: of "routes", how many edges of each node are kept, the largest over all heads; the others are one further edge, so that
                sums stay true. None: all of them up to 128 keys, 64 beyond that
    precision:  "float32": the walk in float32 over a model in half precision, as if by `model.float()`, which stays as it is
    roles:      what an argument of `forward`, a parameter, a buffer or an attribute is, by its name or path: "content", "positions",
                "constant", "mask" or "control"; overrules what the engine sees
    truncation: cut a text to what the model takes; False: refuse one that is longer
    on_error:   "raise", or "skip": an input that cannot be explained leaves a placeholder (`Skipped`) that says why
    """

    detail: frozenset[str] = frozenset()
    audit: bool = False
    checkpoint: bool | None = None
    only: Any = None
    watch: Callable[[Boundary], None] | None = None
    ledger: bool = True
    operations: Any = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    truncation: bool = False
    on_error: Literal["raise", "skip"] = "raise"
    precision: Literal["float32"] | None = None
    routes_top: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", details(self.detail))
        for name in ("audit", "checkpoint", "ledger", "truncation"):
            if not isinstance(getattr(self, name), bool) and (name, getattr(self, name)) != ("checkpoint", None):
                raise InputError(f"{name} must be True or False, got {getattr(self, name)!r}. Type Options({name}=True).")
        if self.precision not in (None, "float32"):
            raise InputError(f'precision must be None or "float32", got {self.precision!r}. Type Options(precision="float32").')
        if self.watch is not None and not callable(self.watch):
            raise InputError(f"watch must be a function of a boundary, got {type(self.watch).__name__}. Type Options(watch=print).")
        top = self.routes_top
        if top is not None and (not isinstance(top, int) or isinstance(top, bool) or top < 1):
            raise InputError(f"routes_top must be a number of edges from 1, or None, got {shown(top)}. Type Options(routes_top=64).")
        if "routes" in self.detail and not self.ledger:
            raise InputError("Routes need the ledger, which measures the nodes between edges. Type Options(detail={'routes'}).")
        object.__setattr__(self, "only", conditions(self.only))
        object.__setattr__(self, "operations", operations(self.operations))
        if self.on_error not in ("raise", "skip"):
            raise InputError(f'on_error must be "raise" or "skip", got {self.on_error!r}. Type Options(on_error="skip").')
        if not isinstance(self.roles, Mapping):
            came = type(self.roles).__name__
            raise InputError(f'roles must map names to what they are, got {came}. Type roles={{"covariates": "content"}}.')
        unnamed = next((name for name in self.roles if not isinstance(name, str)), None)
        if unnamed is not None:
            raise InputError(f"A role is given to a name or path, as text; got {unnamed!r}. Type roles={{'covariates': 'content'}}.")
        wrong = {name: role for name, role in self.roles.items() if role not in ROLES}
        if wrong:
            name, role = next(iter(wrong.items()))
            raise InputError(f"A role must be one of {', '.join(ROLES)}; got {role!r} for {name!r}. Type roles={{{name!r}: 'constant'}}.")


def details(given: Any) -> frozenset[str]:
    """The names of what is kept beyond tokens and sinks, one or several."""
    named = (given,) if isinstance(given, str) else given
    try:
        unknown = set(named) - set(DETAIL)
    except TypeError:
        unknown = {given}
    if unknown:
        came = ", ".join(sorted(map(str, unknown)))
        raise InputError(f'detail must be some of {", ".join(DETAIL)}; got {came}. Type Options(detail={{"heads"}}).')
    return frozenset(named)


def as_options(given: Any) -> Options:
    """Options, the usual ones where none came. Raises InputError for anything else, a mapping of them included."""
    if given is None or isinstance(given, Options):
        return given or Options()
    if isinstance(given, Mapping):
        known = [one.name for one in fields(Options)]
        named = {(get_close_matches(str(name), known, 1) or [name])[0]: value for name, value in given.items()}
        line = f"Options({', '.join(f'{name}={shown(value)}' for name, value in named.items())})"
    else:
        detail = given if isinstance(given, str) and given in DETAIL else "heads"
        line = f'Options(detail={{"{detail}"}})' if isinstance(given, str | set | frozenset | list | tuple) else "Options(audit=True)"
    came = f"the class {given.__name__} itself" if isinstance(given, type) else f"a {type(given).__name__}"
    raise InputError(f"options must be Options, got {came}. Type options=pelrp_nb.{line}.")
