"""One operation that a model writes out in several: a softmax as exp / sum, its logarithm, a linear map and then its bias.

A tensor remembers what it is beside what made it (`Form`); where the last step of an idiom comes, the operation as a whole is put
in its place.  The value stays the model's, and is compared with that of the whole: what only looks like a softmax is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.weak import TensorWeakRef

from ...verbs import route, scale
from ..context import Context
from ..notes import SHAPES, Note, carries, note_of, pick, write
from ..places.follow import copy_provenance, provenance_of

SELECTIONS = SHAPES | {
    "__getitem__", "select", "gather", "index_select", "take_along_dim", "narrow", "flip", "masked_select", "clone", "T", "mT",
}  # fmt: skip
SUBTRACTIONS = {torch.sub, Tensor.sub, Tensor.__sub__, torch.subtract, Tensor.subtract}
NEAR = 1e-5  # how far a softmax written out may be from torch's own: an epsilon in its denominator


@dataclass(frozen=True)
class Form:
    """What a tensor is.

    kind:   peak: a largest score; shifted: x less that; exp: of scores; total: its sum; inverse: 1 / total; weighted: exp @ v;
            logistic: 1 + exp; logsumexp, log_softmax, softmax: of scores; map: a linear map that may still get its bias
    scores: what stood in the exponent; base: the same before the largest was taken off
    dim:    the axis of the sum, from the end; hidden: masks (True where hidden) since
    then:   selections since; again: the operation once more, with what it still needs
    """

    kind: Literal[
        "peak", "shifted", "exp", "total", "inverse", "weighted", "logistic", "logsumexp", "log_softmax", "softmax", "map"
    ]  # fmt: skip
    scores: Callable[[], Tensor | None] = lambda: None
    base: Callable[[], Tensor | None] = lambda: None
    dim: int = -1
    hidden: tuple[Tensor, ...] = ()
    then: tuple[Callable[[Tensor], Tensor], ...] = ()
    again: Callable[..., Tensor] | None = None


def form_of(flow: Context, x: Any, *kinds: str) -> Form | None:
    """What x is, if it is of one of these kinds."""
    note = note_of(flow, x) if isinstance(x, Tensor) else None
    return note.form if note is not None and note.form is not None and note.form.kind in kinds else None


def be(flow: Context, out: Tensor, form: Form) -> Tensor:
    """Remember what `out` is."""
    note = note_of(flow, out) or Note()
    note.form = form
    return write(out, note)


def kept(flow: Context, x: Tensor) -> Callable[[], Tensor | None]:
    """x for later: itself where the ledger keeps it anyway, else as long as the model does."""
    return (lambda: x) if flow.options.ledger else TensorWeakRef(x)


# --- what is noted on the way ----------------------------------------------------------------------------------------


def passed(flow: Context, func: Callable, name: str, args: tuple, kwargs: dict, out: Any) -> None:
    """What holds for a tensor holds for a selection of it; sums of exponentials, and largest scores."""
    x = args[0] if args else None
    if name in ("max", "amax"):
        be(flow, out if isinstance(out, Tensor) else out[0], Form("peak"))
    form = form_of(flow, x, "peak", "exp", "total", "softmax", "log_softmax") if isinstance(x, Tensor) else None
    if form is None or not isinstance(out, Tensor) or out is x:
        return
    if name in SELECTIONS:
        be(flow, out, replace(form, then=(*form.then, lambda y: func(y, *args[1:], **kwargs))))
    elif name in ("tril", "triu") and form.kind == "exp":
        masked(flow, args[0], func(torch.ones_like(out), *args[1:], **kwargs) == 0, out)
    elif name == "sum" and form.kind == "exp" and not form.then:
        dim = pick(args, kwargs, 1, "dim")
        dim = dim[0] if isinstance(dim, tuple | list) and len(dim) == 1 else dim
        if isinstance(dim, int) and isinstance(x, Tensor):
            be(flow, out, replace(form, kind="total", dim=dim % x.dim() - x.dim()))


def detached(flow: Context, x: Tensor, out: Tensor) -> Tensor:
    """A largest score that is cut off is one all the same."""
    form = form_of(flow, x, "peak")
    return out if form is None else be(flow, out, form)


def subtracted(flow: Context, func: Callable, a: Any, b: Any, out: Tensor) -> Tensor:
    """x less its largest score, or less its logsumexp."""
    if func not in SUBTRACTIONS or not carries(a):
        return out
    if form_of(flow, b, "peak") is not None:
        return be(flow, out, Form("shifted", base=lambda: a))
    form = form_of(flow, b, "logsumexp")
    if form is not None and form.scores() is a and b.dim() == a.dim():
        return be(flow, out, replace(form, kind="log_softmax"))
    return out


def added(flow: Context, x: Tensor, constant: Any, out: Tensor) -> Tensor:
    """A sum of exponentials and an epsilon; 1 + exp."""
    form = form_of(flow, x, "total", "exp") if isinstance(constant, int | float) else None
    if form is None:
        return out
    if form.kind == "exp":
        return be(flow, out, replace(form, kind="logistic")) if constant == 1 else out
    return be(flow, out, form)


def raised(flow: Context, s: Tensor, out: Tensor) -> Tensor:
    """exp s."""
    form = form_of(flow, s, "shifted")
    scores = lambda: s  # its activation keeps it anyway
    return be(flow, out, Form("exp", scores, scores if form is None else form.base))


def masked(flow: Context, x: Tensor, mask: Tensor, out: Tensor) -> Tensor:
    """Exponentials of which some are made 0: their scores are hidden. `mask` is True, or 0, where they are."""
    form = form_of(flow, x, "exp")
    if form is None or out.shape != x.shape or form.then:
        return out
    if mask.dtype != torch.bool:
        if not bool(((mask == 0) | (mask == 1)).all()):
            return out
        mask = mask == 0
    return be(flow, out, replace(form, hidden=(*form.hidden, mask.detach())))


def inverted(flow: Context, x: Tensor, out: Tensor) -> Tensor:
    """1 over a sum of exponentials, which carries nothing."""
    form = form_of(flow, x, "total")
    return out if form is None else be(flow, out, replace(form, kind="inverse"))


# --- where an idiom ends ---------------------------------------------------------------------------------------------


def quotient(flow: Context, func: Callable, a: Tensor, b: Any) -> Tensor | None:
    """exp / its sum: a softmax; (exp @ v) / that sum: one of attention. None for anything else."""
    part, total = form_of(flow, a, "exp", "weighted"), form_of(flow, b, "total", "inverse")
    if part is None or total is None or part.then or part.base() is not total.base() or part.hidden != total.hidden:
        return None
    with torch.no_grad():
        value = func(a, b)
    return normalised(flow, part, total.dim, value)


def normalised(flow: Context, part: Form, dim: int, value: Tensor) -> Tensor | None:
    """The softmax of the scores in an exponent, if that is what the model's value is."""
    scores = part.base()
    assert scores is not None
    with flow:
        for mask in part.hidden:
            scores = scores.masked_fill(mask, -torch.inf)
        with torch.no_grad():
            soft = torch.nn.functional.softmax(scores, dim)
            ours = soft if part.again is None else part.again(soft)
        if ours.shape != value.shape or not bool((ours - value).abs().amax() <= max(NEAR, torch.finfo(value.dtype).eps)):
            return None
        soft = torch.softmax(scores, dim)
        whole = soft if part.again is None else part.again(soft)
    note = note_of(flow, whole)
    out = route(value, scale(whole, torch.where(ours == 0, torch.ones_like(ours), value / ours)))
    return out if note is None else write(out, replace(note))


