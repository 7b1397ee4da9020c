"""The reference walked by hand: its forward pass is the model's, its ledger closes, and the engine gets the same numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from models import ROTARY, SIZES, build, inputs, randomise
from tolerance import rounding
from torch import Tensor

from pelrp_nb import reference, rules, zoo
from pelrp_nb.composites import ATTN_LRP, CP_LRP, PA_LRP, PA_LRP_RES, PA_LRP_VISION, title
from pelrp_nb.engine.options import Options
from pelrp_nb.engine.propagation import propagate
from pelrp_nb.errors import InputError, ModelError

FAMILIES = ("llama", "qwen2", "bert", "distilbert")
COMPOSITES = (PA_LRP, ATTN_LRP, CP_LRP)
NAMES = {"argvalues": COMPOSITES, "ids": title}
CLOSE = 1e-9


def ends(model) -> Tensor:
    """Ids of a sentence that the model's family takes, (1, T)."""
    return inputs(model.config.model_type, T=11)["input_ids"]


def run(model, ids: Tensor, **more) -> Tensor:
    """The row of outputs that is explained."""
    if model.config.model_type in ("llama", "qwen2"):
        more["use_cache"] = False
    logits = model(input_ids=ids, **more).logits
    return logits[0, -1] if logits.dim() == 3 else logits[0]


def both(model, ids: Tensor, composite, visible: Tensor | None = None):
    """The engine's trace and the reference's walk from the highest output."""
    more = {} if visible is None else {"attention_mask": visible}
    with propagate(model, composite, Options(audit=True, detail={"heads", "coordinates"})) as flow:
        out = run(model, ids, **more)
    target = int(out.argmax())
    return flow.trace(out[target]), reference.walk(model, ids, target, composite, visible=visible)


def check_same(ours: Tensor, theirs: Tensor, what: str) -> None:
    """Equal to 1e-9 of the largest value, or both nothing but rounding."""
    assert ours.shape == theirs.shape, what
    if theirs.numel():
        off = float((ours - theirs).abs().max())
        assert off <= max(CLOSE * float(theirs.abs().max()), 1e-15), f"{what}: {off:.1e} apart"


def check_engine_is_reference(trace, walk: reference.Walk) -> None:
    """Tokens, sinks, boundaries and every line of the ledger."""
    check_same(trace.tokens, walk.tokens, "tokens")
    assert [sink.name for sink in trace.sinks] == list(walk.positions)
    check_same(trace.positional, walk.positional, "positional")
    between = [b for b in trace.boundaries if b.kind in ("embeddings", "layer")]
    assert len(between) == len(walk.boundaries)
    for boundary, R in zip(between, walk.boundaries, strict=True):
        check_same(boundary.relevance, R.sum(-1), boundary.name)
    for line, kept in (("constants", walk.constants), ("softmax", walk.softmax)):
        found = getattr(trace.ledger, line)
        assert set(found) <= set(kept)
        for name, amount in kept.items():
            assert found.get(name, 0.0) == pytest.approx(amount, rel=CLOSE, abs=CLOSE * walk.ledger.scale), f"{line}: {name}"


# --- the forward pass ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("casts", [True, False], ids=["casts", "float64"])
@pytest.mark.parametrize("family", FAMILIES)
def test_forward_is_the_models(family, casts):
    model = build(family)
    out = run(model, ends(model)).detach()
    for target in (0, len(out) - 1):
        walk = reference.walk(model, ends(model), target, casts=casts)
        allowed = rounding(walk.ledger.scale, torch.float64 if casts else torch.float32)
        assert walk.value == pytest.approx(float(out[target]), abs=allowed)


