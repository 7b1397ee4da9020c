"""What torch does in one call and is short for several: written out here, in operations that have rules.

Each definition takes what the function takes.  Its value is not used: the output is the model's own, the way back is that of the
definition.  `REFUSED` is returned for arguments that are not written out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..context import REFUSED, Context
from ..notes import carries
from ..places.contractions import of_einsum
from .idioms import same_as


def composed(flow: Context, func: Callable, args: tuple, kwargs: dict, definition: Callable) -> Any:
    """The value of the function, the gradient of its definition; what is known of the one is known of the other."""
    with torch.no_grad():
        value = func(*args, **kwargs)
    with flow:
        through = definition(*args, **kwargs)
    return REFUSED if through is REFUSED else same_as(flow, value, through)


# --- sums and products -----------------------------------------------------------------------------------------------


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value * a * b"""
    return input + scaled(torch.mul(tensor1, tensor2), value)


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value * a / b"""
    return input + scaled(torch.div(tensor1, tensor2), value)


def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """a + w (b - a), as (1 - w) a + w b: a sum of two scaled terms."""
    return torch.mul(input, 1 - weight) + torch.mul(end, weight)


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * a @ b, and so with matrices in batches."""
    return onto(input, beta, scaled(torch.matmul(mat1, mat2), alpha))


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * matrix @ vector"""
    return onto(input, beta, scaled(torch.mv(mat, vec), alpha))


def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * the sum over the batch of a @ b"""
    return onto(input, beta, scaled(torch.bmm(batch1, batch2).sum(0), alpha))


def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * the outer product of two vectors"""
    return onto(input, beta, scaled(torch.outer(vec1, vec2), alpha))


def scaled(x: Tensor, factor: float) -> Tensor:
    """factor * x; x itself where that is 1."""
    return x if factor == 1 else x * factor


def onto(input: Tensor, beta: float, product: Tensor) -> Tensor:
    """beta * input + a product; what is added 0 times is not looked at, whatever it holds."""
    return product if beta == 0 else product + scaled(input, beta)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The sum of x y over one axis, what is broadcast included."""
    return REFUSED if x.is_complex() or y.is_complex() else torch.mul(x, y).sum(dim)


def chained(*matrices: Any) -> Tensor:
    """The product of several matrices, from the left."""
    return reduce(torch.matmul, matrices[0] if isinstance(matrices[0], list | tuple) else matrices)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half times the sigmoid of the second."""
    a, b = input.chunk(2, dim)
    return a * b.sigmoid()


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W_k y for every k: a product of two carriers, or a linear map of one."""
    mapped = torch.einsum("...i,kij->...kj", input1, weight)
    out = torch.einsum("...kj,...j->...k", mapped, input2)
    return out if bias is None else out + bias


