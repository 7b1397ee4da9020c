"""Three classifiers of one size that differ in where positions enter, and how each is trained.

reviews-rotary      Llama: positions turn queries and keys in every layer; the last token answers
reviews-learnable   BERT: a learned vector per place is added at the input; the first token answers
reviews-absolute    DistilBERT with sinusoids: a fixed vector per place is added at the input
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from torch import nn

from .data import LABELS
from .tokens import FIRST_ID, LAST_ID, LONGEST, PAD_ID

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WIDTH, LAYERS, HEADS = 64, 4, 4


@dataclass(frozen=True)
class Recipe:
    """How one model is trained; rates are per step of AdamW."""

    build: Callable[[int, float], PreTrainedModel]  # vocabulary size, dropout -> a model with random weights
    positions: str
    rate: float = 1e-3
    embedding_rate: float = 1e-2  # rare words are met a few times only: they must move fast
    embedding_spread: float = 0.1
    weight_decay: float = 0.01
    dropout: float = 0.3
    word_dropout: float = 0.3  # words replaced by the unknown token
    joined: float = 0.5  # sentences joined with a second one, whose rating is added
    agreement: float = 0.0  # weight of: two readings with other words missing agree
    average: float = 0.998  # the weights kept are a running mean
    batch: int = 64
    warmup: int = 100
    epochs: int = 10
    patience: int = 4  # epochs without a better validation loss
    vocabulary: int = 10_000


def _common(vocabulary: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "max_position_embeddings": LONGEST,
        "pad_token_id": PAD_ID,
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: number for number, label in enumerate(LABELS)},
    }


def rotary(vocabulary: int, dropout: float) -> PreTrainedModel:
    """A Llama classifier with two query heads to each key and value head."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    model = LlamaForSequenceClassification(
        LlamaConfig(
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS // 2,
            intermediate_size=WIDTH * 8 // 3,
            attention_dropout=0.1,
            bos_token_id=FIRST_ID,
            eos_token_id=LAST_ID,
            use_cache=False,
            **_common(vocabulary),
        )
    )
    _drop_branches(model, dropout)
    return model


def learnable(vocabulary: int, dropout: float) -> PreTrainedModel:
    """A BERT classifier."""
    from transformers import BertConfig, BertForSequenceClassification

    return BertForSequenceClassification(
        BertConfig(
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            intermediate_size=4 * WIDTH,
            attention_probs_dropout_prob=0.1,
            hidden_dropout_prob=dropout,
            **_common(vocabulary),
        )
    )


def absolute(vocabulary: int, dropout: float) -> PreTrainedModel:
    """A DistilBERT classifier whose sinusoids are fixed."""
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    model = DistilBertForSequenceClassification(
        DistilBertConfig(
            dim=WIDTH,
            n_layers=LAYERS,
            n_heads=HEADS,
            hidden_dim=4 * WIDTH,
            dropout=dropout,
            seq_classif_dropout=dropout,
            sinusoidal_pos_embds=True,
            **_common(vocabulary),
        )
    )
    model.distilbert.embeddings.position_embeddings.weight.requires_grad_(False)
    return model


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "reviews-rotary": Recipe(
            rotary, "rotary", embedding_rate=3e-3, embedding_spread=0.02, weight_decay=0.02, joined=0.0, agreement=1.0, epochs=8
        ),
        "reviews-learnable": Recipe(learnable, "learnable", rate=5e-4, embedding_rate=2.5e-3),
        "reviews-absolute": Recipe(absolute, "absolute", word_dropout=0.2, joined=0.0),
    }
)


def _drop_branches(model: PreTrainedModel, amount: float) -> None:
    """Dropout where BERT has it; Llama has none of its own there. Loaded models are without these hooks."""

    def drop(module: nn.Module, _: Any, output: Any) -> Any:
        return nn.functional.dropout(output, amount, module.training)

    model.model.embed_tokens.register_forward_hook(drop)
    model.model.norm.register_forward_hook(drop)
    for layer in model.model.layers:
        layer.self_attn.o_proj.register_forward_hook(drop)
        layer.mlp.register_forward_hook(drop)
