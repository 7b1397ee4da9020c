"""Which linear maps are projections of attention: those that feed a softmax product, and those that follow one.

What a linear map feeds is seen only when the product comes, and so its rule is chosen on the way back (`handlers/deferred.py`).  What
is found of the graph is kept as numbers of its nodes, so that nothing here keeps the graph itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..rules import Rule


@dataclass(eq=False)
class Choice:
    """The rule of one linear map: `linear`, or `projection` once it is known for one."""

    linear: Rule
    projection: Rule
    projects: bool = False
    step: Any = None  # its line in the plan
    known: bool = False  # whether both are the same

    def __post_init__(self) -> None:
        self.known = self.linear is self.projection or self.linear == self.projection

    @property
    def rule(self) -> Rule:
        """What applies, as far as is known."""
        return self.projection if self.projects else self.linear

    def project(self) -> None:
        """It is one."""
        self.projects = True
        if self.step is not None:
            self.step.rule, self.step.applied = repr(self.rule), self.rule


class Projections:
    """The graph around softmax products, as numbers of nodes; nothing is kept unless it is `wanted`.

    maps:     linear maps; activations, sums: elementwise functions, and residual sums
    scores:   products of two carriers; attended: products with the weights of an attention, and how many heads it has

    `layer` is the number at which the running layer began, None outside of layers.  In a layer we look through norms and further linear
    maps, so that a projection in two factors is one projection, but through no activation behind a linear map: that is an MLP.
    """

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self.maps: dict[int, Choice] = {}
        self.activations: set[int] = set()
        self.sums: set[int] = set()
        self.scores: set[int] = set()
        self.attended: dict[int, int] = {}

    def met(self, out: Tensor, choice: Choice) -> None:
        """A linear map made `out`."""
        if self.wanted and out.grad_fn is not None:
            self.maps[number(out)] = choice

    def note(self, kind: set[int], out: Any) -> None:
        """One of `activations`, `sums` or `scores` made `out`."""
        if self.wanted and isinstance(out, Tensor) and out.grad_fn is not None:
            kind.add(number(out))

    def feed(self, operands: tuple[Any, ...], layer: int | None) -> None:
        """What these are made by projects: they are queries, keys, values, or scores."""
        for x in operands if self.wanted else ():
            if isinstance(x, Tensor) and x.grad_fn is not None:
                for n in self._behind(x, layer, layer is not None):
                    if n in self.maps:
                        self.maps[n].project()

    def is_projection(self, node: int) -> bool:
        """Whether the linear map that begins at this node is one, or none has begun there."""
        first = min((n for n in self.maps if n >= node), default=None)
        return first is None or self.maps[first].projects

    def attend(self, out: Tensor, heads: int) -> None:
        """An attention made `out`."""
        if self.wanted and out.grad_fn is not None:
            self.attended[number(out)] = heads

    def are_scores(self, x: Tensor, layer: int | None) -> bool:
        """Whether x is a product of two carriers, scaled, masked, biased: what a router has is not."""
        return next(self.scores_behind(x, layer), None) is not None

    def scores_behind(self, x: Tensor, layer: int | None) -> Iterator[int]:
        """The numbers of the products that x is made of, scaled, masked, added up."""
        return (n for n in self._behind(x, layer, False) if n in self.scores) if self.wanted else iter(())

    def follows(self, x: Tensor, layer: int | None, through: bool = True) -> int | None:
        """The number of the attention that a linear map of x follows; `through` others, or at once."""
        if not self.wanted:
            return None
        found = (n for n in self._behind(x, layer, through and layer is not None, summed=False) if n in self.attended)
        return next(found, None)

    def _behind(self, x: Tensor, layer: int | None, through: bool, summed: bool = True) -> Iterator[int]:
        """Numbers of the nodes that made x, as far back as the layer, a residual sum, or the product of an attention."""
        seen, todo = set(), [(x.grad_fn, False)]
        while todo:
            node, passed = todo.pop()
            if node is None or (node, passed) in seen:
                continue
            seen.add((node, passed))
            n = node._sequence_nr()
            beyond = n in self.sums or (passed and n in self.activations)
            if beyond or (n < layer if layer is not None else not (summed or single(node))):
                continue
            yield n
            if n not in self.attended and (through or n not in self.maps):
                todo += [(before, passed or n in self.maps) for before, _ in node.next_functions]


def number(x: Tensor) -> int:
    """The number of the node that made x."""
    assert x.grad_fn is not None
    return x.grad_fn._sequence_nr()


def single(node: Any) -> bool:
    """Whether a node is no sum of two carriers: outside of layers nobody knows which sums are residual."""
    return not node.name().startswith("AddBackward") or sum(before is not None for before, _ in node.next_functions) < 2
