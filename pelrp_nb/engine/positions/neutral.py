"""Scores without positions: the same chain of calls with nothing in the places where positions entered.

a rotation          keeps its magnitude and turns no angle: cos -> sqrt(cos^2 + sin^2), sin -> 0, a complex c -> |c|
a rotation matrix   the identity
a bias of scores    0 where the pair is visible; what hides still hides
a sum               0
a product with relative embeddings   0
another factor      its mean over the places
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...errors import ModelError
from ...rules import PositionKind
from ..leaves import Leaf
from ..numerics import better
from ..places.values import hiding
from ..replay import Chain


def without_positions(chain: Chain, inputs: Mapping[int, Tensor]) -> list[Tensor]:
    """The chain's results from its `inputs`, without positions. Raises ModelError where a position cannot be taken out."""
    taken = {number: leaf for number, leaf in chain.positions.items() if leaf.taken}
    strange = [leaf for leaf in chain.strange if leaf.taken]
    if strange:
        raise ModelError(
            f"The positions of `{strange[0].name}` enter scores in a way that cannot be done again without them. "
            "Type composite=PA_LRP, or CP_LRP."
        )
    swapped = {number: neutral(chain, number, leaf) for number, leaf in taken.items()}
    return chain.run({**inputs, **swapped}, term=lambda number, x: torch.zeros_like(x) if chain.terms[number].taken else x)


def neutral(chain: Chain, number: int, leaf: Leaf) -> Tensor:
    """What stands in place of a constant that is a position."""
    x = chain.constants[number]
    if leaf.part in ("cos", "sin"):
        return torch.zeros_like(x) if leaf.part == "sin" else magnitude(chain, x, leaf)
    if leaf.kind == PositionKind.ROTARY and x.is_complex():
        return x.abs().to(x.dtype)
    if leaf.kind == PositionKind.ROTARY and x.shape[-1] == x.shape[-2]:
        return torch.eye(x.shape[-1], dtype=x.dtype, device=x.device).expand_as(x)
    if leaf.part in ("score", "sum", "relation") or leaf.kind == PositionKind.RELATIVE_EMBEDDING:
        hidden = hiding(x) if leaf.part == "score" else None
        return torch.zeros_like(x) if hidden is None else torch.where(hidden, x, 0)
    axes = sorted({axis - (len(leaf.shape) - x.dim()) for m in leaf.layout(len(leaf.shape)).maps if m is not None for axis in m.axes})
    return x.mean([a for a in axes if a >= 0] or list(range(x.dim())), keepdim=True).expand_as(x)


def magnitude(chain: Chain, cos: Tensor, leaf: Leaf) -> Tensor:
    """sqrt(cos^2 + sin^2) with the sine that stands beside it, in a loop over places the one of its place; 1 where none has its shape."""
    sines = [(n, other) for n, other in chain.positions.items() if other.part == "sin"]
    beside = [
        chain.constants[n] for n, other in sines if leaf.picked is None or other.picked is None or other.picked.places == leaf.picked.places
    ]
    sine = next((x for x in beside if x.shape == cos.shape), None)
    return torch.ones_like(cos) if sine is None else torch.hypot(better(cos), better(sine)).to(cos.dtype)
