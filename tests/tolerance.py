"""How far apart two ways of working out the same numbers may be: what rounding makes of the sizes that were summed.

    float64   1e-9 of them
    float32   32 units in their last place, for some are lost in each layer

Of the sizes, not of the total, in which plus and minus cancel, nor of the one entry: another processor sums in another order, and
what it rounds is as large as what it sums.  A batch against its rows alone is another order too.
"""

from __future__ import annotations

import torch
from torch import Tensor

PART = {torch.float64: 1e-9, torch.float32: 32 * torch.finfo(torch.float32).eps}


def rounding(size: float | Tensor, dtype: torch.dtype = torch.float32) -> float:
    """What rounding may make of amounts whose sizes add up to `size`.

    dtype: the coarsest on the way: many models of transformers work out norms, tables and softmax in float32 whatever their own
    """
    return float(size) * PART[dtype]


def assert_same(ours: Tensor, theirs: Tensor, size: float | Tensor | None = None, dtype: torch.dtype = torch.float32) -> None:
    """Equal up to rounding, entry by entry; if `size` is not said it is that of all that is compared."""
    allowed = rounding(theirs.abs().sum() if size is None else size, dtype)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=allowed, check_dtype=False)
