"""A tiny configuration from the default one: the same architecture with every number made small.

There is no configuration per model. Fields are told apart by what their names say (a width, a number of heads, a vocabulary), and
are made smaller by one factor each, so that what was equal stays equal and what divided still divides.
"""

from __future__ import annotations

import re
from typing import Any

from .recipes import HEAD, HEADS, RECIPES, VOCABULARY, Recipe, role_of
from .resize import resized
from .scales import Scales, measure


def shrink(config: Any, recipe: Recipe = RECIPES[0], asked: dict[str, Any] | None = None, links: dict[int, int] | None = None) -> Any:
    """The same configuration, small. Raises whatever the library raises for a configuration it does not like.

    `asked` are fields of the outermost part that stay as they are. `links` says what the widths of other parts have become, since
    parts name each other's widths.
    """
    fields = {name: vars(config).get(name) for name in type(config).__dataclass_fields__}
    scales = measure(fields, recipe)
    scales.links = {**(links or linked(config, recipe)), scales.hidden[0]: scales.hidden[1]}
    changed: dict[str, Any] = {}
    for name, value in fields.items():
        if nested(value):
            changed[name] = shrink(value, recipe, links=scales.links)
        elif name not in ("id2label", "label2id", "problem_type", "rope_scaling"):
            if recipe.fill and not value:
                new = filled(name, value, fields, scales)
            elif isinstance(value, int) and role_of(name) in recipe.alter:
                new = value if recipe.alter[role_of(name)] is None else recipe.alter[role_of(name)]
            else:
                new = resized(name, value, scales)
            if new is not value and new != value:
                changed[name] = new
    changed.update(products(fields, changed, scales.links))
    changed.update(asked or {})
    apart = per_layer(config, scales)
    return type(config)(**changed, **({"per_layer_config": apart} if apart else {}))


def linked(config: Any, recipe: Recipe) -> dict[int, int]:
    """The width of every part, before and after."""
    found: dict[int, int] = {}
    for part in tree(config):
        old, new = measure({n: vars(part).get(n) for n in type(part).__dataclass_fields__}, recipe).hidden
        found.setdefault(old, new)
    return found


def products(fields: dict[str, Any], changed: dict[str, Any], links: dict[int, int]) -> dict[str, int]:
    """Widths that were heads times head width, so that they are that again."""
    numbers = {n: v for n, v in fields.items() if isinstance(v, int) and not isinstance(v, bool)}
    found: dict[str, int] = {}
    for heads, each in ((h, e) for h in numbers if role_of(h) == "heads" for e in numbers if role_of(e) == "head width"):
        for name, value in numbers.items():
            if role_of(name) == "width" and value not in links and value == numbers[heads] * numbers[each]:
                found[name] = changed.get(heads, numbers[heads]) * changed.get(each, numbers[each])
    return found


def per_layer(config: Any, scales: Scales) -> dict[int, dict[str, Any]]:
    """What a configuration of unequal layers says of each layer that stands for all, made small."""
    stored = {int(i): said for i, said in (config.to_dict().get("per_layer_config") or {}).items()}
    kept = {new: stored[old] for new, old in enumerate(scales.kept) if old in stored}
    return {i: {name: resized(name, value, scales) for name, value in said.items()} for i, said in kept.items()}


def filled(name: str, value: Any, fields: dict[str, Any], scales: Scales) -> Any:
    """A plausible value for a field that the default configuration leaves empty."""
    if name == "rope_parameters" and value == {} and fields.get("layer_types"):
        return {kind: {"rope_type": "default", "rope_theta": 10000.0} for kind in fields["layer_types"]}
    if value is not None:
        return value
    if name == "layer_types":
        return ["full_attention"] * scales.layers
    if name == "default_language" and fields.get("languages"):
        return fields["languages"][0]
    return next((new for pattern, new in EMPTY if pattern.search(name)), FILLINGS.get(role_of(name)))


FILLINGS = {"experts": 4, "per token": 2, "groups": 1, "top group": 1, "head width": HEAD, "heads": HEADS, "vocabulary": VOCABULARY}
EMPTY = ((re.compile("^clip_"), 8.0), (re.compile("kv_heads$"), 1), (re.compile("^pad_token_id$"), 0), (re.compile("^mask_token_id$"), 3),
         (re.compile("_budget$"), 8), (re.compile("compress_ratio$"), 4))  # fmt: skip


def nested(value: Any) -> bool:
    """Whether a value of a configuration is a configuration itself."""
    return hasattr(value, "to_dict") and hasattr(value, "model_type")


def tree(config: Any) -> list[Any]:
    """A configuration and all that are nested in it."""
    return [config, *(inner for value in vars(config).values() if nested(value) for inner in tree(value))]
