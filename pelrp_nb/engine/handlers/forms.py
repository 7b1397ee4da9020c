"""What a tensor is in an operation that is written out in several steps, and until when: the memory of `idioms.py`.

A form holds its tensors as they were when it was noted.  Once one of them, or the tensor itself, is changed in place, it is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ..context import Context
from ..notes import ATTRIBUTE, Held, Note, note_of, write

NEAR = 1e-5  # the largest epsilon that stabilises a denominator: what is larger belongs to the function


@dataclass(frozen=True)
class Form:
    """What a tensor is.

    kind:   peak: a largest score; shifted: x less that; exp: of scores; total: its sum; inverse: 1 / total; weighted: exp @ v;
            logistic: 1 + exp; bounded: a softmax kept above or below a number; logsumexp, log_softmax, softmax: of scores;
            map: a linear map that may still get its bias
    scores: what stood in the exponent; base: the same before the largest was taken off
    dim:    the axis of the sum, from the end; hidden: a mask (True where hidden) since
    then:   selections since; again: the operation once more, with what it still needs
    beside: other tensors that `then`, `again` and `hidden` hold
    """

    kind: Literal[
        "peak", "shifted", "exp", "total", "inverse", "weighted", "logistic", "bounded", "logsumexp", "log_softmax", "softmax", "map"
    ]  # fmt: skip
    scores: Callable[[], Tensor | None] = lambda: None
    base: Callable[[], Tensor | None] = lambda: None
    dim: int = -1
    hidden: Tensor | None = None
    then: tuple[Callable[[Tensor], Tensor], ...] = ()
    again: Callable[..., Tensor] | None = None
    beside: tuple[Held, ...] = ()

    @property
    def stands(self) -> bool:
        """Whether every tensor it holds is there, and is as it was."""
        return all(held() is not None for held in (self.scores, self.base, *self.beside) if isinstance(held, Held))


def form_of(flow: Context, x: Any, *kinds: str) -> Form | None:
    """What x is, if it is of one of these kinds, and neither x nor what it was made of was changed in place since."""
    note = x.__dict__.get(ATTRIBUTE) if isinstance(x, Tensor) else None  # the model's own tensors are none
    if note is None or note.form is None or note.form.kind not in kinds:
        return None
    note = note_of(flow, x)
    form = None if note is None else note.form
    return form if form is not None and form.stands else None


def be(flow: Context, out: Tensor, form: Form) -> Tensor:
    """Remember what `out` is."""
    note = note_of(flow, out) or Note()
    note.form = form
    return write(out, note)


def kept(flow: Context, x: Tensor) -> Held:
    """x for later: itself where the ledger keeps it anyway, else as long as the model does."""
    return Held(x, weak=not flow.options.ledger)


def held(*given: Any) -> tuple[Held, ...]:
    """The tensors among what was given to an operation, as they are."""
    return tuple(Held(x) for x in tree_leaves(given) if isinstance(x, Tensor))


def selected(form: Form, y: Tensor) -> Tensor:
    """Of y what was selected of the form."""
    for select in form.then:
        y = select(y)
    return y


def alike(ours: Tensor, value: Tensor, *given: Tensor, size: Tensor | None = None) -> bool:
    """Whether ours is the value up to rounding and a stabiliser, each entry by itself: relative to its `size`, that of the value.

    An exponential is rounded as much more as its exponent is large; `given` may have been in a coarser dtype.
    """
    if ours.shape != value.shape:
        return False
    number = max((torch.finfo(x.dtype) for x in (value, *given)), key=lambda one: one.eps)
    size = (value if size is None else size).abs().clamp(min=number.tiny)
    room = max(2 * NEAR, 8 * number.eps) * size * (1 + size.log().abs())
    return bool(((ours - value).abs() <= room + number.tiny).all())


def put(func: Callable, args: tuple, kwargs: dict, *operands: Tensor) -> Callable[..., Tensor]:
    """The same call with others in the place of its operands."""

    def again(*others: Tensor) -> Tensor:
        def swapped(x: Any) -> Any:
            return next((other for one, other in zip(operands, others, strict=True) if x is one), x)

        return func(*map(swapped, args), **{k: swapped(x) for k, x in kwargs.items()})

    return again
