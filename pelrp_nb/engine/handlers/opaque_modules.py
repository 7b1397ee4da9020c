"""Modules that compute where torch calls are not seen: an autograd Function of their own, taken for the activation it is.

Operations inside a `torch.autograd.Function` run without gradient and its backward is the author's.  A module without parameters
whose whole output is one such node is an activation if it acts on each element alone; that is tried out, not assumed, which is one look
at values in each call.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch._C import DisableTorchFunction
from torch.autograd.function import BackwardCFunction

from ..context import Context
from ..notes import carries
from ..places.follow import copy_provenance
from .activations import activation

PACKAGE = __name__.partition(".")[0]
sequence = torch._C._autograd._get_sequence_nr


def activation_module(flow: Context, module: nn.Module, args: tuple, output: Any) -> Tensor | None:
    """The output of an activation module bent as an activation; None if this module is none, or is seen anyway."""
    if len(args) != 1 or any(p is not None for p in module._parameters.values()):
        return None
    with DisableTorchFunction():  # what is looked at is none of the model's operations
        if not (carries(args[0]) and carries(output) and isinstance(output.grad_fn, BackwardCFunction)):
            return None
        node: Any = type(output.grad_fn)
        if node._forward_cls.__module__.startswith(f"{PACKAGE}."):  # one of ours
            return None
        x = args[0]
        if output.shape != x.shape or any(True for _ in module.parameters()):
            return None
        if not acts_on_each_element(module, x.detach(), output.detach()):
            return None
        flow.function, start = module.forward, sequence()
        bent = activation(flow, module.forward, (x,), {})
        copy_provenance(x, bent)
        flow.cover(start, sequence())
    return bent


def acts_on_each_element(module: nn.Module, x: Tensor, y: Tensor) -> bool:
    """Whether the elements in another order and shape give the same values in that order."""
    flat = x.reshape(-1).flip(0)
    with torch.no_grad():
        again = module.forward(flat)
        alike = (
            isinstance(again, Tensor) and again.shape == flat.shape and torch.isclose(again.flip(0), y.reshape(-1), equal_nan=True).all()
        )
    return bool(alike)
