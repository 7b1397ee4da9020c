"""Delta attention in the engine: every ledger closes with nothing kept by a softmax, and A0 are the weights without positions."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from models import build, build_position, inputs, score
from positioned import FOLLOWED, IDS, UNFOLLOWED, CausalRotary, WrittenRotary, weighing as attention_of
from tolerance import assert_same
from torch import Tensor, nn

from pelrp_nb import Options, explain, propagate, rules, zoo
from pelrp_nb.composites import CP_LRP, DELTA_LRP
from pelrp_nb.engine.handlers import weighing
from pelrp_nb.errors import ModelError
from pelrp_nb.rules.rotary import angles
from pelrp_nb.verbs import stabilise

POSITIONED = [name for name in zoo.names() if not name.endswith("none")]
KINDS = ("gptj", "gpt_neox", "roformer", "roformer on values", "t5", "mpnet", "beit", "swin", "bloom", "mpt", "falcon", "falcon alibi",
         "deberta", "deberta_v2", "xlnet")  # fmt: skip


def streams(found) -> list:
    return list(found.streams.values()) or [found]


def walked(model, x, composite=DELTA_LRP, **options):
    with propagate(model, composite, Options(audit=True, **options)) as flow:
        return flow.trace(score(model(**x)))


@contextmanager
def weights_without_positions(monkeypatch):
    """What each attention has for A0, in the order of the walk back: queries and keys of a fused kernel, or the weights."""
    found = []
    right = weighing.without_positions
    with monkeypatch.context() as patch:
        patch.setattr(weighing, "without_positions", lambda *given: found.append(right(*given)) or found[-1])
        yield found


@pytest.mark.parametrize("name", POSITIONED)
def test_a_zoo_model_closes_and_its_softmaxes_keep_nothing(name):
    model, processor = zoo.load(name)
    task = name.split("-")[0].replace("tasks", "order").replace("scenes", "digit-scenes")
    one = zoo.task(task).examples[0]
    result = explain(
        model, one.image if task == "digit-scenes" else one.text, processor=processor, composite=DELTA_LRP, options=Options(audit=True)
    )
    assert result.ledger.closed and result.ledger.audited and not result.ledger.softmax


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_position_closes_and_softmaxes_keep_nothing(name):
    model, x = build_position(name)
    found, constant = walked(model, x), walked(model, x, CP_LRP)
    assert found.ledger.closed and not found.ledger.softmax
    assert {s.kind for p in streams(found) for s in p.sinks} == {s.kind for p in streams(constant) for s in p.sinks}
    assert abs(found.ledger.positions - constant.ledger.positions) > 1e-6 * found.ledger.scale


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma"])
def test_eager_is_fused(family):
    fused, eager = (walked(build(family, attention), inputs(family)) for attention in ("sdpa", "eager"))
    assert_same(fused.tokens, eager.tokens, eager.ledger.scale)
    assert_same(fused.positional, eager.positional, eager.ledger.scale)


def test_without_rotation_is_what_the_model_computes_at_position_zero(monkeypatch):
    model, x = build("llama", "eager"), inputs("llama")
    with weights_without_positions(monkeypatch) as found:
        walked(model, x)
    with torch.no_grad():
        seen = {**x, "attention_mask": torch.ones_like(x["input_ids"])}
        still = model(**seen, position_ids=torch.zeros_like(x["input_ids"]), output_attentions=True).attentions
        turned = model(**seen, output_attentions=True).attentions
    torch.testing.assert_close(found[-1][0], still[0], rtol=1e-6, atol=1e-7)  # deeper layers see other content
    assert (still[0] - turned[0]).abs().max() > 0.05


@pytest.mark.parametrize("name", ["t5", "beit", "mpnet", "deberta_v2", "xlnet"])
def test_without_a_bias_is_what_the_model_computes_with_an_empty_table(monkeypatch, name):
    model, x = build_position(name, "eager")
    if name == "deberta_v2":  # what is made of the table has biases of its own
        for part, p in model.named_parameters():
            if part.endswith(("query_proj.bias", "key_proj.bias", "encoder.LayerNorm.bias")):
                p.data.zero_()
    with weights_without_positions(monkeypatch) as found:
        walked(model, x)
    full = first_weights(model, x)
    for part, p in model.named_parameters():
        if any(
            w in part for w in ("relative_attention_bias", "relative_position_bias_table", "rel_embeddings", "rel_attn.r_none")
        ) or part.endswith("rel_attn.r"):
            p.data.zero_()
    still = first_weights(model, x)
    torch.testing.assert_close(found[-1][0].reshape(still.shape), still, rtol=1e-6, atol=1e-9)
    assert (still - full).abs().max() > 1e-3


def first_weights(model, x) -> Tensor:
    with torch.no_grad():
        out = model(**x, output_attentions=True)
    return (getattr(out, "encoder_attentions", None) or out.attentions)[0]


class Turning(nn.Module):
    """One head of rotary attention over looked-up tokens, written out."""

    def __init__(self, T: int = 6, d: int = 4):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(20, d)
        self.q, self.k, self.v, self.out = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.double()
        self.cos, self.sin = (t * 1.3 for t in angles(torch.arange(T), d, base=3.0))  # as YaRN scales both

    def parts(self, input_ids: Tensor, still: bool = False) -> tuple[Tensor, Tensor]:
        x = self.table(input_ids)
        cos, sin = (torch.full_like(self.cos, 1.3), torch.zeros_like(self.sin)) if still else (self.cos, self.sin)

        def turn(y: Tensor) -> Tensor:
            a, b = y.chunk(2, -1)
            return y * cos + torch.cat([-b, a], -1) * sin

        s = turn(self.q(x)) @ turn(self.k(x)).mT / math.sqrt(x.shape[-1]) * 3
        hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        return s.masked_fill(hidden, -torch.inf).softmax(-1), self.v(x)

    def forward(self, input_ids: Tensor) -> Tensor:
        A, v = self.parts(input_ids)
        return self.out(A @ v)[0, -1].sum()


def test_the_engine_pays_what_the_page_says():
    model, ids = Turning(), torch.tensor([[3, 4, 5, 6, 7, 8]])
    with propagate(model, DELTA_LRP, Options(audit=True, detail={"pairs"})) as flow:
        found = flow.trace(model(ids))
    (A, v), (still, _) = (model.parts(ids, s) for s in (False, True))
    g = torch.zeros_like(v)
    g[0, -1] = model.out.weight.sum(0)
    R_v, R_pairs = (x.detach() for x in rules.delta.relevance((A @ v) * g, v, A - still, still=still))
    x = model.table(ids)[0]
    into_v = R_v[0] / stabilise(v[0])
    torch.testing.assert_close(found.tokens, (x * (into_v @ model.v.weight)).detach(), rtol=1e-6, atol=1e-8)
    (pairs,) = found.detail["pairs"].values()
    torch.testing.assert_close(pairs["relevance"], R_pairs[0], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(found.positional[0], (R_pairs[0].sum(0) + R_pairs[0].sum(1)) / 2, rtol=1e-6, atol=1e-8)


def test_a_model_without_positions_is_explained_as_by_cp_lrp():
    model, tokenizer = zoo.load("tasks-none")
    text = zoo.task("order").examples[0].text
    delta, constant = (explain(model, text, processor=tokenizer, composite=c) for c in (DELTA_LRP, CP_LRP))
    assert torch.equal(delta.semantic, constant.semantic) and not delta.sinks


def test_one_layer_alone_may_have_it():
    placed = CP_LRP.where({"layer 1": {"softmax": rules.delta}})
    found = walked(build("llama"), inputs("llama"), placed)
    assert found.ledger.closed
    assert [bool(row.any()) for row in found.positional] == [False, True, False]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_layers_run_again_pay_the_same(attention):
    model, x = build("llama", attention), inputs("llama")
    plain, again = walked(model, x), walked(model, x, checkpoint=True)
    assert_same(again.positional, plain.positional, plain.ledger.scale)
    assert_same(again.tokens, plain.tokens, plain.ledger.scale)


def test_rows_of_a_batch_are_paid_as_if_alone():
    model, tokenizer = zoo.load("tasks-rotary")
    texts = [example.text for example in zoo.task("order", count=3).examples]
    together = explain(model, texts, processor=tokenizer, composite=DELTA_LRP)
    for text, row in zip(texts, together, strict=True):
        alone = explain(model, text, processor=tokenizer, composite=DELTA_LRP)
        torch.testing.assert_close(row.positional, alone.positional, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0])
def test_what_positions_changed_paid_wrongly_opens_the_ledger(monkeypatch, factor):
    right = weighing.changed
    monkeypatch.setattr(weighing, "changed", lambda A, still, into: factor * right(A, still, into))
    assert not walked(build("llama"), inputs("llama")).ledger.closed


def test_a_variant_of_it_is_a_replace():
    kept = replace(DELTA_LRP, gate=rules.uniform)
    assert walked(build("llama"), inputs("llama"), kept).ledger.closed


class Overwriting(Turning):
    """The table of positions is written into after it was used."""

    def parts(self, input_ids: Tensor, still: bool = False) -> tuple[Tensor, Tensor]:
        x = self.table(input_ids)
        cos = self.cos.clone()
        turned = self.q(x) * cos
        cos.mul_(2.0)
        s = turned @ self.k(x).mT
        return s.softmax(-1), self.v(x)


def test_what_cannot_be_done_again_is_refused():
    model = Overwriting()
    with pytest.raises(Exception, match="done again"), propagate(model, DELTA_LRP) as flow:
        flow.trace(model(torch.tensor([[3, 4, 5, 6, 7, 8]])))


def of(model, composite=DELTA_LRP):
    with propagate(model, composite) as flow:
        return flow.trace(model(IDS)[0])


@pytest.mark.parametrize("way", UNFOLLOWED)
def test_weights_that_are_used_where_nobody_follows_them_are_refused(way):
    with pytest.raises(ModelError, match=r"uses attention weights in `\w+`.*Write it as weights @ values"):
        of(attention_of(way, UNFOLLOWED[way])())


@pytest.mark.parametrize("way", FOLLOWED)
def test_weights_that_are_used_in_other_ways_pay_positions(way):
    found = of(attention_of(way, FOLLOWED[way])())
    assert found.ledger.closed and abs(found.ledger.positions) > 0.1 * found.ledger.scale


class Unused(CausalRotary):
    """Weights take part where the value does not look."""

    def weigh(self, s: Tensor, v: Tensor) -> Tensor:
        A = s.softmax(-1)
        (A[..., None] * v[..., None, :, :]).sum()
        return A @ v


def test_a_use_that_the_value_does_not_depend_on_is_no_reason_to_refuse():
    assert of(Unused()).ledger.positions == of(CausalRotary()).ledger.positions


def test_scores_that_are_written_into_pay_what_their_twins_pay():
    """A call that took the scores before is done again with them as they were then."""

    class Twin(CausalRotary):
        def weigh(self, s: Tensor, v: Tensor) -> Tensor:
            s = s + 0.3 * s.tanh()
            return (s - s.amax(-1, keepdim=True)).softmax(-1) @ v

    ours, twin = (explain(kind(), {"input_ids": IDS}, target=lambda out: out[0], composite=DELTA_LRP) for kind in (WrittenRotary, Twin))
    assert ours.ledger.closed and float(ours.positional.abs().sum()) > 1
    assert_same(ours.positional, twin.positional)
    assert_same(ours.semantic, twin.semantic)
