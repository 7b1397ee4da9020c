"""The confirmation of what positions are worth, as `tutorials/positions.md` wrote it down before it was run.

    python -m pelrp_nb zoo seeds --out SEEDS
    python -m pelrp_nb.faithfulness.confirmation FOLDER --seeds SEEDS --out tutorials/positions.md

Measurements stay in FOLDER, one file for each model and kind of question: what is there is not done again, so it can be stopped at any
time, and seeds that are trained later are added by the same command.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from .. import zoo
from ..errors import FileError, exit_code
from ..results.serialisation import put
from ..zoo.questions import KINDS, Question, questions
from ..zoo.seeds import models
from .confirmation_page import write
from .confirmed import Batch, Tell, measured, steps

MODELS = ("tasks-rotary", "tasks-learnable", "tasks-alibi", "tasks-absolute", "tasks-relative")
REVIEWED = ("reviews-rotary", "reviews-learnable", "reviews-absolute")
FRESH, SEEN = 2026, 200  # the seed of the questions; so many of each kind were looked at before
COUNT, OTHERS = 40, 20  # questions of each kind; reviews, beginnings of stories
AFTER, WORDS, BEGINNING = 200, 16, 12  # reviews after so many, of at most so many words; tokens of a beginning


@dataclass(frozen=True)
class Job:
    """What goes into one file: a model, and what it is asked: questions of one kind, or rows of tokens."""

    name: str
    seed: int
    kind: str
    model: Any
    tokenizer: Any
    texts: Sequence[Any]

    @property
    def file(self) -> str:
        return f"{self.name}-{self.seed}-{self.kind}.json"

    @property
    def steps(self) -> int:
        """How often `measured` will tell."""
        if isinstance(self.texts[0], Question):
            return steps(len(self.texts), len(self.texts[0].text.split()))
        return sum(steps(1, self.tokenizer.get_special_tokens_mask(row, already_has_special_tokens=True).count(0)) for row in self.texts)

    def batches(self) -> Iterator[tuple[Batch, dict[str, Any]]]:
        """What is measured together, and what is known of it."""
        return (asked if isinstance(self.texts[0], Question) else single)(self.model, self.tokenizer, self.texts)

    @property
    def weights(self) -> str:
        """What tells one model from another: the sum of its weights, and of their squares."""
        w = torch.cat([p.detach().double().flatten() for p in self.model.parameters()])
        return f"{float(w.sum()):.9g} {float(w.square().sum()):.9g}"


def fresh(kind: str, count: int = COUNT) -> list[Question]:
    """Held-out questions that nothing was tried on."""
    seen = {one.text for one in islice(questions(kind, held_out=True, seed=0), SEEN)}
    return list(islice((one for one in questions(kind, held_out=True, seed=FRESH) if one.text not in seen), count))


def asked(model: Any, tokenizer: Any, some: Sequence[Question]) -> Iterator[tuple[Batch, dict[str, Any]]]:
    """The questions of one kind that the model answers rightly, all of one length, and what is known of them."""
    encoded = tokenizer([one.text for one in some], return_tensors="pt", return_special_tokens_mask=True)
    ids, answers = encoded["input_ids"], torch.tensor([one.label for one in some])
    places = (encoded["special_tokens_mask"][0] == 0).nonzero()[:, 0]
    with torch.no_grad():
        right = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.argmax(-1) == answers
    if right.any():
        truth = [[place - 1 in one.truth.tokens for place in places.tolist()] for one in some]  # the first token is special
        known = {"questions": len(some), "truth": [row for row, yes in zip(truth, right.tolist(), strict=True) if yes]}
        yield Batch(model, tokenizer, ids[right], answers[right], places), known


def single(model: Any, tokenizer: Any, rows: Sequence[list[int]]) -> Iterator[tuple[Batch, dict[str, Any]]]:
    """Rows of any length, one by one; the highest output is explained."""
    for row in rows:
        ids = torch.tensor([row])
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        target = (logits[:, -1] if logits.dim() == 3 else logits).argmax(-1)
        special = torch.tensor(tokenizer.get_special_tokens_mask(row, already_has_special_tokens=True))
        yield Batch(model, tokenizer, ids, target, (special == 0).nonzero()[:, 0]), {"questions": 1}


def jobs(seeds: Path | None, stories: Path | None, only: Sequence[str]) -> Iterator[Job]:
    """Everything that can be measured with the models that are there, in the order in which it matters."""
    for name in MODELS:
        for seed, model, tokenizer in models(seeds, name) if not only or name in only else ():
            yield from (Job(name, seed, kind, model, tokenizer, fresh(kind)) for kind in KINDS)
    for name, where in (*((name, name) for name in REVIEWED), *((("stories", stories),) if stories else ())):
        if not only or name in only:
            model, tokenizer = zoo.load(where)
            yield Job(name, 0, "text", model, tokenizer, reviews(tokenizer) if name in REVIEWED else beginnings(model))


def reviews(tokenizer: Any) -> list[list[int]]:
    """Short held-out sentences after those that were looked at."""
    short = (one.text for one in zoo.task("reviews").examples[AFTER:] if len(one.text.split()) <= WORDS)
    return [tokenizer(text)["input_ids"] for text in islice(short, OTHERS)]


def beginnings(model: Any) -> list[list[int]]:
    """Beginnings of stories, drawn from the model itself."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(FRESH)
        rows = torch.full((OTHERS, 1), model.config.bos_token_id)
        while rows.shape[1] <= BEGINNING:
            p = model(input_ids=rows, attention_mask=torch.ones_like(rows)).logits[:, -1].softmax(-1)
            rows = torch.cat([rows, torch.multinomial(p, 1)], 1)
    return rows.tolist()


def run(folder: Path, seeds: Path | None, stories: Path | None, only: Sequence[str]) -> list[dict[str, Any]]:
    """The measurements of all, from their files where they are there."""
    from tqdm.auto import tqdm

    todo = list(jobs(seeds, stories, only))
    found = []
    with tqdm(total=sum(job.steps for job in todo), unit="step", mininterval=1.0 if sys.stderr.isatty() else 30.0) as bar:
        for job in todo:
            path = folder / job.file
            bar.set_postfix_str(job.file)
            if not path.exists():
                put(path, (json.dumps(_measured(job, bar.update)) + "\n").encode())
            else:
                bar.initial += job.steps
                bar.update(job.steps)
            found.append(read(path, job))
    return found


def _measured(job: Job, tell: Tell) -> dict[str, Any]:
    parts = [{**measured(batch, tell), **known} for batch, known in job.batches()]
    return {"name": job.name, "seed": job.seed, "kind": job.kind, "weights": job.weights, "parts": parts}


def read(path: Path, job: Job) -> dict[str, Any]:
    """A file of measurements. Raises FileError where it is of other weights than those that are there."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["weights"] != job.weights:
        raise FileError(f"{path} must be of the model that is there, and is of other weights. Type another FOLDER.")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing and write the result into the page."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb.faithfulness.confirmation", description=main.__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where measurements are kept")
    parser.add_argument("--seeds", type=Path, metavar="DIR", help="what `zoo seeds` wrote; the seeds in the package if absent")
    parser.add_argument("--stories", type=Path, metavar="DIR", help="a folder of stories260K")
    parser.add_argument("--only", default="", metavar="A,B", help="models; all if absent")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page to write the result into (Markdown)")
    given = parser.parse_args(argv)
    given.folder.mkdir(parents=True, exist_ok=True)
    found = run(given.folder, given.seeds, given.stories, tuple(filter(None, given.only.split(","))))
    if given.out:
        write(found, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
