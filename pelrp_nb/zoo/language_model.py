"""A small language model of the review sentences: Llama that writes the next token, for continuations and their contrasts.

reviews-lm-rotary       trained on the sentences that the classifiers learnt from; each has a first token and a last
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..errors import ZooError
from . import data, tokens
from .catalogue import Dose, Trained
from .loop import Course, Tell, learn
from .measure import of_words
from .reviews import DATA, dealt
from .tasks import task

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

WIDTH, LAYERS, HEADS = 96, 3, 4
VOCABULARY = 4_000  # pieces
DROPOUT = 0.3
COURSE = Course(steps=5_000, batch=48, rate=2e-3, decay=0.1)


def train(name: str, dose: Dose, tell: Tell) -> Trained:
    """Train the language model on the review sentences."""
    if dose.epochs is not None:
        raise ZooError(f"The length of this training is a number of steps. Type: python -m pelrp_nb.zoo.train {name} --steps N")
    parts = dealt(dose)
    course = replace(COURSE, steps=dose.steps or COURSE.steps)
    tokenizer = tokens.opening(tokens.learn([s.text for s in (*parts.train, *parts.validation)], VOCABULARY))
    model = rotary(len(tokenizer))
    texts = tokenizer([s.text for s in parts.train])["input_ids"]
    rows = [torch.tensor([*ids, tokens.LAST_ID][: tokens.LONGEST]) for ids in texts]
    first, last = learn(model, _batches(rows, course.batch, dose.seed), _loss, course, tell, dose.checkpoint)

    def measure(model: Any, tokenizer: PreTrainedTokenizerFast) -> Mapping[str, Any]:
        found, packaged = of_words(model, tokenizer, parts.held_out), task(name).examples
        few = of_words(model, tokenizer, packaged)
        return {
            "accuracy": round(found["next token"], 4),
            "perplexity": round(found["perplexity"], 2),
            "examples": len(parts.held_out),
            "packaged_accuracy": round(few["next token"], 4),
            "packaged_perplexity": round(few["perplexity"], 2),
            "packaged_examples": len(packaged),
        }

    facts = {
        "labels": [],
        "trained_on": len(parts.train),
        "data": DATA,
        "license": data.LICENSE,
        "credit": data.CREDIT,
        "steps": course.steps,
        "losses": [round(first, 4), round(last, 4)],
    }
    return Trained(model, tokenizer, facts, measure)


def rotary(vocabulary: int) -> PreTrainedModel:
    """A Llama with two query heads to each key and value head; one table of tokens for reading and writing."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS // 2,
        intermediate_size=WIDTH * 8 // 3,
        max_position_embeddings=tokens.LONGEST,
        attention_dropout=0.1,
        tie_word_embeddings=True,
        pad_token_id=tokens.PAD_ID,
        bos_token_id=tokens.FIRST_ID,
        eos_token_id=tokens.LAST_ID,
        use_cache=False,
    )
    model = LlamaForCausalLM(config)
    _drop(model)
    return model


def _drop(model: PreTrainedModel) -> None:
    """Dropout after the embeddings and after each branch, which Llama has not; loaded models are without these hooks."""

    def drop(module: nn.Module, _: Any, output: Any) -> Any:
        return nn.functional.dropout(output, DROPOUT, module.training)

    branches = [branch for layer in model.model.layers for branch in (layer.self_attn.o_proj, layer.mlp)]
    for module in (model.model.embed_tokens, *branches):
        module.register_forward_hook(drop)


def _batches(rows: Sequence[Tensor], size: int, seed: int) -> Iterator[Tensor]:
    """Padded ids (B, T), every sentence once before any comes again."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(rows), generator=generator).tolist()
        for start in range(0, max(1, len(rows) - size + 1), size):
            some = [rows[i] for i in order[start : start + size]]
            yield nn.utils.rnn.pad_sequence(some, batch_first=True, padding_value=tokens.PAD_ID)


def _loss(model: Any, ids: Tensor) -> Tensor:
    """Cross-entropy of each token given those before it; padding asks nothing."""
    logits = model(input_ids=ids, attention_mask=(ids != tokens.PAD_ID).long()).logits[:, :-1]
    return cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=tokens.PAD_ID)
