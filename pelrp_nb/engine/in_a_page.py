"""The whole idea in a page: freeze a part of a few operations, and the gradient shares out a model's answer.

    R(x) = x g(x)        relevance of a tensor x: its value times the bent gradient, which begins with R(value) = value

    value = tokens + positions + constants + softmax + gap

Where z is a sum, a linear map or another shape of x, the plain gradient hands on all that arrives: sum x g(x) = sum z g(z).  At a
product it would hand on twice as much, at activations, norms and quotients some other amount: there a part is frozen, which bends the
gradient until it hands on all.  Enough for a small decoder, one text at a time; the engine in this folder is the same for any model.

    explain(decoder, ids, lambda logits: logits[0, -1, 42])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from einops import reduce
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

Function = Callable[..., Any]
RULES: dict[Function, Any] = {}  # one of torch's functions -> the rule that stands in for it
LINES = {"tokens": "... t d -> t", "positions": "... t d -> t", "constants": "... ->", "attention": "... ->", "scores": "... ->"}


def explain(model: Function, ids: Tensor, pick: Callable[[Any], Tensor]) -> dict[str, Tensor]:
    """Who made the number `pick(model(ids))`: its account, in which tokens and positions are (T,)."""
    with torch.enable_grad(), Walk(ids) as walk:
        value = pick(model(ids))
    R = walk.back(value)
    R["softmax"] = R.pop("attention") - R.pop("scores")  # what arrived less what went on
    return R | {"gap": freeze(value) - sum(x.sum() for x in R.values()), "value": freeze(value)}


def bends(*functions: Function) -> Function:
    """The rule that follows stands in for these functions of torch."""
    return lambda rule: RULES.update(dict.fromkeys(functions, rule)) or rule


def freeze(x: Any) -> Any:
    """The value of x, and no way back."""
    return x.detach() if isinstance(x, Tensor) else x


def carries(x: Any) -> bool:
    """Whether x was made of tokens or positions; everything else is a constant."""
    return isinstance(x, Tensor) and x.requires_grad


class Walk(TorchFunctionMode):
    """Inside its `with` every call of torch comes by here; the model itself is not touched."""

    def __init__(self, ids: Tensor) -> None:
        super().__init__()
        self.ids = ids
        self.met: list[tuple[str, Tensor]] = []  # (line of the account, tensor)

    def __torch_function__(self, f: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        args, kwargs = tree_map_only(nn.Parameter, freeze, (args, kwargs or {}))  # weights are constants
        arrives = f is F.embedding and args[0] is self.ids
        ours = arrives or (f in RULES and any(map(carries, args)))
        return RULES[f](self, f, *args, **kwargs) if ours else f(*args, **kwargs)

    def back(self, value: Tensor) -> dict[str, Tensor]:
        """One backward pass; then R(x) = x g(x) of all that was met, summed by line."""
        R = dict.fromkeys(LINES, torch.zeros(()))
        gradients = torch.autograd.grad(value, [x for _, x in self.met], materialize_grads=True)
        for (line, x), g in zip(self.met, gradients, strict=True):
            paid = torch.where(g == 0, 0, freeze(x) * g)  # behind a mask it would be -inf * 0
            R[line] = R[line] + reduce(paid, LINES[line], "sum")
        return R

    # --- where relevance ends ----------------------------------------------------------------------------------------------

    def leaf(self, line: str, x: Tensor) -> Tensor:
        """x as an input: the same numbers, a gradient of its own."""
        x = freeze(x).requires_grad_()
        self.met.append((line, x))
        return x

    def position(self, c: Any) -> Any:
        """A constant with a row for each token, and no mask, is how a position enters: it is an input."""
        rows = isinstance(c, Tensor) and not carries(c) and c.shape[-2:-1] == self.ids.shape[-1:]
        return self.leaf("positions", c) if rows and c.shape[-1] > 1 and c.min() > -1e4 else c

    def constant(self, c: Any) -> Any:
        """Any other constant that is added keeps its share: an input of its own line."""
        return self.leaf("constants", c) if isinstance(c, Tensor) and not carries(c) else c

    # --- the rules ---------------------------------------------------------------------------------------------------------

    @bends(F.embedding)
    def look_up(self, f: Function, ids: Tensor, table: Tensor, **how: Any) -> Tensor:
        """E_t, the vector of token t:  here relevance arrives."""
        return self.leaf("tokens", f(ids, table, **how))

    @bends(F.linear)
    def linear(self, f: Function, x: Tensor, W: Tensor, b: Tensor | None = None) -> Tensor:
        """z = W x + b:  R(x_i) = sum_j x_i W_ji / z_j R(z_j), the plain gradient; b keeps its share."""
        return f(x, W, self.constant(b))

    @bends(torch.add, Tensor.add)
    def add(self, f: Function, a: Any, b: Any) -> Tensor:
        """z = a + b:  R(a) = a / z R(z), the plain gradient, for a branch, a position or a constant."""
        return f(*(self.constant(self.position(x)) for x in (a, b)))

    @bends(torch.matmul, Tensor.matmul, torch.einsum)
    def product(self, f: Function, *factors: Any) -> Tensor:
        """z = a b:  1/n to each of the n factors that carry, and inside it as in a linear map."""
        z = f(*factors)
        part = z / sum(map(carries, factors))
        return part + freeze(z - part)

    @bends(torch.mul, Tensor.mul)
    def multiply(self, f: Function, a: Any, b: Any) -> Tensor:
        """z_i = a_i b_i:  the same, in a gate and in a rotation, whose cos and sin are a position and get half."""
        return self.product(f, self.position(a), self.position(b))

    @bends(torch.div, Tensor.div, torch.rsqrt, Tensor.rsqrt)
    def divide(self, f: Function, *terms: Any) -> Tensor:
        """z = a / b and 1 / sqrt(b):  R(a) = R(z); a denominator is a constant."""
        *above, below = terms
        return f(*above, freeze(below))

    @bends(F.silu, F.gelu, F.relu, torch.relu, torch.tanh)
    def activation(self, f: Function, x: Tensor, *how: Any, **more: Any) -> Tensor:
        """y = f(x), f(0) = 0:  R(x) = R(y), so the slope is f(x) / x, at 0 its limit."""
        near = x.where(x != 0, 1e-30)
        return x * freeze(f(near, *how, **more) / near)

    @bends(F.rms_norm)
    def rms_norm(self, f: Function, x: Tensor, shape: Any, weight: Tensor, eps: float | None = None) -> Tensor:
        """y = x / rms(x) * w:  R(x) = R(y); a denominator is a constant."""
        mean_square = x.square().mean(-1, keepdim=True) + (eps or torch.finfo(x.dtype).eps)
        return x / freeze(mean_square.sqrt()) * weight

    @bends(F.layer_norm)
    def layer_norm(self, f: Function, x: Tensor, shape: Any, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        """y = (x - mean(x)) / std(x) * w + b:  an RMS norm of x - mean(x), and a constant."""
        return self.rms_norm(f, x - x.mean(-1, keepdim=True), shape, weight, eps) + self.constant(bias)

    @bends(torch.softmax, F.softmax, Tensor.softmax)
    def softmax(self, f: Function, s: Tensor, *how: Any, **more: Any) -> Tensor:
        """A = softmax(s):  R(s_i) = s_i (R(A_i) - A_i sum_j R(A_j)), the plain gradient; the rest stays here."""
        s = s.clone()
        A = f(s, *how, **more)
        self.met += [("attention", A), ("scores", s)]
        return A
