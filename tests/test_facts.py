"""What is true of the method (and must be taught as such), each as a claim."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from models import build, inputs, score

from pelrp_nb import rules
from pelrp_nb.composites import ATTN_LRP, CP_LRP, PA_LRP
from pelrp_nb.engine.options import Options
from pelrp_nb.engine.propagation import propagate


def trace(model, x, composite=PA_LRP, which=None, **options):
    with propagate(model, composite, Options(audit=True, **options)) as flow:
        output = model(**x)
        return flow.trace(score(output) if which is None else output.logits[0, -1, which])


def without_biases(name: str):
    model = build(name)
    with torch.no_grad():
        for parameter_name, p in model.named_parameters():
            if parameter_name.endswith("bias"):
                p.zero_()
    return model


@pytest.mark.parametrize("family", ["gpt2", "bert", "distilbert", "vit"])
def test_leaving_out_added_positions_loses_relevance(family):
    model, x = build(family), inputs(family)
    found, without = trace(model, x), trace(model, x, ATTN_LRP)
    torch.testing.assert_close(found.tokens, without.tokens)
    lost = (
        without.ledger.value
        - without.ledger.tokens
        - sum(without.ledger.softmax.values())
        - sum(v for k, v in found.ledger.constants.items())
    )
    assert lost == pytest.approx(found.ledger.positions, abs=1e-8)
    assert abs(found.ledger.positions) > 1e-4


def test_token_plus_position_is_attnlrp_one_node_later():
    model, x = build("gpt2"), inputs("gpt2")
    found, without = trace(model, x), trace(model, x, ATTN_LRP)
    later = next(b for b in without.boundaries if b.kind == "embeddings")
    torch.testing.assert_close(found.semantic + found.positional.sum(0), later.relevance)


def test_without_biases_tokens_and_positions_are_the_logit_under_cp_lrp():
    found = trace(without_biases("gpt2"), inputs("gpt2"), CP_LRP)
    assert found.ledger.tokens + found.ledger.positions == pytest.approx(found.ledger.value, abs=1e-9)
    assert abs(found.ledger.positions) > 0.01


def test_rotary_sinks_reroute_and_lose_nothing():
    model, x = build("llama"), inputs("llama")
    found, without = trace(model, x), trace(model, x, ATTN_LRP)
    assert found.ledger.closed and without.ledger.closed
    assert not torch.allclose(found.tokens, without.tokens, rtol=1e-3)


def test_rotary_sinks_take_half_of_what_enters_the_query_key_path():
    """Half goes to the rotation, so as much as comes through to the queries and keys behind it."""
    model, x, turned = build("llama"), inputs("llama"), []
    found = trace(model, x)
    layer = model.model.layers[2].self_attn
    for name in ("q_proj", "k_proj"):
        getattr(layer, name).register_forward_hook(lambda m, a, out: turned.append(out))
    with propagate(model, PA_LRP):
        grads = torch.autograd.grad(score(model(**x)), turned)
    through = sum(float((q.detach() * g).sum()) for q, g in zip(turned, grads, strict=True))
    assert float(found.positional[2].sum()) == pytest.approx(through, rel=1e-9)


def test_query_and_key_totals_of_a_layer_are_equal():
    found = trace(build("llama"), inputs("llama"), detail="coordinates")
    for layer in range(3):
        by = found.detail["coordinates"][f"layer {layer} rotary"]
        totals = [sum(float(by[f"{role} {part}"].sum()) for part in ("cos", "sin")) for role in ("query", "key")]
        assert totals[0] == pytest.approx(totals[1], rel=1e-6)


def test_the_softmax_keeps_and_a_single_visible_entry_keeps_its_whole_half():
    R = torch.tensor([[0.8]], dtype=torch.float64)
    x = torch.tensor([[3.7]], dtype=torch.float64)
    assert rules.softmax.relevance(R, x)[0].abs().max() == 0
    found = trace(build("llama"), inputs("llama"))
    assert all(abs(v) > 1e-4 for v in found.ledger.softmax.values())


def test_a_saturated_row_keeps_all_and_nearly_equal_scores_almost_all():
    g = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    saturated = torch.tensor([[60.0, 0.0, 0.0]], dtype=torch.float64)
    equal = torch.tensor([[1e-3, 2e-3, 1.5e-3]], dtype=torch.float64)
    for scores in (saturated, equal):
        R = scores.softmax(-1) * g  # what reaches the weights is always A * g
        (through,) = rules.softmax.relevance(R, scores)
        assert abs(float(through.sum())) < 1e-2 * float(R.sum())


def test_under_cp_lrp_nothing_leaks_at_the_softmax_and_rotary_sinks_are_zero():
    for family in ("llama", "qwen2", "gemma", "mixtral"):
        found = trace(build(family), inputs(family), CP_LRP)
        assert len(found.sinks) == 3
        assert float(found.positional.abs().max()) == 0
        assert sum(map(abs, found.ledger.softmax.values())) == 0


def test_position_zero_gets_its_half_though_it_is_not_rotated():
    model = build("llama")
    found = trace(model, inputs("llama"), detail={"coordinates"})
    sines = [R for by in found.detail["coordinates"].values() for name, R in by.items() if name.endswith("sin")]
    assert len(sines) == 6 and all(float(R[..., 0, :].abs().sum()) == 0 < float(R.abs().sum()) for R in sines)
    assert float(found.positional[:, 0].abs().sum()) > 1e-4


def test_shifting_all_positions_leaves_the_signed_total_and_changes_the_absolute_reduction():
    model, x = build("llama"), inputs("llama")
    ids = torch.arange(9)[None]
    here, there = (trace(model, {**x, "position_ids": ids + by}, which=7) for by in (0, 7))
    assert there.ledger.value == pytest.approx(here.ledger.value, rel=1e-5)
    assert float(there.positional.sum()) == pytest.approx(float(here.positional.sum()), abs=2e-6 * here.ledger.scale)
    torch.testing.assert_close(there.positional, here.positional, rtol=0, atol=1e-5)
    changed = (there.reductions["positional.absolute"] - here.reductions["positional.absolute"]).abs().max()
    assert float(changed) > 1e-3


class Exact(torch.nn.Module):
    """Rotary tables in float64, where the model's own are float32."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, x, position_ids):
        speed = 10_000.0 ** (-torch.arange(0, self.width, 2, dtype=torch.float64) / self.width)
        angle = position_ids[..., None].double() * speed
        angle = torch.cat([angle, angle], -1)
        return angle.cos(), angle.sin()


