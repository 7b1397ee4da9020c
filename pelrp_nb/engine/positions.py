"""Where positions enter a model, found by structure: the only file that follows transformers.

A position is told by its past: token ids are the ids the user passed; position numbers come from `arange`, `cumsum`, a buffer that
counts; a rotation is the `cos` or `sin` of something; a table is looked up by position numbers, or is a parameter as long as the
sequence.  A sink is made at the place where such a constant meets a carrier: a leaf of its own in each layer, expanded to the rows
of the batch, sharing memory with the model's tensor and never handed back to the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..verbs import scale
from .account import better, dot
from .notes import Note, note_of, write
from .trace import Sink

if TYPE_CHECKING:
    from .propagation import Flow

TURNS = ("cos", "sin", "rotary")


@dataclass(eq=False)
class Leaf:
    """One tensor of positions at one place, with a gradient of its own.

    part: "cos", "sin", "rotary" (a complex turn) or "sum"; role: "query", "key" or None until known
    """

    tensor: Tensor
    name: str
    kind: str
    part: str
    layer: int | None
    depth: float
    role: str | None = None


@dataclass
class Inputs:
    """Leaves at which relevance ends, in call order.

    tokens: look-ups by input ids, or pixels; sinks: positions; constants: joined pieces by name
    """

    tokens: list[Tensor] = field(default_factory=list)
    pixels: list[Tensor] = field(default_factory=list)
    sinks: list[Leaf] = field(default_factory=list)
    constants: list[tuple[str, float, Tensor]] = field(default_factory=list)


# --- what the user passed --------------------------------------------------------------------------------------------


def known_tensors(model: nn.Module) -> dict[int, Note]:
    """A note for each parameter and buffer, by identity: nothing is written on the model."""
    known: dict[int, Note] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        known.setdefault(id(parameter), Note(source=name))
    for name, buffer in model.named_buffers(remove_duplicate=False):
        known.setdefault(id(buffer), Note(source=name, kind="index" if counts(buffer) else None))
    return known


def counts(x: Tensor) -> bool:
    """Whether integers go up one by one along the last axis."""
    if x.dtype not in (torch.int64, torch.int32) or x.dim() == 0 or x.shape[-1] < 2 or x.is_meta:
        return False
    return bool((x[..., 1:] - x[..., :-1] == 1).all())


def take_input(flow: Flow, name: str, value: Any, main: str) -> Any:
    """A model input as the engine sees it: ids are marked, pixels and vectors become leaves; the user's tensor stays clean."""
    if not isinstance(value, Tensor):
        return value
    if value.is_floating_point() and (name == main or name in ("pixel_values", "inputs_embeds", "input_features")):
        flow.account.rows = value.shape[0]
        leaf = flow.leaf(value)
        (flow.inputs.pixels if leaf.dim() == 4 else flow.inputs.tokens).append(leaf)
        return write(leaf.clone(), Note(kind="pixels"))
    if value.is_floating_point() or value.dtype == torch.bool:
        return value
    if name == main or name.endswith("input_ids"):
        flow.account.rows = value.shape[0]
        return write(value.view(value.shape), Note(kind="ids"))
    if name == "position_ids":
        return write(value.view(value.shape), Note(kind="index"))
    return value


# --- what becomes of constants ---------------------------------------------------------------------------------------


