"""A language model of attention alone: Llama without its MLPs, small enough that each of its heads can be told what it does."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer


class AttentionLayer(LlamaDecoderLayer):
    """x + attention(norm(x)), and nothing else."""

    def __init__(self, config: LlamaConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        del self.mlp, self.post_attention_layernorm

    def forward(self, hidden_states: Tensor, *rest: Any, **given: Any) -> Tensor:
        """(B, T, D) to the same; what else is given goes to the attention."""
        out, _ = self.self_attn(self.input_layernorm(hidden_states), *rest, **given)
        return hidden_states + out


class AttentionOnlyLM(LlamaForCausalLM):
    """Embeddings, `AttentionLayer`s, a norm, and a linear map to logits (B, T, words)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        layers = (AttentionLayer(config, i) for i in range(config.num_hidden_layers))
        self.model.layers = nn.ModuleList(layers)
        self.post_init()
