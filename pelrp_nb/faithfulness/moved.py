"""Position perturbation: does the answer change where a token's position is said to matter?

The token stays; its position is exchanged with another's (swap), or the token is taken out and put back elsewhere (move). The change of
the answer, averaged over other places, is ranked against the relevance of the token's position. Positions of all tokens are shuffled
(shuffle): what that changes is the truth for positional shares.  Positions are permuted where they enter, whatever the encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from ..errors import InputError
from .attribution import Attribution
from .read import ordinary
from .scores import rank_correlation, score
from .subject import Case, Inquiry, Row, Subject

ROUNDING = 1e-5  # a change of the answer below this, in units of the answer (at least 1), is none


def displaced(subject: Subject, case: Case, given: Attribution) -> Inquiry:
    """Rank correlation of |relevance of the position| with the mean change of the answer when the token is put out of place.

    Methods that know no positions are judged by |relevance|.

    position-swap-correlation: two tokens exchange their positions; needs a model that has some
    position-move-correlation: a token is moved, those between shift by one place
    position-swap-effect, position-move-effect: the mean change itself; the same for every method
    position-shuffle-effect:   the mean change where the positions of all tokens are shuffled; the same for every method
    positional-share:          sum |P| / (sum |S| + sum |P|), where the method tells content S from position P
    """
    if case.seen:
        raise InputError("Position perturbation is for texts. Leave the protocol positions out.")
    settings = subject.configuration.positions
    places = ordinary(case, "keep")
    ways = [way for way in settings.ways if way == "move" or "position_ids" in subject.accepts or subject.positioned(case.row)]
    pairs = partners(case, places, settings.partners)
    by_ids = "position_ids" in subject.accepts
    one_by_one = [way for way in ways if way != "shuffle"]
    rows = case.once("out of place", lambda: [put(case.row, way, t, u, by_ids) for way in one_by_one for t, u in each(pairs)])
    orders = case.once("shuffled", lambda: [shuffled(subject, case, places, i) for i in range(settings.partners * ("shuffle" in ways))])
    answers = yield [*rows, *orders]
    P = given.relevance if given.position is None else given.position
    before = score(case.answer, case.target, settings.score)
    change = torch.tensor([score(a, case.target, settings.score) - before for a in answers], dtype=torch.float64)
    change = torch.where(change.abs() > ROUNDING * max(1.0, abs(before)), change, 0.0)
    change = change**2 if settings.change == "squared" else change.abs()
    values: dict[str, float | None] = {"positional-share": share(given)}
    if orders:
        values["position-shuffle-effect"] = float(change[len(rows) :].mean())
    change, sizes = change[: len(rows)], [len(others) for _, others in pairs]
    for way, changes in zip(one_by_one, change.split(sum(sizes)) if sum(sizes) else [], strict=False):
        effect = torch.stack([some.mean() for some in changes.split(sizes)])
        values[f"position-{way}-correlation"] = rank_correlation(P[places].abs(), effect)
        values[f"position-{way}-effect"] = float(effect.mean())
    return {"values": values, "curves": {}}


def partners(case: Case, places: Sequence[int], most: int) -> list[tuple[int, list[int]]]:
    """For each token the other places it is put in; the same draw for every method."""
    rng = case.random("partners")
    found = []
    for t in places:
        others = [u for u in places if u != t]
        found.append((t, [others[i] for i in torch.randperm(len(others), generator=rng)[:most].tolist()]))
    return found


def each(pairs: Sequence[tuple[int, list[int]]]) -> Iterator[tuple[int, int]]:
    """Every token with each of its partners."""
    return ((t, u) for t, others in pairs for u in others)


def placed(row: Row, order: torch.Tensor, by_ids: bool) -> Row:
    """The row whose token i has the position of `order[i]`: by position_ids where the model takes them, else where positions enter."""
    if by_ids:
        return {**row, "position_ids": row.get("position_ids", torch.arange(len(order)))[order]}
    return {**row, "order": order}


def shuffled(subject: Subject, case: Case, places: Sequence[int], number: int) -> Row:
    """The row with the positions of its ordinary tokens shuffled; the same for every method."""
    order = torch.arange(len(case.row["input_ids"]))
    at = torch.tensor(list(places), dtype=torch.long)
    order[at] = at[torch.randperm(len(at), generator=case.random(f"shuffle {number}"))]
    return placed(case.row, order, "position_ids" in subject.accepts)


def put(row: Row, way: str, t: int, u: int, by_ids: bool = True) -> Row:
    """The row with token t put out of place."""
    T = len(row["input_ids"])
    if way == "swap":
        swapped = torch.arange(T)
        swapped[[t, u]] = swapped[[u, t]]
        return placed(row, swapped, by_ids)
    order = [i for i in range(T) if i != t]
    order.insert(u, t)
    return {name: value[order] if name in ("input_ids", "token_type_ids") else value for name, value in row.items()}


def share(given: Attribution) -> float | None:
    """The positional share; None where the method does not tell."""
    if given.position is None:
        return None
    P, S = float(given.position.abs().sum()), float((given.relevance - given.position).abs().sum())
    return P / (P + S) if P + S > 0 else 0.0
