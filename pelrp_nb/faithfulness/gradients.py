"""Baselines that need gradients or forward passes only; the noise of SmoothGrad is captum's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..extras import extra
from ..targets.logits import logits_of
from .images import cover
from .read import ordinary, without
from .scores import score
from .subject import Case, Subject, vectors


def random(subject: Subject, case: Case) -> Tensor:
    """Normally distributed numbers: what any method must beat."""
    shape = case.row["pixel_values"].shape[-2:] if case.seen else (len(case.tokens),)
    return torch.randn(*shape, generator=case.random("random"), dtype=torch.float64)


def input_x_gradient(subject: Subject, case: Case) -> Tensor:
    """Token vectors (or pixels) times the plain gradient of the explained logit, summed over dimensions."""
    x, logit = differentiable(subject, case)
    x = x.requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(logit(x).sum(), x)
    return folded(x.detach() * gradient, case)


def integrated_gradients(subject: Subject, case: Case) -> Tensor:
    """Gradients along the straight line from a baseline, times the way (Sundararajan et al. 2017)."""
    settings = subject.configuration.baselines
    x, logit = differentiable(subject, case)
    way = x - (begin := start(subject, case, x))
    total, (nodes, weights) = torch.zeros_like(x), np.polynomial.legendre.leggauss(settings.steps)  # exact for polynomials up to 2 steps
    for some in torch.arange(settings.steps).split(subject.configuration.batch):
        at, weight = (torch.as_tensor(y, dtype=x.dtype)[some].to(x.device).reshape(-1, *[1] * (x.dim() - 1)) for y in (nodes, weights))
        points = (begin + (at + 1) / 2 * way).requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(logit(points).sum(), points)
        total += (weight / 2 * gradient).sum(0)
    return folded(way * total, case)


def smooth_grad(subject: Subject, case: Case) -> Tensor:
    """The input times the mean gradient over noisy copies of it (Smilkov et al. 2017)."""
    settings = subject.configuration.baselines
    x, logit = differentiable(subject, case)
    tunnel = captum("NoiseTunnel")(captum("Saliency")(logit))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(case.random("smooth-grad").initial_seed() % 2**31)
        spread = settings.noise * float(x.std())
        gradient = tunnel.attribute(x, nt_type="smoothgrad", nt_samples=settings.samples, stdevs=spread, abs=False)
    return folded(x * gradient, case)


def leave_one_out(subject: Subject, case: Case) -> Tensor:
    """How much the score falls when one token (or one patch) is replaced; special tokens get 0 where they are kept."""
    return case.once("leave-one-out", lambda: _without_patches(subject, case) if case.seen else _without_tokens(subject, case))


def _without_tokens(subject: Subject, case: Case) -> Tensor:
    settings = subject.configuration.text
    some, token = ordinary(case, settings.special), subject.replacement()
    answers = subject.answers([case.row, *(without(case.row, [t], token) for t in some)])
    left = [score(answer, case.target, settings.score) for answer in answers]
    found = torch.zeros(len(case.tokens), dtype=torch.float64)
    found[some] = left[0] - torch.tensor(left[1:], dtype=torch.float64)
    return found


def _without_patches(subject: Subject, case: Case) -> Tensor:
    pixels = case.row["pixel_values"]
    H, W = pixels.shape[-2:]
    size = patch_size(subject, H)
    kind = subject.configuration.images.replacement
    rows, cells = [case.row], []
    for top in range(0, H, size):
        for left in range(0, W, size):
            hidden = torch.zeros(H, W, dtype=torch.bool)
            hidden[top : top + size, left : left + size] = True
            cells.append(hidden)
            rows.append({**case.row, "pixel_values": cover(pixels, hidden, kind)})
    scores = [score(answer, case.target, "logit") for answer in subject.answers(rows)]
    found = torch.zeros(H, W, dtype=torch.float64)
    for hidden, left_over in zip(cells, scores[1:], strict=True):
        found[hidden] = (scores[0] - left_over) / int(hidden.sum())
    return found


def patch_size(subject: Subject, height: int) -> int:
    """The model's own patch, else a fourteenth of the picture."""
    size = getattr(subject.model.config, "patch_size", None)
    return int(size[0] if isinstance(size, list | tuple) else size or max(height // 14, 1))


def differentiable(subject: Subject, case: Case) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The input as vectors (1, T, D) or pixels (1, C, H, W), and the explained logit (B,) as a function of B of them."""
    model, tensors = subject.model, subject.inputs(case.row)

    def repeated(count: int) -> dict[str, Tensor]:
        return {name: value.expand(count, *value.shape[1:]) for name, value in tensors.items()}

    def of_pixels(x: Tensor) -> Tensor:
        return picked(logits_of(model(pixel_values=x)), case.target)

    def of_vectors(x: Tensor) -> Tensor:
        with vectors(model, x):
            return picked(logits_of(model(**repeated(len(x)), **subject.extra())), case.target)

    if case.seen:
        return tensors["pixel_values"].clone(), of_pixels
    with torch.no_grad():
        return model.get_input_embeddings()(tensors["input_ids"]).detach().clone(), of_vectors


def start(subject: Subject, case: Case, x: Tensor) -> Tensor:
    """Where the path of integrated gradients begins: special tokens stay, the others are the replacement's vector, or zero."""
    if case.seen or subject.configuration.baselines.baseline == "zero":
        return torch.zeros_like(x)
    places = ordinary(case, subject.configuration.text.special)
    ids = torch.tensor([subject.replacement()], device=x.device)
    begin = x.clone()
    with torch.no_grad():
        begin[0, places] = subject.model.get_input_embeddings()(ids)
    return begin


def picked(logits: Tensor, target: int) -> Tensor:
    """(B,) the explained logit, of the last place where there are several."""
    return logits[:, -1, target] if logits.dim() == 3 else logits[:, target]


def folded(x: Tensor, case: Case) -> Tensor:
    """(1, T, D) summed to (T,), or (1, C, H, W) to (H, W)."""
    return (x.sum(1) if case.seen else x.sum(-1))[0].detach()


def captum(name: str) -> Any:
    """A class of captum; MissingError says what to install where it is missing."""
    return getattr(extra("captum.attr", f"The method {name}"), name)
