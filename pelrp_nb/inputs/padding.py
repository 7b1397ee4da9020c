"""Rows of unequal length in one padded batch, so that each is as if it were alone; and their outputs apart again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.streams import streams_of
from ..engine.trace import Visible
from .arguments import call, takes
from .model_input import SEQUENCES, Encoded
from .outputs import equal, of_row
from .remembered import remembered
from .text import pad_ids, table_of, tokenizer_of

IGNORED = -100  # how labels say that a place does not count


@dataclass(frozen=True)
class Padding:
    """How rows are padded: on which side; `places`: position_ids are passed, counted from each row's first token."""

    side: str
    places: bool
    fill: int


@dataclass(frozen=True)
class Batch:
    """Rows as one input of the model; `visible`: for each row, by stream, the places that are its own; `more`: what they share."""

    tensors: Mapping[str, Tensor]
    visible: tuple[Mapping[str, Visible], ...]
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> dict[str, Any]:
        """All that the model is called with."""
        return {**self.tensors, **self.more}


# --- lengths ---------------------------------------------------------------------------------------------------------


def lengths(row: Encoded) -> tuple[int, int]:
    """Places of the main input and of the decoder's."""
    decoder = row.tensors.get("decoder_input_ids")
    main = row.tensors[row.main]
    return main.shape[1] if row.main in SEQUENCES and main.dim() > 1 else main.shape[-1], 0 if decoder is None else decoder.shape[1]


def belongs(row: Encoded, name: str, x: Tensor) -> bool:
    """Whether a tensor has an axis of tokens, the second."""
    decoder, picture = name.startswith("decoder_"), name.startswith(("pixel", "image", "video"))
    if x.dim() < 2 or picture or (row.main not in SEQUENCES and not decoder):
        return False
    return x.shape[1] == lengths(row)[decoder]


# --- one batch -------------------------------------------------------------------------------------------------------


def fill_of(model: nn.Module, processor: Any) -> int:
    """An id to pad with: the model's own, since some models find the last token by it; a mask hides it anyway."""
    size = getattr(table_of(model), "num_embeddings", None)
    return next((i for i in pad_ids(model, processor) if i >= 0 and (size is None or i < size)), 0)


def padded(model: nn.Module, rows: Sequence[Encoded], padding: Padding) -> Batch:
    """The rows as one input. The decoder's ids are always padded at their end: what comes later is not seen there."""
    if len(rows) == 1:
        own = visible(rows[0], lengths(rows[0]), padding.side) if rows[0].own else {}
        return Batch(rows[0].tensors, (own,), rows[0].more)
    longest = [max(lengths(row)[i] for row in rows) for i in (0, 1)]
    shorter = any(lengths(row)[0] < longest[0] for row in rows if row.main in SEQUENCES)
    rows = [with_mask(row, shorter, padding) for row in rows]
    tensors = {}
    for name in rows[0].tensors:
        second = name.startswith("decoder_")
        fill = padding.fill if name.endswith("input_ids") else IGNORED if name == "labels" else 0
        side = "right" if second else padding.side
        pieces = ((row, row.tensors[name]) for row in rows)
        tensors[name] = torch.cat([end_padded(x, longest[second], fill, side) if belongs(row, name, x) else x for row, x in pieces])
    return Batch(tensors, tuple(visible(row, longest, padding.side) for row in rows), rows[0].more)


def with_mask(row: Encoded, shorter: bool, padding: Padding) -> Encoded:
    """The row with what padding needs: a mask, and places where they would shift."""
    more: dict[str, Tensor] = {}
    x = row.tensors[row.main]
    if shorter and row.main in SEQUENCES:
        if "attention_mask" not in row.tensors:
            more["attention_mask"] = torch.ones(x.shape[:2], dtype=torch.long, device=x.device)
        if padding.places and "position_ids" not in row.tensors:
            more["position_ids"] = torch.arange(x.shape[1], device=x.device)[None]
    return replace(row, tensors={**row.tensors, **more}) if more else row


def end_padded(x: Tensor, T: int, fill: int, side: str) -> Tensor:
    """x (1, t, ...) made (1, T, ...)."""
    missing = T - x.shape[1]
    if not missing:
        return x
    filler = x.new_full((1, missing, *x.shape[2:]), fill)
    return torch.cat([x, filler] if side == "right" else [filler, x], 1)


def visible(row: Encoded, longest: Sequence[int], side: str) -> dict[str, Visible]:
    """The places of a row, by stream."""
    own = lengths(row)
    found = {}
    if row.main in SEQUENCES:
        moved = longest[0] - own[0] if side == "left" else 0
        first, end = row.own.get("", (0, own[0]))
        found[streams_of(row.tensors)[row.main]] = Visible(longest[0], torch.arange(moved + first, moved + end))
    if own[1]:
        found["decoder"] = Visible(longest[1], torch.arange(*row.own.get("decoder_", (0, own[1]))))
    return found


# --- is padding harmless here ----------------------------------------------------------------------------------------


def harmless(model: nn.Module, rows: Sequence[Encoded], groups: Sequence[Sequence[int]], processor: Any) -> Padding | None:
    """A way to pad that leaves a row's outputs as they are alone, tried on the shortest row of the most uneven batch; None without.

    The tokenizer's side comes first, the right side second (a CLS token padded on its left is not the first any more).
    Convolutions and Fourier transforms over tokens, or positions counted from the padding, are found so.
    """
    tokenizer = tokenizer_of(processor)
    side = str(getattr(tokenizer, "padding_side", "right"))
    fill = fill_of(model, processor)
    ends = [sorted((rows[i] for i in group), key=lambda r: lengths(r)[0]) for group in groups]
    row, *_, longest = max(([g[0], g[-1]] for g in ends), key=lambda g: lengths(g[1])[0] - lengths(g[0])[0])
    if lengths(row)[0] == lengths(longest)[0] or row.main not in SEQUENCES:
        return Padding(side, False, fill)
    if not takes(model, "attention_mask"):
        return None
    counted = takes(model, "position_ids")
    ways = [Padding("left", True, fill)] if side == "left" and counted else []
    ways += [Padding(chosen, False, fill) for chosen in dict.fromkeys((side, "right"))]
    longer, known = filler(row, longest), remembered(model)
    trial = (tuple(ways), tuple(row.tensors), tuple(row.more), lengths(row), lengths(longer))
    if trial not in known:
        known[trial] = tried(model, row, longer, ways)
    return known[trial]


def tried(model: nn.Module, row: Encoded, longer: Encoded, ways: Sequence[Padding]) -> Padding | None:
    """The first way in which the outputs of a row beside a longer one are those that it has alone."""
    with torch.no_grad():
        single = padded(model, [row], ways[0])
        alone = of_row(call(model, single.arguments), 0, 1, single.visible[0])
        for way in ways:
            batch = padded(model, [row, longer], way)
            first = Batch({k: v[:1] for k, v in batch.tensors.items()}, batch.visible[:1], row.more)
            try:
                found = call(model, first.arguments)
            except (ValueError, RuntimeError, IndexError, NotImplementedError, TypeError):
                continue
            if equal(of_row(found, 0, 1, first.visible[0]), alone):
                return way
    return None


def filler(row: Encoded, longest: Encoded) -> Encoded:
    """A row some places longer, so that padding is tried: as many as its own, no more than the longest has."""
    T = min(2 * lengths(row)[0], lengths(longest)[0])
    main = [k for k, v in longest.tensors.items() if belongs(longest, k, v) and not k.startswith("decoder_")]
    return Encoded({k: v[:, :T] if k in main else v for k, v in longest.tensors.items()}, more=longest.more)
