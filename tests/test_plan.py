"""What would be done, and what it would take, said before it is done."""

from __future__ import annotations

import importlib
import json

import pytest
import torch
from models import build, build_position, inputs, score
from test_engine import same, state
from torch import nn

import pelrp_nb
from pelrp_nb import plan
from pelrp_nb.composites import CP_LRP, PA_LRP, PA_LRP_VISION
from pelrp_nb.engine import memory, shapes
from pelrp_nb.engine.options import Options
from pelrp_nb.engine.propagation import propagate
from pelrp_nb.errors import InputError

OLDEST = torch.__version__.startswith("2.8.")
FAMILIES = ("llama", "mixtral", "gpt2", "bert", "vit")


def nodes(tree: dict) -> list[dict]:
    return [tree, *(node for child in tree["children"] for node in nodes(child))]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tree_is_the_model_with_a_reason_for_every_rule(family):
    model, x = build(family, dtype=torch.float32), inputs(family, dtype=torch.float32)
    before = state(model)
    found = plan(model, x)
    assert same(before, state(model))
    tree = json.loads(json.dumps(found.tree()))  # plain data
    assert tree["kind"] == type(model).__name__ and len(nodes(tree)) == len(list(model.modules()))
    assert sum(len(node["rules"]) for node in nodes(tree)) == len(found.steps) > 20
    for node in nodes(tree):
        for rule in node["rules"]:
            assert set(rule) == {"operation", "rule", "reason", "conserves"}
            assert rule["conserves"] and len(rule["reason"]) > 8, rule
    linear = [node for node in nodes(tree) if node["kind"] in ("Linear", "Conv1D")]
    assert all(any(r["rule"] == "epsilon" for r in node["rules"]) for node in linear if node["name"] != "pooler")
    assert not found.refusals and found.sinks


def test_what_is_planned_is_what_is_done():
    for family, composite in (("llama", PA_LRP), ("bert", CP_LRP), ("vit", PA_LRP_VISION)):
        model, x = build(family), inputs(family)
        found = plan(model, x, composite=composite)
        with propagate(model, composite) as flow:
            done = flow.trace(score(model(**x)))
        assert [(s.name, s.kind) for s in found.sinks] == [(s.name, s.kind) for s in done.sinks]
        bent = {(s.operation, s.rule, s.reason) for s in found.steps if s.rule != "plain"}
        assert bent == {(s.operation, s.rule, s.reason) for s in flow.steps.values()}


def test_rules_are_said_module_by_module():
    model, x = build("vit", dtype=torch.float32), inputs("vit", dtype=torch.float32)
    by = {node["name"]: node for node in nodes(plan(model, x, composite=PA_LRP_VISION).tree())}
    rule = lambda name: {r["rule"] for r in by[name]["rules"] if r["operation"] in ("linear", "conv2d")}
    assert rule("projection") == {"gamma(100)"} and rule("classifier") == {"gamma(0.05)"}
    assert rule("q_proj" if "q_proj" in by else "query") == {"epsilon"}


def test_a_printed_plan_names_rules_sinks_and_memory():
    model, x = build("llama", dtype=torch.float32), inputs("llama")
    printed = str(plan(model, x))
    for words in ("residual", "rotation", "layer 0 rotary (rotary)", "refused: nothing", "memory: about", "activations"):
        assert words in printed
    assert printed.index("epsilon") < printed.index("plain")


