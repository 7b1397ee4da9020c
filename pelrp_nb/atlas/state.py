"""All of a model and of the process that must be as before."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def snapshot(model: nn.Module, given: dict[str, Any]) -> dict[str, list[tuple]]:
    """What an explanation could have changed, by what it is called in a report."""
    modules = list(model.named_modules())
    values = [*model.named_parameters(), *model.named_buffers()]
    return {
        "parameters": [(n, p.detach().clone()) for n, p in model.named_parameters()],
        "buffers": [(n, b.clone()) for n, b in model.named_buffers()],
        "requires_grad": [(n, v.requires_grad) for n, v in values],
        "gradients": [(n, v.grad is None) for n, v in values],
        "hooks": [(n, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for n, m in modules],
        "training flags": [(n, m.training) for n, m in modules],
        "attributes": [(n, tuple(sorted(vars(m)))) for n, m in modules],
        "attention setting": [(n, getattr(getattr(m, "config", None), "_attn_implementation", None)) for n, m in modules],
        "notes on tensors": [(n, tuple(sorted(vars(v)))) for n, v in [*values, *tensors(given)]],
        "inputs": [(n, v.clone(), v.requires_grad) for n, v in tensors(given)],
        "random state": [("torch", torch.get_rng_state())],
        "gradient mode": [("enabled", torch.is_grad_enabled())],
    }


def tensors(given: dict[str, Any]) -> list[tuple[str, Tensor]]:
    """The tensors among the inputs."""
    return [(k, v) for k, v in given.items() if isinstance(v, Tensor)]


def differences(before: dict[str, list[tuple]], after: dict[str, list[tuple]]) -> list[str]:
    """What is not as before, by name; empty if all is."""
    return [what for what in before if not same(before[what], after[what])]


def same(a: Any, b: Any) -> bool:
    """Whether two values are the same, tensors to the bit."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, 0, 0, equal_nan=True)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)
