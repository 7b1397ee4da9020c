"""A rule at work on one case: both its forms, side by side, as numbers without tensors."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..rules import Rule
from ..verbs import input_times_gradient


def measured(rule: Rule, R: Tensor, inputs: tuple[Tensor, ...], constants: dict[str, Any]) -> dict[str, Any]:
    """Relevance `R` of the output paid to `inputs` by both forms of the rule.

    inputs:     per input name, shape, values, relevance (the definition), bent (the fast form)
    constants:  [name, value] of what receives nothing; tensors as {shape, values}
    output:     {"values": y, "relevance": R}
    sums:       {"in": sum R, "out": what the inputs received, "kept": the difference}
    difference: the largest |definition - fast form|
    """
    with torch.no_grad():
        y = rule.forward(*inputs, **constants)
    paid = rule.relevance(R, *inputs, **constants)
    bent = input_times_gradient(lambda *xs: rule.forward(*xs, **constants), R, *inputs)
    received, given = sum(float(p.sum()) for p in paid), float(R.sum())
    rows = [
        {"name": name, **tensor(x), "relevance": p.tolist(), "bent": b.tolist()}
        for name, x, p, b in zip(input_names(rule, len(inputs)), inputs, paid, bent, strict=True)
    ]
    differences = [float((p - b).abs().max()) for p, b in zip(paid, bent, strict=True) if p.numel()]
    return {
        "inputs": rows,
        "constants": [[name, tensor(c) if isinstance(c, Tensor) else _told(c)] for name, c in constants.items() if c is not None],
        "output": {**tensor(y), "relevance": R.tolist()},
        "sums": {"in": given, "out": received, "kept": given - received},
        "difference": max(differences, default=0.0),
    }


def input_names(rule: Rule, count: int) -> list[str]:
    """What the rule's definition calls its inputs: all positional parameters but R."""
    function = rule.relevance
    while isinstance(function, partial):
        function = function.func
    names: list[str] = []
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name.removesuffix('s')} {i + 1}" for i in range(count - len(names))]
        elif parameter.kind is not parameter.KEYWORD_ONLY:
            names.append(parameter.name)
    return names[:count]


def tensor(x: Tensor) -> dict[str, Any]:
    """Shape and values; a complex number as text."""
    values = [str(complex(v)) for v in x.flatten()] if x.is_complex() else x.tolist()
    return {"shape": list(x.shape), "values": values}


def _told(value: Any) -> str:
    """An option or constant as one types it."""
    return str(getattr(value, "__name__", None) or repr(value)) if callable(value) else repr(value)
