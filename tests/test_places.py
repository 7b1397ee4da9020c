"""Every place it runs: devices, dispatched and offloaded, experts, quantised, wrapped; or a refusal with the reason."""

from __future__ import annotations

import warnings

import pytest
import torch
from elsewhere import Elsewhere
from models import ROTARY, build, build_position, inputs, randomise, score
from test_engine import same, state
from torch import nn
from torch.nn import functional as F

import pelrp_nb
from pelrp_nb.composites import AUTHORS_VISION, CP_LRP, PA_LRP, PA_LRP_RES, PA_LRP_VISION
from pelrp_nb.engine.options import Options
from pelrp_nb.engine.positions import constants
from pelrp_nb.engine.propagation import propagate
from pelrp_nb.errors import ModelError


def run(model, x, composite=PA_LRP, pick=score, **options):
    with propagate(model, composite, Options(**{"audit": True, **options})) as flow:
        return flow.trace(pick(model(**x)))


def equal(a, b, tolerance: float = 0.0) -> bool:
    """Tokens, sinks and the ledger's terms of two traces."""
    close = lambda x, y: float((x - y).abs().max()) <= tolerance * float(y.abs().max())
    return close(a.tokens, b.tokens) and close(a.positional, b.positional) and len(a.sinks) == len(b.sinks)


# --- devices ---------------------------------------------------------------------------------------------------------


SCORED = ("t5", "mpnet", "bloom", "mpt", "falcon alibi")  # biases learnt and read by distance, distances times slopes


@pytest.fixture
def elsewhere(monkeypatch):
    """A model and its input on a device that has neither float64 nor anything of the CPU's."""
    monkeypatch.setattr("pelrp_nb.engine.support.inspect", lambda model: None)
    monkeypatch.setattr(constants, "counts", lambda x: x.dtype == torch.int64 and x.dim() > 0 and x.shape[-1] > 1)

    def made(family: str, attention: str, dtype: torch.dtype, more: dict | None = None):
        model, x = build_position(family) if family in SCORED else (build(family, attention, dtype), inputs(family, dtype=dtype))
        model, x = model.to(dtype).to("meta"), {**x, **(more or {})}
        x = {k: v.to("meta") if isinstance(v, torch.Tensor) else v for k, v in x.items()}
        try:
            with Elsewhere(double=True):
                model(**x)
        except (RuntimeError, NotImplementedError) as error:  # versions older than those of constraints.txt
            pytest.skip(f"the model itself does not run on the meta device: {error}")
        return model, x

    return made


DETAIL = Options(detail={"heads", "query_key", "frequencies"})
RUNS = {"llama": (PA_LRP, DETAIL), "gpt2": (CP_LRP, DETAIL), "distilbert": (PA_LRP_RES, DETAIL), "vit": (AUTHORS_VISION, Options())}


@pytest.mark.parametrize(("family", "attention"), [(f, a) for f in RUNS for a in ("sdpa", "eager")])
def test_nothing_takes_the_cpu_or_float64_for_granted(elsewhere, family, attention):
    model, x = elsewhere(family, attention, torch.float32)
    for composite, options in ((PA_LRP, Options(audit=True)), RUNS[family]):
        with Elsewhere() as there, propagate(model, composite, options) as flow:
            found = flow.trace(score(model(**x)))
        assert there.calls > 500 and found.sinks
        results = [found.tokens, found.positional, *found.reductions.values(), *(b.relevance for b in found.boundaries)]
        assert all(r.device.type == "cpu" and r.dtype == torch.float32 for r in results)


