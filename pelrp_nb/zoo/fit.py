"""Learning from a few thousand rated sentences without learning them by heart.

Three things do it: the target is not the label but the strength of the rating, p(positive) = sigmoid(rating); words are
replaced by the unknown token at random; and half of the sentences are joined with another one, ratings added.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from .architectures import Recipe
from .data import Sentence
from .tokens import LAST_ID, LONGEST, PAD_ID, SPECIAL, UNKNOWN_ID

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Rated = tuple[Tensor, float]  # token ids, rating
_BATCHES_SORTED = 16  # so many batches are sorted by length together: less padding


@dataclass(frozen=True)
class Fit:
    """How a training went."""

    epochs: float
    steps: int
    validation_loss: float


def encode(tokenizer: PreTrainedTokenizerFast, sentences: Sequence[Sentence]) -> list[Rated]:
    """Sentences as token ids beside their ratings."""
    ids = tokenizer([s.text for s in sentences])["input_ids"]
    cut = [row if len(row) <= LONGEST else [*row[: LONGEST - 1], LAST_ID] for row in ids]
    return [(torch.tensor(row), s.rating) for row, s in zip(cut, sentences, strict=True)]


def soft_loss(logits: Tensor, ratings: Tensor) -> Tensor:
    """Cross-entropy against sigmoid(rating)."""
    positive = torch.sigmoid(ratings)
    return cross_entropy(logits, torch.stack([1 - positive, positive], dim=-1))


def fit(
    model: PreTrainedModel,
    train: Sequence[Rated],
    validation: Sequence[Rated],
    recipe: Recipe,
    generator: torch.Generator,
    steps: int | None = None,
    tell: Callable[[int, int, float | None], None] = lambda step, total, loss: None,
) -> Fit:
    """Train in place; the model ends with the averaged weights that did best on the validation sentences."""
    an_epoch = math.ceil(len(train) / recipe.batch)
    total = steps or recipe.epochs * an_epoch
    optimiser, average = _optimiser(model, recipe), copy.deepcopy(model)
    best, best_weights, waited, step = math.inf, model.state_dict(), 0, 0
    while step < total and (steps is not None or waited < recipe.patience):  # a stated number of steps is done in full
        for ids, ratings in _batches(_joined(train, recipe, generator), recipe.batch, generator):
            _set_rates(optimiser, min(1.0, (step + 1) / min(recipe.warmup, total)) * (1 - step / total))
            _step(model, optimiser, _readings(ids, recipe, generator), ratings, recipe.agreement)
            step += 1
            _follow(average, model, min(recipe.average, step / (step + 10)))
            tell(step, total, None)
            if step == total:
                break
        loss = validation_loss(average, validation)
        tell(step, total, loss)
        waited += 1
        if loss < best:
            best, best_weights, waited = loss, copy.deepcopy(average.state_dict()), 0
    model.load_state_dict(best_weights)
    model.eval()
    return Fit(round(step / an_epoch, 1), step, best)


@torch.no_grad()
def validation_loss(model: PreTrainedModel, sentences: Sequence[Rated]) -> float:
    """The mean cross-entropy against the labels."""
    model.eval()
    total = 0.0
    for ids, ratings in _batches(sentences, 128, None):
        logits = model(input_ids=ids, attention_mask=(ids != PAD_ID).long()).logits
        total += cross_entropy(logits, (ratings > 0).long(), reduction="sum").item()
    return total / len(sentences)


def _step(model: PreTrainedModel, optimiser: torch.optim.Optimizer, ids: Tensor, ratings: Tensor, agreement: float) -> None:
    model.train()
    optimiser.zero_grad()
    logits = model(input_ids=ids, attention_mask=(ids != PAD_ID).long()).logits
    loss = soft_loss(logits, ratings.repeat(len(logits) // len(ratings)))
    if agreement:
        loss = loss + agreement * disagreement(*logits.chunk(2))
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()


def disagreement(first: Tensor, second: Tensor) -> Tensor:
    """The symmetric Kullback-Leibler divergence of two readings of the same sentences (Liang et al. 2021, R-Drop)."""
    p, q = first.log_softmax(-1), second.log_softmax(-1)
    return ((p.exp() - q.exp()) * (p - q)).sum(-1).mean() / 2


def _batches(sentences: Sequence[Rated], size: int, generator: torch.Generator | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Padded ids and ratings; in random order, but sentences of like length together, if there is a generator."""
    order = list(range(len(sentences))) if generator is None else _shuffled(len(sentences), generator)
    chunks = [order[start : start + size * _BATCHES_SORTED] for start in range(0, len(order), size * _BATCHES_SORTED)]
    for chunk in chunks:
        chunk.sort(key=lambda place: len(sentences[place][0]))
    batches = [chunk[start : start + size] for chunk in chunks for start in range(0, len(chunk), size)]
    for number in range(len(batches)) if generator is None else _shuffled(len(batches), generator):
        rows = [sentences[place] for place in batches[number]]
        ids = pad_sequence([row for row, _ in rows], batch_first=True, padding_value=PAD_ID)
        yield ids, torch.tensor([rating for _, rating in rows])


def _joined(sentences: Sequence[Rated], recipe: Recipe, generator: torch.Generator) -> list[Rated]:
    """Some sentences continued by another one: two verdicts weigh as much as their sum."""
    second = _shuffled(len(sentences), generator)
    chosen = (torch.rand(len(sentences), generator=generator) < recipe.joined).tolist()
    found = []
    for (ids, rating), other, join in zip(sentences, second, chosen, strict=True):
        more, more_rating = sentences[other]
        fits = len(ids) + len(more) - 2 <= LONGEST
        found.append((torch.cat([ids[:-1], more[1:]]), rating + more_rating) if join and fits else (ids, rating))
    return found


def _readings(ids: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Some words become the unknown token; where readings are to agree, each sentence is read twice."""
    ids = ids.repeat(2, 1) if recipe.agreement else ids
    dropped = (torch.rand(ids.shape, generator=generator) < recipe.word_dropout) & (ids >= len(SPECIAL))
    return ids.masked_fill(dropped, UNKNOWN_ID)


def _optimiser(model: PreTrainedModel, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW in three groups: embeddings, matrices, vectors (which do not decay)."""
    embeddings = model.get_input_embeddings().weight
    assert isinstance(embeddings, nn.Parameter)
    with torch.no_grad():
        embeddings.normal_(std=recipe.embedding_spread)
        embeddings[PAD_ID].zero_()
    rest = [p for p in model.parameters() if p.requires_grad and p is not embeddings]
    groups = [
        {"params": [embeddings], "top": recipe.embedding_rate, "weight_decay": recipe.weight_decay},
        {"params": [p for p in rest if p.ndim > 1], "top": recipe.rate, "weight_decay": recipe.weight_decay},
        {"params": [p for p in rest if p.ndim == 1], "top": recipe.rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98))


def _set_rates(optimiser: torch.optim.Optimizer, share: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = group["top"] * share


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, keep: float) -> None:
    """Move the running mean of the weights a little."""
    for mean, now in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(now, 1 - keep)


def _shuffled(count: int, generator: torch.Generator) -> list[int]:
    return torch.randperm(count, generator=generator).tolist()
