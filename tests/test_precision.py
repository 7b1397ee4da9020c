"""Half precision tells the same story: relevance is added up in float32 or better and stays inside the range."""

from __future__ import annotations

import pytest
import torch
from models import randomise
from torch import nn

from pelrp_nb.composites import PA_LRP
from pelrp_nb.engine.backward import loss_scaling
from pelrp_nb.engine.options import Options
from pelrp_nb.engine.propagation import propagate
from pelrp_nb.errors import ModelError

HALVES = (torch.bfloat16, torch.float16)
IDS = torch.randint(5, 512, (1, 24), generator=torch.Generator().manual_seed(1))


def llama(attention: str, dtype: torch.dtype, layers: int = 12, embeddings: float = 1.0, head: float = 1.0) -> nn.Module:
    """A random Llama of width 256; its embeddings and its last layer can be made small or large."""
    import transformers as t

    config = t.LlamaConfig(
        vocab_size=512, hidden_size=256, num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=512, max_position_embeddings=128,
    )  # fmt: skip
    model = randomise(t.LlamaForCausalLM(config).double())
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(embeddings)
        model.lm_head.weight.mul_(head)
    model.set_attn_implementation(attention)
    return model.to(dtype)


def run(model: nn.Module, **options):
    with propagate(model, PA_LRP, Options(**options)) as flow:
        return flow.trace(model(input_ids=IDS, use_cache=False).logits[0, -1, 7])


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.double().flatten(), b.double().flatten()]))[0, 1])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_half_precision_ranks_tokens_as_float32_does(attention):
    full = run(llama(attention, torch.float32), audit=True)
    assert full.ledger.closed and full.ledger.tolerance == 1e-3
    for dtype in HALVES:
        half = run(llama(attention, dtype), audit=True)
        assert half.tokens.dtype == half.positional.dtype == torch.float32
        assert correlation(half.semantic, full.semantic) > 0.99
        assert correlation(half.semantic + half.positional.sum(0), full.semantic + full.positional.sum(0)) > 0.99
        assert half.ledger.closed and f"torch.{half.ledger.precision}" == str(dtype)
        assert all(torch.isfinite(b.relevance).all() and b.relevance.dtype == torch.float32 for b in half.boundaries)


def test_rounding_is_reported_as_a_gap_not_hidden():
    gaps = {d: abs(g.gap) / g.scale for d in (torch.float64, *HALVES) if (g := run(llama("eager", d, 4), audit=True).ledger)}
    assert gaps[torch.float64] < 1e-7 < gaps[torch.float16] < 1e-2 and gaps[torch.bfloat16] > 1e-6


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_float16_gradient_that_would_overflow_is_begun_smaller(attention, monkeypatch):
    made = {"layers": 6, "embeddings": 1e-3, "head": 100.0}
    full, model = run(llama(attention, torch.float32, **made)), llama(attention, torch.float16, **made)
    half = run(model)
    assert correlation(half.semantic, full.semantic) > 0.999 and half.ledger.closed
    monkeypatch.setattr(loss_scaling, "POWERS", loss_scaling.POWERS[:1])
    with pytest.raises(ModelError, match=r"leaves the range of float16.*bfloat16"):
        run(model)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_float16_gradient_that_would_vanish_is_begun_larger(attention, monkeypatch):
    full, model = (run(llama(attention, torch.float32, head=1e-4)), llama(attention, torch.float16, head=1e-4))
    half = run(model)
    assert correlation(half.semantic, full.semantic) > 0.999 and half.ledger.closed
    monkeypatch.setattr(loss_scaling, "POWERS", (1.0,))
    assert correlation(run(model).semantic, full.semantic) < 0.99


@pytest.mark.parametrize("power", [2.0**12, 2.0**-12])
def test_a_power_of_two_is_divided_out_to_the_bit(power, monkeypatch):
    model = llama("eager", torch.float32, 2)
    plain = run(model, audit=True)
    monkeypatch.setattr(loss_scaling, "narrow", lambda *_: True)
    monkeypatch.setattr(loss_scaling, "POWERS", (power,))
    scaled = run(model, audit=True)
    assert torch.equal(scaled.tokens, plain.tokens) and torch.equal(scaled.positional, plain.positional)
    assert scaled.ledger == plain.ledger
    assert all(torch.equal(a.relevance, b.relevance) for a, b in zip(scaled.boundaries, plain.boundaries, strict=True))


def test_boundaries_are_told_once_and_in_order_when_the_walk_begins_again():
    heard: list = []
    model = llama("eager", torch.float16, 3, embeddings=1e-3, head=100.0)
    found = run(model, watch=heard.append)
    assert [b.name for b in heard if b.kind == "layer"] == ["layer 2", "layer 1", "layer 0"]
    known = {b.name: b.relevance for b in found.boundaries}
    assert all(torch.equal(known[b.name], b.relevance) for b in heard)


def test_several_targets_of_a_float16_model():
    model = llama("sdpa", torch.float16, 2)
    with propagate(model, PA_LRP) as flow:
        logits = model(input_ids=IDS, use_cache=False).logits
        first, second = flow.trace(logits[0, -1, 3], keep=True), flow.trace(logits[0, -1, 4])
    alone = run(model)
    assert first.ledger.closed and second.ledger.closed and alone.ledger.closed
    assert not torch.equal(first.tokens, second.tokens)
