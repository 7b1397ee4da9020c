"""Small random models as METHOD.md prescribes: weights scaled by 1/sqrt(fan in), biases of about 0.05, a softmax that matters."""

from __future__ import annotations

import torch
from torch import nn

SIZES = {"vocab_size": 96, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 80}
ROTARY = {**SIZES, "num_key_value_heads": 2, "max_position_embeddings": 64}
IMAGES = {k: v for k, v in SIZES.items() if k != "vocab_size"} | {"image_size": 16, "patch_size": 4, "num_labels": 5}


def randomise(model: nn.Module, sharp: float = 2.0, seed: int = 0) -> nn.Module:
    """Weights of variance 1 / fan in, norms near 1, biases of 0.05, queries and keys `sharp` times as large."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            drawn = torch.randn(p.shape, generator=rng, dtype=torch.float64).to(p.dtype)
            if p.dim() == 0:  # a temperature
                continue
            if p.dim() == 1:
                norm_weight = name.endswith("weight")
                p.copy_(1 + 0.1 * drawn if norm_weight else 0.05 * drawn)
            elif "embed" in name or "cls_token" in name or "wte" in name or "wpe" in name:
                p.copy_(drawn * 0.7)
            else:
                turned = type(model).__name__.startswith("GPT2") and p.dim() == 2 and "lm_head" not in name
                fan_in = p.shape[0] if turned else p.shape[-1] if p.dim() == 3 else p[0].numel()
                scores = any(w in name for w in ("q_proj", "k_proj", "query", "key", "c_attn"))
                p.copy_(drawn / fan_in**0.5 * (sharp if scores else 1))
    return model.eval()


def build(name: str, attention: str = "sdpa", dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
    """A random model of that family, by its classes in transformers."""
    import transformers as t

    made = {
        "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**ROTARY)),
        "qwen2": lambda: t.Qwen2ForCausalLM(t.Qwen2Config(**ROTARY)),
        "gemma": lambda: t.GemmaForCausalLM(t.GemmaConfig(**ROTARY, head_dim=12)),
        "mixtral": lambda: t.MixtralForCausalLM(t.MixtralConfig(**ROTARY, num_local_experts=4, num_experts_per_tok=2)),
        "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(vocab_size=96, n_embd=48, n_layer=3, n_head=4, n_positions=64)),
        "bert": lambda: t.BertForSequenceClassification(t.BertConfig(**SIZES, max_position_embeddings=64)),
        "distilbert": lambda: t.DistilBertForSequenceClassification(
            t.DistilBertConfig(vocab_size=96, dim=48, n_layers=3, n_heads=4, hidden_dim=80, sinusoidal_pos_embds=True,
                               max_position_embeddings=64)
        ),
        "vit": lambda: t.ViTForImageClassification(t.ViTConfig(**IMAGES)),
    }  # fmt: skip
    model = made[name]()
    table = "distilbert.embeddings.position_embeddings.weight"
    kept = {k: v.clone() for k, v in model.state_dict().items() if k == table}
    randomise(model.to(torch.float64), seed=seed)
    model.load_state_dict(kept, strict=False)
    if hasattr(model.config, "_experts_implementation"):
        model.set_experts_implementation("eager")
    model.set_attn_implementation(attention)
    return model.to(dtype)


def inputs(name: str, T: int = 9, dtype: torch.dtype = torch.float64, seed: int = 1) -> dict[str, torch.Tensor]:
    """A random input of that family."""
    rng = torch.Generator().manual_seed(seed)
    if name == "vit":
        return {"pixel_values": torch.randn(1, 3, 16, 16, generator=rng, dtype=torch.float64).to(dtype)}
    ids = torch.randint(5, 96, (1, T), generator=rng)
    return {"input_ids": ids} if name in ("bert", "distilbert") else {"input_ids": ids, "use_cache": False}


def score(output) -> torch.Tensor:
    """The highest logit, of the last token where there are several."""
    logits = output.logits
    return logits[0, -1].max() if logits.dim() == 3 else logits[0].max()


FAMILIES = ("llama", "qwen2", "gemma", "mixtral", "gpt2", "bert", "distilbert", "vit")

IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
POSITIONS = {
    "gptj": ("GPTJForCausalLM", {"n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 64, "rotary_dim": 6}),
    "codegen": ("CodeGenForCausalLM", {"n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 64, "n_ctx": 64, "rotary_dim": 6}),
    "gpt_neox": ("GPTNeoXForCausalLM", {**SIZES, "max_position_embeddings": 64}),
    "roformer": ("RoFormerForMaskedLM", {**SIZES, "embedding_size": 48, "max_position_embeddings": 64}),
    "roformer on values": ("RoFormerForMaskedLM", {**SIZES, "embedding_size": 48, "max_position_embeddings": 64,
                                                   "rotary_value": True}),
    "t5": ("T5ForConditionalGeneration", {"d_model": 48, "d_kv": 12, "d_ff": 80, "num_layers": 2, "num_heads": 4,
                                          "decoder_start_token_id": 0}),
    "mpnet": ("MPNetForMaskedLM", {**SIZES, "max_position_embeddings": 64}),
    "beit": ("BeitForImageClassification", {**IMAGES, "use_relative_position_bias": True}),
    "swin": ("SwinForImageClassification", {"image_size": 16, "patch_size": 2, "embed_dim": 16, "depths": [2, 2],
                                            "num_heads": [2, 4], "window_size": 4, "num_labels": 5}),
    "bloom": ("BloomForCausalLM", {"hidden_size": 48, "n_layer": 2, "n_head": 4}),
    "mpt": ("MptForCausalLM", {"d_model": 48, "n_layers": 2, "n_heads": 4, "max_seq_len": 64}),
    "falcon": ("FalconForCausalLM", {**SIZES, "bias": True}),
    "falcon alibi": ("FalconForCausalLM", {**SIZES, "bias": True, "alibi": True, "parallel_attn": False}),
    "deberta": ("DebertaForMaskedLM", {**SIZES, "relative_attention": True, "position_biased_input": False,
                                       "pos_att_type": ["p2c", "c2p"], "max_relative_positions": 16}),
    "deberta_v2": ("DebertaV2ForMaskedLM", {**SIZES, "relative_attention": True, "position_biased_input": False,
                                            "pos_att_type": ["p2c", "c2p"], "max_relative_positions": 16, "position_buckets": 8,
                                            "share_att_key": True, "norm_rel_ebd": "layer_norm"}),
    "xlnet": ("XLNetLMHeadModel", {"d_model": 48, "n_layer": 2, "n_head": 4, "d_inner": 80}),
    "mamba": ("MambaForCausalLM", {"hidden_size": 48, "num_hidden_layers": 2, "state_size": 8}),
    "convnext": ("ConvNextForImageClassification", {"hidden_sizes": [16, 32], "depths": [1, 1], "num_stages": 2, "image_size": 16,
                                                    "num_labels": 5, "patch_size": 2}),
}  # fmt: skip


def texts(T: int = 9, seed: int = 1) -> dict[str, torch.Tensor]:
    """Random ids for a language model."""
    return {"input_ids": torch.randint(5, 96, (1, T), generator=torch.Generator().manual_seed(seed)), "use_cache": False}


def build_position(name: str, attention: str | None = None) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """A random model with that kind of position, float64, and an input for it."""
    import transformers as t

    class_name, changed = POSITIONS[name]
    kind = getattr(t, class_name)
    if "ForImage" in class_name:
        size = changed["image_size"]
        x = {"pixel_values": torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)}
        model = kind(kind.config_class(**changed))
    else:
        model = kind(kind.config_class(vocab_size=96, **{**IDS, **{k: v for k, v in changed.items() if k != "vocab_size"}}))
        x = texts()
        if "MaskedLM" in class_name:
            del x["use_cache"]
        if "ForConditional" in class_name:
            x["decoder_input_ids"] = torch.tensor([[0, 7, 8, 9]])
    tables = {k: v.clone() for k, v in model.state_dict().items() if "embed_positions" in k}
    randomise(model.double())
    model.load_state_dict(tables, strict=False)
    if attention:
        model.set_attn_implementation(attention)
    return model, x