def exponential(flow: Context, x: Tensor) -> Tensor | None:
    """exp of a log-softmax: the softmax. None for anything else."""
    form = form_of(flow, x, "log_softmax")
    scores = None if form is None else form.scores()
    if form is None or scores is None:
        return None
    with torch.no_grad():
        value = x.exp()
    with flow:
        through = torch.softmax(scores, form.dim)
        for select in form.then:
            through = select(through)
    return None if through.shape != value.shape else same_as(flow, value, through)


def logarithm(flow: Context, x: Tensor) -> Tensor | None:
    """log of a softmax, of an exponential, of a sum of them. None for anything else."""
    form = form_of(flow, x, "softmax", "exp", "total")
    scores = None if form is None else form.scores()
    if form is None or scores is None or form.hidden:
        return None
    with torch.no_grad():
        value = x.log()
    with flow:
        if form.kind == "softmax":
            through = torch.log_softmax(scores, form.dim)
        else:
            through = scores if form.kind == "exp" else torch.logsumexp(scores, form.dim, keepdim=x.dim() == scores.dim())
        for select in form.then if form.kind != "total" or x.dim() != scores.dim() else ():
            through = select(through)
    if through.shape != value.shape:
        return None
    out = same_as(flow, value, through)
    return out if form.kind != "total" else be(flow, out, Form("logsumexp", form.scores, dim=form.dim))


def filled(flow: Context, x: Any) -> Any:
    """Weights of which rows without a visible score are about to be filled: there is no softmax in such a row, and no way back."""
    form = form_of(flow, x, "softmax")
    scores = None if form is None else form.scores()
    if form is None or scores is None or not bool(x.isnan().any()):
        return x
    if flow.attentions and "heads" in flow.options.detail:
        flow.attentions.pop()  # the same attention comes once more
    with flow:
        empty = (scores.detach() == -torch.inf).all(form.dim, keepdim=True)
        through = torch.softmax(scores.masked_fill(empty, 0), form.dim)
        for select in form.then:
            through = select(through)
    return same_as(flow, x, through)


def same_as(flow: Context, value: Tensor, through: Tensor) -> Tensor:
    """The model's value, with the way back and all that is known of `through`."""
    note = note_of(flow, through)
    out = route(value, through) if carries(through) else value.detach().view_as(value)
    copy_provenance(through, out)
    return out if note is None else write(out, replace(note))


# --- linear maps -----------------------------------------------------------------------------------------------------


def with_bias(flow: Context, func: Callable, carrier: Tensor, constant: Any, more: dict) -> Tensor | None:
    """A linear map and then its bias: one linear map. None for anything else."""
    form = form_of(flow, carrier, "map") if isinstance(constant, Tensor) and not more and func in BIASES else None
    if form is None or form.again is None or not constant.is_floating_point() or constant.dim() > carrier.dim():
        return None
    outputs = {form.dim % carrier.dim()}
    varies = {axis + carrier.dim() - constant.dim() for axis, n in enumerate(constant.shape) if n > 1 and constant.stride(axis)}
    if varies - outputs or provenance_of(constant) is not None:
        return None
    with torch.no_grad():
        value = func(carrier, constant)
    for axis in range(constant.dim()):
        constant = constant if axis + carrier.dim() - constant.dim() in outputs else constant.narrow(axis, 0, 1)
    return same_as(flow, value, form.again(flow, constant.reshape(-1).expand(carrier.shape[form.dim])))


BIASES = {torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__}
