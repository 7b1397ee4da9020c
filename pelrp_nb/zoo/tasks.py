"""What the models of the zoo were trained to do, with examples they have not seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from ..errors import ZooError
from . import data
from .architectures import RECIPES

_HELD_OUT = Path(__file__).parent / "held_out"
Example = data.Sentence


@dataclass(frozen=True)
class Task:
    """A task and its held-out examples, in a fixed order in which any first few are a fair sample."""

    name: str
    labels: tuple[str, ...]
    license: str
    credit: str
    examples: tuple[Example, ...] = field(repr=False)


def task(name: str) -> Task:
    """A task by its own name, or by the name of a model that was trained on it."""
    known = {**dict.fromkeys(RECIPES, "reviews"), "reviews": "reviews"}
    if name not in known:
        raise ZooError(f"No task `{name}` in the zoo.{nearest(name, known)} The zoo has: {', '.join(known)}.")
    return _task(known[name])


@cache
def _task(name: str) -> Task:
    examples = tuple(data.read(_HELD_OUT / f"{name}.tsv"))
    return Task(name, data.LABELS, data.LICENSE, data.CREDIT, examples)


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest of the known names, or nothing."""
    found = get_close_matches(str(name).lower(), list(known), n=1, cutoff=0.4)
    return f" Did you mean `{found[0]}`?" if found else ""
