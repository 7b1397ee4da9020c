"""A walk in float32 over a model in half precision is the walk over `model.float()`, to the bit, and the model stays as it is."""

from __future__ import annotations

import weakref
from copy import deepcopy

import pytest
import torch
from models import FAMILIES, build, build_position, inputs, score
from torch import Tensor, nn

from pelrp_nb import zoo
from pelrp_nb.composites import PA_LRP
from pelrp_nb.engine.options import Options
from pelrp_nb.engine.propagation import propagate
from pelrp_nb.engine.trace import Trace
from pelrp_nb.engine.widening import Widening
from pelrp_nb.errors import InputError, ModelError
from pelrp_nb.explain import explain
from pelrp_nb.live import broken

KINDS = ("t5", "mpnet", "bloom", "deberta_v2", "swin", "mamba")


def walked(model: nn.Module, x: dict, composite=PA_LRP, **options) -> tuple[Tensor, Trace]:
    """The logits, and what came back."""
    with propagate(model, composite, Options(audit=True, **options)) as flow:
        out = model(**x)
        return out.logits.detach(), flow.trace(score(out))


def both(half: nn.Module, x: dict, composite=PA_LRP, **options) -> tuple[Trace, Trace]:
    """The walk in float32 over the half model, and over the model that was made float32; the forward passes are equal to the bit."""
    logits, wide = walked(half, x, composite, precision="float32", **options)
    theirs, full = walked(deepcopy(half).float(), x, composite, **options)
    assert logits.dtype == torch.float32 and torch.equal(logits, theirs)
    return wide, full


def assert_equal(wide: Trace, full: Trace) -> None:
    """To the bit, every number and name."""
    assert torch.equal(wide.tokens, full.tokens) and torch.equal(wide.positional, full.positional)
    assert wide.sinks == full.sinks and wide.ledger == full.ledger and wide.ledger.precision == "float32"
    assert [b.name for b in wide.boundaries] == [b.name for b in full.boundaries]
    assert all(torch.equal(a.relevance, b.relevance) for a, b in zip(wide.boundaries, full.boundaries, strict=True))


def single(x: dict) -> dict:
    """Pictures in float32."""
    return {k: v.float() if isinstance(v, Tensor) and v.is_floating_point() else v for k, v in x.items()}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_widened_walk_is_that_of_the_widened_model(family, dtype):
    wide, full = both(build(family, dtype=dtype), single(inputs(family)))
    assert_equal(wide, full)
    assert wide.ledger.closed


@pytest.mark.parametrize("name", KINDS)
def test_it_is_on_every_kind_of_position(name):
    model, x = build_position(name)
    assert_equal(*both(model.to(torch.bfloat16), single(x)))


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_it_is_where_layers_run_again(family):
    assert_equal(*both(build(family, dtype=torch.bfloat16), inputs(family), checkpoint=True))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_mistakes_open_the_ledger_as_they_do_in_float32(family):
    half, x = build(family, dtype=torch.bfloat16), inputs(family)
    for variant in broken.ALL:
        wide, full = both(half, x, variant)
        assert (wide.ledger.state, wide.ledger.opened) == (full.ledger.state, full.ledger.opened), variant
        assert wide.ledger.opened is not None or variant.name in ("no-position-sink", "no-bias-share")


def test_a_text_of_one_token_has_its_learnt_position():
    assert_equal(*both(build("gpt2", dtype=torch.bfloat16), inputs("gpt2", T=1)))


def test_pictures_in_half_precision_are_pixels_in_float32():
    half = build("vit", dtype=torch.bfloat16)
    picture = {"pixel_values": inputs("vit")["pixel_values"].to(torch.bfloat16)}
    _, wide = walked(half, picture, precision="float32")
    _, full = walked(deepcopy(half).float(), single(picture))
    assert_equal(wide, full)


