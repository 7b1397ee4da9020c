"""Each deliberate mistake opens the ledger, and the ledger names the place where it was made."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from models import build, inputs, score

from pelrp_nb import PA_LRP, Options, explain, live
from pelrp_nb.composites import title
from pelrp_nb.engine.propagation import propagate
from pelrp_nb.errors import InputError
from pelrp_nb.live import broken
from pelrp_nb.verbs import input_times_gradient

# model -> variant -> the first boundary, walking back, that no longer balances; None: the model has nothing to break there.
# Three layers: the head stands above layer 2, the MLP of layer 2 between layer 2 and layer 1, added positions below the embeddings.
OPENS = {
    "llama": {"no-bias-share": None, "weights-as-factors": "layer 2", "gelu-by-operations": "layer 1", "no-position-sink": None,
              "plain-norms": "layer 2"},
    "qwen2": {"no-bias-share": "layer 1", "no-position-sink": None},
    "gpt2": {"no-bias-share": "layer 2", "weights-as-factors": "layer 2", "gelu-by-operations": "layer 1",
             "no-position-sink": "input", "plain-norms": "layer 2"},
    "bert": {"no-bias-share": "layer 2", "weights-as-factors": "layer 2", "gelu-by-operations": "layer 1",
             "no-position-sink": "input", "plain-norms": "layer 1"},
    "distilbert": {"no-position-sink": "input", "plain-norms": "layer 1"},
}  # fmt: skip
AUDIT = Options(audit=True)


@pytest.fixture(scope="module")
def models():
    return {name: (build(name), inputs(name)) for name in OPENS}


@pytest.mark.parametrize("name", OPENS)
def test_the_right_rules_close(models, name):
    model, x = models[name]
    assert explain(model, x, target=score, options=AUDIT).ledger.closed


@pytest.mark.parametrize(("name", "variant"), [(name, variant) for name, opens in OPENS.items() for variant in opens])
def test_the_ledger_opens_where_the_mistake_is(models, name, variant):
    model, x = models[name]
    found = explain(model, x, target=score, composite=broken.variant(variant), options=AUDIT)
    assert found.ledger.opened == OPENS[name][variant]
    between = broken.leak(found.ledger)
    if between is None:
        assert found.ledger.closed
    else:
        assert (between[0] == "the answer") == (between[1] == "layer 2")
        stations = ["the answer", *found.ledger.layers, "input"]
        assert stations.index(between[1]) == stations.index(between[0]) + 1


@pytest.mark.parametrize("variant", OPENS["gpt2"])
def test_a_mistake_is_the_same_mistake_in_layers_that_run_again(models, variant):
    model, x = models["gpt2"]
    wrong = [
        explain(model, x, target=score, composite=broken.variant(variant), options=replace(AUDIT, checkpoint=c)) for c in (True, False)
    ]
    assert wrong[0].ledger == wrong[1].ledger and torch.equal(wrong[0].semantic, wrong[1].semantic)


def test_a_forgotten_bias_leaves_the_tokens_as_they_are(models):
    model, x = models["bert"]
    right = explain(model, x, target=score, options=AUDIT)
    wrong = explain(model, x, target=score, composite=broken.NO_BIAS_SHARE, options=AUDIT)
    torch.testing.assert_close(wrong.semantic, right.semantic)
    biases = sum(amount for name, amount in right.ledger.constants.items() if name.endswith("bias"))
    assert wrong.ledger.gap == pytest.approx(biases)
    assert not [name for name in wrong.ledger.constants if name.endswith("bias")]


def test_a_forgotten_position_is_missing_to_the_number(models):
    model, x = models["gpt2"]
    right = explain(model, x, target=score, options=AUDIT)
    wrong = explain(model, x, target=score, composite=broken.NO_POSITION_SINK, options=AUDIT)
    assert wrong.ledger.gap == pytest.approx(right.ledger.positions)
    assert right.sinks and not wrong.sinks


def test_rotations_keep_their_sinks():
    """The variant is about added positions; a rotary model has none."""
    model, x = build("llama"), inputs("llama")
    assert explain(model, x, target=score, composite=broken.NO_POSITION_SINK).sinks == explain(model, x, target=score).sinks


def test_a_plain_rms_norm_gives_relevance_to_nobody(models):
    """The output of a norm does not depend on the size of its input, so input times gradient is exactly 0 under the last one."""
    model, x = models["llama"]
    wrong = explain(model, x, target=score, composite=broken.PLAIN_NORMS, options=AUDIT)
    above = next(b for b in wrong.boundaries if b.name == "layer 2")
    assert abs(above.total) < 1e-4 * abs(wrong.value)


def test_half_of_a_linear_map_ends_in_its_weight(models):
    """Walking back over the head's linear map and the last norm: a quarter arrives."""
    model, x = models["llama"]
    right, wrong = (explain(model, x, target=score, composite=c) for c in (PA_LRP, broken.WEIGHTS_AS_FACTORS))
    arrived = [next(b for b in e.boundaries if b.name == "layer 2").total for e in (right, wrong)]
    assert arrived[1] == pytest.approx(arrived[0] / 4)


