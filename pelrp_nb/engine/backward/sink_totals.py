"""What the sinks received: summed to tokens in every reduction, and what lies behind the sums."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from ...rules import PositionKind
from ..leaves import SUMS, Columns, Leaf, by_row, columns_of
from ..numerics import better, dot
from ..trace import Sink


def by_token(R: Tensor, T: int) -> Tensor:
    """(B, ..., T, ..., features) summed to (B, T, features): heads and other axes go."""
    axis = next((i for i in range(R.dim() - 2, 0, -1) if R.shape[i] == T), None)
    if axis is None:
        return R.reshape(R.shape[0], -1, R.shape[-1]).sum(1, keepdim=True)
    others = [i for i in range(1, R.dim() - 1) if i != axis]
    return R.sum(others) if others else R


def spread(column: Tensor, T: int) -> Tensor:
    """(B, T); positions that are not the tokens' own (of a window, of a coarser grid) are spread evenly over all tokens."""
    return column if column.shape[1] == T else (column.sum(1, keepdim=True) / max(T, 1)).expand(-1, T)


def relevance(leaf: Leaf, gradients: dict[int, Tensor]) -> Tensor:
    """x * g of a leaf, in its own shape."""
    x, g = leaf.tensor.detach(), gradients.get(id(leaf.tensor))
    return torch.zeros_like(better(x.real)) if g is None else dot(x, g)


def amounts(leaf: Leaf, gradients: dict[int, Tensor]) -> Tensor:
    """All that a sink's leaf received, not summed; rows of the batch first."""
    if leaf.tensor is None:
        return leaf.columns.get("signed", torch.zeros(1))
    return relevance(leaf, gradients) if id(leaf.tensor) in gradients else torch.zeros(1)


def summarise(leaves: list[Leaf], gradients: dict[int, Tensor], rows: int, T: int) -> tuple[tuple[Sink, ...], Columns]:
    """The sinks in call order, and their relevance (B, sinks, T) in every reduction."""
    groups: dict[tuple[str, int | None], list[Leaf]] = {}
    for leaf in leaves:
        groups.setdefault((leaf.name, leaf.layer), []).append(leaf)
    sinks: list[Sink] = []
    columns: dict[str, list[Tensor]] = {k: [] for k in SUMS}
    for (name, layer), members in groups.items():
        sinks.append(Sink(name, members[0].kind, layer))
        for key, column in _together(members, gradients, rows, T).items():
            columns[key].append(column.cpu())        # layers may lie on several devices
    empty = torch.zeros(rows, 0, T)
    stacked = {k: torch.stack(v, 1) if v else empty for k, v in columns.items()}
    stacked["l2"] = stacked.pop("squared").sqrt()
    return tuple(sinks), stacked


def _together(members: list[Leaf], gradients: dict[int, Tensor], rows: int, T: int) -> Columns:
    """One sink: equal parts (cos of queries, cos of keys) summed first, then reduced, then added up."""
    parts: dict[str, Tensor] = {}
    heard = [leaf.columns for leaf in members if leaf.columns]
    for leaf in members:
        if leaf.tensor is not None:
            R = by_token(by_row(relevance(leaf, gradients), rows), T)
            R = R if R.shape[1] == T else (R.sum(1, keepdim=True) / max(T, 1)).expand(-1, T, -1)
            parts[leaf.part] = parts[leaf.part] + R if leaf.part in parts else R
    each = [columns_of(R) for R in parts.values()] + heard
    each = [{key: spread(c[key], T) for key in SUMS} for c in each]
    return {key: reduce(torch.add, (c[key] for c in each)) for key in SUMS} if each else {key: torch.zeros(rows, T) for key in SUMS}


# --- behind the sums -------------------------------------------------------------------------------------------------


