"""How well a model does on examples it has not seen, by the kind of the examples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from .induction import Repeat
from .scenes import CLASSES, Scene
from .tasks import Example


@torch.no_grad()
def accuracy(model: Any, processor: Any, examples: Sequence[Example], batch: int = 64) -> float:
    """The share of examples whose answer is right.

    For texts the answer is the highest logit; for scenes the digit in the upper left, the highest of its ten logits; for a language
    model each next token of the text, given all before it, is one answer; of lines whose last word came before, the token after it.
    """
    if scenes := [example for example in examples if isinstance(example, Scene)]:
        return of_scenes(model, processor, scenes, batch)["upper left"]
    if repeats := [example for example in examples if isinstance(example, Repeat)]:
        return of_repeats(model, processor, repeats, batch)
    if predicts_words(model):
        return of_words(model, processor, examples)["next token"]
    right = 0
    for some in _chunks(examples, batch):
        inputs = processor([example.text for example in some], return_tensors="pt", padding=True, truncation=True)
        found = model(**inputs).logits.argmax(-1).tolist()
        right += sum(number == example.label for number, example in zip(found, some, strict=True))
    return right / len(examples)


def predicts_words(model: Any) -> bool:
    """Whether the model is a language model: its answers are tokens."""
    return type(model).__name__.endswith(("ForCausalLM", "LMHeadModel"))


@torch.no_grad()
def of_scenes(model: Any, processor: Any, scenes: Sequence[Scene], batch: int = 64) -> Mapping[str, float]:
    """Three shares: digits in the upper left named rightly, classes rightly called present or absent, scenes with all ten right."""
    left, each, all_ten = 0, 0, 0
    for some in _chunks(scenes, batch):
        logits = model(**processor([scene.image for scene in some], return_tensors="pt")).logits
        truth = torch.tensor([[digit in scene.present for digit in range(CLASSES)] for scene in some])
        right = (logits[:, :CLASSES] > 0) == truth
        left += int((logits[:, CLASSES:].argmax(-1) == torch.tensor([scene.upper_left for scene in some])).sum())
        each, all_ten = each + int(right.sum()), all_ten + int(right.all(-1).sum())
    n = len(scenes)
    return {"upper left": left / n, "present": each / n / CLASSES, "all present": all_ten / n}


@torch.no_grad()
def of_words(model: Any, tokenizer: Any, examples: Sequence[Example], batch: int = 32) -> Mapping[str, float]:
    """The share of next tokens that are the likeliest, and the perplexity of the texts per token."""
    right, loss, count = 0, 0.0, 0
    for some in _chunks(examples, batch):
        inputs = tokenizer([example.text for example in some], return_tensors="pt", padding=True, truncation=True)
        logits = model(**inputs).logits[:, :-1]
        wanted, there = inputs["input_ids"][:, 1:], inputs["attention_mask"][:, 1:].bool()
        right += int((logits.argmax(-1) == wanted)[there].sum())
        loss += float(torch.nn.functional.cross_entropy(logits[there], wanted[there], reduction="sum"))
        count += int(there.sum())
    return {"next token": right / count, "perplexity": math.exp(loss / count)}


@torch.no_grad()
def of_repeats(model: Any, tokenizer: Any, lines: Sequence[Repeat], batch: int = 64) -> float:
    """The share of lines behind which the likeliest token is what followed before."""
    right = 0
    for some in _chunks(lines, batch):
        inputs = tokenizer([line.text for line in some], return_tensors="pt", padding=True)
        last = inputs["attention_mask"].sum(-1) - 1
        found = model(**inputs).logits[torch.arange(len(some)), last].argmax(-1).tolist()
        right += sum(number == tokenizer.convert_tokens_to_ids(line.answer) for number, line in zip(found, some, strict=True))
    return right / len(lines)


def _chunks(examples: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (examples[start : start + size] for start in range(0, len(examples), size))