def inherit(flow: Flow, name: str, notes: list[Note], args: tuple, out: Any) -> None:
    """The note of a constant made from constants: whose it is, and whether it still says where something stands."""
    if not isinstance(out, Tensor):
        if isinstance(out, tuple | list):
            for piece in out:
                inherit(flow, name, notes, args, piece)
        return
    if id(out) in flow.known:                                    # the model's own tensor stays clean
        return
    first = note_of(flow, args[0]) if args and isinstance(args[0], Tensor) else None
    if name == "embedding":
        weight = note_of(flow, args[1]) if len(args) > 1 and isinstance(args[1], Tensor) else None
        by_position = first is not None and first.kind == "index"
        write(out, Note(source=weight.source if weight else None, kind="table" if by_position else "looked up"))
        return
    if first is not None and first.made and name in ("to", "float", "type_as", "dropout", "contiguous", "half", "bfloat16"):
        write(out, first)
        return
    if name.endswith("_like") or name.startswith("new_"):        # the shape of another tensor, not its past
        return
    if name in LOOKED_UP and not out.is_floating_point():        # numbers looked up by position are not positions
        notes = [first] if first is not None else []
    kinds = {n.kind for n in notes}
    source = next((n.source for n in notes if n.source), None)
    kind = None
    if name in ("cos", "sin", "polar"):
        kind = "rotary" if name == "polar" else name
    elif out.dtype == torch.bool:
        kind = None
    elif name in ("arange", "cumsum", "linspace"):
        kind = "index"
    elif not out.is_floating_point() and not out.is_complex():
        kind = "ids" if "ids" in kinds and name not in COMPARISONS else "index" if "index" in kinds else None
    else:
        turns = kinds & set(TURNS)
        kind = ("rotary" if len(turns) > 1 or out.is_complex() else turns.pop()) if turns else None
        kind = kind or next((k for k in ("table", "looked up", "index") if k in kinds), None)
    if kind or source:
        write(out, Note(source=source, kind=kind))


LOOKED_UP = {"gather", "index_select", "take", "take_along_dim", "__getitem__"}
COMPARISONS = {"eq", "ne", "lt", "gt", "le", "ge", "__eq__", "__ne__", "argmax", "argmin", "nonzero", "sum", "long", "int"}


# --- where positions meet carriers -----------------------------------------------------------------------------------


def enters_by_product(flow: Flow, constant: Any, carrier: Tensor) -> Leaf | None:
    """A rotation: cos or sin of positions times a carrier."""
    if not isinstance(constant, Tensor) or flow.composite.positions != "sink":
        return None
    note = note_of(flow, constant)
    if note is None or note.kind not in TURNS or constant.dim() < 2:
        return None
    heads = carrier.dim() == 4 and bool({"heads", "frequencies", "query_key"} & flow.options.detail)
    name = f"{flow.where_am_i()} rotary"
    return _leaf(flow, constant, carrier, name, "rotary", note.kind, per_head=heads)


def enters_by_sum(flow: Flow, constant: Any, carrier: Tensor, scores: bool = False) -> Leaf | None:
    """An added table of positions: looked up by position numbers, or a parameter as long as the sequence."""
    if not isinstance(constant, Tensor) or flow.composite.positions != "sink" or not constant.is_floating_point():
        return None
    note = note_of(flow, constant)
    if note is None or scores:
        return None
    looked_up = note.kind == "table"
    computed = note.kind in TURNS and constant.dim() > 1 and constant.shape[-1] == carrier.shape[-1]
    stored = note.source is not None and note.kind is None and as_long_as(constant, carrier)
    if not (looked_up or computed or stored):
        return None
    kind = "absolute" if sinusoidal(constant) else "learnable"
    return _leaf(flow, constant, carrier, note.source or f"{flow.place} {kind}", kind, "sum")


def as_long_as(constant: Tensor, carrier: Tensor) -> bool:
    """Whether a parameter has one vector per token of the carrier (B, T, D)."""
    return carrier.dim() == 3 and 2 <= constant.dim() <= 3 and constant.shape[-2:] == carrier.shape[-2:] and carrier.shape[-2] > 1


def sinusoidal(table: Tensor) -> bool:
    """Whether each row is made of sine and cosine pairs: its squares sum to half its length."""
    squares = table.detach().double().square().sum(-1)
    return bool(((squares - table.shape[-1] / 2).abs() < 0.02 * table.shape[-1] / 2).all())


def _leaf(
    flow: Flow, constant: Tensor, carrier: Tensor, name: str, kind: str, part: str, per_head: bool = False
) -> Leaf:
    shape = [1] * (carrier.dim() - constant.dim()) + list(constant.shape)
    shape[0] = carrier.shape[0]
    if per_head:
        shape[1:3] = carrier.shape[1:3]
    leaf = Leaf(flow.leaf(constant.expand(shape)), name, kind, part, flow.layer, flow.depth)
    flow.inputs.sinks.append(leaf)
    return leaf


def joined(flow: Flow, constant: Tensor) -> Tensor:
    """A constant piece of a sequence (CLS, registers): a leaf, so that its share is known."""
    leaf = flow.leaf(constant)
    flow.inputs.constants.append((flow.name_of(constant, "joined"), flow.depth, leaf))
    return leaf


