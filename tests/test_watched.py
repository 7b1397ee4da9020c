"""The account while the walk back runs: each boundary's gap is known when relevance reaches it, and is the same at the end."""

from __future__ import annotations

import pytest
import torch
from models import build, inputs
from shapes import words
from test_engine import run
from test_streams import heard, picture, processor, towers, written
from torch import nn

from pelrp_nb import Options, explain, live, propagate, zoo
from pelrp_nb.engine.trace import Crossing

MODELS = ["llama", "mixtral", "gpt2", "bert", "distilbert", "vit"]
TRUNK = ("layer", "embeddings")


def crossed(said: list[Crossing]) -> dict[str, Crossing]:
    return {b.name: b for b in said if b.kind in TRUNK}


@pytest.mark.parametrize("audit", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_the_gap_known_on_the_way_is_the_gap_at_the_end(name, audit):
    said: list[Crossing] = []
    model, x = build(name), inputs(name)
    found = run(model, x, watch=said.append, audit=audit)
    assert set(crossed(said)) == set(found.ledger.layers)
    for name, boundary in crossed(said).items():
        assert boundary.gap == pytest.approx(found.ledger.layers[name], abs=1e-12 * found.ledger.scale)
        assert abs(boundary.gap) <= boundary.allowed < found.ledger.scale
    assert all(b.gap is None and b.allowed is None for b in said if b.kind not in TRUNK)


class Windows(nn.Module):
    """Layers that see a row as several windows."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.layers = nn.ModuleList(nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.Tanh()) for _ in range(2))
        self.head = nn.Linear(8, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids)
        y = x.reshape(-1, 3, 8)
        for layer in self.layers:
            y = y + layer(y)
        return self.head(y.reshape(x.shape).mean(1))


def test_a_row_that_layers_see_as_windows_is_told_whole():
    model, ids = Windows().double(), torch.arange(12).reshape(2, 6)
    for rows in (ids[:1], ids):
        said: list[Crossing] = []
        with propagate(model, options=Options(watch=said.append)) as flow:
            out = model(rows)
            traces = flow.traces(list(out[:, 0]), visible=[{} for _ in rows])
        for i, trace in enumerate(traces):
            mine = said[i :: len(rows)]
            assert [b.name for b in mine] == ["layer 1", "layer 0", "embeddings"]
            kept = {b.name: b.relevance for b in trace.boundaries}
            assert all(torch.equal(b.relevance, kept[b.name]) and b.relevance.shape == (6,) for b in mine)


def test_watching_changes_no_number_and_leaves_no_hook():
    model, tokenizer = zoo.load("reviews-learnable")
    said: list[Crossing] = []
    watched = explain(model, "a dull film", processor=tokenizer, options=Options(watch=said.append))
    assert said and watched == explain(model, "a dull film", processor=tokenizer)
    assert not any(p._backward_hooks for p in model.parameters())


@pytest.mark.parametrize("name", ["t5", "bart", "whisper"])
def test_an_encoder_and_its_decoder_are_known_on_the_way(name):
    said: list[Crossing] = []
    given = heard() if name == "whisper" else "w7 w8 w9 w10"
    found = explain(written(name), given, processor=words(special=True), options=Options(watch=said.append))
    assert list(crossed(said)) == [f"{s} {b}" for s in ("decoder", "encoder") for b in ("layer 1", "layer 0", "embeddings")]
    for name, boundary in crossed(said).items():
        assert boundary.gap == pytest.approx(found.ledger.layers[name], abs=1e-9 * found.ledger.scale)


def test_a_tower_that_is_walked_first_waits_for_the_other():
    """What the second tower draws is not known before it is walked; it is at the end."""
    said: list[Crossing] = []
    given = {"text": "w7 w8 w9", "images": picture()}
    found = explain(towers("clip"), given, processor=processor(), options=Options(watch=said.append))
    gaps = [b.gap for b in crossed(said).values()]
    half = len(gaps) // 2
    assert gaps[:half] == [None] * half and len(found.ledger.layers) == 2 * half
    for name, boundary in list(crossed(said).items())[half:]:
        assert boundary.gap == pytest.approx(found.ledger.layers[name], abs=1e-6 * found.ledger.scale)


@pytest.mark.parametrize("variant", live.broken.ALL, ids=lambda v: v.name)
def test_a_broken_rule_is_seen_where_it_is_broken(variant):
    """The first boundary that opens on the way is the one that the ledger names at the end."""
    model, tokenizer = zoo.load("reviews-learnable")
    said: list[Crossing] = []
    found = explain(model, "a gorgeous , witty film", processor=tokenizer, composite=variant,
                    options=Options(watch=said.append, audit=True))  # fmt: skip
    opened = next((b.name for b in crossed(said).values() if abs(b.gap) > b.allowed), "input")
    assert opened == found.ledger.opened


def test_each_row_of_a_batch_has_its_own():
    model, tokenizer = zoo.load("reviews-rotary")
    said: list[Crossing] = []
    found = explain(model, ["a dull film", "a gorgeous , witty film"], processor=tokenizer, options=Options(watch=said.append))
    rows = [[b.gap for b in said[at::2] if b.kind in TRUNK] for at in (0, 1)]
    for one, gaps in zip(found, rows, strict=True):
        wanted = [one.ledger.layers[b.name] for b in reversed(one.boundaries) if b.kind in TRUNK]
        assert gaps == pytest.approx(wanted, abs=1e-12)


def test_conditional_relevance_is_checked_at_the_end():
    said: list[Crossing] = []
    found = run(build("llama", "eager"), inputs("llama"), watch=said.append, only={"layer 1": {"heads": [1]}})
    assert all(b.gap is None for b in said) and found.ledger.closed
    assert torch.isfinite(torch.tensor(list(found.ledger.layers.values()))).all()
