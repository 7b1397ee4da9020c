"""Where positions meet what carries relevance: in a sum, a product, in attention scores, picked by distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ...rules import PositionKind
from ...verbs import scale
from ..context import Context
from ..leaves import Leaf
from ..provenance import Note, note_of, pick, write
from . import sinks
from .structure import TURNS, is_mask, is_matrix, part_of, sinusoidal


def enters_by_product(flow: Context, constant: Any, carrier: Tensor) -> Leaf | None:
    """A rotation: cos or sin of positions times a carrier."""
    if not isinstance(constant, Tensor) or flow.composite.positions != "sink":
        return None
    note = note_of(flow, constant)
    if note is None or constant.dim() < 2:
        return None
    looked_up = note.kind == "table" and constant.shape[-1] > 1
    if not (note.kind in TURNS or looked_up):
        return None
    heads = carrier.dim() == 4 and "heads" in flow.options.detail
    name = f"{flow.where_am_i()} {PositionKind.ROTARY}"
    part = part_of(constant) if looked_up else note.kind
    return _leaf(flow, constant, carrier, name, PositionKind.ROTARY, part, per_head=heads)


def enters_by_sum(flow: Context, constant: Any, carrier: Tensor) -> Tensor | None:
    """What is added as a position: a table looked up by position numbers, or a parameter as long as the sequence; or a bias."""
    if not isinstance(constant, Tensor) or flow.composite.positions != "sink" or not constant.is_floating_point():
        return None
    if (known := note_of(flow, carrier)) is not None and known.scores:
        return enters_scores(flow, constant, carrier.shape)
    note = note_of(flow, constant)
    if note is None:
        return None
    looked_up = note.kind == "table"
    computed = note.kind in TURNS and constant.dim() > 1 and constant.shape[-1] == carrier.shape[-1]
    stored = note.source is not None and note.kind in (None, "rows") and as_long_as(flow, constant, carrier)
    if not (looked_up or computed or stored):
        return None
    kind = PositionKind.ABSOLUTE if sinusoidal(constant) else PositionKind.LEARNABLE
    return _leaf(flow, constant, carrier, note.source or f"{flow.place} {kind}", kind, "sum").tensor


def enters_scores(flow: Context, constant: Tensor, shape: Sequence[int]) -> Tensor | None:
    """A relative bias or ALiBi, added to attention scores of that shape; None for masks and what has no position in it."""
    if flow.composite.positions != "sink" or is_mask(constant):
        return None
    note = note_of(flow, constant) or Note()
    told = note.kind in ("index", "table", "rows", *TURNS) or note.source
    if not (told or is_matrix(constant)):
        return None
    kind = PositionKind.ALIBI if note.kind == "index" else PositionKind.RELATIVE_BIAS
    return sinks.bias_sink(flow, constant.expand(shape), f"{flow.where_am_i()} {kind}", kind)


def relative_embeddings(flow: Context, constant: Tensor) -> bool:
    """Whether a factor of queries or keys is made of relative positions: a table looked up by distance, or never by ids."""
    note = note_of(flow, constant)
    if note is None or flow.composite.positions != "sink" or constant.dim() < 2 or not constant.is_floating_point():
        return False
    return note.kind in ("table", *TURNS) or (note.kind == "rows" and note.source not in flow.vocabularies)


def as_long_as(flow: Context, constant: Tensor, carrier: Tensor) -> bool:
    """Whether a parameter has one vector per token of the carrier (B, T, D), or per place in its windows (B, windows, places, D)."""
    if not (2 <= constant.dim() <= 3 and constant.shape[-2:] == carrier.shape[-2:] and carrier.shape[-2] > 1):
        return False
    if carrier.dim() == 4 and flow.inputs.tokens:           # heads (B, T, H, D) are more than there are tokens
        B, T = flow.inputs.tokens[-1].shape[:2]
        return constant.dim() == 2 and carrier.shape[0] == B and carrier.shape[1] * carrier.shape[2] <= T
    return carrier.dim() == 3


def _leaf(
    flow: Context, constant: Tensor, carrier: Tensor, name: str, kind: PositionKind, part: str, per_head: bool = False
) -> Leaf:
    shape = [1] * (carrier.dim() - constant.dim()) + list(constant.shape)
    shape[0] = carrier.shape[0]
    if per_head:
        shape[1:3] = carrier.shape[1:3]
    return sinks.sink(flow, flow.leaf(constant.expand(shape)), name, kind, part)


def met_in_product(flow: Context, out: Tensor) -> Tensor:
    """Queries or keys met relative embeddings: the product is a sink's, and will be picked out by distance."""
    leaf = sinks.product_sink(flow, out, f"{flow.where_am_i()} {PositionKind.RELATIVE_EMBEDDING}")
    return write(out, Note(scores=True, pairs=leaf))


def by_distance(flow: Context, func: Any, args: tuple, kwargs: dict, out: Tensor) -> Tensor:
    """Scores of relative embeddings picked out by distance, or turned over after that, belong to pairs of tokens.

    Scores of a bank of profiles (a parameter that is no table) are only known for what they are when they are picked.
    """
    note, name = note_of(flow, out), getattr(func, "__name__", "")
    known = note is not None and note.pairs is not None
    if name in ("gather", "take_along_dim"):
        if known and not note.pairs.gathered:
            sinks.picked(flow, note.pairs, out)
        elif not known and picks_pairs(flow, args, kwargs, out):
            kind = PositionKind.RELATIVE_EMBEDDING
            leaf = sinks.sink(flow, out, f"{flow.where_am_i()} {kind}", kind, "score")
            out = write(scale(out, 1 / 2), Note(scores=True, pairs=leaf))
            sinks.picked(flow, leaf, out)
    last = {out.dim() - 1, out.dim() - 2}
    if known and name == "transpose" and note.pairs.gathered and {a % out.dim() for a in args[1:3]} == last:
        note.pairs.turned = not note.pairs.turned
    return out


def picks_pairs(flow: Context, args: tuple, kwargs: dict, out: Tensor) -> bool:
    """Whether entries of the last axis are picked by position numbers, one for each pair of tokens."""
    index = note_of(flow, pick(args, kwargs, 2, "index"))
    dim = pick(args, kwargs, 1, "dim")
    square = out.dim() >= 3 and out.shape[-1] == out.shape[-2] > 1
    by_position = index is not None and index.kind == "index"
    return flow.composite.positions == "sink" and by_position and square and dim in (-1, out.dim() - 1)


def joined(flow: Context, constant: Tensor) -> Tensor:
    """A constant piece of a sequence (CLS, registers): a leaf, so that its share is known."""
    leaf = flow.leaf(constant)
    flow.inputs.constants.append((flow.name_of(constant, "joined"), flow.depth, leaf))
    return leaf


def sinks_of(flow: Context, x: Any) -> tuple[Leaf, ...]:
    """The rotary leaves that entered x."""
    note = note_of(flow, x) if isinstance(x, Tensor) else None
    return note.sinks if note is not None else ()


def take_roles(flow: Context, operands: list[Tensor], roles: tuple[str, ...] = ("query", "key")) -> None:
    """The first operand of a product of two rotated tensors is the query, the second the key; behind a softmax stand values."""
    if all(sinks_of(flow, x) for x in operands):
        for x, role in zip(operands, roles, strict=True):
            for leaf in sinks_of(flow, x):
                leaf.role = leaf.role or role


