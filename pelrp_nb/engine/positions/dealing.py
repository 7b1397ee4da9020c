"""The scores of one attention with contents dealt to each other's places: what positions do, by the model's own calls.

A mask stays with the tokens, so what only hides is left out of the calls, and known apart.  What a bias holds at offsets that a mask hides
is nobody's (`offsets.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError
from ..numerics import better
from ..places import credit
from ..places.maps import Axis, PlaceMap, padded, words
from ..places.values import HIDES, hiding
from ..replay import Chain, Slot, Step, again
from . import kernels
from .offsets import levelled, read, visible_offsets

ADDING = words("add add_ __add__ __radd__ __iadd__ baddbmm baddbmm_ addmm sub sub_ __sub__ __isub__")
SUBTRACTING = words("sub sub_ __sub__ __isub__")
MULTIPLYING = words("mul mul_ __mul__ __rmul__ __imul__")


@dataclass(eq=False)
class Side:
    """One side of one input of a chain: the axis along which its places lie.

    cells: of each index along the axis its place; keys: whether these are keys or queries, and shift: how much further on they stand in
    the scores (behind a CLS token that is not rotated), once that is known
    """

    number: int
    axis: int
    cells: tuple[credit.Place, ...]
    keys: bool = False
    shift: int = 0

    def dealt(self, x: Tensor, order: Tensor) -> Tensor:
        """x with what stands at `order[p]` of the scores dealt to p."""
        mine = order[self.shift : self.shift + len(self.cells)] - self.shift
        return x.index_select(self.axis, mine.to(x.device))


def sides_of(chain: Chain, inputs: dict[int, Tensor], keys: tuple[Axis, ...], where: str) -> list[Side]:
    """Where the contents of a chain can be dealt. Raises ModelError where places do not lie along an axis of their own."""
    found = []
    for number, known in chain.provenance.items():
        dims = inputs[number].dim()
        maps = [[padded(m, dims) for m in known.maps if m.key == key and m.axes] for key in keys]
        for at in range(max(map(len, maps), default=0)):
            mine = [by[at] if at < len(by) else None for by in maps]
            found.append(side(number, mine, inputs[number], where))
    return found


def side(number: int, maps: list[PlaceMap | None], x: Tensor, where: str) -> Side:
    """The axis that these maps share, and the place of each index."""
    axes = {a for m in maps if m is not None for a in m.axes}
    if len(axes) != 1 or any(m is None for m in maps):
        raise ModelError(
            f"Positions enter the scores of `{where}` in windows or on a grid of several axes, where places cannot be exchanged one by "
            "one. Type explain(model, ..., composite=pelrp_nb.DELTA_LRP), which says what they changed."
        )
    (axis,) = axes
    columns = [m.cells.movedim(axis, 0).reshape(m.cells.shape[axis], -1)[:, 0].tolist() for m in maps if m is not None]
    return Side(number, axis, tuple(zip(*columns, strict=True)))


class Dealer:
    """The scores of one attention with contents dealt to other places.

    hidden: (1 or heads, Tq, Tk) where masks hide; index: place -> where it stands in the scores
    factors: the numbers of queries and keys, if scores are their products and no more; these as they stand are its `vectors`
    """

    def __init__(self, chain: Chain, inputs: dict[int, Tensor], scores: int, keys: tuple[Axis, ...], where: str) -> None:
        self.chain, self.scores, self.where = chain, scores, where
        self.inputs = inputs
        self.cleared, self.call = self._without_masks(), unmasked(chain)
        self.terms: dict[int, Tensor] = {}
        self.factors = kernels.factors_of(chain)
        if self.factors is None:
            self._read()
        else:
            self.vectors = self.run_vectors({})
            self.hidden = kernels.hidden(chain, *self.vectors)
        self.sides = sides_of(chain, self.inputs, keys, where)
        for one in self.sides:
            one.keys, one.shift = self._found(one)
        self.index = index_of(self.sides, tuple(self.hidden.shape[-2:]), where)
        self.seen = ~self.hidden.all(0) if self.hidden.shape[-1] == self.hidden.shape[-2] else None
        self.biases = {n: levelled(chain.constants[n], self.seen) for n, one in chain.positions.items() if one.part == "score"}
        if self.biases or chain.terms:
            self.S = self._run(self.biases, keep=True)
        self.offsets = visible_offsets(self.seen) if self.seen is not None and (self.biases or chain.terms) else None

    @cached_property
    def S(self) -> Tensor:
        """(heads, Tq, Tk) scores as they stand."""
        return self._run({})

    def _read(self) -> None:
        """Scores as they stand, and what hides some of them. Raises ModelError for what hides in another way."""
        self.hidden = self._run({}, masks=True) <= self.S - 25
        if factors := self._without_factors():
            self.cleared |= factors
            self.S = self._run({})
        if bool((self.S < -1e4).any()):
            raise ModelError(f"What hides pairs in the scores of `{self.where}` was not understood. Type composite=pelrp_nb.DELTA_LRP.")

    def run_vectors(self, swapped: dict[int, Tensor]) -> tuple[Tensor, Tensor]:
        """Queries and keys (..., T, d) of contents, or of constants, that are dealt."""
        q, k = self.chain.run({**self.inputs, **self.cleared, **swapped}, call=self.call, wanted=self.factors)
        return better(q), better(k)

    def _without_masks(self) -> dict[int, Tensor]:
        """Constants that hide, with nothing in the places that they hide."""
        found = {}
        for step in self.chain.steps:
            for slot in (a for a in step.args if isinstance(a, Slot) and step.name in ADDING):
                constant = self.chain.constants.get(slot.number)
                if constant is None or not constant.is_floating_point():
                    continue
                away = -constant if step.name.strip("_") in ("sub", "isub") else constant
                hidden = hiding(away) if away.numel() else None
                if hidden is None and float(away.amin()) < -1e3:
                    hidden = away <= HIDES
                if hidden is not None:
                    found[slot.number] = constant.masked_fill(hidden, 0)
        return found

    def _without_factors(self) -> dict[int, Tensor]:
        """Constant factors of scores that are 0 where pairs are hidden, with 1 there.

        Raises ModelError for one that does more than hide.
        """
        found = {}
        factors = [a for step in self.chain.steps if step.name in MULTIPLYING for a in step.args if isinstance(a, Slot)]
        for slot in factors:
            x = self.chain.constants.get(slot.number)
            if x is None or x.is_complex() or x.dim() < 2 or not fits(x, self.hidden):
                continue
            away = x == 0
            if not bool(away.any()) or bool((away & ~self.hidden).any()):
                continue
            if not bool((away | (x == 1)).all()):
                raise ModelError(
                    f"What hides pairs in the scores of `{self.where}` is a factor that does more than hide, which cannot be exchanged. "
                    "Type composite=pelrp_nb.DELTA_LRP."
                )
            found[slot.number] = x.masked_fill(away, 1)
        return found

    def _run(self, swapped: dict[int, Tensor], masks: bool = False, keep: bool = False, dealt: Any = None) -> Tensor:
        """(heads, Tq, Tk) scores."""

        def term(number: int, x: Tensor) -> Tensor:
            if keep:
                self.terms[number] = x
            return x if dealt is None else dealt(x, self.terms[number])

        cleared = {} if masks else self.cleared
        (S,) = self.chain.run({**self.inputs, **cleared, **swapped}, term, None if masks else self.call, [self.scores])
        return better(S).reshape(-1, *S.shape[-2:])

    def _found(self, one: Side) -> tuple[bool, int]:
        """(whether a side holds keys, where it begins in the scores): something else at one place changes one column, or one row."""
        x = self.inputs[one.number].clone()
        at = len(one.cells) // 2
        part = x.select(one.axis, at)
        part.copy_(part.flip(-1) * 0.7 + part.abs().amax().clamp(min=1.0) * 0.3)
        rows, columns = self._changed(one.number, x)
        if not rows or len(rows) == 1 < len(columns):
            return False, rows[0] - at if rows else 0
        if len(columns) == 1:
            return True, columns[0] - at
        raise ModelError(
            f"Between positions and softmax `{self.where}` mixes places, which cannot be exchanged one by one. Type "
            "explain(model, ..., composite=pelrp_nb.DELTA_LRP), which says what they changed."
        )

    def _changed(self, number: int, x: Tensor) -> tuple[list[int], list[int]]:
        """The rows and columns of scores that are others if an input is x."""
        if self.factors is None:
            moved = differ(self._run({number: x}), self.S)
            rows, columns = moved.any(1), moved.any(0)
        else:
            q, k = (self._moved(made, still, number, x) for made, still in zip(self.factors, self.vectors, strict=True))
            rows, columns = q | k.any(), k | q.any()
        return rows.nonzero().flatten().tolist(), columns.nonzero().flatten().tolist()

    def _moved(self, made: int, still: Tensor, number: int, x: Tensor) -> Tensor:
        """(T,) which of some vectors are others if an input is x."""
        if not self.chain.depends(made, number):
            return torch.zeros(still.shape[-2], dtype=torch.bool, device=still.device)
        (now,) = self.chain.run({**self.inputs, **self.cleared, number: x}, call=self.call, wanted=[made])
        return differ(better(now), still).any(-1)

    def dealt(self, order: Tensor, queries: bool, keys: bool) -> Tensor:
        """(heads, Tq, Tk): the scores with what is at `order[p]` dealt to place p, on one side or on both."""
        still = torch.arange(len(order))
        rows, columns = (order if queries else still), (order if keys else still)
        swapped: dict[int, Tensor] = {}
        for one in self.sides:
            if keys if one.keys else queries:
                swapped[one.number] = one.dealt(swapped.get(one.number, self.inputs[one.number]), order)

        def kept(now: Tensor, before: Tensor) -> Tensor:
            """What is read at offsets that are never visible stays what it was."""
            if self.seen is None or self.offsets is None or now.shape[-2:] != self.seen.shape:
                return now
            usual = before.index_select(-2, rows.to(now.device)).index_select(-1, columns.to(now.device))
            return torch.where(self.seen | (self.offsets >= 0), now, usual)

        biases = {n: read(x, self.seen, self.offsets, rows, columns) for n, x in self.biases.items()}
        return self._run({**biases, **swapped}, dealt=kept)

    def in_order(self, own: list[credit.Place], order: Tensor) -> Tensor:
        """(heads, Tq, Tk): the scores with each of the places `own` of the input having the position of place `order[i]` of them."""
        to = torch.arange(self.hidden.shape[-2])  # of each token, where its position stands
        for i, cell in enumerate(own):
            to[self.index[cell]] = self.index[own[int(order[i])]]
        S = self.dealt(torch.argsort(to), True, True)
        rest = torch.arange(len(to), S.shape[-1])
        return S.index_select(-2, to.to(S.device)).index_select(-1, torch.cat([to, rest]).to(S.device))


def differ(x: Tensor, y: Tensor) -> Tensor:
    """Which entries of the last two axes are others, beyond rounding, anywhere along the axes before them."""
    return ((x - y).abs() > 1e-6 * y.abs().amax().clamp(min=1e-30)).reshape(-1, *x.shape[-2:]).any(0)


def index_of(sides: list[Side], shape: tuple[int, ...], where: str) -> dict[credit.Place, int]:
    """Where each place stands in scores of that shape (Tq, Tk). Raises ModelError unless its row and its column have one number."""
    found: dict[credit.Place, int] = {}
    for one in sides:
        end = shape[int(one.keys)]
        for i, cell in enumerate(one.cells, one.shift):
            if found.setdefault(cell, i) != i or not 0 <= i < end:
                raise ModelError(
                    f"`{where}` computes its scores for some queries at a time, where places cannot be exchanged. Compute them for all at "
                    "once, or type explain(model, ..., composite=pelrp_nb.DELTA_LRP), which says what positions changed."
                )
    return found


def fits(x: Tensor, hidden: Tensor) -> bool:
    """Whether a factor may be one of pairs (heads, Tq, Tk)."""
    return all(n in (1, m) for n, m in zip(reversed(x.shape), reversed(hidden.shape), strict=False)) and x.numel() <= hidden.numel()


def unmasked(chain: Chain) -> Any:
    """Each call of a chain but for what only hides: fillers, and the largest of a row taken away from it."""
    largest = {n: step.args[0].number for step in chain.steps if step.name in ("max", "amax") and isinstance(step.args[0], Slot)
               for n in step.outs.values()}  # fmt: skip

    def call(step: Step, args: tuple, kwargs: dict) -> Any:
        if step.name in ("masked_fill", "masked_fill_", "__imasked_fill__"):
            value = float(args[2] if len(args) > 2 else kwargs["value"])
            return args[0] if value <= HIDES else again(step, args, kwargs)
        if step.name == "where":
            given = [x for x in (*args, *kwargs.values()) if not (isinstance(x, Tensor) and x.dtype == torch.bool)]
            rest = [x for x in given if isinstance(x, Tensor) and x.dim() > 0]
            fillers = [x for x in given if not (isinstance(x, Tensor) and x.dim() > 0)]
            if len(rest) == 1 and all(float(x) <= HIDES for x in fillers):
                return rest[0]
        if step.name in SUBTRACTING and isinstance(step.args[1], Slot) and step.args[1].number in largest:
            return args[0]
        if step.name == kernels.SCORES:
            kwargs = {**kwargs, "masks": False}
        return again(step, args, kwargs)

    return call
