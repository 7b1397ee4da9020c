"""Shapes in place of values: a forward pass that computes nothing where `plan` asks only what it would do and keep.

What carries relevance is one of torch's fake tensors, which have a shape, a dtype, a device and memory of a size, and no values.
What does not, weights, tables of positions, masks, is as it is: by its values it is known for what it is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._C import DisableTorchFunction
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, in_kernel_invocation_manager

from .context import Context
from .places.maps import words

META = torch.device("meta")
# operators of one device whose results have shapes that depend on shapes alone
QUICK = words("view detach alias t transpose permute slice select expand unsqueeze squeeze _unsafe_view clone mm addmm bmm") | words(
    "add sub mul div neg pow rsqrt sqrt mean sum exp sigmoid silu gelu relu tanh _softmax"
)


class Shape(FakeTensor):
    """A fake tensor that asks torch's own kernels of shapes at once, where nothing else is to be found out."""

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        if func is torch.ops.prim.device.default:
            return META if args[0].fake_mode.in_kernel_invocation else args[0].fake_device
        if func.overloadpacket.__name__ in QUICK and not kwargs and all(issubclass(t, FakeTensor) for t in types):
            mode: Any = next(x.fake_mode for x in args if isinstance(x, FakeTensor))
            given = [mode.of(x) if isinstance(x, Tensor) else x for x in args]
            devices = {x.fake_device for x in given if isinstance(x, FakeTensor)}
            if len(devices) == 1:
                with in_kernel_invocation_manager(mode):
                    out = func(*given)
                return Shape(mode, out, devices.pop())
        found = super().__torch_dispatch__(func, types, args, kwargs or {})
        for x in found if isinstance(found, tuple | list) else (found,):
            if type(x) is FakeTensor:
                x.__class__ = Shape
        return found


class Shapes(FakeTensorMode):
    """torch's mode of fake tensors; a real tensor that meets one is made one, once."""

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.made: dict[tuple, FakeTensor] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: torch would import its compiler to say that none of this is to be compiled, which takes seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = self.faked(args), {k: self.faked(x) for k, x in (kwargs or {}).items()}
        if func is torch.ops.aten._grouped_mm.default and (args[0].dim(), args[1].dim()) == (2, 3):
            return args[0].new_empty(args[0].shape[0], args[1].shape[-1])  # torch knows the shape of it for bfloat16 alone
        return self.dispatch(func, types, args, kwargs)

    def faked(self, x: Any) -> Any:
        """Arguments of an operation with fake tensors in them alone."""
        if isinstance(x, tuple | list):
            return type(x)(map(self.faked, x))
        return self.of(x) if isinstance(x, Tensor) else x

    def of(self, x: Tensor) -> FakeTensor:
        """The shape of x."""
        if isinstance(x, FakeTensor):
            return x
        key = (x.untyped_storage()._cdata, x.storage_offset(), tuple(x.shape), x.stride(), x.dtype)
        if key not in self.made:
            with DisableTorchFunction():
                self.made[key] = Shape(self, torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta"), x.device)
        return self.made[key]


@contextmanager
def unheard() -> Iterator[None]:
    """Without what torch logs where a value is asked for that is not there: who asks is answered in another way."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def carrier(flow: Context, x: Tensor) -> Tensor:
    """What relevance will be followed on, as it is followed: in float32 where that is asked for, by its shape where no values are."""
    if flow.shapes is not None:
        return flow.shapes.of(x)
    return x if flow.wide is None else flow.wide.of(flow, x)
