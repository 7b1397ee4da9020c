"""What a method says of an example, and the rules by which anyone's function becomes a method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .subject import Case, Subject


@dataclass(frozen=True, eq=False)
class Attribution:
    """Relevance of each token (T,), or of each pixel (H, W); and what of it is the position's, where a method knows that."""

    relevance: Tensor
    position: Tensor | None = None


Method = Callable[[Subject, Case], Any]  # returns an Attribution, or the relevance alone as tensor, array or list


def attribute(method: Method, subject: Subject, case: Case) -> Attribution:
    """What the method says, checked: one finite number per token or pixel.

    Raises InputError for another shape or numbers that are not finite; whatever the method itself raises goes through.
    """
    given = method(subject, case)
    found = given if isinstance(given, Attribution) else Attribution(torch.as_tensor(given))
    pixels = case.row.get("pixel_values")
    shape = (len(case.tokens),) if pixels is None else tuple(pixels.shape[-2:])
    for what, value in (("relevance", found.relevance), ("position", found.position)):
        if value is None:
            continue
        if tuple(value.shape) != shape:
            raise InputError(f"The method must return {what} of shape {shape}, and returned {tuple(value.shape)}.")
        if not torch.isfinite(value).all():
            raise InputError(f"The method returned {what} that is not finite.")
    position = None if found.position is None else found.position.detach().double().cpu()
    return Attribution(found.relevance.detach().double().cpu(), position)
