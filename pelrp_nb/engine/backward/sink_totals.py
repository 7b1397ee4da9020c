"""What the sinks received: summed to tokens in every reduction, and what lies behind the sums."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...rules import PositionKind
from ..leaves import SUMS, Columns, Leaf, columns_of
from ..numerics import better
from ..places import credit
from ..trace import Sink
from .received import Received, chunks, relevance


def summarise(all_of: list[Received], rows: int, order: Sequence[credit.Place]) -> tuple[tuple[Sink, ...], Columns]:
    """The sinks in call order, and their relevance (B, sinks, T) in every reduction."""
    groups: dict[tuple[str, int | None], list[Received]] = {}
    for one in all_of:
        groups.setdefault((one.leaf.name, one.leaf.layer), []).append(one)
    sinks = tuple(Sink(name, members[0].leaf.kind, layer) for (name, layer), members in groups.items())
    columns = dict.fromkeys(SUMS, torch.zeros(len(groups), rows, len(order)))
    for numbers, found in _reduced([_parts(members, order) for members in groups.values()]):
        columns = {key: _summed(columns[key], numbers, column) for key, column in found.items()}
    for number, one in ((number, one) for number, members in enumerate(groups.values()) for one in members):
        if one.found is None and one.columns:  # what a tap heard, at the stream's places
            placed = {key: credit.aligned(column[..., None], one.places, order)[..., 0] for key, column in one.columns.items()}
            columns = {key: _summed(columns[key], [number], column[None]) for key, column in placed.items()}
    stacked = {key: column.transpose(0, 1).contiguous() for key, column in columns.items()}
    stacked["l2"] = stacked.pop("squared").sqrt()
    return sinks, stacked


def _parts(members: list[Received], order: Sequence[credit.Place]) -> list[Tensor]:
    """What one sink received, its equal parts (cos of queries, cos of keys) added up."""
    parts: dict[tuple, Tensor] = {}
    for one in members:
        for part, R in one.parts().items() if one.found is not None else ():
            R = credit.aligned(R, one.places, order)
            key = (part, R.shape[-1])
            parts[key] = parts[key] + R if key in parts else R
    return list(parts.values())


def _reduced(parts: list[list[Tensor]]) -> Iterator[tuple[list[int], Columns]]:
    """(numbers of sinks, what each of these received in every reduction): parts of one shape together."""
    alike: dict[tuple, list[tuple[int, Tensor]]] = {}
    for number, each in enumerate(parts):
        for R in each:
            alike.setdefault((R.shape, R.dtype, R.device), []).append((number, R))
    for members in alike.values():
        for some in chunks(members, members[0][1].numel()):
            yield [number for number, _ in some], columns_of(torch.stack([R for _, R in some]))


def _summed(total: Tensor, numbers: list[int], column: Tensor) -> Tensor:
    """(sinks, B, T) with what some of them received added; layers may lie on several devices."""
    dtype = torch.promote_types(total.dtype, column.dtype)
    return total.to(dtype).index_add(0, torch.tensor(numbers), column.cpu().to(dtype))


# --- behind the sums -------------------------------------------------------------------------------------------------


def detail(all_of: list[Received], gradients: dict[int, Tensor], wanted: frozenset[str], order: Sequence[credit.Place]) -> dict[str, Any]:
    """What was asked for and nothing else, each by the sink's name, rows of the batch first: see `Options.detail`."""
    found: dict[str, Any] = {name: {} for name in sorted(wanted)}
    turns: dict[str, list[Received]] = {}
    for one in all_of:
        leaf = one.leaf
        if leaf.tensor is None or leaf.silent:
            for name in wanted & set(leaf.detail):
                _add(found[name].setdefault(leaf.name, {}), leaf.detail[name])
        elif id(leaf.tensor) in gradients and leaf.kind == PositionKind.ROTARY:
            turns.setdefault(leaf.name, []).append(one)
    for sink, members in turns.items():
        if "heads" in wanted:
            by = {one: heads_first(one.leaf, relevance(one.leaf, gradients)).sum(-1) for one in members}
            found["heads"][sink] = {role: R.cpu() for role, R in _roles(by).items()}
        if "coordinates" in wanted:
            leaves = {" ".join(filter(None, (one.leaf.role, one.leaf.part))): one.leaf for one in members}
            found["coordinates"][sink] = {name: heads_first(leaf, relevance(leaf, gradients)).cpu() for name, leaf in leaves.items()}
        by = {one: credit.aligned(one.found, one.places, order) for one in members}
        if "query_key" in wanted:
            found["query_key"][sink] = {role: R.sum(-1).cpu() for role, R in _roles(by).items()}
        if "frequencies" in wanted:
            found["frequencies"][sink] = _spectrum(by)
    return found


NONE = {
    "heads": "no attention was met, and no position enters at heads",
    "query_key": "no position turns queries and keys, as rotary ones do",
    "frequencies": "no position turns queries and keys, as rotary ones do",
    "coordinates": "no position turns queries and keys, as rotary ones do",
    "pairs": "no position enters at pairs of tokens, as biases of attention scores (ALiBi, T5) and relative embeddings do; what each head "
    'handed from token to token is the detail "routes"',
}


def lacking(details: Sequence[Mapping[str, Any]], wanted: frozenset[str]) -> tuple[str, ...]:
    """What was asked for and is found in no stream, with the reason."""
    empty = [name for name in sorted(wanted) if not any(found.get(name) or (name == "heads" and found["attention"]) for found in details)]
    return tuple(f'the detail "{name}" is empty: {NONE[name]}' for name in empty)


def heads_first(leaf: Leaf, R: Tensor) -> Tensor:
    """(B, H, T, d), whichever axis the model has first."""
    if R.dim() != 4:
        return R
    places = [a for m in leaf.layout(4).maps if m is not None for a in m.axes if a in (1, 2)]
    return R.transpose(1, 2) if places == [1] else R


def _add(all_of: dict, one: dict) -> None:
    """Two products of one sink (queries by distance, keys by distance) are one detail."""
    for key, value in one.items():
        all_of[key] = all_of[key] + value if key in all_of and isinstance(value, Tensor) else value


def _roles(by: dict[Received, Tensor]) -> dict[str, Tensor]:
    """cos and sin together, by what they turn: queries, keys, values."""
    roles: dict[str, Tensor] = {}
    for one, R in by.items():
        role = one.leaf.role or "value"
        roles[role] = roles[role] + R if role in roles else R
    return roles


def _spectrum(by: dict[Received, Tensor]) -> dict[str, Tensor]:
    """Relevance per rotary frequency, (B, T, F), and each frequency's wavelength in tokens, (F,)."""
    members = [one.leaf for one in by]
    cos = next((leaf for leaf in members if leaf.part in ("cos", "rotary")), members[0])
    sin = next((leaf for leaf in members if leaf.part == "sin"), None)
    table = cos.tensor.detach()
    fold = _folding(table)
    sine = torch.zeros_like(table) if sin is None else sin.tensor.detach()
    angle = torch.angle(table) if table.is_complex() else torch.atan2(sine, table)
    axes = cos.layout(table.dim()).axes
    axis = next((a for a in axes if a != 0 or table.dim() == 2), table.dim() - 2)
    angle = angle.movedim(axis, -2).reshape(-1, angle.shape[axis], angle.shape[-1])[0]
    return {"relevance": fold(sum(by.values())).cpu(), "wavelength": wavelengths(fold(angle, first=True)).cpu()}


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
