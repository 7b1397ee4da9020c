"""The methods of this package, as rows of the comparison."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .. import rules
from ..composites import ATTN_LRP, CP_LRP, PA_LRP, Composite, title
from ..engine.options import Options
from ..explain import explain
from ..results.explanation import Explanation, Reduction
from .attention import spread
from .attribution import Attribution, Method
from .subject import Case, Subject

CP_LRP_PUBLISHED = replace(CP_LRP, positions="constant")
ATTN_LRP_RES = replace(ATTN_LRP, residual=rules.reslrp)
RELP = replace(CP_LRP_PUBLISHED, gate=rules.uniform)  # Jafari et al. 2025, arXiv 2508.21258: a gate is a product of two, half to each


def explained(subject: Subject, case: Case, composite: Composite) -> Explanation:
    """The explanation of a case, made once for all its reductions."""
    return case.once(f"explanation by {title(composite)}", lambda: _explained(subject, case, composite))


def _explained(subject: Subject, case: Case, composite: Composite) -> Explanation:
    processor = None if case.seen else subject.processor
    found = explain(
        subject.model, subject.inputs(case.row), processor=processor, target=case.target, composite=composite,
        options=Options(ledger=False),
    )  # fmt: skip
    assert isinstance(found, Explanation)
    return found


def tokens_by(composite: Composite) -> Method:
    """A method that gives relevance to tokens (or pixels) alone: positions are constants of the composite."""

    def method(subject: Subject, case: Case) -> Tensor:
        found = explained(subject, case, composite)
        return found.map if case.seen and found.map is not None else found.relevance("signed")

    return method


def pairs_by(composite: Composite, reduction: Reduction) -> Method:
    """A method that gives relevance to position-token pairs, sinks reduced in the named way."""

    def method(subject: Subject, case: Case) -> Attribution:
        found = explained(subject, case, composite)
        content, position = found.parts(reduction)
        if not case.seen:
            return Attribution(content + position, position if found.sinks else None)
        if reduction == "signed" and found.map is not None:
            return Attribution(found.map, found.maps["position"] if found.sinks else None)
        maps = [spread(x.double(), subject, case) for x in (content, position)]
        return Attribution(maps[0] + maps[1], maps[1] if found.sinks else None)

    return method


cp_lrp = tokens_by(CP_LRP_PUBLISHED)
relp = tokens_by(RELP)
attn_lrp = tokens_by(ATTN_LRP)
attn_lrp_res = tokens_by(ATTN_LRP_RES)
pa_lrp_signed = pairs_by(PA_LRP, "signed")
pa_lrp_absolute = pairs_by(PA_LRP, "absolute")
pa_lrp_positive = pairs_by(PA_LRP, "positive")


def random_sinks(subject: Subject, case: Case) -> Attribution:
    """A control: AttnLRP's relevance, of which a random part of each token, uniform in 0 to 1, is called the position's."""
    R = attn_lrp(subject, case).double()
    return Attribution(R, R * torch.rand(R.shape, generator=case.random("sinks"), dtype=torch.float64))


def uniform_half(subject: Subject, case: Case) -> Attribution:
    """A control: AttnLRP's relevance, of which half of each token is called the position's."""
    R = attn_lrp(subject, case).double()
    return Attribution(R, R / 2)