@pytest.mark.parametrize("T, heads, copies", [(1, 4, 2), (2, 1, 1), (7, 6, 3), (13, 4, 4)])
def test_forward_is_the_models_for_other_sizes(T, heads, copies):
    import transformers as t

    sizes = {**ROTARY, "num_attention_heads": heads, "num_key_value_heads": heads // copies, "head_dim": 10, "attention_bias": True}
    model = t.LlamaForSequenceClassification(t.LlamaConfig(**sizes, mlp_bias=True, rope_theta=300.0, pad_token_id=0, num_labels=3))
    randomise(model.to(torch.float64), seed=T)
    trace, walk = both(model, inputs("llama", T)["input_ids"], PA_LRP)
    assert walk.positions["layer 2 rotary"]["key"]["cos"].shape == (heads // copies, T, 10)
    assert walk.ledger.closed and any("up_proj.bias" in name for name in walk.constants)
    check_engine_is_reference(trace, walk)


# --- the ledger ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("composite", **NAMES)
@pytest.mark.parametrize("family", FAMILIES)
def test_ledger_closes(family, composite):
    model = build(family)
    walk = reference.walk(model, ends(model), 1, composite)
    assert walk.ledger.closed and walk.ledger.audited
    exact = reference.walk(model, ends(model), 1, composite, casts=False).ledger
    assert abs(exact.gap) <= 1e-12 * exact.scale


@pytest.mark.parametrize("family", FAMILIES)
def test_ledger_has_something_to_close(family):
    """Every keeper holds an amount without which the ledger would be open."""
    model = build(family)
    ledger = reference.walk(model, ends(model), 1).ledger
    biased = family != "llama"
    for amounts in (ledger.softmax, *([ledger.constants] if biased else [])):
        largest = max(amounts, key=lambda name: abs(amounts[name]))
        line = "softmax" if amounts is ledger.softmax else "constants"
        assert not replace(ledger, **{line: {k: v for k, v in amounts.items() if k != largest}}).closed
    assert not replace(ledger, positions=0.0).closed


def test_float32_of_the_library_is_the_only_gap():
    """A Llama's gap is the rounding of its norms and tables; in float64 it is gone, and the tokens hardly move."""
    model = build("llama")
    rounded, exact = (reference.walk(model, ends(model), 1, casts=casts) for casts in (True, False))
    assert abs(rounded.ledger.gap) > 1e3 * abs(exact.ledger.gap)
    torch.testing.assert_close(rounded.tokens, exact.tokens, rtol=0, atol=1e-5 * float(exact.tokens.abs().max()))


# --- what is true of positions ----------------------------------------------------------------------------------------------


def test_queries_and_keys_of_a_layer_get_equal_totals():
    walk = reference.walk(build("llama"), ends(build("llama")), 1, casts=False)
    for layer in walk.positions.values():
        query, key = (float(layer[role]["cos"].sum() + layer[role]["sin"].sum()) for role in ("query", "key"))
        assert query == pytest.approx(key, rel=1e-9) and abs(query) > 1e-6


def test_constant_attention_gives_a_rotary_position_nothing():
    walk = reference.walk(build("llama"), ends(build("llama")), 1, CP_LRP)
    assert not walk.positional.any() and not any(walk.softmax.values())


@pytest.mark.parametrize("family, table", [("bert", "bert"), ("distilbert", "distilbert")])
def test_constant_positions_move_to_the_constants(family, table):
    """An added table gets the same as a sink and as a constant; only the line of the ledger differs."""
    model = build(family)
    sink, constant = (reference.walk(model, ends(model), 1, c) for c in (PA_LRP, ATTN_LRP))
    name = f"{table}.embeddings.position_embeddings.weight"
    assert constant.constants[name] == pytest.approx(float(sink.positions[name].sum()), rel=1e-12)
    assert torch.equal(sink.tokens, constant.tokens) and not constant.positions


# --- the engine ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("composite", [*COMPOSITES, PA_LRP_RES], ids=title)
@pytest.mark.parametrize("family", FAMILIES)
def test_engine_is_reference(family, composite):
    model = build(family)
    check_engine_is_reference(*both(model, ends(model), composite))


def test_engine_is_reference_per_head():
    """Queries and keys, cos and sin, head by head."""
    model = build("llama")
    trace, walk = both(model, ends(model), PA_LRP)
    for name, layer in walk.positions.items():
        for role, tables in layer.items():
            for part, R in tables.items():
                check_same(trace.detail["coordinates"][name][f"{role} {part}"], R, f"{name} {role} {part}")


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_padding_is_not_seen(family):
    model, T = build(family), 8
    ids = ends(model)
    visible = (torch.arange(ids.shape[1]) < T).long()[None]
    trace, walk = both(model, ids, PA_LRP, visible)
    alone = reference.walk(model, ids[:, :T], int(run(model, ids, attention_mask=visible).argmax()))
    check_engine_is_reference(trace, walk)
    check_same(walk.tokens[:T], alone.tokens, "tokens")
    assert not walk.tokens[T:].any() and not walk.positional[:, T:].any()


def test_padding_behind_is_not_pooled():
    """A Llama classifier answers at its last token that is no padding."""
    import transformers as t

    model = t.LlamaForSequenceClassification(t.LlamaConfig(**ROTARY, pad_token_id=0, num_labels=2))
    randomise(model.to(torch.float64))
    ids = ends(model)
    padded = torch.cat((ids, torch.zeros(1, 4, dtype=torch.int64)), 1)
    visible = (padded != 0).long()
    trace, walk = both(model, padded, PA_LRP, visible)
    check_engine_is_reference(trace, walk)
    alone = reference.walk(model, ids, int(run(model, ids).argmax()))
    check_same(walk.tokens[: ids.shape[1]], alone.tokens, "tokens")
    assert not walk.tokens[ids.shape[1] :].any()


@pytest.fixture(scope="module")
def reviews():
    """A zoo model in float64 and ids of held-out sentences."""

    def load(name: str, count: int):
        model, tokenizer = zoo.load(name)
        texts = [example.text for example in zoo.task("reviews").examples[:count]]
        return model.double(), [tokenizer(text, return_tensors="pt")["input_ids"] for text in texts]

    return load


ZOO = [name for name in zoo.names() if name.startswith("reviews-")]


@pytest.mark.parametrize("composite", **NAMES)
@pytest.mark.parametrize("name", ZOO)
def test_engine_is_reference_on_the_zoo(name, composite, reviews):
    model, sentences = reviews(name, 3)
    for ids in sentences:
        trace, walk = both(model, ids, composite)
        assert walk.ledger.closed and trace.ledger.closed
        check_engine_is_reference(trace, walk)


@pytest.mark.parametrize("name", ZOO)
def test_engine_is_reference_on_many_sentences(name, reviews):
    model, sentences = reviews(name, 8)
    for ids in sentences:
        check_engine_is_reference(*both(model, ids, PA_LRP))


def test_engine_is_reference_where_a_word_and_its_position_cancel(reviews):
    """On float16's grid, on which weights are packaged, they do so to exactly 0 now and then, which random weights never do."""
    model, sentences = reviews("reviews-learnable", 300)
    table = model.bert.embeddings
    places = table.position_embeddings.weight + table.token_type_embeddings.weight[0]
    cancel = [ids for ids in sentences if (table.word_embeddings.weight[ids[0]] + places[: ids.shape[1]] == 0).any()]
    assert len(cancel) >= 3
    for ids in cancel[:8]:
        check_engine_is_reference(*both(model, ids, PA_LRP))


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_a_word_that_cancels_its_position_is_still_paid(family):
    """E + P = 0 in one coordinate: the shares are 0/0, and their limit is E g and P g, which is what the engine pays."""
    model, ids = build(family), ends(build(family))
    parts = getattr(model, family).embeddings
    with torch.no_grad():
        base = parts.token_type_embeddings.weight[0, 7] if family == "bert" else 0.0
        parts.word_embeddings.weight[ids[0, 3], 7] = 0.5
        parts.position_embeddings.weight[3, 7] = -(parts.word_embeddings.weight[ids[0, 3], 7] + base)
    trace, walk = both(model, ids, PA_LRP)
    assert abs(float(walk.tokens[3, 7])) > 1e-6
    check_engine_is_reference(trace, walk)


# --- no autograd, and what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_reference_needs_no_autograd(family):
    """In inference mode no graph exists; the walk is the same."""
    model = build(family)
    with torch.inference_mode():
        without = reference.walk(model, ends(model), 1)
    assert torch.equal(without.tokens, reference.walk(model, ends(model), 1).tokens)
    assert not without.tokens.requires_grad


def test_a_walk_leaves_the_model_as_it_was():
    model = build("llama", dtype=torch.float32)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    walk = reference.walk(model, ends(model), 1)
    assert walk.tokens.dtype == torch.float64 and all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_what_the_reference_does_not_know_is_refused():
    import transformers as t

    model, ids = build("bert"), torch.tensor([5, 6, 7])
    with pytest.raises(ModelError, match="gpt2"):
        reference.walk(build("gpt2"), ids, 1)
    with pytest.raises(ModelError, match="gelu_new"):
        reference.walk(t.BertForSequenceClassification(t.BertConfig(**SIZES, hidden_act="gelu_new")), ids, 1)
    with pytest.raises(ModelError, match="linear"):
        scaled = t.LlamaConfig(**ROTARY, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0})
        reference.walk(t.LlamaForCausalLM(scaled), ids, 1)
    for composite in (PA_LRP_VISION, replace(PA_LRP, linear=rules.epsilon(0.1)), replace(PA_LRP, start=1.0)):
        with pytest.raises(InputError, match="PA_LRP with another"):
            reference.walk(model, ids, 1, composite)
    with pytest.raises(InputError, match="one sequence"):
        reference.walk(model, ids.repeat(2, 1), 1)
    for target in (-1, 2):
        with pytest.raises(InputError, match="target"):
            reference.walk(model, ids, target)
