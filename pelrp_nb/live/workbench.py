"""A rule on the bench: a case small enough for sliders, computed again whenever one of them moves.

Every case is the rule's own page at work: `relevance` pays the shares, `forward` bends the gradient, and what the inputs did not
get is the leak.
"""

from __future__ import annotations

from typing import Any

import torch

from ..errors import InputError
from ..rules import Rule
from .cases import CASES, Case, Control, Values
from .examples import measured


def case_of(rule: Rule) -> Case:
    """The rule's case; raises InputError where a rule has none."""
    if not has_case(rule):
        raise InputError(f"There is no bench for {rule.name!r}; there is one for {', '.join(CASES)}.")
    return CASES[rule.name]


def has_case(rule: Rule) -> bool:
    """Whether there is a case for it: one's own rules have none, whatever their names."""
    return rule.name in CASES and rule.page.startswith("pelrp_nb.rules.")


def controls(rule: Rule) -> tuple[Control, ...]:
    """Everything that can be set, the relevance of the outputs last; options start where the variant has them."""
    case = case_of(rule)
    handed = tuple(Control(f"R({name})", "output", 1.0) for name in case.outputs)
    return *(_started(c, rule) for c in case.controls), *handed


def _started(control: Control, rule: Rule) -> Control:
    value = rule.option(control.key, control.value)
    if value == control.value or control.choices:
        return control
    high = max(control.high, float(value))
    return Control(control.key, control.group, float(value), control.low, high, control.step)


def compute(rule: Rule, values: Values | None = None) -> dict[str, Any]:
    """Shares and leak for the values set; those not given are as the bench starts.

    Returns `measured`'s sums and difference, and two flat tables:
        inputs:  [{name, of, value, relevance, bent, share}], of: the input it is an entry of; share of all that was handed back,
                 None if that is 0
        outputs: [{name, value, relevance}]

    Raises InputError for a name that is not on the bench or a value that cannot be set.
    """
    known = {c.key: c for c in controls(rule)}
    if unknown := set(values or {}) - set(known):
        raise InputError(f"The bench of {rule.name} has no {sorted(unknown)[0]!r}; it has {', '.join(known)}.")
    full = {key: c.check((values or {}).get(key, c.value)) for key, c in known.items()}
    case = case_of(rule)
    inputs, constants = case.build(full)
    R = torch.tensor([full[f"R({name})"] for name in case.outputs], dtype=torch.float64)
    with torch.no_grad():
        R = R.reshape(rule.forward(*inputs, **constants).shape)
    found = measured(rule, R, inputs, constants)
    given = found["sums"]["in"]
    return {
        "values": full,
        "inputs": [entry for name, x in zip(case.inputs, found["inputs"], strict=True) for entry in _entries(name, x, given)],
        "outputs": [
            {"name": name, "value": y, "relevance": r}
            for name, y, r in zip(case.outputs, _flat(found["output"]["values"]), _flat(found["output"]["relevance"]), strict=True)
        ],
        "sums": found["sums"],
        "difference": found["difference"],
    }


def _entries(name: str, x: dict[str, Any], given: float) -> list[dict[str, Any]]:
    columns = [_flat(x[key]) for key in ("values", "relevance", "bent")]
    return [
        {
            "name": name if len(columns[0]) == 1 else f"{name} {i + 1}",
            "of": name, "value": value, "relevance": relevance, "bent": bent, "share": relevance / given if given else None,
        }
        for i, (value, relevance, bent) in enumerate(zip(*columns, strict=True))
    ]  # fmt: skip


def _flat(values: Any) -> list[Any]:
    return [entry for inner in values for entry in _flat(inner)] if isinstance(values, list) else [values]
