"""Bad input: a clear error that says what must hold, what came and what to type; the model as it was."""

from __future__ import annotations

import re

import pytest
import torch
from models import build, inputs
from test_engine import same, state
from torch import nn

import pelrp_nb
from pelrp_nb import target
from pelrp_nb.errors import InputError, ModelError, PelrpError, TargetError


@pytest.fixture(scope="module")
def reviews():
    return pelrp_nb.zoo.load("reviews-rotary")


@pytest.fixture
def refused(reviews):
    """Explaining raises this error with these words, and the model is as before."""

    def check(error, words, text="a gorgeous , witty film", model=None, **more):
        chosen, tokenizer = (reviews[0] if model is None else model), more.pop("processor", reviews[1])
        before = state(chosen) if isinstance(chosen, nn.Module) and hasattr(chosen, "config") else None
        with pytest.raises(error, match=words) as raised:
            pelrp_nb.explain(chosen, text, processor=tokenizer, **more)
        assert isinstance(raised.value, PelrpError)
        says = r"[Tt]ype|[Ss]horten|[Ll]oad|[Ee]xplain|Pass|lie between|labels are|finite"
        assert re.search(says, str(raised.value)), raised.value
        if before is not None:
            assert same(before, state(chosen))

    return check


def test_active_dropout(refused):
    import transformers as t

    config = t.BertConfig(vocab_size=6000, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    model = t.BertForSequenceClassification(config).train()
    refused(ModelError, "dropout .* is active .*model.eval", model=model)


def test_training_mode_without_dropout_is_fine():
    model = build("llama", dtype=torch.float32).train()
    assert pelrp_nb.explain(model, inputs("llama")).ledger.closed and model.training


@pytest.mark.parametrize("hidden", ["flash_attention_2", "flex_attention", "kernels-community/flash-attn"])
def test_attention_that_hides_its_products(refused, hidden):
    model = build("llama", dtype=torch.float32)
    model.config._attn_implementation_internal = hidden
    refused(ModelError, "eager or sdpa.*set_attn_implementation", model=model)


def test_hidden_attention_in_a_sub_config(refused):
    model = build("llama", dtype=torch.float32)
    inner = type(model.config)(**model.config.to_dict())
    inner._attn_implementation_internal = "flash_attention_2"
    model.config.text_config = inner
    refused(ModelError, "text_config asks for 'flash_attention_2'", model=model)


def test_unknown_label(refused):
    refused(TargetError, "no label 'postive'.*positive.*Did you mean 'positive'", target="postive")


@pytest.mark.parametrize("number", [2, -1, 99])
def test_class_out_of_range(refused, number):
    refused(TargetError, f"between 0 and 1, got {number}", target=number)


def test_contrast_equal_to_the_target(refused):
    refused(TargetError, "the same", target="positive", contrast="positive")


@pytest.mark.golden
def test_target_word_of_several_tokens(golden):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = golden / "models" / "stories260K"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with pytest.raises(TargetError, match=r"'dinosaurs' is .* tokens, which are written behind the text"):
        pelrp_nb.explain(model, "Once upon a time", processor=tokenizer, target=target.token("dinosaurs", at=1))
    found = pelrp_nb.explain(model, "Once upon a time", processor=tokenizer, target=target.logprob("dinosaurs"))
    assert found.ledger.closed and len(found.tokens) > 5
    with pytest.raises(TargetError, match="at must lie between"):
        pelrp_nb.explain(model, "Once upon a time", processor=tokenizer, target=target.token("the", at=99))


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_empty_text(refused, text):
    refused(InputError, "empty", text=text)


def test_no_input_at_all(refused):
    refused(InputError, "no input", text=[])


def test_text_longer_than_the_model_takes(refused):
    refused(InputError, "at most 128 tokens; the text has", text="good " * 300)


def test_processor_missing(refused):
    refused(InputError, "needs the tokenizer", processor=None)


def test_processor_of_another_model(refused):
    refused(InputError, "belongs to another model", model=build("bert", dtype=torch.float32), text="a gorgeous , witty film")


def test_something_else_as_processor(refused):
    refused(InputError, "processor must be a tokenizer", processor=object())


def test_tensors_on_the_wrong_device(refused):
    refused(InputError, "must be on cpu.* on meta", text={"input_ids": torch.ones(1, 4, dtype=torch.long, device="meta")})


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_not_finite(refused, bad):
    model = build("llama", dtype=torch.float32)
    with torch.no_grad():
        model.lm_head.weight[:, 0] = bad
    refused(ModelError, "must be finite", text=inputs("llama"), model=model)


def test_pixels_that_are_not_finite(refused):
    x = inputs("vit", dtype=torch.float32)
    x["pixel_values"][0, 0, 0, 0] = float("nan")
    refused(InputError, "must be finite", text=x, model=build("vit", dtype=torch.float32))


def test_tensors_of_inference_mode_are_taken(reviews):
    model, tokenizer = reviews
    with torch.inference_mode():
        ids = tokenizer("a fine film", return_tensors="pt")["input_ids"]
        inside = pelrp_nb.explain(model, "a fine film", processor=tokenizer)
    outside = pelrp_nb.explain(model, {"input_ids": ids}, processor=tokenizer)
    torch.testing.assert_close(inside.semantic, outside.semantic)


def test_weights_of_inference_mode(refused):
    with torch.inference_mode():
        model = build("llama", dtype=torch.float32)
    refused(ModelError, "inference_mode", model=model)


def test_a_compiled_model(refused):
    refused(ModelError, "compiled model hides", model=torch.compile(build("llama", dtype=torch.float32)))


def test_data_parallel(refused):
    refused(ModelError, "DataParallel.*model.module", model=nn.DataParallel(build("llama", dtype=torch.float32)))


def test_a_cached_prefix(refused):
    refused(InputError, "cached prefix", text={"input_ids": torch.ones(1, 3, dtype=torch.long), "past_key_values": object()})


@pytest.mark.filterwarnings("ignore")
def test_a_quantised_layer_without_a_rule(refused):
    model = build("llama", dtype=torch.float32)
    torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8, inplace=True)
    with pytest.raises(ModelError, match="quantised layer"):
        pelrp_nb.explain(model, inputs("llama"))


