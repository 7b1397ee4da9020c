"""Which rule for which kind of operation: a composite is a frozen value, a variant is a `replace`.

    PA_LRP          AttnLRP, and every place where positions enter is a sink        (Bakish et al. 2025)
    ATTN_LRP        AttnLRP as published: positions are constants                   (Achtibat et al. 2024)
    CP_LRP          attention weights and gates are constants                       (Ali et al. 2022)
    PA_LRP_VISION   PA_LRP with the gamma rule on MLP, head and patches; conserving
    PA_LRP_RES      PA_LRP with sign-aware residual sums                            (ResLRP 2026)
    AUTHORS_VISION  the authors' image recipe, its lost half included               (Bakish et al. 2025, released code)

Nothing here knows how a library spells an operation; that is `engine/handlers/torch_table.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from . import rules
from .rules import Rule


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
    softmax:     every softmax; `constant` sends all of attention through the values
    rms_norm, layer_norm: norms (batch and group norms with frozen statistics as layer norms)
    residual:    sums of a block's input and a branch
    values:      what the values get where the softmax is constant; below 1 the rest is lost, and booked as such
    positions:   "sink", positions are inputs and receive; "constant", they are booked by name
    start:       "value", R(logit) = logit; or the number that the logit starts with
    unknown:     "refuse" an operation without a rule, or accept its plain "gradient" and report it
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

    def __post_init__(self) -> None:
        if self.positions not in ("sink", "constant"):
            raise ValueError(f'positions must be "sink" or "constant", got {self.positions!r}')
        if self.unknown not in ("refuse", "gradient"):
            raise ValueError(f'unknown must be "refuse" or "gradient", got {self.unknown!r}')
        if self.start != "value" and not isinstance(self.start, int | float):
            raise ValueError(f'start must be "value" or a number such as 1.0, got {self.start!r}')

    @property
    def softmax_is_constant(self) -> bool:
        """Whether attention weights receive nothing."""
        return self.softmax == rules.constant

    def __repr__(self) -> str:
        shown = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self))
        return f"Composite({shown})"


PA_LRP = Composite()
ATTN_LRP = replace(PA_LRP, positions="constant")
CP_LRP = replace(PA_LRP, softmax=rules.constant, gate=rules.constant)
PA_LRP_VISION = replace(PA_LRP, linear=rules.gamma(0.05), patch=rules.gamma(100))
PA_LRP_RES = replace(PA_LRP, residual=rules.reslrp)
AUTHORS_VISION = replace(CP_LRP, linear=rules.gamma(0.05), patch=rules.gamma(100), values=0.5, start=1.0)

NAMED = {
    "pa-lrp": PA_LRP,
    "attn-lrp": ATTN_LRP,
    "cp-lrp": CP_LRP,
    "pa-lrp-vision": PA_LRP_VISION,
    "pa-lrp-res": PA_LRP_RES,
    "authors-vision": AUTHORS_VISION,
}


def title(composite: Composite) -> str:
    """The composite's name where it has one, else its nearest name and the fields that differ."""
    if label := getattr(composite, "label", None):
        return label
    for label, known in NAMED.items():
        if known == composite:
            return label
    different = [f.name for f in fields(composite) if getattr(composite, f.name) != getattr(PA_LRP, f.name)]
    return "pa-lrp with " + ", ".join(f"{name}={getattr(composite, name)!r}" for name in different)
