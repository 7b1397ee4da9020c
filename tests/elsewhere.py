"""A device without numbers that is strict as a real one: nothing may meet a tensor of the CPU, nothing may be float64.

The meta device stands in for CUDA and Apple MPS, which are not at hand: shapes and devices are real there, values are not.  A
value that Python asks for is 1, a copy to the CPU is full of ones.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils._python_dispatch import TorchDispatchMode

COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class Elsewhere(TorchDispatchMode):
    """Raises AssertionError where the CPU is taken for granted."""

    def __init__(self, double: bool = False) -> None:
        super().__init__()
        self.double = double
        self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        there = [x for x in given if x.is_meta]
        self.calls += bool(there)
        if func is torch.ops.aten._local_scalar_dense.default and there:
            return 1 if not there[0].is_floating_point() else 1.0
        if func is torch.ops.aten._unique2.default and there:  # every value once
            return given[0].flatten(), *(torch.empty(0, dtype=torch.int64, device="meta") for _ in range(2))
        if func is torch.ops.aten._to_copy.default and there and kwargs.get("device") == torch.device("cpu"):
            return torch.ones(there[0].shape, dtype=kwargs.get("dtype") or there[0].dtype)
        strangers = [x for x in given if not x.is_meta and x.dim()]
        assert not (there and strangers) or func in COPIES, f"{func} mixes devices: {[(x.device, tuple(x.shape)) for x in given]}"
        out = func(*args, **kwargs)
        for x in tree_leaves(out):
            if isinstance(x, Tensor) and x.is_meta and not self.double:
                assert x.dtype not in (torch.float64, torch.complex128), f"{func} makes {x.dtype}"
        return out
