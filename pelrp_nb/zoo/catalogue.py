"""Every model of the zoo by name: what it was trained to do, where positions enter it, and which file trains it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import ZooError
from .checkpoint import Checkpoint


@dataclass(frozen=True)
class Entry:
    """One model: the name of its task, where positions enter ("none", or a `rules.PositionKind`), and the module that trains it."""

    task: str
    positions: str
    module: str


@dataclass(frozen=True)
class Dose:
    """How much to train: the seed, and at most so many epochs or steps; where it goes on after it was killed.

    archive: the file with the review sentences
    """

    seed: int = 0
    epochs: int | None = None
    steps: int | None = None
    archive: str | Path | None = None
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True)
class Trained:
    """A model fresh from training, its processor, what its card must say, and how it is measured as anyone would load it."""

    model: Any
    processor: Any
    facts: Mapping[str, Any]
    measure: Callable[[Any, Any], Mapping[str, Any]] = field(repr=False)


KINDS: Mapping[str, str] = MappingProxyType(     # what a model of the tasks is called -> where positions enter it
    {"none": "none", "absolute": "absolute", "learnable": "learnable", "rotary": "rotary", "alibi": "alibi",
     "relative": "relative bias"}
)  # fmt: skip
MODELS: Mapping[str, Entry] = MappingProxyType(
    {
        "reviews-rotary": Entry("reviews", "rotary", "reviews"),
        "reviews-learnable": Entry("reviews", "learnable", "reviews"),
        "reviews-absolute": Entry("reviews", "absolute", "reviews"),
        **{f"tasks-{called}": Entry("tasks", positions, "task_models") for called, positions in KINDS.items()},
        "scenes-learnable": Entry("digit-scenes", "learnable", "scene_models"),
        "scenes-rotary": Entry("digit-scenes", "rotary", "scene_models"),
        "reviews-lm-rotary": Entry("next-word", "rotary", "language_model"),
        "induction-rotary": Entry("induction", "rotary", "induction_model"),
    }
)


def trainer(name: str) -> Callable[[str, Dose, Any], Trained]:
    """The function that trains a model: (name, dose, tell) -> Trained."""
    if name not in MODELS:
        raise ZooError(f"No model `{name}` to train.{nearest(name, MODELS)} The zoo has: {', '.join(MODELS)}.")
    return import_module(f".{MODELS[name].module}", __package__).train


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest of the known names, or nothing."""
    found = get_close_matches(str(name).lower(), list(known), n=1, cutoff=0.4)
    return f" Did you mean `{found[0]}`?" if found else ""
