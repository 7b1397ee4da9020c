"""What positions do to one model's answers, and what each account says of them: what the confirmation of positions measures.

    effects     swap, signed swap, move (B, n): the mean change of the value when a token is put out of place; shuffle (B,)
    accounts    exchange, PA-LRP, delta attention, uniform half, random (B, n): what the position of a token is worth
    shares      exchange, PA-LRP, delta attention (B,)
    relevance   of the tokens, positions included (B, n)

n are the tokens that are not special; every row of a batch has the same places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any

import torch
from torch import Tensor

from ..composites import ATTN_LRP, DELTA_LRP, PA_LRP
from ..engine.options import Options
from ..exchange import exchange
from ..explain import explain
from ..permute import move, permute_positions
from ..results.exchange import Exchange
from ..results.explanations import Explanations
from .examples import seed_of
from .moved import ROUNDING

SHUFFLES = 16
Found = dict[str, dict[str, list]]
Tell = Callable[[int], None]


@dataclass(frozen=True)
class Batch:
    """Rows of one length without padding, what is explained of each, and the places whose positions are exchanged.

    ids: (B, T); target: (B,) the output explained; places: (n,)
    """

    model: Any
    processor: Any
    ids: Tensor
    target: Tensor
    places: Tensor

    @property
    def rows(self) -> list[dict[str, Tensor]]:
        """Each row as inputs of the model."""
        return [{"input_ids": row[None], "attention_mask": torch.ones_like(row[None])} for row in self.ids]

    def values(self, order: Sequence[int] | None = None) -> Tensor:
        """(B,) what is explained, with positions in another order."""
        inputs = {"input_ids": self.ids, "attention_mask": torch.ones_like(self.ids)}
        with torch.no_grad():
            if order is None:
                logits = self.model(**inputs).logits
            else:
                with permute_positions(self.model, order):
                    logits = self.model(**inputs).logits
        last = logits[:, -1] if logits.dim() == 3 else logits
        return last.gather(1, self.target[:, None])[:, 0].double()


def measured(batch: Batch, tell: Tell = lambda done: None) -> Found:
    """Everything, as lists that JSON takes; `tell` hears of each step of `steps`."""
    effects = effects_of(batch, tell)
    accounts, shares, relevance = accounts_of(batch, tell)
    return {
        part: {name: x.tolist() for name, x in found.items()}
        for part, found in (("effects", effects), ("accounts", accounts), ("shares", shares), ("relevance", relevance))
    }


def steps(rows: int, places: int) -> int:
    """How many times `measured` tells: once for each order of positions, once for each row's exchange."""
    return places * (places - 1) // 2 + places * (places - 1) + SHUFFLES + rows


def effects_of(batch: Batch, tell: Tell) -> dict[str, Tensor]:
    """What really happens when positions are permuted where they enter."""
    before, n, T = batch.values(), len(batch.places), batch.ids.shape[1]

    def change(order: Sequence[int]) -> Tensor:
        found = before - batch.values(order)
        tell(1)
        return torch.where(found.abs() > ROUNDING * before.abs().clamp(min=1.0), found, 0.0)

    places = batch.places.tolist()
    swap, moved = (torch.zeros(len(before), n, n, dtype=torch.float64) for _ in range(2))
    for a, b in combinations(range(n), 2):
        swap[:, a, b] = swap[:, b, a] = change(exchanged(T, places[a], places[b]))
    for a, b in permutations(range(n), 2):
        moved[:, a, b] = change(move(T, places[a], places[b]))
    shuffled = torch.stack([change(order) for order in shuffles(T, places)])
    others = max(n - 1, 1)
    return {
        "swap": swap.abs().sum(-1) / others,
        "signed swap": swap.sum(-1) / others,
        "move": moved.abs().sum(-1) / others,
        "shuffle": shuffled.abs().mean(0),
    }


def exchanged(T: int, t: int, u: int) -> list[int]:
    """The order in which t and u have each other's position."""
    order = list(range(T))
    order[t], order[u] = u, t
    return order


def shuffles(T: int, places: Sequence[int]) -> Iterator[list[int]]:
    """Random orders of these places; the same for every model."""
    at = torch.tensor(places)
    for number in range(SHUFFLES):
        rng = torch.Generator().manual_seed(seed_of(0, "shuffle", number, str(T)))
        order = torch.arange(T)
        order[at] = at[torch.randperm(len(at), generator=rng)]
        yield order.tolist()


def accounts_of(batch: Batch, tell: Tell) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """What each account says of each place, its share, and the relevance of the tokens."""
    worth: list[Exchange] = []
    for row in batch.rows:
        one = exchange(batch.model, row, processor=batch.processor, partners=None)
        assert isinstance(one, Exchange)
        worth.append(one)
        tell(1)
    at = batch.places
    accounts = {
        "exchange by size": torch.stack([one.absolute[at] for one in worth]),
        "exchange": torch.stack([one.signed[at] for one in worth]),
    }
    shares, relevance = {"exchange": torch.tensor([one.share for one in worth], dtype=torch.float64)}, {}
    for name, composite in (("PA-LRP", PA_LRP), ("delta attention", DELTA_LRP), ("AttnLRP", ATTN_LRP)):
        found = explain(batch.model, batch.rows, processor=batch.processor, composite=composite, options=Options(ledger=False))
        assert isinstance(found, Explanations)
        S = torch.stack([one.semantic.double()[at] for one in found])
        P = torch.stack([one.positional.double().sum(0)[at] for one in found])
        relevance[name] = S + P
        if name != "AttnLRP":
            accounts[name], shares[name] = P, _share(S, P)
    accounts["uniform half"] = relevance["AttnLRP"] / 2
    rng = torch.Generator().manual_seed(0)
    accounts["random"] = torch.rand(accounts["exchange"].shape, generator=rng, dtype=torch.float64) - 0.5
    return accounts, shares, relevance


def _share(S: Tensor, P: Tensor) -> Tensor:
    S, P = S.abs().sum(-1), P.abs().sum(-1)
    return (P / (P + S)).nan_to_num(0.0)
