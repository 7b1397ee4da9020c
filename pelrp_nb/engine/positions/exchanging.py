"""What exchanging the positions of two places would change of attention weights, exactly, for many pairs at a time.

Two places exchange their positions if their contents are dealt to each other's places, the chain from where positions enter to the
softmax is run, and its scores are read where the contents are now (`dealing.py`): every encoding is served by the model's own calls.
Queries and keys are dealt apart (`moving.py`), all pairs of a round at once (each place has one partner in it).

A pair changes two rows, which have their softmax anew, and two columns, which change two terms of every other row's sum (`reweighing.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError, ModelError
from ..leaves import Leaf
from ..numerics import better
from ..places import credit
from ..places.maps import Axis
from ..replay import Chain
from . import kernels
from .dealing import Dealer
from .reweighing import Plan, exchanged


@dataclass(frozen=True)
class Pairs:
    """The rounds of an exchange among `n` places: (rounds, n), the partner of each place; itself where it has none."""

    places: Tensor
    rounds: Tensor

    @staticmethod
    def drawn(places: Sequence[int], partners: int | None, seed: int) -> Pairs:
        """As many rounds as partners are wanted, drawn from those of a tournament in which all meet once; None: all of them.

        Of an odd number of places one rests in each round, so there is one round more: none has fewer partners than were wanted.
        """
        n = len(places)
        rng = torch.Generator().manual_seed(seed)
        m = n + n % 2
        shuffled, half = torch.randperm(m, generator=rng), torch.arange(m // 2)
        chosen = torch.randperm(m - 1, generator=rng)[: m - 1 if partners is None else partners + n % 2]
        rounds = []
        for r in sorted(chosen.tolist()):
            circle = torch.cat([torch.zeros(1, dtype=torch.long), 1 + (torch.arange(m - 1) + r) % (m - 1)])
            a, b = shuffled[circle[half]], shuffled[circle[m - 1 - half]]
            partner = torch.arange(m)
            partner[a], partner[b] = b, a
            partner = partner[:n]
            rounds.append(torch.where(partner < n, partner, torch.arange(n)))
        return Pairs(torch.tensor(list(places)), torch.stack(rounds))

    def each(self) -> Tensor:
        """(pairs, 2) places by round, the smaller first."""
        found = []
        for partner in self.rounds:
            first = torch.arange(len(partner))
            at = first < partner
            found.append(torch.stack([self.places[first[at]], self.places[partner[at]]], 1))
        return torch.cat(found)


class Exchanges:
    """A `Worth`: what each pair of places is worth, attention by attention.

    partners, seed: as for `Pairs`; chosen: stream -> the places that take part (None: all)
    places: stream -> (the axes of its input on which its places lie, their places in order)
    pairs, values: (stream -> its pairs), ((stream, attention, call) -> (heads, pairs)); a stream with fewer than two places has neither
    """

    def __init__(self, partners: int | None, seed: int, chosen: Mapping[str, Sequence[int] | None]) -> None:
        self.partners, self.seed, self.chosen = partners, seed, chosen
        self.places: dict[str, tuple[tuple[Axis, ...], list[credit.Place]]] = {}
        self.pairs: dict[str, Pairs] = {}
        self.values: dict[tuple[str, str, int], Tensor] = {}
        self.plans: dict[str, dict[tuple, Plan]] = {}
        self.entered: set[Leaf] = set()

    def drawn(self, leaf: Leaf, own: list[credit.Place]) -> Pairs | None:
        """The pairs of a leaf's stream, which has these places, drawn when it is first met; None of fewer than two places.

        Raises InputError for places that it does not have.
        """
        stream, count = leaf.stream, len(own)
        if stream not in self.places:
            self.places[stream] = leaf.keys, own
            given = self.chosen.get(stream)
            places = list(range(count)) if given is None else list(given)
            if len(places) > 1:
                if not all(0 <= p < count for p in places):
                    raise InputError(f"Places of an exchange must be below {count}, got {places}.")
                self.pairs[stream] = Pairs.drawn(places, self.partners, self.seed)
        return self.pairs.get(stream)

    def add(self, stream: str, where: str, made: int, found: Tensor) -> None:
        """(heads, pairs) that weights are worth, in one use of them."""
        key = (stream, where, made)
        self.values[key] = self.values[key] + found if key in self.values else found

    def of(self, stream: str) -> dict[str, Tensor]:
        """Attention -> (heads, pairs), in the order of the forward pass: the heads of all weights that were made at one place."""
        found: dict[str, list[Tensor]] = {}
        for (name, where, _), values in sorted(self.values.items(), key=lambda item: item[0][2]):
            if name == stream:
                found.setdefault(where, []).append(values)
        return {where: torch.cat(values) for where, values in found.items()}

    def eager(self, flow: Any, chain: Chain, inputs: dict[int, Tensor], into: Tensor, where: str) -> None:
        """Weights that a softmax made, and the gradient of what they were multiplied as."""
        found = chain.softmax()
        if found is None:
            raise ModelError(f"`{where}` computes its softmax in a way that exchange does not follow. Type torch.softmax(scores, dim=-1).")
        scores, weights, made = found
        (A,) = chain.run(inputs, wanted=[weights])
        with torch.enable_grad():
            leaf = better(A).detach().requires_grad_()
            (used,) = chain.run({**inputs, weights: leaf})
            G = into if used is leaf else torch.autograd.grad(used, leaf, into)[0]
        self.attended(chain, inputs, scores, G, (where, made))

    def fused(self, flow: Any, chain: Chain, inputs: dict[int, Tensor], into: Tensor, where: str, causal: bool, more: dict) -> None:
        """A fused kernel of queries, keys and a mask, and the gradient of its weights."""
        scores = chain.then(kernels.scores, kernels.SCORES, causal=causal, scale=more.get("scale"))
        self.attended(chain, inputs, scores, into, (where, chain.steps[-1].call))

    def attended(self, chain: Chain, inputs: dict[int, Tensor], scores: int, G: Tensor, at: tuple[str, int]) -> None:
        """One attention, whose weights have the gradient G; at: its place, and the number of the call that made its weights."""
        leaf = next((one for one in chain.entries if one.taken), None)
        if leaf is None:
            return
        self.entered.update(chain.entries)
        strange = next((one for one in chain.strange if one.taken), None)
        if strange is not None:
            raise ModelError(f"The positions of `{strange.name}` enter scores in a way that cannot be exchanged.")
        with torch.no_grad():
            dealer = Dealer(chain, inputs, scores, leaf.keys, at[0])
            own = credit.of_input(list(dealer.index))
            pairs = self.drawn(leaf, own)
            if pairs is not None:
                index = torch.tensor([dealer.index[own[int(p)]] for p in pairs.places])
                plans = self.plans.setdefault(leaf.stream, {})
                found = exchanged(dealer, better(G).reshape(-1, *G.shape[-2:]), pairs.rounds, index, plans)
                self.add(leaf.stream, *at, found.cpu())
