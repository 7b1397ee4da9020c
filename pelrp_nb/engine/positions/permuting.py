"""Positions of the tokens permuted where they enter: the model itself, with its tokens, masks and everything else staying where they are.

What is added or multiplied for each place is read at another place.  What enters attention scores for each pair is done by dealing the
contents to other places, running the calls from there to the softmax, and reading the scores back (`dealing.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C import DisableTorchFunction

from ...errors import InputError, ModelError
from ..context import Context
from ..leaves import Leaf
from ..places import credit
from ..places.maps import Axis, padded
from ..replay import Chain
from . import kernels
from .dealing import Dealer
from .judging import keys_of

Orders = Mapping[str, Sequence[int]]


class Permutation:
    """Whose positions stand where: stream -> for each place the place whose position it has. `done`: leaves that were permuted."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.done: set[Leaf] = set()

    def order(self, flow: Any, keys: tuple[Axis, ...], places: int) -> Tensor | None:
        """The order of a stream; None where it is not permuted. Raises InputError if it is none of that many places."""
        name = flow.streams.of_input(keys[0].stream)
        given = self.orders.get(name, self.orders.get("") if name == flow.streams.names[0] else None)
        if given is None:
            return None
        if sorted(given) != list(range(places)):
            raise InputError(
                f"An order of {places} places must name each from 0 to {places - 1} once, got {list(given)}. Type "
                f"permute_positions(model, {list(range(places))[::-1] if places < 9 else f'torch.randperm({places})'})."
            )
        return torch.as_tensor(list(given))

    def keys(self, flow: Any, leaf: Leaf) -> tuple[Axis, ...]:
        """The place axes of the stream of what may be a position, as far as is known now."""
        found = keys_of(flow, leaf)
        return flow.places.place_axes(found[0].stream) if found else ()

    def constant(self, flow: Any, leaf: Leaf, x: Tensor) -> Tensor:
        """What is added or multiplied for each place, read at another one."""
        keys = () if leaf.picked is not None or leaf.known.pair else self.keys(flow, leaf)
        if not keys:
            return x
        maps = [next((padded(m, x.dim()) for m in leaf.known.maps if m.key == key and m.axes), None) for key in keys]
        axes = {a for m in maps if m is not None for a in m.axes}
        if len(axes) != 1 or any(m is None for m in maps):
            return x
        (axis,) = axes
        columns = [m.cells.movedim(axis, 0).reshape(m.cells.shape[axis], -1)[:, 0].tolist() for m in maps if m is not None]
        cells = list(zip(*columns, strict=True))
        own = credit.of_input(cells)
        order = self.order(flow, keys, len(own))
        self.done.add(leaf)
        if order is None:
            return x
        number, at = {cell: i for i, cell in enumerate(own)}, {cell: i for i, cell in enumerate(cells)}
        index = [at[own[int(order[number[cell]])]] if cell in number else i for i, cell in enumerate(cells)]
        return x.index_select(axis, torch.tensor(index, device=x.device))

    def scores(self, flow: Any, given: list[Tensor], bias: Leaf | None, where: str, kernel: dict | None) -> Tensor | None:
        """(heads, Tq, Tk) scores with pairs permuted; None where nothing enters them pair by pair.

        given: scores before a softmax, or queries, keys and a mask of a fused `kernel`, of which the mask may be a `bias`
        """
        chain = Chain(given)
        if bias is not None:
            chain.positions[chain.results[2]] = bias
            chain.entries.append(bias)
        pairs = [leaf for leaf in chain.entries if leaf.known.pair or leaf in chain.terms.values()]
        if not pairs:
            return None
        keys = self.keys(flow, pairs[0])
        if not keys or chain.strange:
            return None
        scores = chain.results[0] if kernel is None else chain.then(kernels.scores, kernels.SCORES, **kernel)
        with torch.no_grad(), DisableTorchFunction():
            dealer = Dealer(chain, chain.taken(), scores, keys, where)
            own = credit.of_input(list(dealer.index))
            order = self.order(flow, keys, len(own))
            self.done.update(chain.entries)
            if order is None:
                return None
            return dealer.in_order(own, order).masked_fill(dealer.hidden, -torch.inf)

    def check(self, flow: Any) -> None:
        """Raise where there are no positions, or some could not be permuted."""
        sinks = flow.inputs.sinks
        switched = next(((how, where) for how, where in flow.places.cuts if how in ("no_grad", "inference_mode")), None)
        if switched is not None and not sinks:
            how, where = switched
            raise InputError(
                f"Positions are found by following gradients, which torch.{how} switched off inside permute_positions (in `{where}`): "
                f"none was permuted. Type `with torch.no_grad(), permute_positions(model, order):`, in that order."
            )
        if not sinks:
            raise InputError(
                f"{type(flow.model).__name__} has no positions that could be permuted. A causal mask tells positions as well; move tokens "
                "to see what that does."
            )
        missed = next((leaf for leaf in sinks if leaf not in self.done), None)
        if missed is not None:
            raise ModelError(f"The positions of `{missed.name}` ({missed.kind}) enter in a way in which they cannot be permuted.")
        wrong = next((leaf for leaf in self.done if leaf.taken is False and leaf.part != "gathered"), None)
        if wrong is not None:
            raise ModelError(f"What enters at `{wrong.place}` was permuted, and turned out to be no position.")


def of_softmax(flow: Context, x: Tensor) -> Tensor:
    """The scores that a softmax gets, permuted where positions entered them pair by pair."""
    if flow.permuted is None or x.dim() < 3:
        return x
    found = flow.permuted.scores(flow, [x], None, flow.where_am_i(), None)
    return x if found is None else found.reshape(x.shape).to(x.dtype)


def of_kernel(flow: Context, given: Sequence[Tensor | None], v: Tensor, bias: Leaf | None, kernel: dict) -> Tensor | None:
    """What a fused kernel of queries, keys and a mask makes of values, permuted where positions entered its scores pair by pair."""
    there = [x for x in given if x is not None]
    found = None if flow.permuted is None else flow.permuted.scores(flow, there, bias, flow.where_am_i(), kernel)
    if found is None:
        return None
    A = found.reshape(*there[0].shape[:-1], -1).softmax(-1).nan_to_num(0.0).to(v.dtype)
    return A @ (v if v.dim() < 4 or v.shape[-3] == A.shape[-3] else v.repeat_interleave(A.shape[-3] // v.shape[-3], -3))
