"""The task models trained again from other seeds, one after the other; killed and started again it goes on.

python -m pelrp_nb zoo seeds --out DIR                 all of them, about an hour and a half of one core
python -m pelrp_nb zoo seeds tasks-rotary --out DIR    those of one model

What is there is not trained again; a run that was killed goes on from DIR/NAME/seed-N.pt, to the same weights.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ZooError
from .catalogue import Dose
from .checkpoint import Checkpoint
from .questions import KINDS
from .seeds import CLAIMED, OTHERS, PLAN, folder
from .shelf import card
from .task_models import steps_of
from .train import command, run

LESS = 0.005  # of the accuracy of the package's own model: more than that is told


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