def test_a_model_without_positions_is_no_error():
    from test_facts import no_rotation

    model = build("llama", dtype=torch.float32)
    for layer in model.model.layers:
        layer.self_attn.forward = no_rotation(layer.self_attn)
    found = pelrp_nb.explain(model, inputs("llama"))
    assert found.sinks == () and found.ledger.closed
    assert "no positional encoding found in LlamaForCausalLM" in str(pelrp_nb.plan(model, inputs("llama")))


def test_a_mapping_without_an_input(refused):
    refused(InputError, "must hold one of input_ids", text={"attention_mask": torch.ones(1, 3)})


def test_an_input_of_another_kind(refused):
    refused(InputError, "must be a text or a mapping", text=7)


def test_a_target_function_that_returns_many(refused):
    refused(TargetError, "one number as a tensor", target=lambda output: output.logits)


def test_a_target_that_depends_on_nothing(refused):
    refused(InputError, "depends on no input", target=lambda output: torch.tensor(1.0))


def test_misspelt_detail():
    with pytest.raises(InputError, match="detail must be some of heads"):
        pelrp_nb.Options(detail={"haeds"})


def test_misspelt_composite_field():
    from dataclasses import replace

    with pytest.raises(TypeError):
        replace(pelrp_nb.PA_LRP, positons="sink")
    with pytest.raises(ValueError, match='"sink" or "constant"'):
        replace(pelrp_nb.PA_LRP, positions="sinks")


def test_not_a_model(refused):
    refused(PelrpError, "torch.nn.Module", model="reviews-rotary")
