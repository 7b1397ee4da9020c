"""How places go through products that sum an axis away, fused attention among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from . import contractions
from .arguments import given_in, pick
from .contractions import Spelt
from .elementwise import lost
from .follow import CONTRACTING, Found, Places, Step, provenance_of
from .maps import Axis
from .provenance import Provenance, provenance, unified


def product_of(places: Places, a: Tensor, b: Tensor, letters: tuple[list[str], list[str], list[str]], outs: list[Tensor]) -> Step:
    """One product of two operands, spelt."""
    la, lb, lo = letters
    one, two = Spelt(a, provenance_of(a), la), Spelt(b, provenance_of(b), lb)
    if not (one.content or two.content):
        fixed = any(x.known is not None and x.known.fixed for x in (one, two))
        return Step((provenance(fixed=True) if fixed else None,) * len(outs))
    return places.step(places.contract(one, two, lo, outs[0].shape), outs)


def linear(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """x @ W.T + b"""
    x, weight = pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, "weight")
    return product_of(places, x, weight, contractions.of_linear(x, weight), outs)


def matmul(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """a @ b in all its names."""
    a = pick(args, kwargs, 0, "input")
    b = next((x for x in (pick(args, kwargs, 1, n) for n in ("other", "mat2", "vec2", "vec", "tensor")) if x is not None), None)
    if name == "__rmatmul__":
        a, b = b, a
    if name in ("outer", "ger"):
        return product_of(places, a, b, (["i"], ["j"], ["i", "j"]), outs)
    return product_of(places, a, b, contractions.of_matmul(a, b), outs)


def addmm(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """added + a @ b"""
    names = ("mat1", "mat2") if name == "addmm" else ("batch1", "batch2") if name == "baddbmm" else ("mat", "vec")
    added, a, b = pick(args, kwargs, 0, "input"), pick(args, kwargs, 1, names[0]), pick(args, kwargs, 2, names[1])
    found = product_of(places, a, b, contractions.of_matmul(a, b), outs)
    also = provenance_of(added) if isinstance(added, Tensor) and kwargs.get("beta", 1) else None
    if also is None or not also.content or found.outs[0] is None:
        return found
    both = unified([also, found.outs[0]], outs[0].shape)
    return Step((both,), found.summed, found.mixed, weighed=found.weighed)


def einsum(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """Any contraction, two operands at a time."""
    equation = args[0]
    operands = list(args[1:]) if len(args) > 2 or not isinstance(args[1], list | tuple) else list(args[1])
    if not isinstance(equation, str):
        return lost(places, func, name, args, kwargs, outs)
    letters, out = contractions.of_einsum(equation, operands)
    content = [i for i, x in enumerate(operands) if (p := provenance_of(x)) is not None and p.content]
    if len(operands) == 1:
        known = provenance_of(operands[0])
        kept = [contractions.renamed(m, letters[0], out) for m in known.maps if all(letters[0][a] in out for a in m.axes)]
        gone = tuple(m.key for m in known.maps if any(letters[0][a] not in out for a in m.axes) and not m.key.of_weight)
        return Step((known.but(maps=kept),), mixed=gone)
    if not content:
        return [provenance(fixed=True) if any(p.fixed for p in given_in(operands)) else None]
    order = [*content, *(i for i in range(len(operands)) if i not in content)]
    first = Spelt(operands[order[0]], provenance_of(operands[order[0]]), letters[order[0]])
    size = {one: n for term, x in zip(letters, operands, strict=True) for one, n in zip(term, x.shape, strict=True) if n > 1}
    summed: list[Axis] = []
    mixed: list[Axis] = []
    weighed: set[str] = set()
    for number, i in enumerate(order[1:], start=1):
        second = Spelt(operands[i], provenance_of(operands[i]), letters[i])
        later = {one for j in order[number + 1 :] for one in letters[j]} | set(out)
        last = number == len(order) - 1
        left = out if last else [one for one in dict.fromkeys([*first.letters, *second.letters]) if one in later]
        step = places.contract(first, second, left, [size.get(one, 1) for one in left])
        summed, mixed, weighed = summed + step.summed, mixed + step.mixed, weighed | step.weighed
        first = Spelt(first.x, step.found, left)
    return Step((first.known,), tuple(summed), tuple(mixed), weighed=frozenset(weighed))


def is_map(name: str, args: tuple, given: list[Tensor]) -> bool:
    """Whether a call of these tensors is a linear map of features by weights, written as a product."""
    known = [provenance_of(x) for x in given] if name in CONTRACTING else []
    if len(known) != 2 or known.count(None) != 1 or any(p is not None and p.pair for p in known):
        return False
    if name != "einsum":
        return True
    letters, out = contractions.of_einsum(args[0], given)
    return any(one not in out for one in set(letters[0]) & set(letters[1]))


def tensordot(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """tensordot(a, b, dims)"""
    a, b = args[0], args[1]
    dims = pick(args, kwargs, 2, "dims", 2)
    left, right = (range(a.dim() - dims, a.dim()), range(dims)) if isinstance(dims, int) else (list(dims[0]), list(dims[1]))
    la, lb = [f"a{i}" for i in range(a.dim())], [f"b{i}" for i in range(b.dim())]
    for n, (i, j) in enumerate(zip(left, right, strict=True)):
        la[i] = lb[j] = f"s{n}"
    return product_of(places, a, b, (la, lb, [x for x in (*la, *lb) if not x.startswith("s")]), outs)


def attention(places: Places, func: Callable, name: str, args: tuple, kwargs: dict, outs: list[Tensor]) -> Found:
    """softmax(q k) v: places of the queries, and what the values have beside those of the keys."""
    q, k, v = (pick(args, kwargs, i, n) for i, n in enumerate(("query", "key", "value")))
    out = outs[0]
    known = [p for x in (q, k, v) if (p := provenance_of(x)) is not None and p.content]
    if not known:
        return [None]

    def fits(m: Any) -> bool:
        return all(n in (1, size) for n, size in zip(m.cells.shape, out.shape, strict=False)) and m.cells.dim() == out.dim()

    last, rows = out.dim() - 1, out.dim() - 2
    mine = [m for p in (provenance_of(q),) if p is not None for m in p.maps if last not in m.axes and fits(m)]
    theirs = [m for p in (provenance_of(v),) if p is not None for m in p.maps if rows not in m.axes and fits(m)]
    gone = tuple(m.key for p in known for m in p.moving() if rows in m.axes)
    lost, step = any(p.lost for p in known) and not mine, max(p.step for p in known) + 1
    found = provenance(content=True, step=step, maps=[*mine, *theirs], lost=lost)
    return Step((found,), mixed=gone)


def scores_of(q: Tensor, k: Tensor) -> Provenance:
    """Provenance of q k^T inside a fused kernel, (..., Tq, Tk)."""
    la, lb, lo = grouped(q, k)
    lb = [*lb[:-2], lb[-1], lb[-2]]
    one, two = Spelt(q, provenance_of(q), la), Spelt(k, provenance_of(k), lb)
    if not (one.content or two.content):
        return provenance()
    return contractions.contract(one, two, lo, (*q.shape[:-1], k.shape[-2]), frozenset()).found.but(pair=True)


def product_of_two(a: Tensor, b: Tensor) -> Provenance:
    """Provenance of a @ b, that may be scores to which something is added."""
    la, lb, lo = contractions.of_matmul(a, b)
    one, two = Spelt(a, provenance_of(a), la), Spelt(b, provenance_of(b), lb)
    if not (one.content or two.content):
        return provenance()
    return contractions.contract(one, two, lo, (*a.shape[:-1], b.shape[-1]), frozenset()).found


def grouped(q: Tensor, k: Tensor) -> tuple[list[str], list[str], list[str]]:
    """Letters where several query heads share a key head."""
    n = q.dim() - 2
    batch = [f"b{i}" for i in range(n)]
    other = [b if q.shape[i] == k.shape[i] else f"{b} of keys" for i, b in enumerate(batch)]
    return [*batch, "i", "in"], [*other, "in", "j"], [*batch, "i", "j"]
