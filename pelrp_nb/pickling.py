"""Results that travel between processes: a pickle of one holds its tensors as bytes, and no file descriptor.

Within `multiprocessing` (a pool, a DataLoader) torch has its own way to pickle tensors: one descriptor and one piece of shared memory
for each, which stay open as long as the tensor lives.  A thousand results are tens of thousands of tensors, so the pool dies of
open files.  What is `Portable` is pickled apart from that, into bytes that any pickler hands on.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Portable:
    """A value whose pickles, and copies, hold the entries of its tensors and nothing else of them."""

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return pickle.loads, (dumps(self),)


def dumps(value: Any) -> bytes:
    """A pickle of a value, whatever torch told the pickler at work."""
    file = io.BytesIO()
    Pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
    return file.getvalue()


class Pickler(pickle.Pickler):
    """Python's pickler, for which a tensor is bytes, a type and a shape."""

    def reducer_override(self, value: Any) -> Any:
        """How tensors and what holds them are taken apart; the usual way for everything else."""
        if isinstance(value, Tensor):
            entries = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            return tensor_of, (bytearray(entries.numpy().data), value.dtype, tuple(value.shape))
        if isinstance(value, Portable):
            return object.__reduce_ex__(value, pickle.HIGHEST_PROTOCOL)
        return NotImplemented


def tensor_of(entries: bytearray, dtype: torch.dtype, shape: Sequence[int]) -> Tensor:
    """A tensor of these bytes."""
    if not math.prod(shape):
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(entries, dtype=dtype).reshape(shape)
