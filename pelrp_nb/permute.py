"""permute_positions(model, order): the model computed with the positions of its tokens exchanged, moved or shuffled, whatever the encoding.

    with pelrp_nb.permute_positions(model, [0, 3, 2, 1, 4]):
        logits = model(**inputs).logits              token 1 stands where 3 stood, and 3 where 1 stood

Tokens, masks and all else stay where they are: of what enters for each place (added vectors, rotations, other factors) or each pair of
places (biases, ALiBi, relative embeddings) each token has that of another place.  So `position_ids` are not needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from .composites import PA_LRP
from .engine.options import Options
from .engine.positions.permuting import Permutation
from .engine.propagation import propagate
from .errors import InputError

__all__ = ["permute_positions"]


@contextmanager
def permute_positions(model: nn.Module, order: Sequence[int] | torch.Tensor | Mapping[str, Sequence[int]]) -> Iterator[None]:
    """Inside the `with`, place i of the model's input has the position that place `order[i]` had.

    Args:
        model: any torch model in eval mode.
        order: a permutation of the T places of the input (all rows of a batch have the same); or one for each stream,
            {"encoder": [...], "decoder": [...]}. `move(T, t, u)` makes that of a token put elsewhere.

    Raises:
        InputError: the order is none of that many places, or the model has no positions (a causal mask is not one that can be permuted).
        ModelError: at the end, where positions entered in a way in which they cannot be permuted, by name.

    What a causal mask hides is read by nobody: a bias at an offset that looks ahead is not taken from there, the pair keeps its own.
    """
    if isinstance(order, str) or not isinstance(order, Sequence | torch.Tensor | Mapping):
        raise InputError(f"order must be a permutation of the places, got {order!r}. Type permute_positions(model, [1, 0, 2]).")
    orders = order if isinstance(order, Mapping) else {"": [int(i) for i in order]}
    with propagate(model, PA_LRP, Options(ledger=False)) as flow:
        flow.permuted, flow.taped = Permutation(orders), True
        yield
        flow.settle()
        flow.permuted.check(flow)


def move(places: int, t: int, u: int) -> list[int]:
    """The order in which t has the position of u, and those between them one nearer to where t was. Raises InputError."""
    if not (0 <= t < places and 0 <= u < places):
        raise InputError(f"t and u must be places below {places}, got {t} and {u}.")
    order = list(range(places))
    order[t] = u
    between = range(t + 1, u + 1) if t < u else range(u, t)
    for i in between:
        order[i] = i - 1 if t < u else i + 1
    return order
