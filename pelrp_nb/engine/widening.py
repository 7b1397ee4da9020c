"""A walk in float32 over a model in half precision: each operation gets its weights in float32, and lets them go again.

    Options(precision="float32")

The numbers are those of the same model after `model.float()`, and the model stays as it is.  A weight that the way back needs is
saved as the model holds it, and widened once more when it is asked for; so no more is in memory than the weights of one operation.

What reads or views a constant leaves it narrow; what computes with it gets a wide copy, with all that is known of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .notes import Knows, Note, note_of, write
from .places.arguments import writes
from .places.follow import copy_provenance
from .places.maps import words
from .places.values import STORED, as_stored, storage_of

HALF = (torch.float16, torch.bfloat16)
WIDE = torch.float32
FIRST_STAYS = words("""view reshape transpose permute flatten unflatten squeeze unsqueeze expand expand_as contiguous clone t T mT H data
movedim swapaxes view_as reshape_as __getitem__ narrow select chunk split tensor_split unbind index_select gather take_along_dim detach
to type_as float double cpu cuda size dim numel stride storage_offset data_ptr is_contiguous untyped_storage
element_size nelement __len__ is_floating_point is_complex get_device""")
ALL_STAYS = words("embedding")


class Widening:
    """The wide copies of the running operation, and what they are copies of: held until the next one, so that no memory is mistaken."""

    def __init__(self) -> None:
        self.copies: dict[int, Tensor] = {}

    def call(self, flow: Knows, func: Callable, name: str, args: tuple, kwargs: dict) -> tuple[Callable, str, tuple, dict]:
        """The same call with wide arguments: no half precision is asked for, none takes part."""
        self.forget()
        if name in ("half", "bfloat16"):
            func, name = Tensor.float, "float"
        stays = len(args) if name in ALL_STAYS else int(name in FIRST_STAYS or writes(name))
        wide = tuple(a if i < stays and isinstance(a, Tensor) else self.of(flow, a) for i, a in enumerate(args))
        return func, name, wide, {k: x if k == "out" or name in ALL_STAYS else self.of(flow, x) for k, x in kwargs.items()}

    def of(self, flow: Knows, x: Any) -> Any:
        """A wide copy of a narrow tensor, float32 for the name of a narrow dtype; in lists too; all else as it is."""
        if isinstance(x, Tensor):
            return self.copy(flow, x) if x.dtype in HALF else x
        if isinstance(x, torch.dtype):
            return WIDE if x in HALF else x
        if isinstance(x, list | tuple) and any(isinstance(y, Tensor) for y in x):
            return type(x)([self.of(flow, y) for y in x])
        return x

    def copy(self, flow: Knows, x: Tensor) -> Tensor:
        """A narrow tensor, wide: of what carries, a cast that relevance passes; of a constant, one that remembers it."""
        if x.requires_grad and not x.is_leaf:
            wide, note = x.to(WIDE), note_of(flow, x)
        else:
            wide, note = x.detach().to(WIDE), note_of(flow, x) or Note(source=flow.memory.get(storage_of(x)))
            setattr(wide, STORED, x)
            self.copies[storage_of(wide)] = wide
        copy_provenance(x, wide)
        return wide if note is None else write(wide, note)

    def forget(self) -> None:
        """Nothing runs: let the copies go."""
        self.copies.clear()

    # --- saved tensors ------------------------------------------------------------------------------------------------

    def save(self, x: Tensor) -> Any:
        """For the way back: a part of a wide copy as the tensor that it is a copy of, and where in it."""
        wide = self.copies.get(storage_of(x))
        if wide is None:
            return x.detach()
        return as_stored(wide).detach(), tuple(x.shape), x.stride(), x.storage_offset()

    def get(self, kept: Any) -> Tensor:
        """On the way back: widened once more."""
        if isinstance(kept, Tensor):
            return kept
        stored, shape, stride, offset = kept
        return stored.to(WIDE).as_strided(shape, stride, offset)


def widening(model: nn.Module, precision: str | None) -> Widening | None:
    """What a walk in that precision needs over this model: nothing, where no part of it is in half precision."""
    if not precision:
        return None
    tensors = (*model.parameters(), *model.buffers())
    return Widening() if any(x.dtype in HALF for x in tensors) else None
