"""Conditional relevance: what passes through a head or a neuron; the parts add up, and the rest has its lines in the ledger."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from models import build, build_position, inputs, score
from shapes import drawn, same_answer, together, words
from test_engine import same, state
from test_streams import written
from tolerance import assert_same, rounding
from torch import nn
from torch.nn import functional as F

from pelrp_nb import CP_LRP, PA_LRP, Options, explain, propagate, target
from pelrp_nb.engine.backward import gates, loss_scaling
from pelrp_nb.errors import InputError


def kept(model, only, x=None, **more):
    """One explanation under a condition, audited."""
    return explain(model, inputs_of(model) if x is None else x, options=Options(only=only, audit=True, **more))


def inputs_of(model):
    x = dict(inputs("vit" if "ViT" in type(model).__name__ else "bert"))
    x.pop("use_cache", None)
    return x


def without_attention(model, layer, x):
    """(tokens, positions) of what does not pass through a layer's attention: its output is made a constant for once."""
    attention = next(m for n, m in model.named_modules() if n.endswith((f".{layer}.self_attn", f".{layer}.attn")))
    with propagate(model, PA_LRP) as flow:
        handle = attention.register_forward_hook(lambda _, a, out: (out[0].detach(), *out[1:]))
        try:
            trace = flow.trace(score(model(**x)))
        finally:
            handle.remove()
    return trace.semantic, {s.name: trace.positional[i] for i, s in enumerate(trace.sinks)}


