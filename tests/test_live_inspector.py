"""The rule inspector shows what `plan` found: every operation once, at its module, with the rule's own words."""

from __future__ import annotations

import pytest
from models import ROTARY, build, inputs

from pelrp_nb import live, rules
from pelrp_nb.composites import PA_LRP_VISION
from pelrp_nb.plan import REASONS, plan


def walk(node):
    yield node
    for child in node["children"]:
        yield from walk(child)


@pytest.fixture(scope="module", params=["llama", "bert", "mixtral"])
def planned(request):
    model, x = build(request.param), inputs(request.param)
    return model, x, plan(model, x)


def test_the_tree_is_the_model(planned):
    model, _, found = planned
    nodes = list(walk(found.tree()))
    assert [(n["name"], n["kind"]) for n in nodes] == [
        (name.rpartition(".")[2], type(m).__name__) for name, m in model.named_modules(remove_duplicate=False)
    ]


def test_every_operation_of_the_plan_stands_in_the_tree_once(planned):
    _, _, found = planned
    lines = [(line["operation"], line["rule"], line["reason"]) for n in walk(found.tree()) for line in n["rules"]]
    assert sorted(lines) == sorted((s.operation, s.rule, REASONS.get(s.reason, s.reason)) for s in found.steps)


def test_what_a_rule_conserves_is_in_its_own_words(planned):
    _, _, found = planned
    for node in walk(found.tree()):
        for line in node["rules"]:
            if line["rule"] != "plain":  # views and sums have no page
                assert line["conserves"] == rules.by_name(line["rule"].partition("(")[0]).conserves


def test_a_variant_is_shown_by_its_page():
    model, x = build("vit"), inputs("vit")
    sheet = live.inspector(model, x, composite=PA_LRP_VISION)
    lines = [line["rule"] for line in sheet.data["lines"]]
    assert any(line.startswith("gamma") for line in lines) and sheet.data["pages"]["gamma"]["paper"] == rules.gamma.paper
    assert sheet.data["method"] == "pa-lrp-vision" and sheet.data["sinks"] == [["vit.embeddings.position_embeddings", "learnable"]]


def test_an_operation_without_a_rule_is_said():
    import torch

    class Strange(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(10, 4)

        def forward(self, input_ids):
            return torch.special.i0(self.embed(input_ids)).sum(1)

    sheet = live.inspector(Strange(), {"input_ids": torch.tensor([[1, 2, 3]])})
    (line,) = [line for line in sheet.data["lines"] if line["rule"] == "none"]
    assert "i0" in line["operation"] and line["conserves"] == "nothing" and line["keeps"] == "nothing"
    assert len(sheet.data["refusals"]) == 1 and "i0" in sheet.data["refusals"][0]


def test_a_map_of_many_equal_layers_is_no_larger_than_that_of_few():
    from transformers import LlamaConfig, LlamaForCausalLM

    few, many = (LlamaForCausalLM(LlamaConfig(**ROTARY | {"num_hidden_layers": n})) for n in (4, 24))
    pages = [live.inspector(model, inputs("llama"))._repr_html_() for model in (few, many)]
    assert max(map(len, pages)) < 100_000 and len(pages[1]) < 1.03 * len(pages[0])


def test_every_operation_of_the_plan_is_counted_once_by_what_it_keeps(planned):
    _, _, found = planned
    data = found.sheet().data
    assert sum(data["kept"].values()) == len(found.steps) == data["operations"]
    assert data["kept"]["measured"] == sum(step.rule == "softmax" for step in found.steps) > 0


def test_where_positions_enter_stands_at_the_module_that_they_enter(planned):
    _, _, found = planned
    kinds = {kind for node in everywhere(found.sheet().data["tree"]) for kind in node.get("sinks", ())}
    assert kinds == {str(sink.kind) for sink in found.sinks}


def everywhere(node):
    yield node
    for child in node.get("children", ()):
        yield from everywhere(child)
