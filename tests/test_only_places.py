"""Relevance that passes through chosen places of a residual sum: as much as is lost where these are cut, and all places are everything."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from models import build, build_position
from shapes import drawn, together, words
from test_engine import same, state
from test_only import Overwriting, inputs_of, kept
from test_streams import written
from tolerance import assert_same
from torch import Tensor, nn

from pelrp_nb import CP_LRP, PA_LRP, Options, explain, propagate
from pelrp_nb.engine.backward import gates
from pelrp_nb.errors import InputError

SUMS = ["layer 1 attention", "layer 1 mlp", "layer 1"]


class Layer(nn.Module):
    """Attention and an MLP, each added to the stream; of the first sum, or the second, some places can be cut from what they came from."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(12, 12) for _ in range(4))
        self.up, self.down = nn.Linear(12, 20), nn.Linear(20, 12)
        self.cut: dict[str, int] = {}

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part(x).unflatten(-1, (3, 4)).transpose(1, 2) for part in (self.query, self.key, self.value))
        mixed = (q @ k.transpose(-1, -2) / 2).softmax(-1) @ v
        x = self.without("attention", x + self.out(mixed.transpose(1, 2).flatten(2)))
        return self.without("mlp", x + self.down(torch.relu(self.up(x))))

    def without(self, name: str, x: Tensor) -> Tensor:
        """The sum with one place made a constant."""
        i = self.cut.get(name)
        return x if i is None else torch.cat([x[:, :i], x[:, i : i + 1].detach(), x[:, i + 1 :]], 1)