@pytest.mark.parametrize("curve", ["gelu", "silu"])
def test_an_activation_by_operations_is_two_halves_and_a_constant(curve):
    """y = x g: half to x; half to g = g(0) + (g - g(0)), of which only the second part depends on x."""
    from pelrp_nb.rules.identity import SLOPES

    f, slope = getattr(torch.nn.functional, curve), SLOPES[curve]
    x = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    R = torch.randn(50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rule = broken.GELU_BY_OPERATIONS.activation
    (found,) = input_times_gradient(lambda x: rule.forward(x, f=f, slope=slope), R, x)
    g = f(x) / x
    torch.testing.assert_close(found, R / 2 + R / 2 * (g - 1 / 2) / g)


def test_a_written_out_gelu_is_broken_like_a_fused_one(models):
    """GPT-2 writes its GELU by operations: the engine takes it for one activation, the variant for products."""
    from transformers import GPT2Config, GPT2LMHeadModel

    model, x = models["gpt2"]
    fused = GPT2LMHeadModel(GPT2Config(**{**model.config.to_dict(), "activation_function": "gelu_pytorch_tanh"})).double().eval()
    fused.load_state_dict(model.state_dict())
    variant = broken.GELU_BY_OPERATIONS
    one, other = (explain(m, x, target=score, composite=variant, options=AUDIT) for m in (model, fused))
    assert one.ledger.opened == other.ledger.opened == "layer 1"
    # The cubic inside the tanh is walked through in one and not in the other, so only the place is the same, not the number.
    assert abs(one.ledger.gap) > 1e-2 < abs(other.ledger.gap)


def test_nothing_stays_broken(models):
    model, x = models["gpt2"]
    before = explain(model, x, target=score, options=AUDIT)
    for variant in broken.ALL:
        explain(model, x, target=score, composite=variant, options=AUDIT)
    assert explain(model, x, target=score, options=AUDIT) == before


@pytest.mark.parametrize("variant", broken.ALL, ids=lambda v: v.name)
def test_a_variant_is_a_frozen_composite_with_a_name(models, variant):
    assert broken.variant(variant.name) is variant
    assert repr(variant) == f"broken.variant({variant.name!r})"
    assert title(variant) == f"broken: {variant.name}"
    assert variant != PA_LRP and replace(variant, mistake="") != variant
    model, _ = models["llama"]
    with propagate(model, variant) as flow:
        assert type(flow) is variant.flow
    assert not [m for m in model.modules() if m._forward_hooks]


def test_an_unknown_variant_is_refused():
    with pytest.raises(InputError, match="must be one of no-bias-share"):
        broken.variant("no-such-mistake")


# --- the switch ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def breaks(models):
    model, x = models["bert"]
    return live.break_it(model, x, target=score)


def test_the_switch_holds_the_right_rules_and_every_mistake(breaks):
    assert breaks["right"].ledger.closed and breaks["right"].ledger.audited
    assert list(breaks.wrong) == [variant.name for variant in broken.ALL]
    assert breaks["plain-norms"].ledger.opened == "layer 1"
    with pytest.raises(InputError, match="there are right, no-bias-share"):
        breaks["wrong"]
    assert repr(breaks).startswith("Breaks(right closed, no-bias-share open at layer 2, ")


def test_the_switch_draws_what_the_explanations_say(breaks):
    shown = breaks.sheet().data["variants"]
    assert [v["name"] for v in shown] == ["right", *breaks.wrong]
    for v in shown:
        ledger = breaks[v["name"]].ledger
        stations = {s["name"]: s for s in v["stations"]}
        assert list(stations) == ["the answer", *ledger.layers, "the inputs"]
        assert [s["gap"] for s in v["stations"]] == pytest.approx([0.0, *ledger.layers.values(), ledger.gap])
        assert v["closed"] == ledger.closed == (v["between"] is None)
        totals = {b.name: b.total for b in breaks[v["name"]].boundaries}
        assert all(stations[name]["total"] == totals[name] for name in ledger.layers)


def test_a_mistake_that_changes_nothing_here_is_told_from_those_that_bite(models):
    model, x = models["llama"]
    sheet = live.break_it(model, x, target=score).sheet()
    idle = {v["name"] for v in sheet.data["variants"] if v.get("idle")}
    assert idle == {name for name, place in OPENS["llama"].items() if place is None}
    opens = OPENS["llama"]["weights-as-factors"]
    shown = next(v for v in sheet.data["variants"] if v["name"] == "weights-as-factors")
    assert sheet.state == {"variant": "weights-as-factors", "step": [s["name"] for s in shown["data"]["walk"]].index(opens)}


def test_the_switch_shows_the_mistake_as_it_is_written(breaks):
    shown = {v["name"]: v for v in breaks.sheet().data["variants"]}
    assert shown["right"]["written"] == []
    names = {name: [title for title, _ in v["written"]] for name, v in shown.items()}
    assert names["no-bias-share"] == ["ForgetsBiases", "NoBiasShare"]
    assert names["plain-norms"] == ["rms_norm, wrong", "layer_norm, wrong", "PlainNorms"]
    assert shown["no-bias-share"]["written"][0][1].startswith("class ForgetsBiases(Account)")
    page = shown["plain-norms"]["data"]["rules"]["layer_norm"]
    assert page["name"] == "layer_norm, wrong" and "_plain_layer_norm" in page["forward"]
    assert "_plain_layer_norm" not in shown["right"]["data"]["rules"]["layer_norm"]["forward"]