def test_with_exact_tables_a_shift_changes_the_signed_relevance_by_nothing():
    model, x = build("llama"), inputs("llama")
    model.model.rotary_emb = Exact(12)
    here, there = (trace(model, {**x, "position_ids": torch.arange(9)[None] + by}, which=7) for by in (0, 7))
    scale = here.ledger.scale
    assert float(there.positional.sum()) == pytest.approx(float(here.positional.sum()), abs=1e-12 * scale)
    torch.testing.assert_close(there.positional, here.positional, rtol=0, atol=1e-12 * scale)
    absolute = [found.reductions["positional.absolute"].sum(0) for found in (here, there)]
    assert float((absolute[0] - absolute[1]).abs().max()) > 1e-3


def test_reductions_can_rank_tokens_differently():
    found = trace(build("llama"), inputs("llama", T=16))
    signed = found.semantic + found.positional.sum(0)
    absolute = found.semantic + found.reductions["positional.absolute"].sum(0)
    assert signed.argsort().tolist() != absolute.argsort().tolist()


def test_a_constant_added_to_a_row_of_scores_changes_relevance_but_no_output():
    x = torch.tensor([[0.3, -0.2, 0.9]], dtype=torch.float64)
    R = torch.tensor([[0.5, 0.1, 0.4]], dtype=torch.float64)
    torch.testing.assert_close(x.softmax(-1), (x + 2).softmax(-1))
    assert not torch.allclose(rules.softmax.relevance(R, x)[0], rules.softmax.relevance(R, x + 2)[0])


def test_residual_sums_conserve_the_total_while_amounts_explode():
    a, b = torch.tensor([1.0, 1.0], dtype=torch.float64), torch.tensor([-0.999, 1.0], dtype=torch.float64)
    R = torch.ones(2, dtype=torch.float64)
    R_a, R_b = rules.residual.relevance(R, a, b)
    torch.testing.assert_close(R_a + R_b, R)
    assert float(R_a.abs().max()) > 900
    bounded = rules.reslrp.relevance(R, a, b)
    assert all(float((x + y).sum()) == pytest.approx(2) for x, y in [bounded])
    assert float(bounded[0].abs().max() + bounded[1].abs().max()) <= 3 + 1e-9


def test_large_biases_absorb_relevance():
    model, x = build("qwen2"), inputs("qwen2")
    small = trace(model, x)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("v_proj.bias"):
                p.mul_(20)
    large = trace(model, x)
    assert large.ledger.closed and small.ledger.closed
    assert sum(map(abs, large.ledger.constants.values())) > 3 * sum(map(abs, small.ledger.constants.values()))


def test_no_positions_no_sink():
    model, x = build("llama"), inputs("llama")
    for layer in model.model.layers:
        layer.self_attn.forward = no_rotation(layer.self_attn)
    found = trace(model, x)
    assert found.sinks == () and found.positional.shape == (0, 9) and found.ledger.closed


def no_rotation(attention):
    original = type(attention).forward

    def forward(hidden_states, position_embeddings=None, **kwargs):
        cos, sin = position_embeddings
        return original(attention, hidden_states, (torch.ones_like(cos), torch.zeros_like(sin)), **kwargs)

    return forward


def test_uniform_start_does_not_change_shares():
    model, x = build("llama"), inputs("llama")
    one = trace(model, x, replace(PA_LRP, start=2.0))
    assert one.ledger.value == 2.0 and one.ledger.closed
