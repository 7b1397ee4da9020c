"""The methods by name. Anyone's own function of (subject, case) stands beside them: `measure(..., methods={"mine": mine})`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

from ..errors import InputError
from .attention import attention_rollout, gradient_attention
from .attribution import Method
from .frozen import de_pass, le_grad, libra_grad
from .gradients import input_x_gradient, integrated_gradients, leave_one_out, random, smooth_grad
from .others import auto_lrp, missing
from .relevance import (
    attn_lrp, attn_lrp_res, cp_lrp, pa_lrp_absolute, pa_lrp_positive, pa_lrp_signed, random_sinks, relp, uniform_half,
)  # fmt: skip

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "random": random,
        "input-x-gradient": input_x_gradient,
        "integrated-gradients": integrated_gradients,
        "smooth-grad": smooth_grad,
        "leave-one-out": leave_one_out,
        "attention-rollout": attention_rollout,
        "gradient-attention": gradient_attention,
        "le-grad": le_grad,
        "libra-grad": libra_grad,
        "de-pass": de_pass,
        "relp": relp,
        "cp-lrp": cp_lrp,
        "attn-lrp": attn_lrp,
        "attn-lrp-res": attn_lrp_res,
        "pa-lrp-signed": pa_lrp_signed,
        "pa-lrp-absolute": pa_lrp_absolute,
        "pa-lrp-positive": pa_lrp_positive,
        "random-sinks": random_sinks,
        "uniform-half": uniform_half,
    }
)
OTHERS: Mapping[str, Method] = MappingProxyType({"auto-lrp": auto_lrp})  # of other packages, by name only: `all` leaves them out
CONTROLS = ("random-sinks", "uniform-half")
ALL = tuple(name for name in METHODS if name not in CONTROLS)


def chosen(names: Iterable[str], own: Mapping[str, Method] | None = None) -> dict[str, Method]:
    """The methods of these names, the user's own among them; InputError for a name that nobody has.

    A row of another package that is not installed is left out with a warning.
    """
    known = {**METHODS, **OTHERS, **(own or {})}
    found: dict[str, Method] = {}
    names = tuple(names)
    absent = missing(name for name in names if name not in (own or {}))
    for name in names:
        if name in absent:
            warnings.warn(absent[name], stacklevel=2)
            continue
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InputError(f"There is no method {name!r}.{hint} The methods are: {', '.join(known)}.")
        found[name] = known[name]
    if not found:
        raise InputError(f"There must be at least one method. Type some of {', '.join(known)}.")
    return found
