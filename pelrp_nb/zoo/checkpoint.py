"""A training that may be killed at any moment and goes on to the same weights: what it needs for that, written every now and then.

    model, optimiser, random numbers, losses so far, seconds spent

Examples are drawn from a seed, so those already seen are drawn again and passed over.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ..errors import ZooError
from ..results.serialisation import put

EVERY = 60.0  # seconds


class Checkpoint:
    """One file of one training, `what`: a training of another name, seed or dose does not go on from it."""

    def __init__(self, path: Path, what: str, every: float = EVERY) -> None:
        self.path, self.what, self.every = path, what, every
        self.spent = 0.0  # seconds of the runs before this one
        self.begun = self.written = time.perf_counter()

    def resume(self, model: nn.Module, optimiser: Optimizer, batches: Iterator[Any]) -> list[float]:
        """Put model, optimiser, random numbers and batches where they were; the losses until there. Raises ZooError."""
        if not self.path.exists():
            return []
        try:
            kept = torch.load(self.path, weights_only=True)
        except Exception as error:  # whatever torch says about bytes that it cannot read
            raise ZooError(f"{self.path} must be a checkpoint, and cannot be read as one. Delete it to train from the start.") from error
        if kept["what"] != self.what:
            raise ZooError(f"{self.path} must be a checkpoint of `{self.what}`, but is one of `{kept['what']}`. Type another --out.")
        model.load_state_dict(kept["model"])
        optimiser.load_state_dict(kept["optimiser"])
        torch.set_rng_state(kept["random"])
        self.spent = kept["spent"]
        for _ in kept["losses"]:
            next(batches)
        return kept["losses"]

    def keep(self, model: nn.Module, optimiser: Optimizer, losses: list[float]) -> None:
        """Write where training stands, if that has not been done for a while."""
        if time.perf_counter() - self.written < self.every:
            return
        held = io.BytesIO()
        torch.save(
            {
                "what": self.what, "model": model.state_dict(), "optimiser": optimiser.state_dict(), "losses": losses,
                "random": torch.get_rng_state(), "spent": self.spent + time.perf_counter() - self.begun,
            },
            held,
        )  # fmt: skip
        put(self.path, held.getvalue())
        self.written = time.perf_counter()
