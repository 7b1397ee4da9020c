"""The account balances, on every family, and says so only when it does."""

from __future__ import annotations

import math

import pytest
import torch
from models import FAMILIES, build, inputs, score
from tolerance import assert_same

from pelrp_nb.composites import ATTN_LRP, AUTHORS_VISION, CP_LRP, PA_LRP, PA_LRP_RES, PA_LRP_VISION
from pelrp_nb.engine.options import Options
from pelrp_nb.engine.propagation import propagate
from pelrp_nb.ledger import Ledger

COMPOSITES = {"pa": PA_LRP, "attn": ATTN_LRP, "cp": CP_LRP, "res": PA_LRP_RES, "vision": PA_LRP_VISION, "authors": AUTHORS_VISION}
SINKS = {"gpt2": "learnable", "bert": "learnable", "vit": "learnable", "distilbert": "absolute"}


def trace(model, x, composite=PA_LRP, audit=True):
    with propagate(model, composite, Options(audit=audit)) as flow:
        return flow.trace(score(model(**x)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_ledger_closes(family, attention, dtype):
    model, x = build(family, attention, dtype), inputs(family, dtype=dtype)
    for name, composite in COMPOSITES.items():
        if name in ("vision", "authors") and family != "vit":
            continue
        found = trace(model, x, composite)
        assert found.ledger.closed, (name, str(found.ledger))
        assert found.ledger.audited
        kinds = {s.kind for s in found.sinks}
        assert kinds == ({SINKS.get(family, "rotary")} if composite.positions == "sink" else set()), (name, kinds)


@pytest.mark.parametrize("family", FAMILIES)
def test_fast_ledger_equals_the_audited_one(family):
    model, x = build(family), inputs(family)
    fast, audited = trace(model, x, audit=False), trace(model, x)
    assert not fast.ledger.audited and audited.ledger.audited
    for name, amount in audited.ledger.softmax.items():
        assert fast.ledger.softmax[name] == pytest.approx(amount, abs=1e-6 * audited.ledger.scale)
    torch.testing.assert_close(fast.tokens, audited.tokens, rtol=0, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_boundary_balances(family):
    found = trace(build(family), inputs(family))
    assert list(found.ledger.layers) == ["layer 2", "layer 1", "layer 0", "embeddings"]
    assert all(abs(gap) < 1e-6 * found.ledger.scale for gap in found.ledger.layers.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_branches_add_up_to_their_layer(family):
    found = trace(build(family), inputs(family))
    names = [b.name for b in found.boundaries]
    assert names[:4] == ["embeddings", "layer 0 attention", "layer 0 mlp", "layer 0"]
    assert len(names) == 1 + 3 * 3


def test_eager_is_fused():
    for family in FAMILIES:
        eager, fused = (trace(build(family, how), inputs(family)) for how in ("eager", "sdpa"))
        assert_same(eager.tokens, fused.tokens, fused.ledger.scale)
        assert_same(eager.positional, fused.positional, fused.ledger.scale)


def test_an_open_ledger_names_the_layer():
    found = Ledger(value=1.0, tokens=0.5, positions=0.1, scale=1.0, layers={"layer 2": 1e-5, "layer 1": 0.4, "layer 0": 0.4})
    assert not found.closed and found.opened == "layer 1"
    assert "open at layer 1 (the gap is 4.0e-01, 1.0e-03 allowed" in str(found)


def test_large_biases_do_not_hide_missing_tokens():
    found = Ledger(value=1000.0, tokens=0.01, positions=0.0, constants={"bias": 999.98}, scale=0.01)
    assert not found.closed


def test_nan_is_not_closed():
    assert not Ledger(value=float("nan"), tokens=0.0, positions=0.0, scale=1.0).closed
    assert not Ledger(value=1.0, tokens=float("inf"), positions=0.0, scale=float("inf")).closed


@pytest.mark.parametrize("bound", [{"rounding": math.nan}, {"rounding": math.inf}, {"scale": math.nan}, {"scale": math.inf}], ids=str)
def test_an_account_whose_rounding_is_no_number_is_open(bound):
    found = Ledger(**{"value": 1.0, "tokens": 0.5, "positions": 0.5, "scale": 1.0, "layers": {"layer 1": 0.0}, **bound})
    assert found.state == "open" and found.verdict == "open at layer 1"


def test_constants_are_booked_one_by_one():
    found = trace(build("bert"), inputs("bert"))
    names = set(found.ledger.constants)
    assert "bert.embeddings.token_type_embeddings.weight" in names
    assert "bert.encoder.layer.1.attention.self.query.bias" in names
    assert "bert.embeddings.LayerNorm.bias" in names
    vit = trace(build("vit"), inputs("vit"))
    assert "vit.embeddings.cls_token" in vit.ledger.constants


def test_constant_positions_are_booked_by_name():
    found = trace(build("gpt2"), inputs("gpt2"), ATTN_LRP)
    assert "transformer.wpe.weight" in found.ledger.constants and len(found.sinks) == 0


def test_start_of_one_makes_the_value_one():
    from dataclasses import replace

    model, x = build("llama"), inputs("llama")
    one, full = trace(model, x, replace(PA_LRP, start=1.0)), trace(model, x)
    assert one.ledger.value == 1.0 and one.ledger.closed
    assert_same(one.tokens * full.ledger.value, full.tokens, full.ledger.scale)
