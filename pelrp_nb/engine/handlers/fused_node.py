"""The factors of fused attention on the kernel's own node of the graph, which spares a node for each of its inputs.

That is so where torch's kernel is one node that hands its gradients to queries, keys and values themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ...rules.attention import Factors
from ...verbs import freeze, scale
from ..context import Context
from ..notes import carries
from ..saved import held

_single: dict[tuple, bool] = {}  # whether a kernel is one node, by what it was given


def bent_kernel(kernel: Callable, given: tuple, f: Factors, how: tuple | None) -> tuple[Tensor, list, bool]:
    """(the output of a fused kernel, what it was given, whether its gradients are still to be multiplied, on its own node).

    how: the other arguments; None where somebody listens at its inputs, each of which then has a node
    """
    if how is not None and is_single(kernel, given, how):
        out = kernel(*given)
        if hands_on(out, given):
            return out, [*given], True
    bent = [bend_by(x, factor) for x, factor in zip(given, f, strict=True)]
    return kernel(*bent), bent, False


def bend_by(x: Tensor | None, factor: float) -> Tensor | None:
    """The input of a fused kernel with its gradient times `factor`; a fresh tensor where it carries."""
    if x is None or not carries(x):
        return x
    return scale(x, factor) if factor else freeze(x)


def is_single(kernel: Callable, given: tuple, how: tuple) -> bool:
    """Whether one node hands its gradients to queries, keys and values themselves: tried once for what is alike, nothing saved."""
    q, k, v, mask = given
    alike = (q.shape, k.shape, v.shape, q.stride(), q.dtype, q.device, None if mask is None else mask.shape, *map(carries, given), *how)
    if alike not in _single:
        if len(_single) >= 1000:
            _single.clear()
        with saved_tensors_hooks(lambda x: None, lambda x: x):
            _single[alike] = hands_on(kernel(*given), given)
    return _single[alike]


def hands_on(out: Tensor, given: tuple) -> bool:
    """Whether the node that made `out` hands its gradients to queries, keys and values themselves."""
    wanted = [(x.grad_fn, x.output_nr) for x in given[:3]]
    return out.grad_fn is not None and [*out.grad_fn.next_functions[:3]] == wanted and all(node is not None for node, _ in wanted)


def on_its_node(flow: Context, out: Tensor, given: tuple, f: Factors) -> None:
    """The gradients of queries, keys and values times their factors; with a ledger, what the softmax keeps by difference."""
    account, line = flow.account, (flow.softmax_name(True), flow.depth)
    values: list[Callable[[], Tensor]] = []
    if flow.options.ledger:
        flow.audited = False
        account.hear("softmax", *line, out, held(out), 1 - f.v)
        values = [held(x) for x in given]

    def multiplied(gradients: tuple[Any, ...], _: tuple) -> tuple[Any, ...]:
        for value, g, factor in zip(values, gradients, f, strict=False):
            if g is not None:
                account.add("softmax", *line, account.inner(value(), g) * -factor)
        bent = [g if g is None else g * factor for g, factor in zip(gradients[:3], f, strict=False)]
        return (*bent, *gradients[3:])

    assert out.grad_fn is not None
    out.grad_fn.register_hook(multiplied)
