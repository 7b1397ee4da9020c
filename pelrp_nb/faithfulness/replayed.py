"""What attention weights are worth when positions stand in any other order, and what the layers below really do to them.

Replayed     a `Worth` as `Exchanges` is, of orders in place of pairs: sum over i, j of (A - A')_ij (g_i . v_j), A' in that order
states       what the model's own layers make of its tokens, with positions in their places or in another order
gradients    of the value at each of these, plain or bent
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..composites import CP_LRP, Composite
from ..engine.numerics import better
from ..engine.options import Options
from ..engine.places import credit
from ..engine.positions.dealing import Dealer
from ..engine.positions.exchanging import Exchanges
from ..engine.propagation import propagate
from ..engine.replay import Chain
from ..permute import permute_positions
from .confirmed import Batch

Order = Sequence[int]
_NO_LEDGER = Options(ledger=False)


class Replayed(Exchanges):
    """What each order is worth, attention by attention: (rows times heads, orders)."""

    def __init__(self, orders: Sequence[Order]) -> None:
        super().__init__(None, 0, {})
        self.orders = orders

    def attended(self, chain: Chain, inputs: dict[int, Tensor], scores: int, G: Tensor, at: tuple[str, int]) -> None:
        """One attention, whose weights have the gradient G."""
        leaf = next((one for one in chain.entries if one.taken), None)
        if leaf is None:
            return
        with torch.no_grad():
            dealer = Dealer(chain, inputs, scores, leaf.keys, at[0])
            own = credit.of_input(list(dealer.index))
            G = better(G).reshape(-1, *G.shape[-2:])

            def kept(S: Tensor) -> Tensor:
                return (S.masked_fill(dealer.hidden, -torch.inf).softmax(-1) * G).sum((-1, -2))

            found = [kept(dealer.S) - kept(dealer.in_order(own, torch.as_tensor(order))) for order in self.orders]
            self.add(leaf.stream, *at, torch.stack(found, -1))


def replayed(batch: Batch, orders: Sequence[Order]) -> Tensor | None:
    """(B, layers, orders) what weights are worth in each order; None where no positions enter them.

    Under CP-LRP, as `exchange` is: rules that pay the scores as well keep no weights apart that could be asked.
    """
    worth = Replayed(orders)
    with propagate(batch.model, CP_LRP, _NO_LEDGER) as flow:
        flow.worth, flow.taped = worth, True
        flow.trace(_value(batch, batch.model(**_inputs(batch))))
    found = [x for (_, _, made), x in sorted(worth.values.items(), key=lambda item: item[0][2])]
    return torch.stack([x.reshape(len(batch.ids), -1, x.shape[-1]).sum(1) for x in found], 1) if found else None


def states(batch: Batch, orders: Sequence[Order]) -> tuple[list[Tensor], Tensor]:
    """(B, orders, T, D) before the first layer and after each, and (B, orders) the value, with positions in these orders."""
    made, values = [], []
    for order in orders:
        with torch.no_grad(), permute_positions(batch.model, order):
            output = batch.model(**_inputs(batch), output_hidden_states=True)
        made.append([x.detach() for x in output.hidden_states])
        values.append(_each(batch, output).detach().double())
    return [torch.stack(layer, 1) for layer in zip(*made, strict=True)], torch.stack(values, 1)


def gradients(batch: Batch, composite: Composite) -> list[tuple[Tensor, Tensor]]:
    """(B, T, D) before the first layer and after each: what there is, and the bent gradient of the value."""
    with propagate(batch.model, composite, _NO_LEDGER) as flow:
        output = batch.model(**_inputs(batch), output_hidden_states=True)
        value = _value(batch, output)
    flow.trace(value, keep=True)
    found = torch.autograd.grad(value, output.hidden_states)
    return list(zip((x.detach() for x in output.hidden_states), found, strict=True))


def at_tokens(batch: Batch, composite: Composite | None) -> Tensor:
    """(B, T, D) the gradient where token vectors and positions are added; plain without a composite."""
    if composite is not None:
        with propagate(batch.model, composite, _NO_LEDGER) as flow:
            value = _value(batch, batch.model(**_inputs(batch)))
        flow.trace(value, keep=True)
        return torch.autograd.grad(value, flow.inputs.tokens[0])[0]
    seen: list[Tensor] = []

    def leaf(_: Any, __: Any, output: Tensor) -> Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[0]

    handle = batch.model.get_input_embeddings().register_forward_hook(leaf)
    try:
        with torch.enable_grad():
            return torch.autograd.grad(_value(batch, batch.model(**_inputs(batch))), seen)[0]
    finally:
        handle.remove()


def gradient_of(batch: Batch, leaf: Tensor) -> Tensor:
    """The plain gradient of the value at something that the model reads."""
    with torch.enable_grad():
        return torch.autograd.grad(_value(batch, batch.model(**_inputs(batch))), leaf)[0]


def _inputs(batch: Batch) -> dict[str, Tensor]:
    return {"input_ids": batch.ids, "attention_mask": torch.ones_like(batch.ids)}


def _each(batch: Batch, output: Any) -> Tensor:
    logits: Tensor = output.logits
    return (logits[:, -1] if logits.dim() == 3 else logits).gather(1, batch.target[:, None])[:, 0]


def _value(batch: Batch, output: Any) -> Tensor:
    """The sum over rows, which do not mix."""
    return _each(batch, output).sum()
