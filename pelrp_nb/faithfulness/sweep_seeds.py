"""The questions of every task, put to every seed of every model: what is said of models is said of more than one.

    python -m pelrp_nb.faithfulness.sweep FOLDER --seeds --tasks 20 --out tutorials/faithfulness.md

One file for each model, seed and task stays in FOLDER; what is there is not done again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .. import zoo
from ..hierarchy import OverModels, Sample, mean, minus, over_models
from ..zoo.catalogue import MODELS
from ..zoo.questions import KINDS
from ..zoo.seeds import models, trained
from ..zoo.shelf import PACKAGE
from .data import load
from .result import Result
from .runner import Output, measure
from .settings import Configuration, Positions
from .statistics import ROUNDING

METHODS = (
    "random", "input-x-gradient", "leave-one-out", "cp-lrp", "attn-lrp", "pa-lrp-signed", "pa-lrp-absolute", "pa-lrp-positive",
    "random-sinks", "uniform-half",
)  # fmt: skip
RESAMPLES = 20_000  # of a difference: the smallest p is 1 in so many, and Holm multiplies it by the number of comparisons
ASKED = Configuration(protocols=("gain", "agreement", "positions", "truth"), together=8, positions=Positions(ways=("move",)))


@dataclass(frozen=True, eq=False)
class OverSeeds:
    """One model on one task: the results of its seeds, number of the seed -> result."""

    model: str
    task: str
    results: Mapping[int, Result]

    @property
    def methods(self) -> tuple[str, ...]:
        return next(iter(self.results.values())).methods

    def mean(self, method: str, measure: str) -> OverModels:
        """The mean over seeds of a method's mean over questions, seeds resampled first and the questions of each second."""
        values = [list(r.values(measure)[method].values()) for r in self.results.values()]
        return over_models([Sample(np.zeros(len(x)), mean(np.array(x))) for x in values if x])

    def difference(self, first: str, second: str, measure: str) -> OverModels:
        """The same of what a method has more than another, question by question; what is rounding is no difference."""
        samples = []
        for r in self.results.values():
            a, b = (r.values(measure)[name] for name in (first, second))
            x, y = (np.array([one[i] for i in sorted(a.keys() & b.keys())]) for one in (a, b))
            if len(x):
                y = np.where(np.abs(x - y) > ROUNDING * np.maximum(1.0, np.maximum(np.abs(x), np.abs(y))), y, x)
                samples.append(Sample(np.zeros(len(x)), minus(mean(x), mean(y))))
        return over_models(samples, resamples=RESAMPLES)


def run(folder: Path, count: int, only: Sequence[str] = (), methods: Sequence[str] = METHODS) -> list[OverSeeds]:
    """Every model of the tasks on every task that it can answer, `count` questions each, from the files where they are complete."""
    names = [name for name in zoo.names() if MODELS[name].task == "tasks" and (not only or name in only)]
    tasks = {name: [kind for kind in KINDS if kind not in zoo.card(name)["unsolved"]] for name in names}
    found: dict[tuple[str, str], dict[int, Result]] = {(name, kind): {} for name in names for kind in tasks[name]}
    with _bar(sum(len(trained(PACKAGE, name)) + 1 for name in names for _ in tasks[name])) as tell:
        for name in names:
            for seed, model, tokenizer in models(None, name):
                for kind in tasks[name]:
                    c = replace(ASKED, model=name, data=kind, methods=tuple(methods), limit=count)
                    path = folder / f"{name}-seed-{seed}-{kind}.jsonl"
                    found[name, kind][seed] = measure(model, tokenizer, list(load(kind, count)), c, output=Output(path, "resume"))
                    tell(f"{name} seed {seed} {kind}")
    return [OverSeeds(*pair, results) for pair, results in found.items()]


@contextmanager
def _bar(total: int) -> Iterator[Callable[[str], None]]:
    """A progress bar over models, seeds and tasks, with the remaining time."""
    from tqdm.auto import tqdm

    with tqdm(total=total, desc="seeds", unit="task", mininterval=1.0 if sys.stderr.isatty() else 60.0) as bar:

        def tell(name: str) -> None:
            bar.set_postfix_str(name, refresh=False)
            bar.update()

        yield tell
