"""The authors' numbers: their code on small models and on a pretrained one, against the engine."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tolerance import assert_same

from pelrp_nb.composites import ATTN_LRP, AUTHORS_VISION, PA_LRP
from pelrp_nb.engine.options import Options
from pelrp_nb.engine.propagation import propagate

LLAMAS = {
    "llama_soft_S5": "llama_soft", "llama_soft_S17": "llama_soft",
    "llama_sharp_S5": "llama_sharp", "llama_sharp_S17": "llama_sharp",
    "llama_cls_S5": "llama_cls", "llama_cls_S17": "llama_cls", "llama_cls_S17_pad7": "llama_cls",
    "stories260K_0": "stories260K", "stories260K_2": "stories260K", "stories260K_4": "stories260K",
}  # fmt: skip
CLOSE = 2e-3

pytestmark = pytest.mark.golden


def off(ours: torch.Tensor, theirs: np.ndarray) -> float:
    """The largest difference, as a part of the largest value."""
    want = torch.as_tensor(theirs)
    assert ours.shape == want.shape
    return float((ours - want).abs().max() / want.abs().max())


@pytest.fixture(scope="module")
def golden_case(golden):
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    models = {}

    def load(case: str, attention: str = "sdpa"):
        name = LLAMAS[case]
        if (name, attention) not in models:
            kind = AutoModelForSequenceClassification if "cls" in name else AutoModelForCausalLM
            found = kind.from_pretrained(golden / "models" / name, dtype=torch.float64, attn_implementation=attention)
            models[name, attention] = found.eval()
        z = np.load(golden / "cases" / f"{case}.npz")
        x = {"input_ids": torch.tensor(z["input_ids"])[None], "use_cache": False}
        if "attention_mask" in z:
            x["attention_mask"] = torch.tensor(z["attention_mask"])[None]
        return models[name, attention], x, z

    return load


def trace(model, x, which, composite, **options):
    with propagate(model, composite, Options(audit=True, **options)) as flow:
        logits = model(**x).logits
    return flow.trace(logits[0, -1, which] if logits.dim() == 3 else logits[0, which])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("case", LLAMAS)
def test_llama_relevance_is_the_authors(golden_case, case, attention):
    model, x, z = golden_case(case, attention)
    found = trace(model, x, int(z["target"]), PA_LRP)
    assert found.ledger.closed
    assert off(found.tokens, z["rel_embeds"]) < CLOSE
    assert off(found.positional, z["rel_pos"].sum((1, 3))) < CLOSE
    assert off(trace(model, x, int(z["target"]), ATTN_LRP).tokens, z["attnlrp_rel_embeds"]) < CLOSE


@pytest.mark.parametrize("case", LLAMAS)
def test_absolute_reduction_orders_tokens_as_the_authors_do(golden_case, case):
    from scipy.stats import spearmanr

    model, x, z = golden_case(case)
    found = trace(model, x, int(z["target"]), PA_LRP)
    absolute = found.semantic + found.reductions["positional.absolute"].sum(0)
    assert off(absolute, z["relevance_raw"]) < CLOSE
    assert spearmanr(absolute.numpy(), z["relevance_raw"]).statistic >= 0.999
    assert off(found.reductions["positional.absolute"].sum(0), z["positional_abs"]) < CLOSE


@pytest.mark.parametrize("case", LLAMAS)
def test_another_target_is_the_authors_too(golden_case, case):
    model, x, z = golden_case(case)
    found = trace(model, x, int(z["alt_target"]), PA_LRP)
    assert off(found.semantic, z["alt_semantic"]) < CLOSE
    assert off(found.reductions["positional.absolute"].sum(0), z["alt_positional_abs"]) < CLOSE


@pytest.mark.parametrize("case", ["llama_soft_S5", "llama_sharp_S5"])
def test_queries_and_keys_apart_are_the_authors(golden_case, case):
    model, x, z = golden_case(case)
    found = trace(model, x, int(z["target"]), PA_LRP, detail={"heads", "coordinates"})
    for role, key in (("query", "rel_pos_q"), ("key", "rel_pos_k")):
        for layer in range(z[key].shape[0]):
            for i, part in enumerate(("cos", "sin")):
                ours = found.detail["coordinates"][f"layer {layer} rotary"][f"{role} {part}"]
                assert off(ours, z[key][layer, i]) < CLOSE, (role, layer, part)


@pytest.mark.parametrize("case", ["llama_sharp_S17", "stories260K_2"])
def test_every_layer_boundary_is_the_authors(golden_case, case):
    model, x, z = golden_case(case)
    found = trace(model, x, int(z["target"]), PA_LRP)
    layers = [b for b in found.boundaries if b.kind in ("embeddings", "layer")]
    for boundary, theirs in zip(layers, z["rel_hidden"], strict=True):
        assert off(boundary.relevance, theirs.sum(-1)) < CLOSE, boundary.name


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(("name", "case"), [("vit_a", "vit_a_img0"), ("vit_b", "vit_b_img1")])
def test_image_maps_are_the_authors(golden, name, case, attention):
    from transformers import AutoModelForImageClassification

    from pelrp_nb.explain import explain

    folder = golden / "models" / name
    model = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float64, attn_implementation=attention).eval()
    model.vit.layernorm.eps = json.loads((folder / "config.json").read_text())["final_layer_norm_eps"]
    z = np.load(golden / "cases" / f"{case}.npz")
    x = {"pixel_values": torch.tensor(z["image"]).double()[None]}
    found = explain(model, x, target=int(z["target"]), composite=AUTHORS_VISION)
    assert off(found.map.clamp(min=0), z["map_ours"]) < CLOSE
    assert off(found.maps["position"].clamp(min=0), z["map_pe_only"]) < CLOSE
    without = explain(model, x, target=int(z["target"]), composite=replace(AUTHORS_VISION, positions="constant"))
    assert off(without.maps["content"].clamp(min=0), z["map_attnlrp"]) < CLOSE
    assert found.ledger.closed


def test_the_next_word_of_a_story_against_other_continuations(golden):
    """Several continuations contrasted, from one forward pass; each ledger closes, and contrasts of one word add up."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from pelrp_nb import explain
    from pelrp_nb import target as targets

    folder = golden / "models" / "stories260K"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "Once upon a time, there was a little girl named"
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        first, second, third = model(ids).logits[0, -1].topk(3).indices.tolist()
    options = Options(audit=True)
    against = explain(model, text, processor=tokenizer, target=targets.every([first, first, second]),
                      contrast=targets.every([second, third, third]), options=options)  # fmt: skip
    assert [e.ledger.closed for e in against] == [True] * 3 and len({e.target for e in against}) == 3
    assert all(e.sink_kinds == ("rotary",) * 5 for e in against)
    size = against[0].ledger.scale + against[2].ledger.scale
    assert_same(against[0].semantic + against[2].semantic, against[1].semantic, size)
    assert_same(against[0].positional + against[2].positional, against[1].positional, size)
    assert against[0].value > 0