def detail(leaves: list[Leaf], gradients: dict[int, Tensor], wanted: frozenset[str], rows: int, T: int) -> dict[str, dict]:
    """What was asked for: "heads", "query_key", "frequencies", "pairs", each by the sink's name, rows of the batch first.

    Beside them, for rotary sinks, "SINK query cos" (B, heads, T, coordinates) and so on, as the leaves received it.
    """
    found: dict[str, Any] = {name: {} for name in sorted(wanted)}
    turns: dict[str, list[tuple[Leaf, Tensor]]] = {}
    for leaf in leaves:
        if leaf.tensor is None:
            for name in wanted & set(leaf.detail):
                _add(found[name].setdefault(leaf.name, {}), leaf.detail[name])
        elif id(leaf.tensor) in gradients and leaf.kind == PositionKind.ROTARY:
            R = by_row(relevance(leaf, gradients), rows)
            turns.setdefault(leaf.name, []).append((leaf, R))
            found[" ".join(w for w in (leaf.name, leaf.role, leaf.part) if w)] = R.cpu()
    for sink, members in turns.items():
        if "heads" in wanted:
            found["heads"][sink] = {role: heads_first(R.sum(-1), T).cpu() for role, R in _roles(members).items()}
        if "query_key" in wanted:
            found["query_key"][sink] = {role: by_token(R, T).sum(-1).cpu() for role, R in _roles(members).items()}
        if "frequencies" in wanted:
            found["frequencies"][sink] = _spectrum(members, T)
    return found


def heads_first(R: Tensor, T: int) -> Tensor:
    """(B, H, T), whichever axis the model has first."""
    return R.transpose(1, 2) if R.dim() == 3 and R.shape[1] == T and R.shape[2] != T else R


def _add(all_of: dict, one: dict) -> None:
    """Two products of one sink (queries by distance, keys by distance) are one detail."""
    for key, value in one.items():
        all_of[key] = all_of[key] + value if key in all_of and isinstance(value, Tensor) else value


def _roles(members: list[tuple[Leaf, Tensor]]) -> dict[str, Tensor]:
    """cos and sin together, by what they turn: queries, keys, values."""
    roles: dict[str, Tensor] = {}
    for leaf, R in members:
        role = leaf.role or "value"
        roles[role] = roles[role] + R if role in roles else R
    return roles


def _spectrum(members: list[tuple[Leaf, Tensor]], T: int) -> dict[str, Tensor]:
    """Relevance per rotary frequency, (B, T, F), and each frequency's wavelength in tokens, (F,)."""
    cos = next((leaf.tensor for leaf, _ in members if leaf.part in ("cos", "rotary")), members[0][0].tensor)
    sin = next((leaf.tensor for leaf, _ in members if leaf.part == "sin"), None)
    fold = _folding(cos.detach())
    total = sum(by_token(R, T) for _, R in members)
    angle = torch.angle(cos.detach()) if cos.is_complex() else torch.atan2(
        (torch.zeros_like(cos) if sin is None else sin).detach(), cos.detach())
    axis = next((i for i in range(angle.dim() - 2, -1, -1) if angle.shape[i] == T), angle.dim() - 2)
    angle = angle.movedim(axis, -2).reshape(-1, angle.shape[axis], angle.shape[-1])[0]
    return {"relevance": fold(total).cpu(), "wavelength": wavelengths(fold(angle, first=True)).cpu()}


def _folding(x: Tensor):
    """How the coordinates of a rotation pair up: halves, neighbours, or one column for each frequency."""
    d = x.shape[-1]

    def fold(R: Tensor, first: bool = False) -> Tensor:
        if d % 2 == 0 and not x.is_complex():
            if bool((x[..., : d // 2] == x[..., d // 2 :]).all()):
                return R[..., : d // 2] if first else R[..., : d // 2] + R[..., d // 2 :]
            if bool((x[..., ::2] == x[..., 1::2]).all()):
                return R[..., ::2] if first else R[..., ::2] + R[..., 1::2]
        return R

    return fold


def wavelengths(angle: Tensor) -> Tensor:
    """Tokens per full turn of each frequency, from angles (T, F); inf where it does not turn, nan for a single token."""
    angle = better(angle)
    if angle.shape[0] < 2:
        return torch.full(angle.shape[1:], math.nan)
    step = (angle[1:] - angle[:-1] + math.pi).remainder(2 * math.pi).sub(math.pi).abs()
    step = torch.where(step > 1e-7, step, torch.nan)
    return torch.where(step.isnan().all(0), math.inf, 2 * math.pi / step.nanmedian(0).values)
