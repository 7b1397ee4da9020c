"""Training on examples drawn without end: AdamW, a warm-up, a rate that falls along a cosine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .checkpoint import Checkpoint

Tell = Callable[[int, int, float | None], None]


@dataclass(frozen=True)
class Course:
    """How long and how fast; `rate` is AdamW's at the top."""

    steps: int
    batch: int
    rate: float = 1e-3
    decay: float = 0.01
    warmup: int = 100
    shown: int = 100  # steps between two looks at the loss


def learn(
    model: nn.Module, batches: Iterator[Any], loss_of: Callable[[nn.Module, Any], Tensor], course: Course, tell: Tell,
    checkpoint: Checkpoint | None = None,
) -> tuple[float, float]:  # fmt: skip
    """Train in place for `course.steps` batches; the mean loss of the first and of the last few steps.

    With a checkpoint it goes on from there, to the same weights as in one go.
    """
    weights = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in weights if p.dim() > 1], "weight_decay": course.decay},
        {"params": [p for p in weights if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=course.rate, betas=(0.9, 0.98))
    losses = [] if checkpoint is None else checkpoint.resume(model, optimiser, batches)
    model.train()
    for step in range(len(losses) + 1, course.steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = course.rate * rate(step, course)
        loss = loss_of(model, next(batches))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        losses.append(loss.item())
        recent = losses[-course.shown :]
        if checkpoint is not None:
            checkpoint.keep(model, optimiser, losses)
        tell(step, course.steps, sum(recent) / len(recent) if step % course.shown == 0 else None)
    model.eval()
    few = max(1, min(20, len(losses) // 4))
    return sum(losses[:few]) / few, sum(losses[-few:]) / few


def rate(step: int, course: Course) -> float:
    """The share of the top rate at a step: up in a line, down along a cosine."""
    return min(1.0, step / min(course.warmup, course.steps)) * (0.5 + 0.5 * math.cos(math.pi * (step - 1) / course.steps))
