"""Pictures: pixels replaced in the order of a map, and a map as a segmentation."""

from __future__ import annotations


import torch
from torch import Tensor

from ..errors import InputError
from .attribution import Attribution
from .scores import area, score
from .settings import Images
from .subject import Case, Inquiry, Row, Subject

BOX = 31  # pixels, the side of the blur


def cover(pixels: Tensor, hidden: Tensor, kind: str) -> Tensor:
    """The picture (C, H, W) with the pixels in `hidden` (H, W) replaced."""
    if kind == "zero":
        other = torch.zeros_like(pixels)
    elif kind == "mean":
        other = pixels.mean((-2, -1), keepdim=True).expand_as(pixels)
    else:
        other = torch.nn.functional.avg_pool2d(pixels[None], BOX, 1, BOX // 2, count_include_pad=False)[0]
    return torch.where(hidden, other, pixels)


def map_of(R: Tensor, settings: Images) -> Tensor:
    """The map as the settings read it."""
    return R.clamp(min=0) if settings.below_zero == "clamp" else R


def perturbation(subject: Subject, case: Case, given: Attribution) -> Inquiry:
    """Replace pixels, the most relevant first (positive) and the least relevant first (negative).

    positive-perturbation-auc:  area under the score, most relevant first; lower is better
    negative-perturbation-auc:  least relevant first; higher is better
    symmetric-relevance-gain:   their difference, least minus most
    """
    settings = subject.configuration.images
    R = map_of(given.relevance, settings).flatten()
    tie = torch.rand(len(R), generator=case.random("ties"), dtype=torch.float64)
    by_tie = tie.argsort()
    ascending = by_tie[R[by_tie].argsort(stable=True)]
    pixels = case.row["pixel_values"]
    rows: list[Row] = []
    for order in (ascending.flip(0), ascending):
        for fraction in settings.fractions:
            hidden = torch.zeros(len(R), dtype=torch.bool)
            hidden[order[: round(fraction * len(R))]] = True
            rows.append({**case.row, "pixel_values": cover(pixels, hidden.view(pixels.shape[-2:]), settings.replacement)})
    answers = yield rows
    kept = [score(answer, case.target, settings.score) for answer in answers]
    half = len(settings.fractions)
    most, least = kept[:half], kept[half:]
    areas = area(settings.fractions, most), area(settings.fractions, least)
    return {
        "values": {
            "positive-perturbation-auc": areas[0],
            "negative-perturbation-auc": areas[1],
            "symmetric-relevance-gain": areas[1] - areas[0],
        },
        "curves": {"most relevant first": most, "least relevant first": least},
    }


def segmentation(subject: Subject, case: Case, given: Attribution) -> Inquiry:
    """The map against the object's mask.

    pixel-accuracy:          share of judged pixels on the right side of the threshold
    mean-iou:                intersection over union, mean of object and background
    mean-average-precision:  area under precision over recall, mean of the object by the map and the background by its negative
    """
    if case.mask is None:
        raise InputError("Segmentation needs a mask with each image. Name its column, or leave the protocol segmentation out.")
    settings = subject.configuration.images
    yield []
    R, truth = map_of(given.relevance, settings).flatten(), case.mask.flatten()
    judged = ~truth.isnan()
    R, truth = R[judged], truth[judged] > 0.5
    threshold = R.mean() if settings.threshold == "mean" else R.median()
    found = R.gt(threshold)
    both = [average_precision(R, truth), average_precision(-R, ~truth)]
    precise = [p for p in both if p is not None]
    unions = [iou(found, truth), iou(~found, ~truth)]
    return {
        "values": {
            "pixel-accuracy": float((found == truth).double().mean()),
            "mean-iou": sum(unions) / 2,
            "mean-average-precision": sum(precise) / len(precise) if precise else None,
        },
        "curves": {},
    }


def iou(found: Tensor, truth: Tensor) -> float:
    """Intersection over union of two boolean maps; 1 where both are empty."""
    union = int((found | truth).sum())
    return int((found & truth).sum()) / union if union else 1.0


def average_precision(R: Tensor, truth: Tensor) -> float | None:
    """Sum over thresholds of precision times the step in recall; None without a true pixel."""
    total = int(truth.sum())
    if not total:
        return None
    order = R.argsort(descending=True, stable=True)
    hits, R = truth[order].double().cumsum(0), R[order]
    ends = torch.cat([(R[1:] != R[:-1]).nonzero().flatten(), torch.tensor([len(R) - 1])])  # equal scores count as one step
    recall = hits[ends] / total
    precision = hits[ends] / (ends + 1)
    return float((precision * torch.diff(recall, prepend=recall.new_zeros(1))).sum())
