"""Baselines that hold still what makes a model no affine map of its input, written from the papers: DePass, LibraGrad, RelP; and LeGrad.

At one input the weights of attention, the gates f(x) / x of activations and the deviations of norms are numbers.  With these held still the
answer is an affine map of the token vectors.  LibraGrad (Mehri et al. 2025) takes its gradient: no path goes through a factor that balances
the others.  DePass (2510.18462) goes forward, with the share of one input at a time.  Both name the same amounts, and so does CP-LRP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..targets.logits import logits_of
from .attention import looked, spread
from .gradients import differentiable, folded, picked
from .subject import Case, Subject, vectors, visible_attention

F = nn.functional
ACTIVATIONS = (F.relu, F.gelu, F.silu, F.tanh, torch.relu, torch.tanh, Tensor.tanh, Tensor.relu, F.leaky_relu, F.elu)
SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)
ROOTS = (torch.rsqrt, Tensor.rsqrt)  # norms that are written out
PRODUCTS = (torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__)


class Still(TorchFunctionMode):
    """Inside the `with` what a forward pass does is affine: each factor is taken down in `kept`, or read from there if `again`."""

    def __init__(self, kept: list[Tensor], again: bool = False) -> None:
        super().__init__()
        self.kept, self.again, self.at = kept, again, 0

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in SOFTMAX or func in ROOTS:
            return self.factor(lambda: func(*args, **kwargs))
        if func in ACTIVATIONS:
            x = args[0]
            return gated(x, self.factor(lambda: gate(lambda y: func(y, *args[1:], **kwargs), x)))
        if func is F.layer_norm:
            return self.normed(*args, **kwargs)
        if func in PRODUCTS and any(hasattr(x, "_gated") for x in args):
            open_, other = args if hasattr(args[0], "_gated") else args[::-1]
            return self.factor(lambda: open_) * other
        return func(*args, **kwargs)

    def factor(self, make: Callable[[], Tensor]) -> Tensor:
        """A factor that is held still: as it is now, or as it was."""
        if self.again:
            self.at += 1
            return self.kept[self.at - 1]
        self.kept.append(make().detach())
        return self.kept[-1]

    def normed(self, x: Tensor, shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
        """A layer norm whose deviation is held still."""
        axes = tuple(range(-len(shape), 0))
        centred = x - x.mean(axes, keepdim=True)
        y = centred * self.factor(lambda: (centred.square().mean(axes, keepdim=True) + eps).rsqrt())
        y = y if weight is None else y * weight
        return y if bias is None else y + bias


def gate(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """f(x) / x, and its limit at 0."""
    zero = x == 0
    with torch.enable_grad():
        start = torch.zeros((), dtype=x.dtype, device=x.device, requires_grad=True)
        (slope,) = torch.autograd.grad(f(start), start)
    return torch.where(zero, slope, f(x.detach()) / x.detach().masked_fill(zero, 1))


def gated(x: Tensor, by: Tensor) -> Tensor:
    """x times what an activation lets through; a product that it opens or shuts knows it for a gate."""
    found = x * by
    found._gated = True  # type: ignore[attr-defined]
    return found


@contextmanager
def composed(model: Any) -> Iterator[None]:
    """Inside the `with` a model computes its attention weights where they can be seen, and no faster kernel."""
    with visible_attention(model), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        yield


def libra_grad(subject: Subject, case: Case) -> Tensor:
    """The input times a gradient that no balancing factor splits: attention weights, gates and deviations are constants."""
    x, logit = differentiable(subject, case)
    x = x.requires_grad_()
    with composed(subject.model), torch.enable_grad(), Still([]):
        value = logit(x).sum()
    (gradient,) = torch.autograd.grad(value, x)
    return folded(x.detach() * gradient, case)


def de_pass(subject: Subject, case: Case) -> Tensor:
    """What each token hands on to the answer when its share alone goes forward through weights, gates and deviations as they were."""
    model, tensors = subject.model, subject.inputs(case.row)
    if case.seen:
        return libra_grad(subject, case)  # a share for each pixel: the same numbers, on the way back
    with torch.no_grad(), composed(model):
        E = model.get_input_embeddings()(tensors["input_ids"]).detach()
        kept: list[Tensor] = []

        def run(x: Tensor, again: bool) -> Tensor:
            with vectors(model, x), Still(kept, again):
                return picked(logits_of(model(**tensors, **subject.extra())), case.target)[0]

        run(E, False)
        nothing = run(torch.zeros_like(E), True)
        alone = torch.eye(E.shape[1], dtype=E.dtype, device=E.device)
        shares = [run(E * one[None, :, None], True) - nothing for one in alone]
    return torch.stack(shares)


def le_grad(subject: Subject, case: Case) -> Tensor:
    """The positive part of the answer's gradient by attention weights, mean over heads and queries, layers summed (2404.03214)."""
    _, gradients, _ = looked(subject, case)
    return spread(torch.stack([g.clamp(min=0).mean((0, 1)) for g in gradients]).sum(0), subject, case)