def sinks_of(flow: Flow, x: Any) -> tuple[Leaf, ...]:
    """The rotary leaves that entered x."""
    note = note_of(flow, x) if isinstance(x, Tensor) else None
    return note.sinks if note is not None else ()


def take_roles(flow: Flow, operands: list[Tensor]) -> None:
    """The first operand of a product of two rotated tensors is the query, the second the key."""
    if len(operands) == 2 and all(sinks_of(flow, x) for x in operands):
        for x, role in zip(operands, ("query", "key"), strict=True):
            for leaf in sinks_of(flow, x):
                leaf.role = leaf.role or role


def boxed(flow: Flow, rule: Any, x: Tensor, weight: Tensor, bias: Tensor | None, apply: Any, name: str) -> Tensor:
    """The z-box rule: the pixel bounds are further inputs of the patch convolution; their share is the pixels'."""
    low, high = (flow.leaf(torch.full_like(x.detach(), float(bound))) for bound in (x.detach().min(), x.detach().max()))
    flow.inputs.pixels += [low, high]
    fresh = scale(x, 1)
    out = rule.forward(fresh, low, high, weight=weight, bias=bias, apply=apply)
    bounds = (scale(low, 1), scale(high, 1))
    out = rule.forward(fresh, *bounds, weight=weight, bias=bias, apply=apply)
    flow.account.kept("constants" if bias is not None else "stabilisers", name, flow.depth, out, (fresh, *bounds))
    return out


# --- what the sinks received -----------------------------------------------------------------------------------------


def by_token(R: Tensor, T: int) -> Tensor:
    """(B, ..., T, ..., features) summed to (B, T, features): heads and other axes go."""
    axis = next((i for i in range(R.dim() - 2, 0, -1) if R.shape[i] == T), None)
    if axis is None:
        return R.reshape(R.shape[0], -1, R.shape[-1]).sum(1, keepdim=True)
    others = [i for i in range(1, R.dim() - 1) if i != axis]
    return R.sum(others) if others else R


def summarise(leaves: list[Leaf], gradients: dict[int, Tensor], rows: int, T: int) -> tuple[tuple[Sink, ...], dict[str, Tensor]]:
    """The sinks in call order, and their relevance (B, sinks, T) in every reduction."""
    groups: dict[tuple[str, int | None], list[Leaf]] = {}
    for leaf in leaves:
        groups.setdefault((leaf.name, leaf.layer), []).append(leaf)
    sinks: list[Sink] = []
    columns: dict[str, list[Tensor]] = {k: [] for k in ("signed", "absolute", "positive", "squared")}
    for (name, layer), members in groups.items():
        sinks.append(Sink(name, members[0].kind, layer))
        parts: dict[str, Tensor] = {}
        for leaf in members:
            g = gradients.get(id(leaf.tensor))
            R = torch.zeros_like(better(leaf.tensor.detach().real)) if g is None else dot(leaf.tensor.detach(), g)
            R = by_token(R, T)
            R = R if R.shape[0] == rows else R.expand(rows, -1, -1) / rows
            parts[leaf.part] = parts[leaf.part] + R if leaf.part in parts else R
        each = list(parts.values())
        columns["signed"].append(sum(R.sum(-1) for R in each))
        columns["absolute"].append(sum(R.sum(-1).abs() for R in each))
        columns["positive"].append(sum(R.clamp(min=0).sum(-1) for R in each))
        columns["squared"].append(sum(R.square().sum(-1) for R in each))
    empty = torch.zeros(rows, 0, T)
    stacked = {k: torch.stack(v, 1) if v else empty for k, v in columns.items()}
    stacked["l2"] = stacked.pop("squared").sqrt()
    return tuple(sinks), stacked


def detail(leaves: list[Leaf], gradients: dict[int, Tensor]) -> dict[str, Tensor]:
    """Behind the sums: "SINK query cos" (B, heads, T, features) and so on, for each rotary leaf."""
    found: dict[str, Tensor] = {}
    for leaf in leaves:
        if id(leaf.tensor) in gradients:
            R = dot(leaf.tensor.detach(), gradients[id(leaf.tensor)])
            found[" ".join(w for w in (leaf.name, leaf.role, leaf.part) if w)] = R
    return found