class Strange(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        return torch.logcumsumexp(self.inner(x), -1)


def test_what_would_be_refused_is_listed_not_raised():
    x = {"inputs_embeds": torch.randn(1, 3, 4)}

    class Model(Strange):
        def forward(self, inputs_embeds):
            return super().forward(inputs_embeds)

    found = plan(Model(), x)
    assert found.refusals == ("no rule for `logcumsumexp` in Model",)
    refused = [r for node in nodes(found.tree()) for r in node["rules"] if r["rule"] == "none"]
    assert [(r["operation"], r["conserves"]) for r in refused] == [("logcumsumexp", "nothing")]
    compiled = plan(torch.compile(build("llama")), inputs("llama"))
    assert "compiled model hides" in compiled.refusals[0] and compiled.tree()["children"] == []


# --- shapes in place of values ----------------------------------------------------------------------------------------

PLANS = importlib.import_module("pelrp_nb.plan")  # the name is that of the function


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", [*FAMILIES, "qwen2", "gemma", "distilbert"])
def test_a_plan_by_shapes_is_the_plan_by_values(family, attention, monkeypatch):
    model, x = build(family, attention, torch.float32), inputs(family, dtype=torch.float32)
    wanted, before = plan(model, x), state(model)
    monkeypatch.setattr(PLANS, "LARGE", 0)
    found = plan(model, x)
    assert found == wanted and found.bytes == wanted.bytes
    assert same(before, state(model))
    values = PLANS.by_shape(model, PA_LRP, Options(), PLANS.longest(model, x, None, Options())[0])
    assert (values is None) == (family == "mixtral")  # experts read which of them each token goes to


@pytest.mark.parametrize("kind", ["t5", "mpt", "deberta", "falcon alibi"])
def test_every_kind_of_position_is_planned_alike_by_shapes(kind, monkeypatch):
    model, x = build_position(kind)
    wanted = plan(model.float(), x)  # the oldest transformers' MPT takes no float64
    monkeypatch.setattr(PLANS, "LARGE", 0)
    found = plan(model, x)
    assert found == wanted and found.sinks and found.bytes == wanted.bytes
    assert OLDEST or PLANS.by_shape(model, PA_LRP, Options(), PLANS.longest(model, x, None, Options())[0])


def test_a_shape_lies_where_the_tensor_lies_and_shares_its_memory():
    model, x = build("llama", dtype=torch.float32), torch.ones(2, 3)
    mode = shapes.Shapes()
    one = mode.of(x)
    view, other = one.t(), one @ model.lm_head.weight[:3]
    assert type(view) is type(other) is type(one) and view.device == other.device == x.device
    assert view.stride() == x.t().stride() and other.shape == (2, model.lm_head.weight.shape[1])
    assert view.untyped_storage()._cdata == one.untyped_storage()._cdata != other.untyped_storage()._cdata


@pytest.mark.skipif(OLDEST, reason="torch 2.8 makes the whole mask of a causal attention, shapes or not")
def test_shapes_are_computed_with_where_values_would_take_long():
    """A million places of a Llama: attention alone would take hours."""
    model = build("llama", dtype=torch.float32)
    model.config.max_position_embeddings = 2**20
    found = plan(model, {"input_ids": torch.zeros(1, 2**20, dtype=torch.long)})
    assert found.peak > 2**30 and not found.refusals
    assert [s.name for s in found.sinks] == [s.name for s in plan(model, inputs("llama")).sinks]


@pytest.mark.skipif(OLDEST, reason="transformers groups the products of experts from torch 2.9 on")
def test_experts_in_one_grouped_product_are_planned_by_their_shapes(monkeypatch, caplog):
    model, x = build("mixtral", dtype=torch.float32), inputs("mixtral")
    wanted_by_hand = plan(model, x)
    model.set_experts_implementation("grouped_mm")
    wanted = plan(model, x)
    monkeypatch.setattr(PLANS, "LARGE", 0)
    assert plan(model, x) == wanted and wanted.sinks == wanted_by_hand.sinks
    assert PLANS.by_shape(model, PA_LRP, Options(), PLANS.longest(model, x, None, Options())[0])
    assert not caplog.records


def test_a_model_that_reads_its_values_is_planned_by_them(monkeypatch, caplog):
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, inputs_embeds):
            out = self.inner(inputs_embeds)
            return out * 2 if out.sum() > 0 else out * 3

    model, x = Reads(), {"inputs_embeds": torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))}
    wanted = plan(model, x)
    monkeypatch.setattr(PLANS, "LARGE", 0)
    assert plan(model, x) == wanted and not caplog.records


# --- bytes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_the_estimate_grows_with_what_is_asked(family):
    model, x = build(family, "eager", torch.float32), inputs(family, T=24, dtype=torch.float32)
    plain, less, half = (
        plan(model, x), plan(model, x, options=Options(checkpoint=True)), plan(model.half(), inputs(family, 24, torch.float16))
    )  # fmt: skip
    assert less.bytes["activations"] < 0.75 * plain.bytes["activations"] and less.bytes["gradients"] == plain.bytes["gradients"]
    assert 0.4 * plain.peak < half.peak < 0.8 * plain.peak


