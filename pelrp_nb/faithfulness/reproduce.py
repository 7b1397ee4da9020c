"""The paper's text protocol on what fits a laptop, and the page that says what came out.

    python -m pelrp_nb.faithfulness.reproduce FOLDER --out tutorials/reproduction.md [--stories FOLDER] [--minilm FOLDER]

Results stay in FOLDER; what is there is not done again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from .. import zoo
from ..results.serialisation import put
from .data import load
from .examples import Example
from .methods import ALL
from .reproduce_page import page
from .result import Result
from .runner import Output, measure
from .settings import AUTHORS_TEXT, PAPER_TEXT, Configuration, Text

PAPER = ("pruning", "generation")
SIGNS = replace(PAPER_TEXT, sign="absolute")
LARGE = 40  # examples at most for the largest model, 22 million parameters
STORY = 24  # tokens of a story whose next word is explained


@dataclass(frozen=True)
class Arm:
    """One evaluation of the page: what it shows, the model and data, the choices."""

    name: str
    loaded: tuple[Any, Any]
    examples: Sequence[Example]
    text: Text


class Anchors(nn.Module):
    """A sentence encoder as a classifier: the logit of a class is 10 times the cosine of the text's vector with its anchor's."""

    encoder: Any  # a transformers model

    def __init__(self, encoder: Any, tokenizer: Any, anchors: Mapping[str, str]) -> None:
        super().__init__()
        self.encoder, names = encoder, tuple(anchors)
        self.config = SimpleNamespace(
            vocab_size=encoder.config.vocab_size, id2label=dict(enumerate(names)), max_position_embeddings=512,
            _name_or_path="minilm-anchors",
        )  # fmt: skip
        batch = tokenizer(list(anchors.values()), return_tensors="pt", padding=True)
        with torch.no_grad():
            mean, _ = self.pooled(batch["input_ids"], batch["attention_mask"])
        self.register_buffer("anchors", mean / mean.norm(dim=-1, keepdim=True))

    def get_input_embeddings(self) -> nn.Module:
        """Where tokens become vectors."""
        return self.encoder.get_input_embeddings()

    def set_attn_implementation(self, name: str) -> None:
        """The encoder's."""
        self.encoder.set_attn_implementation(name)

    def pooled(self, input_ids: Tensor, attention_mask: Tensor, **more: Any) -> Any:
        """(B, D) mean over the tokens that are no padding, and what the encoder said."""
        output = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **more)
        visible = attention_mask[..., None].to(output.last_hidden_state.dtype)
        return (output.last_hidden_state * visible).sum(1) / visible.sum(1), output

    def forward(self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor | None = None, **more: Any) -> Any:
        """Logits (B, classes), and attentions and hidden states where they are asked for."""
        if position_ids is not None:
            more["position_ids"] = position_ids
        mean, output = self.pooled(input_ids, attention_mask, **more)
        logits = 10 * mean / mean.norm(dim=-1, keepdim=True) @ self.anchors.T
        return SimpleNamespace(logits=logits, attentions=output.attentions, hidden_states=output.hidden_states)


def minilm(folder: Path) -> tuple[Any, Any]:
    """The sentence encoder in a folder, asked whether a film is good or bad."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    encoder = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    return Anchors(encoder, tokenizer, {"negative": "a bad film", "positive": "a good film"}).eval(), tokenizer


@torch.no_grad()
def stories(model: Any, tokenizer: Any, count: int) -> list[Example]:
    """Beginnings of stories that the model tells itself, drawn one token at a time with a seed of its own for each."""
    found = []
    for seed in range(count):
        rng = torch.Generator().manual_seed(seed)
        ids = tokenizer("Once upon a time", return_tensors="pt")["input_ids"]
        while ids.shape[1] < STORY:
            chances = model(ids).logits[0, -1].softmax(-1)
            ids = torch.cat([ids, torch.multinomial(chances, 1, generator=rng)[None]], 1)
        found.append(Example(tokenizer.decode(ids[0], skip_special_tokens=True).strip()))
    return found


def arms(count: int, told: Path | None, encoder: Path | None) -> Iterator[Arm]:
    """What is evaluated."""
    reviews = list(load("reviews", count))
    for name in ("reviews-rotary", "reviews-learnable", "reviews-absolute"):
        yield Arm(name, zoo.load(name), reviews, PAPER_TEXT)
    rotary = zoo.load("reviews-rotary")
    yield Arm("reviews-rotary, by absolute relevance", rotary, reviews, SIGNS)
    yield Arm("reviews-rotary, without a causal mask", rotary, reviews, AUTHORS_TEXT)
    if told is not None:
        loaded = zoo.load(told)
        texts = stories(*loaded, count)
        yield Arm("stories260K", loaded, texts, PAPER_TEXT)
        yield Arm("stories260K, without a causal mask", loaded, texts, AUTHORS_TEXT)
    if encoder is not None:
        yield Arm("MiniLM", minilm(encoder), reviews[:LARGE], PAPER_TEXT)


def run(folder: Path, given: argparse.Namespace) -> dict[str, Result]:
    """The results by name, from their files where they are complete."""
    found = {}
    for arm in arms(given.examples, given.stories, given.minilm):
        print(arm.name, file=sys.stderr)
        model = arm.name.partition(",")[0]
        settings = Configuration(model=model, data="as on the page", methods=ALL, protocols=PAPER, text=arm.text)
        path = folder / f"{arm.name.replace(', ', '-').replace(' ', '-')}.jsonl"
        found[arm.name] = measure(*arm.loaded, arm.examples, settings, output=Output(path, "resume", True))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing and write the page."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb.faithfulness.reproduce", description=main.__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where results are kept")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page to write (Markdown)")
    parser.add_argument("--examples", type=int, default=100, metavar="N", help="of each set (100)")
    parser.add_argument("--stories", type=Path, metavar="FOLDER", help="stories260K, as save_pretrained writes it")
    parser.add_argument("--minilm", type=Path, metavar="FOLDER", help="all-MiniLM-L6-v2, likewise")
    given = parser.parse_args(argv)
    given.folder.mkdir(parents=True, exist_ok=True)
    results = run(given.folder, given)
    if given.out:
        put(given.out, page(results).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
