"""`bench patch`: estimates of patching against the patched forward pass, over all heads of a model, on many prompts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import torch

from .. import zoo
from ..patch import patch
from ..results.measured import ranked
from ..targets.target import token
from ..zoo.induction import repeats

INDUCTION = "induction-rotary"
KINDS = ("answer", "word")
BEGINNINGS = (
    "Once upon a time there was a little {}. The", "One day a {} went to the park. The", "A {} and a bird were friends. The",
    "The little {} was very sad. One day the",
)  # fmt: skip
NAMED = (("cat", "dog"), ("boy", "girl"), ("ball", "car"), ("tree", "house"), ("bear", "fish"), ("king", "man"), ("cow", "dog"))


@dataclass(frozen=True)
class Prompt:
    """Two texts and the number that is asked about."""

    kind: str
    clean: str
    corrupt: str
    metric: Any


def of_lines(count: int) -> Iterator[Prompt]:
    """Lines in which a word comes again: its answer replaced, or the word itself, so that the answer cannot be found."""
    for line in islice(repeats(held_out=True), count):
        yield Prompt("answer", line.text, line.corrupt, (token(line.answer), token(line.other)))
        words = line.text.split()
        words[line.first] = line.other
        yield Prompt("word", line.text, " ".join(words), token(line.answer))


@torch.no_grad()
def of_stories(model: Any, tokenizer: Any, count: int) -> Iterator[Prompt]:
    """Beginnings of stories of equal length that differ in one word: the likeliest next token rather than the second."""
    found = 0
    for (one, two), text in product(NAMED, BEGINNINGS):
        clean, corrupt = text.format(one), text.format(two)
        if len(tokenizer(clean)["input_ids"]) == len(tokenizer(corrupt)["input_ids"]) and found < count:
            found += 1
            best = model(**tokenizer(clean, return_tensors="pt")).logits[0, -1].topk(2).indices.tolist()
            yield Prompt("story", clean, corrupt, tuple(token(number, at=-1) for number in best))


def patching(argv: list[str] | None = None) -> int:
    """`bench patch`: rank correlation of estimated with measured effects over all heads, and the heads that both name."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb bench patch", description=patching.__doc__)
    parser.add_argument("--prompts", type=int, default=50, help="how many prompts (50)")
    parser.add_argument("--model", default=INDUCTION, metavar="NAME_OR_PATH", help="a language model of stories, or the zoo's (default)")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    found = measured(given.model, given.prompts)
    if given.json:
        print(json.dumps(found))
        return 0
    print(f"{given.model}, float64: rank correlation of the estimate with the patched forward pass, over all heads")
    for kind, one in found.items():
        print(f"\n{kind}: {one['prompts']} prompts, {one['heads']} heads")
        for by in ("relevance", "gradient"):
            rho, within, missed = (one[by][what] for what in ("all", "each", "missed"))
            print(f"  by {by:<10} {rho:.3f} over heads and prompts, {within:.3f} within a prompt; misses {missed:.0%} of all effects")
        print(f"  largest: {one['largest']['relevance']} by relevance, {one['largest']['measured']} measured")
    return 0


def measured(name: str, count: int) -> dict[str, Any]:
    """By kind of prompt: correlations by relevance and by gradient, and which head is the largest."""
    from tqdm.auto import tqdm

    model, tokenizer = zoo.load(name)
    model = model.double()
    prompts = list(of_lines(count) if name == INDUCTION else of_stories(model, tokenizer, count))
    rows: dict[str, list[Any]] = {}
    for prompt in tqdm(prompts, desc="patch", leave=False):
        found = patch(model, prompt.clean, prompt.corrupt, processor=tokenizer, metric=prompt.metric)
        rows.setdefault(prompt.kind, []).append(found.true(len(found.sites())))
    return {kind: told(each) for kind, each in rows.items()}


def told(each: list[Any]) -> dict[str, Any]:
    """Correlations over everything and within each prompt, what part of all effects is missed, the head of the largest mean size."""
    found: dict[str, Any] = {"prompts": len(each), "heads": len(each[0].sites)}
    true = [x for one in each for x in one.measured]
    for by in ("relevance", "gradient"):
        estimates = [x for one in each for x in getattr(one, by)]
        within = [one.correlation[by] for one in each]
        missed = sum(abs(x - y) for x, y in zip(estimates, true, strict=True)) / sum(map(abs, true))
        found[by] = {"all": ranked(estimates, true), "each": sum(within) / len(within), "missed": missed}
    found["largest"] = {by: largest(each, by) for by in ("relevance", "measured")}
    return found


def largest(each: list[Any], by: str) -> str:
    """The site with the largest mean size."""
    sizes: dict[str, float] = {}
    for one in each:
        for site, x in zip(one.sites, getattr(one, by), strict=True):
            sizes[str(site)] = sizes.get(str(site), 0.0) + abs(x)
    return max(sizes, key=lambda site: sizes[site])
