"""What is known to be relevant, and what leave-one-out says: two judges of an explanation that replace no ranks of tokens."""

from __future__ import annotations


import torch
from torch import Tensor

from ..errors import InputError
from .attribution import Attribution
from .gradients import leave_one_out
from .read import ordinary
from .scores import rank_correlation
from .subject import Case, Inquiry, Subject


def ground_truth(subject: Subject, case: Case, given: Attribution) -> Inquiry:
    """Relevance against the tokens that matter by construction.

    truth-mass:         part of the relevance that lies inside the truth, 0 to 1 (0 where there is none); counted as `truth.mass` says
    truth-mass-by-size: the same, counted by |R| whatever that says
    truth-rank:         of the K most relevant tokens, the part that is true, K the size of the truth
    """
    if case.truth is None:
        raise InputError("Ground truth needs the relevant tokens of each example. Name their column, or leave truth out.")
    yield []
    settings = subject.configuration.truth
    places = ordinary(case, "keep" if settings.over == "ordinary" else "replace")
    inside = torch.tensor([t in case.truth for t in places])
    R = given.relevance[places]
    size = R.clamp(min=0) if settings.mass == "positive" else R.abs()
    K = int(inside.sum())
    tie = torch.randperm(len(places), generator=case.random("ties"))
    first = tie[R[tie].argsort(descending=True, stable=True)][:K]
    return {
        "values": {
            "truth-mass": _part(size, inside),
            "truth-mass-by-size": _part(R.abs(), inside),
            "truth-rank": float(inside[first].double().mean()) if K else None,
        },
        "curves": {},
    }


def _part(size: Tensor, inside: Tensor) -> float:
    """How much of what is nowhere negative lies inside; 0 where there is none."""
    total = float(size.sum())
    return float(size[inside].sum()) / total if total > 0 else 0.0


def agreement(subject: Subject, case: Case, given: Attribution) -> Inquiry:
    """Agreement with leave-one-out.

    leave-one-out-correlation: Spearman's rank correlation of the relevance with what each token's removal costs, -1 to 1
    """
    yield []
    reference, R = leave_one_out(subject, case), given.relevance
    if case.seen:
        value = rank_correlation(*(patches(x, reference) for x in (R, reference)))
    else:
        places = ordinary(case, subject.configuration.text.special)
        value = rank_correlation(R[places], reference[places])
    return {"values": {"leave-one-out-correlation": value}, "curves": {}}


def patches(x: Tensor, reference: Tensor) -> Tensor:
    """Sums of a map over the pieces on which the reference is constant: its patches."""
    _, piece = torch.unique(reference, return_inverse=True)
    return torch.zeros(int(piece.max()) + 1, dtype=x.dtype).index_add_(0, piece.flatten(), x.flatten())
