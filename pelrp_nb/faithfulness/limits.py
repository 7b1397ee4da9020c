"""Why exchange follows some of what positions do and not the rest: the exploration in `tutorials/positions.md`, not preregistered.

    python -m pelrp_nb.faithfulness.limits FOLDER --seeds SEEDS --out tutorials/positions.md

Measurements stay in FOLDER, one file for each model and kind of question: what is there is not done again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..composites import CP_LRP, PA_LRP
from ..engine.positions.exchanging import Pairs
from ..errors import exit_code
from ..permute import move
from ..results.serialisation import put
from . import paths
from .confirmation import MODELS, Job, jobs, read
from .confirmed import Batch, exchanged, shuffles
from .examples import seed_of
from .limits_page import MEASURED, write
from .replayed import at_tokens, gradients, replayed, states
from .scores import rank_correlation

QUESTIONS, PARTNERS, MOVES, SEEDS = 8, 4, 2, 3  # of each kind; partners and moves of each place; seeds of each model
TRUE, EXCHANGE = "what swaps really do", "exchange"
Changes = dict[tuple[str, str], Tensor]  # (account, "swap" or "move") -> (B, orders) what it says the value loses


@dataclass(frozen=True)
class Orders:
    """Swaps of each place with some others and moves to some, drawn at random."""

    places: int
    swaps: list[tuple[int, int]]
    moves: list[tuple[int, int]]
    swapped: list[list[int]]
    moved: list[list[int]]

    @staticmethod
    def of(batch: Batch) -> Orders:
        places, T = batch.places.tolist(), batch.ids.shape[1]
        n = len(places)
        swaps = [(int(t), int(u)) for t, u in Pairs.drawn(range(n), PARTNERS, 0).each()]
        rng = torch.Generator().manual_seed(seed_of(0, "moves", n, str(T)))
        moves = [(t, u) for t in range(n) for u in torch.randperm(n, generator=rng).tolist() if u != t]
        moves = [pair for t in range(n) for pair in [one for one in moves if one[0] == t][:MOVES]]
        swapped, moved = ([make(T, places[t], places[u]) for t, u in some] for make, some in ((exchanged, swaps), (move, moves)))
        return Orders(n, swaps, moves, swapped, moved)

    def mean(self, change: Tensor, way: str) -> Tensor:
        """(B, orders) -> (B, n): over the partners of each place."""
        total, count = torch.zeros(len(change), self.places, dtype=torch.float64), torch.zeros(self.places)
        for k, pair in enumerate(self.swaps if way == "swap" else self.moves):
            for place in pair if way == "swap" else pair[:1]:
                total[:, place] += change[:, k].double()
                count[place] += 1
        return total / count


def measured(batch: Batch) -> list[dict[str, Any]]:
    """For each question and account: rank correlations with what really happens, and amounts."""
    batch.model.double()
    orders = Orders.of(batch)
    changes = accounts(batch, orders)
    shuffled = states(batch, list(shuffles(batch.ids.shape[1], batch.places.tolist()))[:8])[1]
    shuffle = (batch.values()[:, None] - shuffled).abs().mean(-1)
    S = tokens(batch).detach()
    truth = {way: changes[TRUE, way] for way in ("swap", "move")}
    effects = {
        "swap": orders.mean(truth["swap"].abs(), "swap"),
        "signed swap": orders.mean(truth["swap"], "swap"),
        "move": orders.mean(truth["move"].abs(), "move"),
    }
    found: list[dict[str, Any]] = [{"shuffle": float(x), "S": float(s), "accounts": {}} for x, s in zip(shuffle, S, strict=True)]
    for (account, way), change in changes.items():
        size, signed = orders.mean(change.abs(), way), orders.mean(change, way)
        for row, one in enumerate(found):
            told = {m: rank_correlation((signed if m == "signed swap" else size)[row], effects[m][row]) for m in MEASURED}
            if way == "move":
                one["accounts"].setdefault(account, {})["move replayed"] = told["move"]
            else:
                one["accounts"].setdefault(account, {}).update(told, P=float(signed[row].abs().sum()))
    return found


def accounts(batch: Batch, orders: Orders) -> Changes:
    """What every account says of every order."""
    found: Changes = {}
    before = batch.values()[:, None]
    for way, some in (("swap", orders.swapped), ("move", orders.moved)):
        made, values = states(batch, some)
        found[TRUE, way] = before - values
        weights = replayed(batch, some)
        first = weights.sum(1) if weights is not None else paths.linear(batch, some, PA_LRP)
        assert first is not None
        found[EXCHANGE, way] = first
        for depth, ((x, g), others) in enumerate(zip(gradients(batch, CP_LRP), made, strict=True)):
            if depth:
                above = weights[:, depth:].sum(1) if weights is not None else 0.0
                found[f"the first {depth} of {len(made) - 1} layers exact", way] = ((x[:, None] - others) * g[:, None]).sum(
                    (-1, -2)
                ) + above
        for name, composite in (("integrated, plain gradient", None), ("integrated, gradient of PA-LRP", PA_LRP)):
            if (path := paths.integrated(batch, some, composite)) is not None:
                found[name, way] = path
    if (second := paths.half_way(batch, orders.swaps)) is not None:
        found["second order, plain gradient", "swap"] = second
    return found


def tokens(batch: Batch) -> Tensor:
    """(B,) sum of sizes of the tokens' relevance under CP-LRP, at the places that take part."""
    vectors = batch.model.get_input_embeddings()(batch.ids).detach()
    return (vectors * at_tokens(batch, CP_LRP)).sum(-1)[:, batch.places].abs().sum(-1)


def run(folder: Path, seeds: Path | None) -> list[dict[str, Any]]:
    """The measurements of all, from their files where they are there."""
    from tqdm.auto import tqdm

    todo = [job for job in jobs(seeds, None, MODELS) if job.seed < SEEDS]
    found = []
    for job in tqdm(todo, unit="file", mininterval=1.0 if sys.stderr.isatty() else 30.0):
        path = folder / job.file
        if not path.exists():
            put(path, (json.dumps(_of(job)) + "\n").encode())
        found.append(read(path, job))
    return found


def _of(job: Job) -> dict[str, Any]:
    parts = (replace(batch, ids=batch.ids[:QUESTIONS], target=batch.target[:QUESTIONS]) for batch in _batches(job))
    asked = [one for batch in parts for one in measured(batch)]
    return {"name": job.name, "seed": job.seed, "kind": job.kind, "weights": job.weights, "questions": asked}


def _batches(job: Job) -> Iterator[Batch]:
    return (batch for batch, _ in job.batches())


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing and write the tables into the page."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb.faithfulness.limits", description=main.__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where measurements are kept")
    parser.add_argument("--seeds", type=Path, metavar="DIR", help="what `zoo seeds` wrote; the package's own models alone if absent")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page to write the tables into (Markdown)")
    given = parser.parse_args(argv)
    given.folder.mkdir(parents=True, exist_ok=True)
    found = run(given.folder, given.seeds)
    if given.out:
        write(found, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
