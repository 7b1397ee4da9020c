"""One operation that a model writes out in several: a softmax as exp / sum, its logarithm, a linear map and then its bias.

A tensor remembers what it is beside what made it (`Form`); where the last step of an idiom comes, the operation as a whole is put
in its place.  The value stays the model's, and is compared with that of the whole: what only looks like a softmax is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...verbs import route, scale
from ..context import Context
from ..notes import SHAPES, Held, carries, note_of, pick, write
from ..places.follow import copy_provenance, provenance_of
from .forms import NEAR, Form, alike, be, form_of, held, selected

SELECTIONS = SHAPES | {
    "__getitem__", "select", "gather", "index_select", "take_along_dim", "narrow", "flip", "masked_select", "clone", "T", "mT",
}  # fmt: skip
PEAKS = ("max", "amax")
SUBTRACTIONS = {torch.sub, Tensor.sub, Tensor.__sub__, torch.subtract, Tensor.subtract}


# --- what is noted on the way ----------------------------------------------------------------------------------------


def passed(flow: Context, func: Callable, name: str, args: tuple, kwargs: dict, out: Any) -> None:
    """What holds for a tensor holds for a selection of it; sums of exponentials, and largest scores."""
    x = args[0] if args else None
    if name in PEAKS:
        be(flow, out if isinstance(out, Tensor) else out[0], Form("peak"))
    form = form_of(flow, x, "peak", "exp", "total", "softmax", "bounded", "log_softmax") if isinstance(x, Tensor) else None
    if form is None or not isinstance(out, Tensor) or out is x:
        return
    if name in SELECTIONS:
        then = (*form.then, lambda y: func(y, *args[1:], **kwargs))
        be(flow, out, replace(form, then=then, beside=(*form.beside, *held(args[1:], kwargs))))
    elif name in ("tril", "triu") and form.kind == "exp":
        masked(flow, args[0], func(torch.ones_like(out), *args[1:], **kwargs) == 0, out)
    elif name == "sum" and form.kind == "exp" and not form.then:
        dim = pick(args, kwargs, 1, "dim")
        dim = dim[0] if isinstance(dim, tuple | list) and len(dim) == 1 else dim
        if isinstance(dim, int) and isinstance(x, Tensor):
            again = partial(torch.logsumexp, dim=dim, keepdim=out.dim() == x.dim())
            be(flow, out, replace(form, kind="total", dim=dim % x.dim() - x.dim(), again=again))


def bounded(flow: Context, func: Callable, x: Tensor, rest: tuple, more: dict, out: Tensor) -> Tensor:
    """A sum of exponentials kept off zero, where its value says that none had to be; a softmax with bounds, whose logarithm has theirs."""
    form = form_of(flow, x, "total", "softmax")
    if form is None:
        return out
    if form.kind == "total":
        return be(flow, out, form) if torch.equal(x, out) else out
    given = [b for b in (*rest, *more.values()) if b is not None]
    if not getattr(func, "__name__", "").startswith(BOUNDS) or any(isinstance(b, Tensor) and b.numel() > 1 for b in given):
        return out
    bounds, named = [logged(b) for b in rest], {name: logged(b) for name, b in more.items()}
    again = lambda y: func(y, *bounds, **named)
    return be(flow, out, replace(form, kind="bounded", again=again))


BOUNDS = ("clamp", "clip", "max", "min", "fmax", "fmin")


def logged(bound: Any) -> Any:
    """The logarithm of a bound, where there is one."""
    if bound is None or isinstance(bound, Tensor):
        return None if bound is None else bound.log()
    return math.log(bound) if bound > 0 else -math.inf


def detached(flow: Context, x: Tensor, out: Tensor) -> Tensor:
    """A largest score that is cut off is one all the same."""
    form = form_of(flow, x, "peak")
    return out if form is None else be(flow, out, form)


def subtracted(flow: Context, func: Callable, a: Any, b: Any, out: Tensor) -> Tensor:
    """x less its largest score, or less its logsumexp."""
    if func not in SUBTRACTIONS or not carries(a):
        return out
    if form_of(flow, b, "peak") is not None:
        return be(flow, out, Form("shifted", base=Held(a)))
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
    return be(flow, out, form) if abs(constant) <= NEAR else out


def raised(flow: Context, s: Tensor, out: Tensor) -> Tensor:
    """exp s."""
    form = form_of(flow, s, "shifted")
    scores = Held(s)  # its activation keeps it anyway
    return be(flow, out, Form("exp", scores, scores if form is None else form.base))


def masked(flow: Context, x: Tensor, mask: Tensor, out: Tensor) -> Tensor:
    """Exponentials of which some are made 0: their scores are hidden. `mask` is True, or 0, where they are."""
    form = form_of(flow, x, "exp")
    if form is None or out.shape != x.shape or form.then:
        return out
    if mask.dtype != torch.bool:
        if not flow.values.selects(mask):
            return out
        mask = mask == 0
    beside = (*form.beside, *held(mask))
    hidden = mask.detach() if form.hidden is None else form.hidden | mask
    return be(flow, out, replace(form, hidden=hidden, beside=beside))


def inverted(flow: Context, x: Tensor, out: Tensor) -> Tensor:
    """1 over a sum of exponentials, which carries nothing."""
    form = form_of(flow, x, "total")
    return out if form is None else be(flow, out, replace(form, kind="inverse"))


# --- where an idiom ends ---------------------------------------------------------------------------------------------


def quotient(flow: Context, func: Callable, a: Tensor, b: Any) -> Tensor | None:
    """exp / its sum: a softmax; (exp @ v) / that sum: one of attention. None for anything else."""
    part, total = form_of(flow, a, "exp", "weighted"), form_of(flow, b, "total", "inverse")
    if part is None or total is None or part.then or part.base() is not total.base() or not hidden_alike(part, total):
        return None
    with torch.no_grad():
        value = func(a, b)
    return normalised(flow, part, total.dim, value)


def hidden_alike(a: Form, b: Form) -> bool:
    """Whether two forms hide the same scores."""
    if a.hidden is None or b.hidden is None:
        return a.hidden is b.hidden
    return torch.equal(*torch.broadcast_tensors(a.hidden, b.hidden))


def normalised(flow: Context, part: Form, dim: int, value: Tensor) -> Tensor | None:
    """The softmax of the scores in an exponent, if that is what the model's value is."""
    scores = part.base()
    assert scores is not None
    with flow:
        scores = scores if part.hidden is None else scores.masked_fill(part.hidden, -torch.inf)
        with torch.no_grad():
            soft = torch.nn.functional.softmax(scores, dim)
            ours, size = (soft, soft) if part.again is None else (part.again(soft), part.again(soft, size=True))
        if not alike(ours, value, scores, size=size):
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
        if not alike(selected(form, torch.softmax(scores, form.dim)), value, scores):
            return None
    with flow:
        through = selected(form, torch.softmax(scores, form.dim))
    return same_as(flow, value, through)


def logarithm(flow: Context, x: Tensor) -> Tensor | None:
    """log of a softmax, of an exponential, of a sum of them. None for anything else."""
    form = form_of(flow, x, "softmax", "bounded", "exp", "total")
    scores = None if form is None else form.scores()
    if form is None or scores is None or form.hidden is not None:
        return None
    with torch.no_grad():
        if not alike(log_of(form, scores).exp(), x, scores):
            return None
        value = x.log()
    with flow:
        through = log_of(form, scores)
    out = same_as(flow, value, through)
    return out if form.kind != "total" else be(flow, out, Form("logsumexp", form.scores, dim=form.dim))


def log_of(form: Form, scores: Tensor) -> Tensor:
    """The logarithm of what a form is, made of its scores."""
    if form.kind == "total" and form.again is not None:
        return selected(form, form.again(scores))
    y = selected(form, scores if form.kind == "exp" else torch.log_softmax(scores, form.dim))
    return y if form.again is None else form.again(y)


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
        through = selected(form, torch.softmax(scores.masked_fill(empty, 0), form.dim))
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
