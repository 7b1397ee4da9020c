"""Where the task models of other seeds lie, so that what is said about models can be said of more than one.

`python -m pelrp_nb zoo seeds --out DIR` trains them into DIR/NAME/seed-N, folders like those of the package, whose own models are seed 0.
Those that were trained so travel with the package: `load("tasks-rotary", seed=2)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .catalogue import MODELS
from .shelf import PACKAGE, load

MOST, LEAST = 5, 3  # seeds of the models that claims are about, and of the others, those of the package included
CLAIMED = ("tasks-rotary", "tasks-learnable")
OTHERS = tuple(name for name, entry in MODELS.items() if entry.task == "tasks" and name not in CLAIMED)
PLAN = (
    *((name, seed) for name in CLAIMED for seed in range(1, MOST)),
    *((name, seed) for seed in range(1, LEAST) for name in OTHERS),
)


def folder(out: Path, name: str, seed: int) -> Path:
    """Where one of them lies."""
    return out / name / f"seed-{seed}"


def trained(out: Path, name: str) -> dict[int, Path]:
    """Seed -> the folder of a model that is done, the package's own (seed 0, a name) apart."""
    return {seed: folder(out, known, seed) for known, seed in PLAN if known == name and (folder(out, known, seed) / "card.json").is_file()}


def models(out: Path | None, name: str) -> Iterator[tuple[int, Any, Any]]:
    """(seed, model, tokenizer) of the package's own and of `out`; of the package alone without it."""
    yield 0, *load(name)
    for seed, where in trained(PACKAGE if out is None else out, name).items():
        yield seed, *load(where)