def test_autocast_around_it_changes_nothing():
    half, x = build("llama", dtype=torch.bfloat16), inputs("llama")
    _, alone = walked(half, x, precision="float32")
    with torch.autocast("cpu", torch.bfloat16):
        _, inside = walked(half, x, precision="float32")
        assert torch.is_autocast_enabled("cpu")
    assert_equal(inside, alone)


@pytest.mark.parametrize("T", [9, 1], ids=["text", "one token"])
def test_no_more_than_one_layer_is_ever_wide(monkeypatch, T):
    half, x = build("llama", dtype=torch.bfloat16), inputs("llama", T=T)
    weights = {(p.numel()) for p in half.parameters() if p.dim() == 2}
    copies, saved, most = [], [], 0
    copy, save = Widening.copy, Widening.save

    def copied(self, flow, x):
        nonlocal most
        wide = copy(self, flow, x)
        copies.append(weakref.ref(wide))
        most = max(most, sum(w.nbytes for ref in copies if (w := ref()) is not None))
        return wide

    def kept(self, x):
        found = save(self, x)
        saved.append(found)
        return found

    monkeypatch.setattr(Widening, "copy", copied)
    monkeypatch.setattr(Widening, "save", kept)
    with propagate(half, options=Options(precision="float32")) as flow:
        trace = flow.trace(score(half(**x)))
    assert trace.ledger.closed
    layer = sum(4 * p.numel() for p in half.model.layers[0].parameters())
    assert most <= layer and not any((wide := ref()) is not None and wide.dim() > 1 for ref in copies)
    narrow = [kept[0].numel() for kept in saved if isinstance(kept, tuple)]
    assert weights <= set(narrow)  # each was saved as it lies in the model
    assert not any(isinstance(kept, Tensor) and kept.dim() == 2 and kept.numel() in weights for kept in saved)


def test_the_model_is_as_it_was_and_no_hook_stays():
    half, x = build("llama", dtype=torch.bfloat16), inputs("llama")
    before = {name: (id(p), p.dtype, p.requires_grad, p._version, p.clone()) for name, p in half.named_parameters()}
    walked(half, x, precision="float32")
    with pytest.raises(ModelError), propagate(half, options=Options(precision="float32")):
        raise ModelError("inside")
    assert torch._C._autograd._top_saved_tensors_default_hooks(True) is None
    for name, p in half.named_parameters():
        *same, value = before[name]
        assert same == [id(p), p.dtype, p.requires_grad, p._version] and torch.equal(p, value) and p.grad is None
    assert half(**x).logits.dtype == torch.bfloat16


def test_the_way_back_may_be_walked_after_the_with_and_twice():
    half, x = build("llama", dtype=torch.bfloat16), inputs("llama")
    with propagate(half, options=Options(audit=True, precision="float32")) as flow:
        logits = half(**x).logits
    again = [flow.trace(logits[0, -1, 7], keep=True), flow.trace(logits[0, -1, 7])]
    assert torch.equal(again[0].tokens, again[1].tokens) and again[0].ledger.closed


def test_a_list_of_texts_in_a_wide_walk_is_that_of_the_float32_model():
    model, processor = zoo.load("reviews-rotary")
    half, texts = deepcopy(model).to(torch.bfloat16), ["a gorgeous , witty film", "dull"]
    ours = explain(half, texts, processor=processor, options=Options(precision="float32"))
    theirs = explain(deepcopy(half).float(), texts, processor=processor)
    for one, other in zip(ours, theirs, strict=True):
        assert one.value == other.value and torch.equal(one.semantic, other.semantic) and one.ledger == other.ledger


def test_a_model_that_is_wide_already_walks_as_ever():
    model, x = build("llama", dtype=torch.float64), inputs("llama")
    _, asked = walked(model, x, precision="float32")
    assert asked.ledger.precision == "float64" and asked.ledger == walked(model, x)[1].ledger


def test_a_precision_that_there_is_not_is_refused_with_what_to_type():
    with pytest.raises(InputError, match=r'None or "float32", got torch.float32.*Type Options\(precision="float32"\)'):
        Options(precision=torch.float32)