@pytest.mark.parametrize("family", SCORED)
def test_nor_does_what_is_added_to_scores(elsewhere, family):
    model, x = elsewhere(family, "sdpa", torch.float32)
    for composite, options in ((PA_LRP, Options(audit=True)), (CP_LRP, DETAIL)):
        with Elsewhere() as there, propagate(model, composite, options) as flow:
            found = flow.trace(score(model(**x)))
        assert there.calls > 400 and {"relative bias", "alibi"} & {s.kind for s in found.sinks}
        assert all(r.device.type == "cpu" and r.dtype == torch.float32 for r in (found.tokens, found.positional))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_nor_does_a_mask_of_the_users_own(elsewhere, attention):
    mask = torch.full((1, 1, 9, 9), -1e9).triu(1)
    model, x = elsewhere("llama", attention, torch.float32, {"attention_mask": mask})
    with Elsewhere(), propagate(model, PA_LRP, Options(audit=True)) as flow:
        assert flow.trace(score(model(**x))).tokens.device.type == "cpu"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_elsewhere(elsewhere, dtype):
    model, x = elsewhere("llama", "sdpa", dtype)
    with Elsewhere(), propagate(model, PA_LRP) as flow:
        assert flow.trace(score(model(**x))).tokens.dtype == torch.float32


def test_the_strict_device_would_notice():
    x = torch.ones(3, device="meta")
    with pytest.raises(AssertionError, match="mixes devices"), Elsewhere():
        x + torch.ones(3)
    with pytest.raises(AssertionError, match=r"makes torch\.float64"), Elsewhere():
        x.double()


def test_doctor_says_what_was_never_run(monkeypatch):
    from pelrp_nb import doctor

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**30, 2**32))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    from importlib import import_module

    assert "never run there" in import_module(doctor.__module__).device()


# --- weights that accelerate brings --------------------------------------------------------------------------------------

ACCELERATED = ("llama", "gpt2", "bert", "vit")


def dispatched(model: nn.Module, how: str, folder) -> nn.Module:
    import accelerate

    if how == "hooks":
        return accelerate.dispatch_model(model, {"": "cpu"}, force_hooks=True)
    if how == "memory":
        return accelerate.cpu_offload(model, execution_device="cpu") or model
    return accelerate.disk_offload(model, folder, execution_device="cpu") or model


@pytest.mark.parametrize("how", ["hooks", "memory", "disk"])
@pytest.mark.parametrize("family", ACCELERATED)
def test_a_dispatched_model_is_the_model(family, how, tmp_path):
    pytest.importorskip("accelerate")
    plain, x = build(family, dtype=torch.float32), inputs(family, dtype=torch.float32)
    expected, model = run(plain, x), dispatched(build(family, dtype=torch.float32), how, tmp_path)
    assert any(p.is_meta for p in model.parameters()) == (how != "hooks")
    modules = [vars(m).get("forward") for m in model.modules()]
    for checkpoint in (False, True):
        found = run(model, x, checkpoint=checkpoint)
        assert equal(found, expected) and found.ledger == expected.ledger and found.sinks == expected.sinks
    assert pelrp_nb.explain(model, x).ledger.closed
    assert modules == [vars(m).get("forward") for m in model.modules()] and not any(m._forward_hooks for m in model.modules())
    assert any(p.is_meta for p in model.parameters()) == (how != "hooks")


def test_a_device_map_of_from_pretrained(tmp_path):
    pytest.importorskip("accelerate")
    from transformers import LlamaForCausalLM

    plain, x = build("llama", dtype=torch.float32), inputs("llama")
    plain.save_pretrained(tmp_path / "model")
    places = {"model.embed_tokens": "cpu", "model.rotary_emb": "cpu", "model.norm": "cpu", "lm_head": "cpu"}
    places |= {f"model.layers.{i}": "disk" if i == 1 else "cpu" for i in range(3)}
    for where in ("auto", places):
        model = LlamaForCausalLM.from_pretrained(
            tmp_path / "model", device_map=where, offload_folder=tmp_path / "offload", attn_implementation="sdpa"
        )
        found = run(model, x)
        assert equal(found, run(plain, x)) and found.ledger.closed
    assert model.model.layers[1].mlp.gate_proj.weight.is_meta


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_missing_hook_is_named(family, tmp_path):
    pytest.importorskip("accelerate")
    model = dispatched(build(family, dtype=torch.float32), "disk", tmp_path)
    part = "model.layers.1.mlp.gate_proj" if family == "llama" else "transformer.h.1.mlp.c_fc"
    module = model.get_submodule(part)
    del module._hf_hook, module.forward
    before = state_of(model)
    with pytest.raises(ModelError, match=rf"`{part}.weight` is on the meta device and no hook.*dispatch_model"):
        pelrp_nb.explain(model, inputs(family))
    assert before == state_of(model)