class Stack(nn.Module):
    """Three of them over vectors with added positions."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.positions = nn.Embedding(96, 12), nn.Parameter(torch.randn(6, 12))
        self.layers, self.head = nn.ModuleList(Layer() for _ in range(3)), nn.Linear(12, 2)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.embed(input_ids) * math.sqrt(12) + self.positions
        for layer in self.layers:
            x = layer(x)
        return self.head(x[:, -1])


def walk(model: nn.Module, only: Any = None) -> Any:
    """One walk back from a logit of the last place."""
    with propagate(model, PA_LRP, Options(only=only, audit=True)) as flow:
        return flow.trace(model(torch.tensor([[7, 23, 11, 64, 5, 40]]))[0, 1])


@pytest.mark.parametrize("name", ["attention", "mlp"])
def test_what_passes_through_a_place_is_what_is_lost_where_it_is_cut(name):
    torch.manual_seed(0)
    model = Stack().double()
    whole, size = walk(model), 0.0
    for i in range(6):
        through = walk(model, {f"layer 1 {name}": {"places": [i]}})
        model.layers[1].cut = {name: i}
        cut = walk(model)
        model.layers[1].cut = {}
        assert through.ledger.closed
        torch.testing.assert_close(through.semantic, whole.semantic - cut.semantic, rtol=0, atol=1e-9)
        torch.testing.assert_close(through.positional, whole.positional - cut.positional, rtol=0, atol=1e-9)
        size = max(size, float(through.semantic.abs().max()))
    assert size > 1e-3


@pytest.mark.parametrize("family", ["llama", "gpt2", "bert", "distilbert", "vit"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_all_single_places_add_up_to_everything(family, attention):
    model = build(family, attention)
    before, whole = state(model), explain(model, inputs_of(model))
    single = [kept(model, {"layer 1 attention": {"places": [i]}}) for i in range(len(whole.semantic))]
    assert same(before, state(model))
    size = sum(e.ledger.scale for e in single)
    assert_same(sum(e.semantic for e in single), whole.semantic, size)
    for e in single:
        assert e.ledger.closed and e.value == whole.value, e.ledger
    behind = [not name.startswith("layer") or int(name.split()[1]) <= 1 for name in whole.sinks]
    for i, here in enumerate(behind):
        assert_same(sum(e.positional[i] for e in single), whole.positional[i] * here, size)
    assert max(float(e.semantic.abs().sum()) for e in single) > 0


@pytest.mark.parametrize("name", SUMS)
def test_several_places_are_the_sum_of_each(name):
    model = build("llama")
    both, one, other = (kept(model, {name: {"places": which}}) for which in ([2, 5], [2], [5]))
    assert_same(both.semantic, one.semantic + other.semantic, both.ledger.scale)
    assert not torch.equal(one.semantic, other.semantic)


def test_a_layer_hands_on_its_last_sum():
    model = build("gpt2")
    layer, mlp, later = (kept(model, {name: {"places": [3]}}) for name in ("layer 1", "layer 1 mlp", "layer 2 attention"))
    assert torch.equal(layer.semantic, mlp.semantic) and not torch.equal(layer.semantic, later.semantic)


@pytest.mark.parametrize("line", ["other places of", "positions after"])
def test_a_line_that_is_not_booked_opens_the_ledger(monkeypatch, line):
    book = gates.Gate.book
    monkeypatch.setattr(gates.Gate, "book", lambda gate, flow, what, *given: what == line or book(gate, flow, what, *given))
    found = kept(build("llama"), {"layer 1 attention": {"places": [2]}})
    assert not found.ledger.closed and abs(found.ledger.gap) > 1e-3 * found.ledger.scale


@pytest.mark.parametrize("name", ["falcon", "bloom", "swin", "roformer", "gptj", "mpnet"])
def test_parallel_branches_windows_and_biases_are_gated(name):
    model, x = build_position(name)
    for layer in ("layer 1 attention", "layer 1"):
        with propagate(model, PA_LRP, Options(only={layer: {"places": [1]}}, audit=True)) as flow:
            out = model(**x)
            trace = flow.trace(next(v for v in out.values() if torch.is_tensor(v)).flatten()[-1])
        assert trace.ledger.closed and trace.ledger.constants[f"not kept: other places of {layer}"], layer


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_rows_of_a_batch_count_their_own_places(side):
    model, rows, only = build("llama"), drawn(), {"layer 1 attention": {"places": [0, 3]}}
    for ours, row in zip(kept(model, only, together(rows, side)), rows, strict=True):
        alone = kept(model, only, {"input_ids": row[None]})
        assert_same(ours.semantic, alone.semantic, alone.ledger.scale)
        assert_same(ours.positional, alone.positional, alone.ledger.scale)
        assert ours.ledger.closed


def test_layers_that_run_again_keep_the_same():
    model, only = build("llama"), {"layer 1 attention": {"places": [1]}}
    again = kept(model, only, checkpoint=True)
    assert_same(again.semantic, kept(model, only).semantic)
    assert again.ledger.closed


def test_a_stream_that_is_written_into_is_gated_as_it_was():
    torch.manual_seed(0)
    model = Overwriting().double()

    def through(only: Any) -> Any:
        with propagate(model, PA_LRP, Options(only=only, audit=True)) as flow:
            return flow.trace(model(torch.arange(5, 12)[None])[0, 1])

    whole, single = through(None), [through({"layer 1": {"places": [i]}}) for i in range(7)]
    torch.testing.assert_close(sum(one.semantic for one in single), whole.semantic, rtol=0, atol=1e-9)
    assert all(one.ledger.closed for one in single)
    for i, one in enumerate(single):  # no layer of it mixes places
        torch.testing.assert_close(one.semantic[i], whole.semantic[i])
        assert not one.semantic[[j for j in range(7) if j != i]].any()


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_places_of_an_encoder_and_a_decoder_are_apart(name):
    for stream, places in (("encoder", 3), ("decoder", 2)):
        only = {f"{stream} layer 0 attention": {"places": range(places)}}
        found = explain(written(name), ("w7 w8 w9", "w20 w21"), processor=words(), options=Options(only=only, audit=True))
        assert found.ledger.closed and float(found.streams[stream].semantic.abs().sum()) > 0
        other = "decoder" if stream == "encoder" else "encoder"
        assert not found.streams[other].semantic.any()  # nothing of it comes from there


@pytest.mark.parametrize("composite", [PA_LRP, CP_LRP], ids=["pa-lrp", "cp-lrp"])
def test_routes_under_a_place_begin_there_and_are_as_before_above(composite):
    model = build("llama")
    x = inputs_of(model)

    def under(only: Any = None) -> Any:
        return explain(model, x, composite=composite, options=Options(detail={"routes"}, only=only)).routes

    free, found = under(), under({"layer 1 attention": {"places": [6]}})
    others = [i for i in range(len(free.nodes["layer 1 attention"]["relevance"])) if i != 6]
    for part in ("relevance", "skip", "branch"):
        assert torch.equal(found.nodes["layer 2 attention"][part], free.nodes["layer 2 attention"][part])
        assert torch.equal(found.nodes["layer 1 attention"][part][6], free.nodes["layer 1 attention"][part][6])
        assert not found.nodes["layer 1 attention"][part][others].any()
    assert torch.equal(found.matrix("layer 2"), free.matrix("layer 2"))
    assert torch.equal(found.matrix("layer 1")[6], free.matrix("layer 1")[6]) and free.matrix("layer 1")[6].any()
    assert not found.matrix("layer 1")[others].any() and not torch.equal(found.matrix("layer 0"), free.matrix("layer 0"))


def test_a_condition_is_written_into_the_card():
    assert kept(build("llama"), {"layer 1 mlp": {"places": [0, 2]}}).card["only"] == ["places 0, 2 of layer 1 mlp"]


@pytest.mark.parametrize(
    ("only", "says"),
    [
        ({"layer 1 attention": {"places": [9]}}, "places of layer 1 attention must lie between 0 and 8, got 9"),
        ({"layer 1": {"places": [-1]}}, "between 0 and 8, got -1"),
        ({"layer 9 attention": {"places": [0]}}, "no places of layer 9 attention"),
        ({"layer 1 hats": {"places": [0]}}, "no places of layer 1 hats"),
    ],
)
def test_a_place_that_is_not_there_cannot_be_kept(only, says):
    model = build("llama")
    before = state(model)
    with pytest.raises(InputError, match=says):
        kept(model, only)
    assert same(before, state(model))
