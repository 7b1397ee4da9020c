"""The task models trained again from other seeds, so that what is said about models can be said of more than one.

python -m pelrp_nb zoo seeds --out DIR                 all of them, about an hour and a half of one core
python -m pelrp_nb zoo seeds tasks-rotary --out DIR    those of one model

Each goes into DIR/NAME/seed-N, a folder like those of the package, whose own models are seed 0.  What is there is not trained again;
a run that was killed goes on from DIR/NAME/seed-N.pt, to the same weights.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ZooError
from .catalogue import MODELS, Dose
from .checkpoint import Checkpoint
from .questions import KINDS
from .shelf import card, load
from .task_models import steps_of
from .train import command, run

MOST, LEAST = 5, 3  # seeds of the models that claims are about, and of the others, those of the package included
CLAIMED = ("tasks-rotary", "tasks-learnable")
OTHERS = tuple(name for name, entry in MODELS.items() if entry.task == "tasks" and name not in CLAIMED)
PLAN = (
    *((name, seed) for name in CLAIMED for seed in range(1, MOST)),
    *((name, seed) for seed in range(1, LEAST) for name in OTHERS),
)
LESS = 0.005  # of the accuracy of the package's own model: more than that is told


def folder(out: Path, name: str, seed: int) -> Path:
    """Where one of them lies."""
    return out / name / f"seed-{seed}"


def trained(out: Path, name: str) -> dict[int, Path]:
    """Seed -> the folder of a model that is done, the package's own (seed 0, a name) apart."""
    return {seed: folder(out, known, seed) for known, seed in PLAN if known == name and (folder(out, known, seed) / "card.json").is_file()}


def models(out: Path | None, name: str) -> Iterator[tuple[int, Any, Any]]:
    """(seed, model, tokenizer) of the package and of `out`."""
    yield 0, *load(name)
    for seed, where in trained(out, name).items() if out is not None else ():
        yield seed, *load(where)


def train_all(out: str | Path | None, only: str | None = None, steps: int | None = None) -> int:
    """Train what is missing, one after the other, and print what each can do; 1 if one does worse than the package's."""
    if out is None:
        raise ZooError("The models need a folder to go into. Type: python -m pelrp_nb zoo seeds --out DIR")
    if only is not None and only not in {name for name, _ in PLAN}:
        raise ZooError(f"Only models of the tasks are trained from several seeds, not `{only}`: {', '.join((*CLAIMED, *OTHERS))}.")
    plan = [(name, seed) for name, seed in PLAN if only in (None, name)]
    with _bar(sum(steps or steps_of(name) for name, _ in plan)) as bar:
        found = [_one(Path(out), name, seed, steps, bar) for name, seed in plan]
    return max(told(one) for one in found)


def _bar(total: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="seeds", unit="step", smoothing=0.05, mininterval=1.0 if sys.stderr.isatty() else 30.0)


def _one(out: Path, name: str, seed: int, steps: int | None, bar: Any) -> Mapping[str, Any]:
    """The card of one, trained unless it is there; the bar counts what was done before as no part of its rate."""
    where, dose = folder(out, name, seed), Dose(seed, steps=steps)
    typed = command(name, dose)
    if (where / "card.json").is_file():
        if card(where)["command"] != typed:
            raise ZooError(f"{where} must be of `{typed}`, but is of `{card(where)['command']}`. Type another --out.")
        _skip(bar, steps or steps_of(name))
        return card(where)
    where.parent.mkdir(parents=True, exist_ok=True)
    done = 0

    def tell(step: int, total: int, loss: float | None) -> None:
        nonlocal done
        if done == 0 and step > 1:
            _skip(bar, step - 1)
            done = step - 1
        bar.update(step - done)
        done = step
        if loss is not None:
            bar.set_postfix_str(f"{name} {seed}, loss {loss:.4f}")

    kept = where.with_name(f"{where.name}.pt")
    found = run(name, replace(dose, checkpoint=Checkpoint(kept, typed)), where, tell)
    kept.unlink(missing_ok=True)
    return found


def _skip(bar: Any, steps: int) -> None:
    bar.initial += steps
    bar.update(steps)


def told(found: Mapping[str, Any]) -> int:
    """One line of what a model can do beside what the package's own can; 1 if it is less."""
    own = card(found["name"])
    less = [
        f"{kind} {found['accuracies'][kind]:.1%} (package {own['accuracies'][kind]:.1%})"
        for kind in KINDS
        if kind in own["solves"] and found["accuracies"][kind] < own["accuracies"][kind] - LESS
    ]
    print(
        f"{found['name']:<16} seed {found['seed']}: {found['accuracy']:.1%} of {found['examples']:,} questions, the package's own "
        f"{own['accuracy']:.1%}{': less in ' + ', '.join(less) if less else ''}"
    )
    return 1 if less else 0
