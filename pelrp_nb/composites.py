"""Which rule for which kind of operation: a composite is a frozen value, a variant is a `replace`.

    PA_LRP          AttnLRP, and every place where positions enter is a sink        (Bakish et al. 2025)
    ATTN_LRP        AttnLRP as published: positions are constants                   (Achtibat et al. 2024)
    CP_LRP          attention weights and gates are constants                       (Ali et al. 2022)
    DELTA_LRP       CP_LRP, and positions are paid what they changed of the weights
    PA_LRP_VISION   PA_LRP with the gamma rule on MLP, head and patches; conserving
    PA_LRP_RES      PA_LRP with sign-aware residual sums                            (ResLRP 2026)
    AUTHORS_VISION  the authors' image recipe, its lost half included               (Bakish et al. 2025, released code)

Nothing here knows how a library spells an operation; that is `engine/handlers/torch_table.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, Literal, Self

from . import rules
from .calls import fitting_fields
from .errors import InputError
from .rules import Rule

Places = tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]  # name of a layer or module -> field -> rule
CALLED = {                                       # the constants that the engine gives to a rule of that field
    **dict.fromkeys(("linear", "projection", "patch"), ("weight", "bias", "apply")),
    **dict.fromkeys(("product", "gate"), ("multiply",)), "activation": ("f", "slope"),
    **dict.fromkeys(("rms_norm", "layer_norm"), ("weight", "eps", "normalized_shape")),
}  # fmt: skip
WHERE = 'Type composite.where({"layer 3": {"linear": rules.gamma(0.1)}}).'


@fitting_fields({"softmax_rule": "softmax=rules.constant", "position": "positions={}", "attention": "softmax=rules.constant"})
@dataclass(frozen=True, repr=False)
class Composite:
    """One rule per kind of operation.

    linear:      linear maps and convolutions, but for the two below
    projection:  linear maps that feed a softmax product, or follow one
    patch:       the first convolution, on pixels
    product:     products of several carriers, attention's two included
    gate:        products of which one factor is the direct output of an activation, softmax or sigmoid
    division:    a / b
    activation:  elementwise functions of one tensor
    softmax:     every softmax; `constant` sends all of attention through the values, `delta` as well but for what positions changed
    rms_norm, layer_norm: norms (batch and group norms with frozen statistics as layer norms)
    residual:    sums of a block's input and a branch
    values:      what the values get where the softmax is constant; below 1 the rest is lost, and booked as such
    positions:   "sink", positions are inputs and receive; "constant", they are booked by name
    start:       "value", R(logit) = logit; or the number that the logit starts with
    unknown:     "refuse" an operation without a rule, or accept its plain "gradient" and report it
    places:      rules for a layer or a module alone; `where` writes them
    """

    linear: Rule = rules.epsilon
    projection: Rule = rules.epsilon
    patch: Rule = rules.epsilon
    product: Rule = rules.uniform
    gate: Rule = rules.uniform
    division: Rule = rules.division
    activation: Rule = rules.identity
    softmax: Rule = rules.softmax
    rms_norm: Rule = rules.rms_norm
    layer_norm: Rule = rules.layer_norm
    residual: Rule = rules.residual
    values: float = 1.0
    positions: Literal["sink", "constant"] = "sink"
    start: Literal["value"] | float = "value"
    unknown: Literal["refuse", "gradient"] = "refuse"
    places: Places = ()

    def __post_init__(self) -> None:
        for name in RULES:
            check_field(name, getattr(self, name))
        for name, known in (("positions", ("sink", "constant")), ("unknown", ("refuse", "gradient"))):
            if (came := getattr(self, name)) not in known:
                said = " or ".join(f'"{one}"' for one in known)
                raise InputError(f'{name} must be {said}, got {came!r}. Type replace(composite, {name}="{known[0]}").')
        if self.start != "value" and not is_number(self.start):
            raise InputError(f'start must be "value" or a number, got {self.start!r}. Type replace(composite, start=1.0).')
        if not is_number(self.values):
            raise InputError(f"values must be a number, got {self.values!r}. Type replace(composite, values=0.5).")

    @property
    def softmax_is_constant(self) -> bool:
        """Whether attention weights receive nothing; under `delta` what positions changed of them is paid, and nothing else."""
        return self.softmax in (rules.constant, rules.delta)

    @property
    def tells_projections(self) -> bool:
        """Whether projections of attention have another rule than other linear maps, anywhere in the model."""
        placed = [rule for _, chosen in self.places for field, rule in chosen if field in ("linear", "projection")]
        return len({self.linear, self.projection, *placed}) > 1

    def where(self, given: Mapping[str | int, Mapping[str, Any]]) -> Self:
        """The same composite with rules of their own for some layers or modules, by name.

            PA_LRP.where({"layer 3": {"linear": rules.gamma(0.1)}, "blocks.0.mlp": {"activation": rules.identity}})

        A layer is called as in the ledger ("layer 3", "decoder layer 0"), a module by its path; what is said of a module holds for
        all inside it, and the innermost that says something of a field has its way. A later `where` adds to an earlier one.
        Fields are those of rules, and `values`. Raises InputError for anything else; `propagate` refuses names that the model
        does not have.
        """
        if not isinstance(given, Mapping) or not given or not all(isinstance(v, Mapping) and v for v in given.values()):
            raise InputError(f"where must say which rules a layer or module has; got {given!r}. {WHERE}")
        places = {name: dict(chosen) for name, chosen in self.places}
        for place, chosen in given.items():
            if isinstance(place, bool) or not isinstance(place, str | int) or place == "":
                raise InputError(f"where names layers and modules by text; got {place!r}. {WHERE}")
            for name, rule in chosen.items():
                check_placed(name, rule)
            name = f"layer {place}" if isinstance(place, int) else place
            places[name] = {**places.get(name, {}), **chosen}
        return replace(self, places=tuple((name, tuple(chosen.items())) for name, chosen in places.items()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.name != "places")
        return f"Composite({shown}){told(self.places)}"


RULES = tuple(f.name for f in fields(Composite) if isinstance(f.default, Rule))


def in_force(composite: Composite) -> list[Any]:
    """The rules of all fields, then those of single places."""
    return [*(getattr(composite, name) for name in RULES), *(rule for _, chosen in composite.places for _, rule in chosen)]


def is_number(x: Any) -> bool:
    """Whether it is a number, and no flag."""
    return isinstance(x, int | float) and not isinstance(x, bool)


def told(places: Places) -> str:
    """`.where(...)` as it is typed; nothing where nothing was said."""
    return f".where({ {name: dict(chosen) for name, chosen in places} })" if places else ""


def check_field(name: str, rule: Any) -> None:
    """Raises InputError where a field holds no rule, or one that the engine could not call there."""
    if not isinstance(rule, Rule):
        meant = rule if isinstance(rule, str) and isinstance(getattr(rules, rule, None), Rule) else getattr(Composite, name).name
        raise InputError(f"{name} must be a Rule, got {rule!r}. Type replace(composite, {name}=rules.{meant}).")
    if name == "softmax" and rule not in (rules.softmax, rules.constant, rules.delta):
        raise InputError(
            f"softmax must be rules.softmax, rules.constant or rules.delta, got {rule!r}: what a softmax keeps is measured for these. "
            "For one of your own type pelrp_nb.register(torch.softmax, rule)."
        )
    takes = inspect.signature(rule.forward).parameters
    missing = [k for k in CALLED.get(name, ()) if k not in takes and not any(p.kind is p.VAR_KEYWORD for p in takes.values())]
    if missing and not (name == "gate" and rule == rules.constant):
        raise InputError(
            f"A rule for {name} is called with the constants {', '.join(CALLED[name])}; the `forward` of {rule!r} takes no "
            f"{', '.join(missing)}. Write {signature(name)}."
        )


def signature(name: str) -> str:
    """How the `forward` of a rule for that field begins."""
    return f"def forward({'*factors' if 'multiply' in CALLED[name] else 'x'}, *, {', '.join(CALLED[name])}, ...)"


def check_placed(name: str, rule: Any) -> None:
    """Raises InputError where `where` names no field that a place can have, or gives it no rule."""
    known = (*RULES, "values")
    if name in ("positions", "start", "unknown"):
        raise InputError(f"{name} holds for the whole model, not for a layer or module. Type replace(composite, {name}={rule!r}).")
    if name not in known:
        near = get_close_matches(str(name), known, 1)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(known)}. {WHERE}"
        raise InputError(f"A layer or module can have rules of its own for each kind of operation; {name!r} is none. {hint}")
    if name != "values":
        check_field(name, rule)
    elif not is_number(rule):
        raise InputError(f"values must be a number such as 0.5, got {rule!r}. {WHERE}")


PA_LRP = Composite()
ATTN_LRP = replace(PA_LRP, positions="constant")
CP_LRP = replace(PA_LRP, softmax=rules.constant, gate=rules.constant)
DELTA_LRP = replace(CP_LRP, softmax=rules.delta)
PA_LRP_VISION = replace(PA_LRP, linear=rules.gamma(0.05), patch=rules.gamma(100))
PA_LRP_RES = replace(PA_LRP, residual=rules.reslrp)
AUTHORS_VISION = replace(CP_LRP, linear=rules.gamma(0.05), patch=rules.gamma(100), values=0.5, start=1.0)

NAMED = {
    "pa-lrp": PA_LRP,
    "attn-lrp": ATTN_LRP,
    "cp-lrp": CP_LRP,
    "delta-lrp": DELTA_LRP,
    "pa-lrp-vision": PA_LRP_VISION,
    "pa-lrp-res": PA_LRP_RES,
    "authors-vision": AUTHORS_VISION,
}


def as_composite(given: Any) -> Composite:
    """A composite, or the one of that name ("pa-lrp", "attn-lrp" ...). Raises InputError for anything else."""
    if isinstance(given, Composite):
        return given
    if isinstance(given, str) and (name := given.strip().lower().replace("_", "-")) in NAMED:
        return NAMED[name]
    raise InputError(f"composite must be a Composite or the name of one, got {_came(given)}. {_typed(given)}")


def _came(given: Any) -> str:
    if isinstance(given, type):
        return f"the class {given.__name__} itself"
    return f"the rule {given!r}" if isinstance(given, Rule) else repr(given) if isinstance(given, str) else type(given).__name__


def _typed(given: Any) -> str:
    """What to type in place of what is no composite."""
    if isinstance(given, Rule) or (isinstance(given, str) and isinstance(getattr(rules, given, None), Rule)):
        room = "rules." if hasattr(rules, getattr(given, "name", str(given))) else ""
        return f"A rule serves one kind of operation. Type composite=replace(PA_LRP, linear={room}{given})."
    if isinstance(given, str):
        near = get_close_matches(given.lower().replace("_", "-"), NAMED, 1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        return f"{hint}Type composite={near[0] if near else 'pa-lrp'!r}, or one of {', '.join(NAMED)}."
    if isinstance(given, Mapping):
        return 'Type composite=replace(PA_LRP, linear=rules.gamma(0.05)), or PA_LRP.where({"layer 3": {...}}) for single layers.'
    if isinstance(given, list | tuple | set | frozenset):
        return 'For several of them type pelrp_nb.compare_methods(model, inputs, composites=("pa-lrp", "attn-lrp")).'
    return 'Type composite="pa-lrp", composite=PA_LRP, or replace(PA_LRP, ...).'


def title(composite: Composite) -> str:
    """The composite's name where it has one, else its nearest name and the fields that differ."""
    if label := getattr(composite, "label", None):
        return label
    for label, known in NAMED.items():
        if known == composite:
            return label
    if composite.places:
        return title(replace(composite, places=())) + told(composite.places)
    different = [f.name for f in fields(composite) if getattr(composite, f.name) != getattr(PA_LRP, f.name)]
    return "pa-lrp with " + ", ".join(f"{name}={getattr(composite, name)!r}" for name in different)