def state_of(model: nn.Module) -> list:
    """Hooks, modes and places, for models without values."""
    return [(n, len(m._forward_hooks), len(m._forward_pre_hooks), m.training, sorted(vars(m))) for n, m in model.named_modules()]


def test_a_model_on_two_devices_without_hooks_is_refused(monkeypatch):
    from pelrp_nb.engine import support

    model = build("llama", dtype=torch.float32)
    monkeypatch.setattr(support, "device_of", lambda model: torch.device("cuda", 1))
    with pytest.raises(ModelError, match=r"split over devices, but `model.embed_tokens` on cpu has no hook.*dispatch_model"):
        run(model, inputs("llama"))


# --- mixtures of experts -------------------------------------------------------------------------------------------------

EXPERTS = {
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", {"num_local_experts": 4}),
    "qwen3_moe": ("Qwen3MoeForCausalLM", "Qwen3MoeConfig", {"num_experts": 4, "moe_intermediate_size": 32, "head_dim": 12}),
    "gpt_oss": ("GptOssForCausalLM", "GptOssConfig", {"num_local_experts": 4, "head_dim": 12, "sliding_window": 4}),
    "olmoe": ("OlmoeForCausalLM", "OlmoeConfig", {"num_experts": 4}),
}


@pytest.mark.parametrize("family", EXPERTS)
def test_however_experts_are_computed_they_say_the_same(family):
    import transformers as t

    model_class, config_class, more = EXPERTS[family]
    config = getattr(t, config_class)(**ROTARY, num_experts_per_tok=2, **more)
    model, x = randomise(getattr(t, model_class)(config).double()).float(), inputs("llama")
    found = {}
    for how in ("eager", "grouped_mm", "batched_mm") if hasattr(torch.nn.functional, "grouped_mm") else ("eager", "batched_mm"):
        model.set_experts_implementation(how)
        found[how] = run(model, x)
        assert found[how].ledger.closed and all("router" in n or n.startswith("layer") for n in found[how].ledger.softmax)
        assert equal(found[how], found["eager"], 1e-5)
        assert equal(run(model, x, checkpoint=True), found[how])


# --- quantised weights -----------------------------------------------------------------------------------------------------


def small(dtype: torch.dtype = torch.float32) -> nn.Module:
    """A Llama wide enough for blocks of 64 weights."""
    import transformers as t

    config = t.LlamaConfig(**{**ROTARY, "hidden_size": 64, "intermediate_size": 128})
    return randomise(t.LlamaForCausalLM(config).double()).to(dtype)


def with_numbers(model: nn.Module, numbers) -> nn.Module:
    """The plain model whose weights are the numbers that the quantised ones stand for."""
    plain = small()
    for name, module in plain.named_modules():
        if isinstance(module, nn.Linear):
            module.weight.data = numbers(model.get_submodule(name)).float()
    return plain


SEVENTH = lambda output: output.logits[0, -1, 7]
TORCHAO = ("Int8WeightOnlyConfig", "IntxWeightOnlyConfig", "Float8WeightOnlyConfig", "Int8DynamicActivationInt8WeightConfig")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("composite", [PA_LRP, PA_LRP_VISION], ids=["epsilon", "gamma"])
@pytest.mark.parametrize("config", TORCHAO)
def test_weights_quantised_by_torchao(config, composite):
    quantization = pytest.importorskip("torchao.quantization")
    model, x = small(), inputs("llama")
    quantization.quantize_(model, getattr(quantization, config)())
    assert model.lm_head.weight.dtype == torch.float32 and type(model.lm_head.weight).__module__.startswith("torchao")
    with torch.no_grad():
        plain = model(**x).logits
    with propagate(model, composite, Options(audit=True)) as flow:
        logits = model(**x).logits
        found = flow.trace(logits[0, -1, 7])
    assert torch.equal(plain, logits.detach()) and found.ledger.closed
    dense = run(with_numbers(model, lambda m: m.weight.dequantize()), x, composite, SEVENTH)
    assert equal(found, dense, 1e-4 if "Dynamic" not in config else 0.2)
    assert equal(run(model, x, composite, SEVENTH, checkpoint=True), found)


