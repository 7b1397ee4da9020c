"""From measurements of single questions to numbers about models: correlations, shares and masses as samples of `hierarchy`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ..hierarchy import Sample, Statistic, auroc, mean, minus, spearman
from .scores import rank_correlation

FIVE = ("recall", "fetch", "order", "previous", "first-half")
ORDERED, FREE = ("fetch", "order", "previous", "first-half"), "majority"
SWAP, SIGNED, MOVE, SHARE, ORDER = MEASURES = ("swap", "signed swap", "move", "share ~ shuffle", "order against majority")
ACCOUNTS = ("exchange", "PA-LRP", "delta attention", "uniform half", "random")
SHARED = ACCOUNTS[:3]
RELEVANCE = ("PA-LRP", "AttnLRP", "delta attention")


@dataclass(frozen=True)
class Model:
    """What was measured on one model: every question of it, its kind beside it."""

    name: str
    seed: int
    kinds: np.ndarray
    questions: tuple[Mapping[str, Any], ...]
    asked: Mapping[str, int]  # kind -> how many; those answered rightly are `questions`

    def sample(self, measure: str, account: str, kinds: Sequence[str] = FIVE) -> Sample:
        """The statistic of one measure and account over the questions of these kinds."""
        kinds = (*ORDERED, FREE) if measure == ORDER else kinds
        at = np.isin(self.kinds, kinds)
        return Sample(self.kinds[at], self._statistic(measure, account, at))

    def difference(self, measure: str, first: str, second: str, kinds: Sequence[str] = FIVE) -> Sample:
        """One account minus another, within this model."""
        a, b = (self.sample(measure, account, kinds) for account in (first, second))
        return Sample(a.groups, minus(a.statistic, b.statistic))

    def _statistic(self, measure: str, account: str, at: np.ndarray) -> Statistic:
        if measure in (SWAP, SIGNED, MOVE):
            return mean(self.correlations[measure, account][at])
        share = np.array([one["shares"][account] for one in self.questions])[at]
        if measure == SHARE:
            return spearman(share, np.array([one["effects"]["shuffle"] for one in self.questions])[at])
        return auroc(share, self.kinds[at] != FREE)

    @cached_property
    def correlations(self) -> dict[tuple[str, str], np.ndarray]:
        """(measure, account) -> (questions,) Spearman's correlation within each; nan where it is not defined."""
        return {
            (measure, account): np.array([_within(one, measure, account) for one in self.questions], dtype=float)
            for measure in (SWAP, SIGNED, MOVE) for account in ACCOUNTS
        }  # fmt: skip

    def mass(self, method: str, positive: bool, kind: str) -> Sample:
        """The part of relevance inside the truth, by size or by what is positive; the question's own name left out."""
        some = [one for one in self.questions if one["kind"] == kind]
        found = []
        for one in some:
            R, inside = np.array(one["relevance"][method])[1:], np.array(one["truth"], dtype=bool)[1:]
            R = R.clip(min=0) if positive else abs(R)
            found.append(R[inside].sum() / R.sum() if R.sum() > 0 else 0.0)
        return Sample(np.array([kind] * len(some)), mean(np.array(found)))


def _within(one: Mapping[str, Any], measure: str, account: str) -> float | None:
    given = one["accounts"][f"{account} by size" if account == "exchange" and measure != SIGNED else account]
    P, effect = torch.tensor(given, dtype=torch.float64), torch.tensor(one["effects"][measure], dtype=torch.float64)
    return rank_correlation(P if measure == SIGNED else P.abs(), effect)


def models_of(files: Iterable[Mapping[str, Any]]) -> list[Model]:
    """One for each name and seed, from what `confirmation` measured."""
    gathered: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for file in files:
        gathered.setdefault((file["name"], file["seed"]), []).append(file)
    found = []
    for (name, seed), some in gathered.items():
        each = [one for file in some for part in file["parts"] for one in _questions(part, file["kind"])]
        asked = {file["kind"]: sum(part["questions"] for part in file["parts"]) for file in some}
        found.append(Model(name, seed, np.array([one["kind"] for one in each]), tuple(each), asked))
    return found


def _questions(part: Mapping[str, Any], kind: str) -> Iterable[dict[str, Any]]:
    """The rows of a batch apart."""
    for i in range(len(part["effects"]["shuffle"])):
        rows = {what: {name: x[i] for name, x in part[what].items()} for what in ("effects", "accounts", "shares", "relevance")}
        yield {"kind": kind, "truth": part["truth"][i] if "truth" in part else None, **rows}