def test_detail_is_counted():
    model, x = build("llama", dtype=torch.float32), inputs("llama", T=40)
    plain, heads = plan(model, x), plan(model, x, options=Options(detail={"heads"}))
    assert heads.bytes["gradients"] > 4 * plain.bytes["gradients"]
    assert heads.bytes["activations"] == plain.bytes["activations"]


def test_a_plan_keeps_nothing():
    from torch.multiprocessing.reductions import StorageWeakRef

    model, seen = build("llama", "eager", torch.float32), []
    handle = model.model.layers[0].mlp.gate_proj.register_forward_hook(
        lambda module, args, output: seen.append(StorageWeakRef(output.untyped_storage()))
    )
    late = model.model.layers[2].register_forward_pre_hook(lambda *_: seen.append(seen[0].expired()))
    plan(model, inputs("llama"))
    handle.remove()
    late.remove()
    assert seen[1] is True  # layer 0 is gone when layer 2 begins


def test_offloaded_weights_are_counted(tmp_path):
    accelerate = pytest.importorskip("accelerate")
    model, x = build("llama", dtype=torch.float32), inputs("llama")
    whole = plan(model, x)
    weights = sum(p.numel() * 4 for p in model.parameters())
    accelerate.disk_offload(model, tmp_path, execution_device="cpu")
    found = plan(model, x)
    assert whole.bytes["weights"] == 0 and 0.6 * weights < found.bytes["weights"] < weights  # a look-up pins no table
    assert found.bytes["activations"] == pytest.approx(whole.bytes["activations"], rel=0.1)
    assert plan(model, x, options=Options(checkpoint=True)).bytes["weights"] < weights / 2


@pytest.mark.parametrize("detail", [{"heads"}, {"query_key", "frequencies"}])
def test_more_detail_than_memory_allows_is_refused_before_the_way_back(detail, monkeypatch):
    model, x = build("llama", dtype=torch.float32), inputs("llama", T=40)
    before = state(model)
    monkeypatch.setenv(memory.LIMIT, "20000")
    words = rf"\({', '.join(sorted(detail))}\) needs .* KiB for 3|12 .*19\.5 KiB are free on cpu.*Options\(\) needs about"
    with pytest.raises(InputError, match=words):
        pelrp_nb.explain(model, x, options=Options(detail=detail))
    assert same(before, state(model))
    assert pelrp_nb.explain(model, x).ledger.closed
    monkeypatch.setenv(memory.LIMIT, str(2**30))
    assert pelrp_nb.explain(model, x, options=Options(detail=detail)).detail


def test_free_memory_is_known_here():
    import sys

    free = memory.free(torch.device("cpu"))
    if sys.platform == "linux":
        assert 2**20 < free < 2**50
    assert memory.said(1536) == "1.5 KiB" and memory.said(3 * 2**40) == "3072.0 GiB" and memory.said(12) == "12 bytes"


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_container_counts(version, monkeypatch):
    files = {
        1: {
            f"memory/memory.{k}": v for k, v in (("limit_in_bytes", "1000"), ("usage_in_bytes", "700"), ("stat", "total_inactive_file 50"))
        },
        2: {"memory.max": "1000", "memory.current": "800", "memory.stat": "anon 3\ninactive_file 100"},
    }[version]
    monkeypatch.setattr(memory, "cgroup", lambda name: files.get(name, ""))
    assert memory.free(torch.device("cpu")) == (350 if version == 1 else 300)


def test_a_weight_is_no_tensor_in_passing():
    """Of a short text in a wide model the largest tensor is a weight, which is there anyway."""
    model, x = build("bert", dtype=torch.float32), inputs("bert", T=4)
    widest = max(p.numel() for p in model.parameters()) * 4
    assert plan(model, x).bytes["passing"] < widest / 2


def test_what_is_made_of_weights_for_gamma_is_not_kept():
    model, x = build("vit", dtype=torch.float32), inputs("vit", dtype=torch.float32)
    plain, gamma = plan(model, x), plan(model, x, composite=PA_LRP_VISION)
    weights = sum(p.numel() for name, p in model.named_parameters() if "intermediate" in name or "mlp" in name) * 4
    assert gamma.bytes["activations"] - plain.bytes["activations"] < weights