@pytest.mark.parametrize("family", ["llama", "gpt2", "bert", "distilbert", "vit"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_all_single_heads_add_up_to_all_heads(family, attention):
    model = build(family, attention)
    before = state(model)
    single = [kept(model, {"layer 1": {"heads": [h]}}) for h in range(4)]
    whole = kept(model, {"layer 1": {"heads": range(4)}})
    assert same(before, state(model))
    size = sum(e.ledger.scale for e in single)
    assert_same(sum(e.semantic for e in single), whole.semantic, size)
    assert_same(sum(e.positional for e in single), whole.positional, size)
    for e in (*single, whole):
        assert e.ledger.closed, e.ledger
    assert whole.ledger.constants["not kept: other heads of layer 1"] == 0
    assert max(float(e.semantic.abs().sum()) for e in single) > 0


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_heads_and_what_goes_past_them_are_everything(family, layer):
    model = build(family)
    x = {**inputs_of(model), "use_cache": False}
    everything, through = explain(model, inputs_of(model)), kept(model, {layer: {"heads": range(4)}})
    semantic, positional = without_attention(model, layer, x)
    assert_same(through.semantic, everything.semantic - semantic, everything.ledger.scale)
    for i, name in enumerate(everything.sinks):
        inside = not name.startswith("layer") or int(name.split()[1]) <= layer
        rest = positional.get(name, torch.zeros(len(semantic), dtype=torch.float64))
        wanted = everything.positional[i] - rest if inside else torch.zeros_like(rest)
        assert_same(through.positional[i], wanted, everything.ledger.scale)  # sinks behind it are on no way through it


def test_every_line_is_measured():
    model = build("llama")
    plain, under = explain(model, inputs_of(model)), kept(model, {"layer 1": {"heads": [2]}})
    assert under.value == plain.value and all(abs(gap) < 1e-6 * under.ledger.scale for gap in under.ledger.layers.values())
    behind = sum(float(plain.positional[i].sum()) for i, name in enumerate(plain.sinks) if name == "layer 2 rotary")
    allowed = rounding(plain.ledger.scale)
    assert under.ledger.constants["not kept: positions after layer 1"] == pytest.approx(behind, abs=allowed)
    ends = [next(b for b in e.boundaries if b.name == "layer 1").relevance for e in (plain, under)]
    assert_same(*ends)  # up to the layer nothing is different
    here = next(b.total for b in plain.boundaries if b.name == "layer 1")
    names = [f"not kept: {what} heads of layer 1" for what in ("other", "past the")]
    assert here - sum(under.ledger.constants[n] for n in names) == pytest.approx(
        under.ledger.tokens + under.ledger.positions + before_layer(under, 1), abs=allowed
    )


def before_layer(found, layer: int) -> float:
    """All that was kept in a layer and in those before it, apart from what a condition did not let through."""
    kept = found.ledger.kept
    segments = [s for s in kept if s == "embeddings" or (s.startswith("layer") and int(s.split()[1]) <= layer)]
    amounts = sum(v for s in segments for k, v in kept[s].items() if k != "positions")
    return amounts - sum(found.ledger.constants[f"not kept: {w} heads of layer {layer}"] for w in ("other", "past the"))


@pytest.mark.parametrize("line", ["other heads of", "past the heads of", "positions after"])
def test_a_line_that_is_not_booked_opens_the_ledger(monkeypatch, line):
    book = gates.Gate.book
    monkeypatch.setattr(gates.Gate, "book", lambda gate, flow, what, *given: what == line or book(gate, flow, what, *given))
    found = kept(build("llama"), {"layer 1": {"heads": [2]}})
    assert not found.ledger.closed and abs(found.ledger.gap) > 1e-3 * found.ledger.scale


def test_several_gates_are_one_walk_back(monkeypatch):
    walks, back = [], loss_scaling.gradients
    monkeypatch.setattr(loss_scaling, "gradients", lambda *given: walks.append(given) or back(*given))
    assert kept(build("llama"), {0: {"heads": [1], "neurons": [3]}, 2: {"heads": [1]}}).ledger.closed and len(walks) == 1


@pytest.mark.parametrize("kind", ["heads", "neurons"])
@pytest.mark.parametrize("name", ["falcon", "bloom", "swin", "roformer"])
def test_parallel_branches_windows_and_biases_lead_past_a_gate(name, kind):
    model, x = build_position(name)
    with propagate(model, PA_LRP, Options(only={"layer 1": {kind: [1]}}, audit=True)) as flow:
        trace = flow.trace(score(model(**x)))
    assert trace.ledger.closed and float(trace.tokens.abs().sum()) > 0
    assert trace.ledger.constants[f"not kept: past the {kind} of layer 1"]


class Overwriting(nn.Module):
    """Layers whose residual sum is written into the stream itself, which the neurons' gate was made after."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(96, 12)
        self.layers = nn.ModuleList(nn.ModuleDict({"up": nn.Linear(12, 20), "down": nn.Linear(20, 12)}) for _ in range(3))
        for layer in self.layers:
            layer.forward = partial(self.layer, layer)
        self.head = nn.Linear(12, 2)

    def layer(self, parts: nn.ModuleDict, x: torch.Tensor) -> torch.Tensor:
        """One layer."""
        x += parts["down"](F.silu(parts["up"](x)))
        return x

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Scores of two classes."""
        x = self.embed(input_ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean(1))


def test_a_stream_that_is_written_into_is_measured_as_it_was():
    torch.manual_seed(0)
    model = Overwriting().double()
    with propagate(model, PA_LRP, Options(only={"layer 1": {"neurons": range(20)}})) as flow:
        trace = flow.trace(model(torch.arange(5, 12)[None])[0, 1])
    assert trace.ledger.closed and abs(trace.ledger.constants["not kept: past the neurons of layer 1"]) > 1e-3 * trace.ledger.scale


@pytest.mark.parametrize("family", ["llama", "gpt2", "bert", "vit"])
def test_all_neurons_add_up(family):
    model = build(family)
    many = {"llama": 80, "gpt2": 192, "bert": 80, "vit": 80}[family]
    halves = [kept(model, {"layer 1": {"neurons": range(*ends)}}) for ends in ((0, many // 2), (many // 2, many))]
    whole = kept(model, {"layer 1": {"neurons": range(many)}})
    assert_same(halves[0].semantic + halves[1].semantic, whole.semantic, sum(e.ledger.scale for e in halves))
    assert all(e.ledger.closed for e in (*halves, whole)) and whole.ledger.constants["not kept: other neurons of layer 1"] == 0
    one = kept(model, {"layer 1": {"neurons": 7}})
    assert one.ledger.closed and 0 < float(one.semantic.abs().sum()) < float(whole.semantic.abs().sum())


def test_several_conditions_hold_at_once():
    model = build("llama")
    pairs = {(a, b): kept(model, {"layer 0": {"heads": [a]}, "layer 2": {"heads": [b]}}) for a in range(4) for b in range(4)}
    assert all(e.ledger.closed for e in pairs.values())
    whole = kept(model, {"layer 0": {"heads": range(4)}, "layer 2": {"heads": range(4)}})
    assert_same(sum(e.semantic for e in pairs.values()), whole.semantic, sum(e.ledger.scale for e in pairs.values()))
    both = kept(model, {"layer 1": {"heads": range(4), "neurons": range(80)}})
    assert both.ledger.closed and not torch.equal(both.semantic, kept(model, {"layer 1": {"heads": range(4)}}).semantic)


def test_the_rows_of_a_batch_are_their_single_runs():
    model, rows, only = build("llama"), drawn(), {"layer 1": {"heads": [0, 3]}}
    for ours, row in zip(kept(model, only, together(rows)), rows, strict=True):
        same_answer(ours, kept(model, only, {"input_ids": row[None]}))


def test_several_targets_under_one_condition():
    model, only = build("llama"), Options(only={"layer 1": {"heads": [1]}}, audit=True)
    found = explain(model, inputs_of(model), target=target.every([3, 4]), options=only)
    for ours, t in zip(found, (3, 4), strict=True):
        same_answer(ours, explain(model, inputs_of(model), target=t, options=only))


def test_layers_that_run_again_keep_the_same():
    model, only = build("llama"), {"layer 1": {"heads": [1]}}
    again = kept(model, only, checkpoint=True)
    assert_same(again.semantic, kept(model, only).semantic)
    assert again.ledger.closed


@pytest.mark.parametrize("name", ["t5", "bart"])
@pytest.mark.parametrize(
    "only", [{"decoder layer 1": {"heads": [1]}}, {"decoder layer 0": {"cross": [2]}}, {"encoder layer 0": {"heads": [0]}}], ids=str
)
def test_heads_of_an_encoder_decoder(name, only):
    x = ("w7 w8 w9", "w20 w21")
    found = explain(written(name), x, processor=words(), options=Options(only=only, audit=True))
    assert found.ledger.closed and float(sum(s.semantic.abs().sum() for s in found.streams.values())) > 0
    if "cross" not in str(only) and "decoder" in str(only):
        assert float(found.streams["decoder"].semantic.abs().sum()) > 0
    if "encoder layer 0" in only:
        assert float(found.streams["decoder"].semantic.abs().sum()) == 0  # nothing of it comes from there


def test_under_cp_lrp_a_head_passes_its_values_only():
    model = build("llama")
    found = explain(model, inputs_of(model), composite=CP_LRP, options=Options(only={"layer 1": {"heads": [1]}}, audit=True))
    assert found.ledger.closed and float(found.positional.abs().sum()) == 0 and float(found.semantic.abs().sum()) > 0


def test_a_condition_is_written_into_the_card():
    assert kept(build("llama"), {1: {"heads": [0, 2]}}).card["only"] == ["heads 0, 2 of layer 1"]


@pytest.mark.parametrize(
    "only",
    [
        {},
        {"layer 1": {}},
        {"layer 1": 3},
        "all",
        {"layer 1": {"hats": [1]}},
        {"layer 1": {"heads": []}},
        {"layer 1": {"heads": None}},
        {"layer 1": {"heads": ["a"]}},
    ],
    ids=str,
)
def test_a_condition_that_says_nothing_is_refused(only):
    with pytest.raises(InputError, match=r"only must (say|name).*Type Options"):
        Options(only=only)


@pytest.mark.parametrize(
    ("family", "only", "says"),
    [
        ("llama", {"layer 1": {"heads": [4]}}, "between 0 and 3, got 4"),
        ("llama", {"layer 9": {"heads": [0]}}, "no heads of layer 9"),
        ("llama", {"layer 1": {"cross": [0]}}, "no cross of layer 1"),
        ("mixtral", {"layer 1": {"neurons": [0]}}, "no neurons of layer 1"),
    ],
)
def test_what_is_not_there_cannot_be_kept(family, only, says):
    model = build(family)
    before = state(model)
    with pytest.raises(InputError, match=says):
        kept(model, only)
    assert same(before, state(model))
