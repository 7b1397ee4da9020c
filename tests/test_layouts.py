"""Wherever a model has the rows of its batch, its heads and its places: each row of a batch is the row alone, and pairs are pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from models import build_position
from spellings.base import HEAD, HEADS, VOCABULARY, WIDTH, embedding, linear, norm, parameter
from torch import Tensor, nn

from pelrp_nb import CP_LRP, Options, explain, target
from pelrp_nb.engine.propagation import propagate

SCORES = ("bnij", "nbij", "bijn", "ijbn", "nbji")  # batch, heads, queries, keys
LONGEST = 8


class Block(nn.Module):
    """Attention with a relative bias; its scores lie as `scores` says, its stream places first or rows first."""

    def __init__(self, key: str, scores: str, stream: str) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (linear(f"{key}.{name}", WIDTH, WIDTH) for name in "qkvo")
        self.before, self.bias = norm(f"{key}.before"), parameter(f"{key}.bias", HEADS, 2 * LONGEST - 1, scale=1.0)
        self.scores, self.stream = scores, stream

    def forward(self, x: Tensor) -> Tensor:
        h, T, rows_first = self.before(x), x.shape[self.stream.index("i")], self.stream == "bi"
        q, k, v = (part(h).unflatten(-1, (HEADS, HEAD)) for part in (self.q, self.k, self.v))
        one, two = ("bind", "bjnd") if rows_first else ("ibnd", "jbnd")
        bias = self.bias[:, torch.arange(T)[:, None] - torch.arange(T) + LONGEST - 1]
        order = ["nij".index(letter) for letter in self.scores.replace("b", "")]
        s = torch.einsum(f"{one},{two}->{self.scores}", q, k) / math.sqrt(HEAD) + bias.permute(order).unsqueeze(self.scores.index("b"))
        return x + self.o(torch.einsum(f"{self.scores},{two}->{one}", s.softmax(self.scores.index("j")), v).flatten(2))


class Reader(nn.Module):
    """Two blocks and a head on the last place."""

    def __init__(self, scores: str, stream: str) -> None:
        super().__init__()
        self.tokens, self.stream = embedding("tokens", VOCABULARY), stream
        self.layers = nn.ModuleList(Block(str(i), scores, stream) for i in range(2))
        self.head = linear("head", WIDTH, 3)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids if self.stream == "bi" else ids.T)
        for layer in self.layers:
            x = layer(x)
        return self.head(x[:, -1] if self.stream == "bi" else x[-1])


def drawn(rows: int, places: int) -> Tensor:
    return torch.randint(1, VOCABULARY, (rows, places), generator=torch.Generator().manual_seed(10 * rows + places))


def close(ours: Any, theirs: Any) -> bool:
    """Numbers and tensors, in mappings, alike to 1e-9."""
    if hasattr(theirs, "items"):
        return set(ours) == set(theirs) and all(close(ours[name], value) for name, value in theirs.items())
    if not isinstance(theirs, Tensor):
        return ours == theirs if isinstance(theirs, str) else abs(ours - theirs) < 1e-9
    return ours.shape == theirs.shape and float((ours - theirs).abs().max()) < 1e-9


def parts(found) -> Iterator[Any]:
    """All that a result says in numbers."""
    yield from (found.semantic, found.positional, found.detail["heads"], found.detail["pairs"])
    yield from (found.ledger.constants, found.ledger.softmax, {b.name: b.relevance for b in found.boundaries})


def same(ours, theirs) -> bool:
    return all(close(a, b) for a, b in zip(parts(ours), parts(theirs), strict=True))


DETAIL = Options(detail={"heads", "pairs"})


@pytest.mark.parametrize("stream", ["bi", "ib"])
@pytest.mark.parametrize("scores", SCORES)
def test_one_function_has_one_explanation_in_every_layout(scores, stream):
    ids = {"ids": drawn(1, 5)}
    reference = explain(Reader("bnij", "bi"), ids, target=1, options=DETAIL)
    found = explain(Reader(scores, stream), ids, target=1, options=DETAIL)
    assert found.ledger.closed and same(found, reference)


@pytest.mark.parametrize(("rows", "places"), [(2, 2), (2, 5), (2, 4), (4, 4), (2, 1)])
@pytest.mark.parametrize(("scores", "stream"), [("nbij", "bi"), ("ijbn", "ib"), ("bijn", "ib")])
def test_each_row_is_the_row_alone_in_every_layout(scores, stream, rows, places):
    """As many rows as heads, or as places, hide that the first axis is none of the rows. Of one token no axes of a pair can be told."""
    model, ids = Reader(scores, stream), drawn(rows, places)
    for found, row in zip(explain(model, {"ids": ids}, target=1, options=DETAIL), ids, strict=True):
        alone = explain(model, {"ids": row[None]}, target=1, options=DETAIL)
        assert found.ledger.closed and (places == 1 or same(found, alone)) and close(found.semantic, alone.semantic)


@pytest.mark.parametrize(("rows", "places"), [(3, 3), (3, 5), (2, 1)])
def test_boundaries_of_a_stream_with_places_first_are_those_of_each_row(rows, places):
    """Under CP-LRP a map without a bias keeps nothing, so that no gap of the ledger could tell."""
    model, ids = Reader("ijbn", "ib"), drawn(rows, places)
    with propagate(model, CP_LRP) as flow:
        out = model(ids)
        together = flow.traces([out[i, 1] for i in range(rows)])
    for i, found in enumerate(together):
        with propagate(model, CP_LRP) as flow:
            alone = flow.trace(model(ids[i : i + 1])[0, 1])
        assert [b.name for b in found.boundaries] == [b.name for b in alone.boundaries]
        assert all(close(a.relevance, b.relevance) for a, b in zip(found.boundaries, alone.boundaries, strict=True))


@pytest.mark.parametrize("places", [2, 3, 5])
def test_texts_in_a_batch_of_a_model_with_places_first_are_each_as_if_alone(places):
    """XLNet's stream; three texts of three tokens were told apart by places."""
    model, _ = build_position("xlnet")
    ids = torch.randint(5, 96, (3, places), generator=torch.Generator().manual_seed(places))
    for found, row in zip(explain(model, {"input_ids": ids}, target=target.token(7, at=-1)), ids, strict=True):
        alone = explain(model, {"input_ids": row[None]}, target=target.token(7, at=-1))
        assert found.ledger.closed and close(found.ledger.constants, alone.ledger.constants)
        assert close({b.name: b.relevance for b in found.boundaries}, {b.name: b.relevance for b in alone.boundaries})