# --- lengths and distances -------------------------------------------------------------------------------------------


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Two vectors divided by their lengths, multiplied."""
    return (F.normalize(x1, dim=dim, eps=eps) * F.normalize(x2, dim=dim, eps=eps)).sum(dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The length of a difference."""
    return (x1 - x2 + eps).norm(p, -1, keepdim)


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = None) -> Tensor:
    """The length of the difference of each pair of rows."""
    return (x1.unsqueeze(-2) - x2.unsqueeze(-3)).norm(p, -1)


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The length of the difference of two tensors."""
    return (input - other).norm(p)


def instance_norm(
    input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None, weight: Tensor | None = None,
    bias: Tensor | None = None, use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """A group norm with one channel per group; with frozen statistics a batch norm."""
    if use_input_stats:
        return F.group_norm(input, input.shape[1], weight, bias, eps)
    return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)


# --- softmax, its logarithm, losses ----------------------------------------------------------------------------------


def softmin(input: Tensor, dim: int = -1, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> Tensor:
    """The softmax of -x."""
    return (-input).softmax(dim, dtype)


def log_softmax(input: Tensor, dim: int = -1, _stacklevel: Any = 3, dtype: torch.dtype | None = None) -> Tensor:
    """x - log sum exp x"""
    wide = _stacklevel if isinstance(_stacklevel, torch.dtype) else dtype  # Tensor.log_softmax has it in third place
    x = input if wide is None else input.to(wide)
    return x - torch.logsumexp(x, dim, keepdim=True)


def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """log(exp a + exp b)"""
    return torch.logsumexp(torch.stack(torch.broadcast_tensors(input, other)), 0)


def cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, ignore_index: int = -100,
    reduce: Any = None, reduction: str = "mean", label_smoothing: float = 0.0,
) -> Any:  # fmt: skip
    """-log p of the labels, p = softmax(x); with smoothing, or labels that are probabilities, the sum of -log p weighed by them."""
    if size_average is not None or reduce is not None:
        return REFUSED
    axis = 0 if input.dim() == 1 else 1
    log_p = torch.log_softmax(input, axis)
    probabilities = target.is_floating_point()
    if not (probabilities or label_smoothing):
        return F.nll_loss(log_p, target, weight, ignore_index=ignore_index, reduction=reduction)
    if weight is not None:
        return REFUSED
    if probabilities:
        wanted, count = target, input.numel() // input.shape[axis]
    else:
        seen = target != ignore_index
        wanted = F.one_hot(target.where(seen, 0), input.shape[axis]).movedim(-1, axis).to(log_p.dtype)
        count = int(seen.sum())
    wanted = wanted * (1 - label_smoothing) + label_smoothing / input.shape[axis]
    if not probabilities:
        wanted = wanted * seen.unsqueeze(axis)
    loss = -(log_p * wanted.detach()).sum(axis)
    return loss if reduction == "none" else loss.sum() / count if reduction == "mean" else loss.sum()


def mse_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean", weight: Tensor | None = None
) -> Any:  # fmt: skip
    """The square of a difference."""
    return REFUSED if any(x is not None for x in (size_average, reduce, weight)) else reduced((input - target).square(), reduction)


def l1_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean", weight: Tensor | None = None
) -> Any:  # fmt: skip
    """The size of a difference."""
    return REFUSED if any(x is not None for x in (size_average, reduce, weight)) else reduced((input - target).abs(), reduction)


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean", pos_weight: Tensor | None = None,
) -> Any:  # fmt: skip
    """softplus(x) - x * label"""
    if any(x is not None for x in (weight, size_average, reduce, pos_weight)):
        return REFUSED
    return reduced(F.softplus(input) - input * target, reduction)


def reduced(x: Tensor, reduction: str) -> Tensor:
    """What a loss makes of the losses of all entries."""
    return x if reduction == "none" else x.mean() if reduction == "mean" else x.sum()


DEFINITIONS: tuple[Callable, ...] = (
    addcmul, addcdiv, lerp, addmv, addbmm, addr, vecdot, glu, bilinear, cosine_similarity, pairwise_distance, cdist, dist, instance_norm,
    softmin, log_softmax, logaddexp, cross_entropy, mse_loss, l1_loss, binary_cross_entropy_with_logits,
)  # fmt: skip


def pairwise(args: tuple) -> Callable[..., Tensor] | None:
    """An einsum of three operands or more, one or two of which carry, as einsums of two; None for any other.

    A constant that is kept along axes of one carrier alone, as a matrix for each of its places is, meets that carrier; then the
    carriers meet; what is left is a factor of their product.
    """
    if len(args) < 4 or not isinstance(args[0], str) or sum(map(carries, args[1:])) not in (1, 2):
        return None
    names, kept = of_einsum(args[0], args[1:])
    letter = {name: chr(ord("a") + i) for i, name in enumerate(dict.fromkeys(name for term in names for name in term))}
    if len(letter) > 26:
        return None
    out = "".join(letter[name] for name in kept)
    terms = ["".join(letter[name] for name in term) for term in names]

    def definition(equation: str, *operands: Tensor) -> Tensor:
        left = list(zip(terms, operands, strict=True))
        while len(left) > 1:
            i, j = sorted(next_two(left, out))  # weights stay before values
            (a, x), (b, y) = left[i], left[j]
            rest = [one for n, one in enumerate(left) if n not in (i, j)]
            wanted = set(out).union(*(term for term, _ in rest))
            term = out if not rest else "".join(one for one in dict.fromkeys(a + b) if one in wanted)
            left = [*rest[:i], (term, torch.einsum(f"{a},{b}->{term}", x, y)), *rest[i:]]
        return left[0][1]

    return definition


def next_two(left: Sequence[tuple[str, Tensor]], out: str) -> tuple[int, int]:
    """Which two terms of an einsum of several meet next."""
    carriers = [i for i, (_, x) in enumerate(left) if carries(x)]
    constants = [i for i in range(len(left)) if i not in carriers]
    for j in constants:
        own = set(left[j][0]) & set(out)
        beside = [i for i in carriers if own <= set(left[i][0])]
        if len(beside) == 1 and own:
            return beside[0], j
    return (carriers[0], carriers[1]) if len(carriers) > 1 else (carriers[0], constants[0])


def entry_by_entry(args: tuple) -> bool:
    """Whether an einsum of two carriers of one shape adds nothing up: it is their product, entry by entry."""
    if len(args) != 3 or not isinstance(args[0], str) or not (carries(args[1]) and carries(args[2])):
        return False
    (a, b), out = of_einsum(args[0], args[1:])
    return a == b == out and args[1].shape == args[2].shape