def by_bitsandbytes(bits: int) -> nn.Module:
    """All linear maps but the last replaced by layers of bitsandbytes."""
    import bitsandbytes as bnb

    model = small()
    for name, module in [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear) and n != "lm_head"]:
        size = (module.in_features, module.out_features, True)
        if bits == 8:
            layer = bnb.nn.Linear8bitLt(*size, has_fp16_weights=False, threshold=6.0)
            layer.weight = bnb.nn.Int8Params(module.weight.data, requires_grad=False, has_fp16_weights=False)
        else:
            layer = bnb.nn.Linear4bit(*size, compute_dtype=torch.float32, quant_type="nf4")
            layer.weight = bnb.nn.Params4bit(module.weight.data, requires_grad=False, quant_type="nf4")
        layer.bias = nn.Parameter(0.05 * torch.randn(module.out_features, generator=torch.Generator().manual_seed(0)))
        parent, own = name.rsplit(".", 1)
        setattr(model.get_submodule(parent), own, layer)
    return model.to("cpu").eval()


def saturates() -> bool:
    """Whether this processor's products of whole numbers lose what is large, as oneDNN's do without VNNI: the model itself is wrong."""
    a, b = (torch.full(shape, 127, dtype=torch.int8) for shape in ((32, 64), (64, 32)))
    return not torch.equal(torch._int_mm(a, b), a.int() @ b.int())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("composite", [PA_LRP, PA_LRP_VISION], ids=["epsilon", "gamma"])
@pytest.mark.parametrize("how", ["8 bits", "4 bits", "4 bits, packed"])
def test_layers_of_bitsandbytes(how, composite):
    pytest.importorskip("bitsandbytes")
    from pelrp_nb.engine.handlers.quantised import numbers_of_layer

    model, x = by_bitsandbytes(int(how[0])), inputs("llama")
    with torch.set_grad_enabled("packed" not in how):  # without gradients it packs its weights for good, where the processor can use them
        plain = model(**x).logits.detach()
    before = state(model)
    with propagate(model, composite, Options(audit=True)) as flow:
        logits = model(**x).logits
        found = flow.trace(logits[0, -1, 7])
    assert torch.equal(plain, logits.detach()) and found.ledger.closed and same(before, state(model))
    assert "model.layers.0.self_attn.q_proj.bias" in found.ledger.constants
    dense = small()
    for name, module in model.named_modules():
        numbers = numbers_of_layer(module)
        if numbers is not None:
            dense.get_submodule(name).weight.data, dense.get_submodule(name).bias = numbers().float(), module.bias
    dense.lm_head = model.lm_head
    rounded = found.ledger.constants.get("model.layers.0.mlp.gate_proj: rounded", 0.0)
    states = (getattr(getattr(module, "weight", None), "quant_state", None) for module in model.modules())
    packed = any(getattr(one, "packing_format_for_cpu", False) for one in states)
    exact = how[0] == "4" and not packed  # else activations are rounded as well, and that is booked
    assert "packed" in how or not packed
    assert abs(rounded) < 1e-6 if exact or composite is not PA_LRP else abs(rounded) > 1e-6
    own = dense(**x).logits.detach()
    alike = float((plain - own).abs().max()) < 0.1 * float(own.abs().max())
    assert alike or saturates()
    assert not alike or equal(found, run(dense, x, composite, SEVENTH), 1e-4 if exact else 0.1)
    assert equal(run(model, x, composite, SEVENTH, checkpoint=True), found)


class Packed(torch.Tensor):
    """A quantised weight that cannot say its numbers, in a linear map without a gradient."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is F.linear:
            with torch.no_grad():
                return F.linear(args[0].detach(), args[1].as_subclass(torch.Tensor))
        return super().__torch_function__(func, types, args, kwargs or {})


def test_a_quantised_layer_without_a_way_back_is_refused():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2, bias=False))
    model[1].weight = nn.Parameter(torch.randn(2, 4).as_subclass(Packed), requires_grad=False)
    words = r"quantised layer \(Packed\).*not differentiable.*unquantised"
    with pytest.raises(ModelError, match=words), propagate(model, PA_LRP) as flow:
        flow.trace(model(torch.randn(1, 4))[0, 0])


# --- adapters ----------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("family", "targets"), [("llama", ["q_proj", "v_proj", "down_proj"]), ("gpt2", ["c_attn"]), ("bert", ["query", "value"])]
)
def test_adapters_of_peft_are_part_of_the_weights(family, targets):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=targets, fan_in_fan_out=family == "gpt2")
    base, x = run(build(family), inputs(family)), inputs(family)
    model = peft.get_peft_model(build(family), config).double().eval()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (p for n, p in model.named_parameters() if "lora_" in n):
            parameter.copy_(torch.randn(parameter.shape, generator=rng) * 0.1)
    before = state(model)
    apart = run(model, x)
    assert same(before, state(model)) and apart.ledger.closed and not equal(apart, base, 1e-3)
    model.merge_adapter()
    merged = run(model, x)
    model.unmerge_adapter()
    unloaded = run(model.merge_and_unload(), x)
    assert equal(apart, merged, 1e-6) and equal(merged, unloaded, 1e-6)
    assert unloaded.ledger.closed and [s.kind for s in unloaded.sinks] == [s.kind for s in apart.sinks]


# --- what surrounds the call -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpoint", [False, True])
def test_in_every_context(checkpoint):
    model, x, options = build("llama", dtype=torch.float32), inputs("llama"), Options(checkpoint=checkpoint)
    plain = pelrp_nb.explain(model, x, options=options)
    for context in (torch.no_grad(), torch.inference_mode(), torch.enable_grad(), torch.device("cpu")):
        with context:
            found = pelrp_nb.explain(model, x, options=options)
        assert torch.equal(found.semantic, plain.semantic) and found.ledger == plain.ledger
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = pelrp_nb.explain(model, x, options=options)
    assert found.ledger.closed and found.ledger.precision == "bfloat16" and found.ledger.allowed == found.ledger.rounding > 0
    assert torch.corrcoef(torch.stack([found.semantic, plain.semantic]))[0, 1] > 0.95


def test_training_mode_without_dropout_gives_the_same():
    model, x = build("gpt2"), inputs("gpt2")
    plain = run(model, x)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for block in model.transformer.h:
        block.attn.attn_dropout.p = 0.0
    assert equal(run(model.train(), x), plain) and model.training


# --- what cannot be explained -----------------------------------------------------------------------------------------------


def test_a_forward_replaced_by_a_kernel_is_refused():
    model = build("llama", dtype=torch.float32)

    def forward(x):
        return x

    forward.__module__ = "kernels.layer"
    model.model.layers[1].mlp.forward = forward
    with pytest.raises(ModelError, match=r"`model.layers.1.mlp` was replaced by a kernel of kernels.layer.*use_kernels=False"):
        run(model, inputs("llama"))
    del model.model.layers[1].mlp.forward

    class Fast(type(model.model.layers[1].mlp)):
        pass

    Fast.forward = forward
    model.model.layers[1].mlp.__class__ = Fast
    with pytest.raises(ModelError, match=r"`model.layers.1.mlp` was replaced"):
        run(model, inputs("llama"))


def test_a_sharded_model_is_refused(monkeypatch):
    from torch.distributed import tensor

    class Spread(torch.Tensor):
        pass

    monkeypatch.setattr(tensor, "DTensor", Spread)
    model = build("llama", dtype=torch.float32)
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().as_subclass(Spread))
    with pytest.raises(ModelError, match=r"`lm_head` is sharded.*device_map"):
        run(model, inputs("llama"))


def test_warnings_of_ours_there_are_none():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(build("llama", dtype=torch.bfloat16), inputs("llama")).ledger.closed
