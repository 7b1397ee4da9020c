"""Where positions enter a model, found by structure: the only file that follows transformers.

A position is told by its past: token ids are the ids the user passed; position numbers come from `arange`, `cumsum`, a buffer that
counts; a rotation is the `cos` or `sin` of something, or a pair of buffers on the unit circle; a table is looked up by position
numbers, or is a parameter as long as the sequence; a relative bias is made from a table or parameter and added to attention
scores; ALiBi is arithmetic on position numbers added there; relative embeddings are a table, in which no token is looked up, that
meets queries or keys in a product.  A sink is made at the place where such a constant meets a carrier (`sinks.py`): one of its own
in each layer, expanded to the rows of the batch, sharing memory with the model's tensor and never handed back to the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..verbs import scale
from . import sinks
from .account import better
from .notes import SAME, Note, note_of, pick, write
from .sinks import Leaf

if TYPE_CHECKING:
    from .propagation import Flow

TURNS = ("cos", "sin", "rotary")
MASKED = -1e4                                    # an added score below this hides its pair


# --- what the user passed --------------------------------------------------------------------------------------------


def known_tensors(model: nn.Module) -> dict[int, Note]:
    """A note for each parameter and buffer, by identity: nothing is written on the model."""
    known: dict[int, Note] = {}
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        known.setdefault(id(parameter), Note(source=name, kind="rows" if id(parameter) in tables else None))
    for path, module in model.named_modules():
        own = {n: b for n, b in module._buffers.items() if b is not None}
        circle = on_the_circle(list(own.values()))
        for name, buffer in own.items():
            kind = "index" if counts(buffer) else circle.get(id(buffer))
            known.setdefault(id(buffer), Note(source=f"{path}.{name}" if path else name, kind=kind))
    return known


def on_the_circle(buffers: list[Tensor]) -> dict[int, str]:
    """Which stored tables are rotations: two with a^2 + b^2 = 1 are "cos" and "sin", one of sine and cosine columns a "table"."""
    found: dict[int, str] = {}
    real = [b for b in buffers if b.is_floating_point() and b.dim() >= 2 and b.numel() and not b.is_meta and b.shape[-1] > 1]
    for a in real:
        for b in real:
            if a is not b and a.shape == b.shape and bool((better(a) ** 2 + better(b) ** 2 - 1).abs().max() < 1e-3):
                found[id(a)] = part_of(a)
        if id(a) not in found and a.shape[-2] > 1 and sinusoidal(a):
            found[id(a)] = "table"
    return found


def part_of(table: Tensor) -> str:
    """"cos" or "sin", by the column that turns slowest: near 1 or near 0."""
    rows = table.detach().reshape(-1, table.shape[-1])
    slow = rows[:, int((rows.amax(0) - rows.amin(0)).argmin())]
    return "cos" if bool(slow.abs().mean() > 0.5) else "sin"


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
        return value.view(value.shape)                           # notes are written on the view
    if name == main or name.endswith("input_ids"):
        flow.account.rows = value.shape[0]
        return write(value.view(value.shape), Note(kind="ids"))
    if name == "position_ids":
        return write(value.view(value.shape), Note(kind="index"))
    return value


# --- what becomes of constants ---------------------------------------------------------------------------------------


def inherit(flow: Flow, name: str, notes: list[Note], args: tuple, out: Any) -> None:
    """The note of a constant made from constants: whose it is, and whether it still says where something stands."""
    if name == "__setitem__" and len(args) > 2 and isinstance(args[2], Tensor) and id(args[0]) not in flow.known:
        given = note_of(flow, args[2])
        if given is not None and given.kind != "ids":            # a table written into a larger one
            write(args[0], Note(source=given.source, kind=given.kind))
        return
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
    if first is not None and first.made and name in SAME:
        write(out, first)
        return
    if name.endswith("_like") or name.startswith("new_"):        # the shape of another tensor, not its past
        return
    source = next((n.source for n in notes if n.source), None)
    kind = kind_of(name, first, notes, out)
    if kind or source:
        write(out, Note(source=source, kind=kind))


def kind_of(name: str, first: Note | None, notes: list[Note], out: Tensor) -> str | None:
    """What a function of constants still knows of positions."""
    kinds = {n.kind for n in notes}
    real = out.is_floating_point() or out.is_complex()
    if name in ("cos", "sin", "polar"):
        return "rotary" if name == "polar" else name
    if out.dtype == torch.bool:
        return None
    if name in ("arange", "cumsum", "linspace"):
        return "index"
    if name in LOOKED_UP and first is not None:                  # numbers looked up by position are not positions
        by = {n.kind for n in notes if n is not first}
        if not real:
            return first.kind if first.kind in ("index", "ids") and (first.kind != "ids" or name not in COMPARISONS) else None
        if first.kind in (None, "rows") and first.source and by & {"index", "ids"}:
            return "table" if "index" in by else "looked up"
    if not real:
        return "ids" if "ids" in kinds and name not in COMPARISONS else "index" if "index" in kinds else None
    turns = kinds & set(TURNS)
    if turns:
        return "rotary" if len(turns) > 1 or out.is_complex() else turns.pop()
    return next((k for k in ("table", "looked up", "index", "rows") if k in kinds), None)


LOOKED_UP = {"gather", "index_select", "take", "take_along_dim", "__getitem__"}
COMPARISONS = {"eq", "ne", "lt", "gt", "le", "ge", "__eq__", "__ne__", "argmax", "argmin", "nonzero", "sum", "long", "int"}


# --- where positions meet carriers -----------------------------------------------------------------------------------


def enters_by_product(flow: Flow, constant: Any, carrier: Tensor) -> Leaf | None:
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
    name = f"{flow.where_am_i()} rotary"
    part = part_of(constant) if looked_up else note.kind
    return _leaf(flow, constant, carrier, name, "rotary", part, per_head=heads)


def enters_by_sum(flow: Flow, constant: Any, carrier: Tensor) -> Tensor | None:
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
    kind = "absolute" if sinusoidal(constant) else "learnable"
    return _leaf(flow, constant, carrier, note.source or f"{flow.place} {kind}", kind, "sum").tensor


def enters_scores(flow: Flow, constant: Tensor, shape: Sequence[int]) -> Tensor | None:
    """A relative bias or ALiBi, added to attention scores of that shape; None for masks and what has no position in it."""
    if flow.composite.positions != "sink" or is_mask(constant):
        return None
    note = note_of(flow, constant) or Note()
    told = note.kind in ("index", "table", "rows", *TURNS) or note.source
    if not (told or is_matrix(constant)):
        return None
    kind = "alibi" if note.kind == "index" else "relative bias"
    return sinks.bias_sink(flow, constant.expand(shape), f"{flow.where_am_i()} {kind}", kind)


def is_matrix(added: Tensor) -> bool:
    """Whether an added constant without a past (a model may keep its bias in a cache of its own) has a number for each pair."""
    return added.dim() >= 3 and min(added.shape[-2:]) > 1 and len(added.detach()[..., :2, :].unique()) > 3


def is_mask(added: Tensor) -> bool:
    """Whether an added score only hides: 0 for every pair that it leaves visible."""
    added = added.detach()
    return not bool(((added > MASKED) & (added != 0)).any())


def relative_embeddings(flow: Flow, constant: Tensor) -> bool:
    """Whether a factor of queries or keys is made of relative positions: a table looked up by distance, or never by ids."""
    note = note_of(flow, constant)
    if note is None or flow.composite.positions != "sink" or constant.dim() < 2 or not constant.is_floating_point():
        return False
    return note.kind in ("table", *TURNS) or (note.kind == "rows" and note.source not in flow.vocabularies)


def as_long_as(flow: Flow, constant: Tensor, carrier: Tensor) -> bool:
    """Whether a parameter has one vector per token of the carrier (B, T, D), or per place in its windows (B, windows, places, D)."""
    if not (2 <= constant.dim() <= 3 and constant.shape[-2:] == carrier.shape[-2:] and carrier.shape[-2] > 1):
        return False
    if carrier.dim() == 4 and flow.inputs.tokens:           # heads (B, T, H, D) are more than there are tokens
        B, T = flow.inputs.tokens[-1].shape[:2]
        return constant.dim() == 2 and carrier.shape[0] == B and carrier.shape[1] * carrier.shape[2] <= T
    return carrier.dim() == 3


def sinusoidal(table: Tensor) -> bool:
    """Whether each row is made of sine and cosine pairs: its squares sum to half its length."""
    squares = better(table.detach()).square().sum(-1)
    return bool(((squares - table.shape[-1] / 2).abs() < 0.02 * table.shape[-1] / 2).all())


def _leaf(
    flow: Flow, constant: Tensor, carrier: Tensor, name: str, kind: str, part: str, per_head: bool = False
) -> Leaf:
    shape = [1] * (carrier.dim() - constant.dim()) + list(constant.shape)
    shape[0] = carrier.shape[0]
    if per_head:
        shape[1:3] = carrier.shape[1:3]
    return sinks.sink(flow, flow.leaf(constant.expand(shape)), name, kind, part)


def met_in_product(flow: Flow, out: Tensor) -> Tensor:
    """Queries or keys met relative embeddings: the product is a sink's, and will be picked out by distance."""
    leaf = sinks.product_sink(flow, out, f"{flow.where_am_i()} relative embedding")
    return write(out, Note(scores=True, pairs=leaf))


def by_distance(flow: Flow, func: Any, args: tuple, kwargs: dict, out: Tensor) -> Tensor:
    """Scores of relative embeddings picked out by distance, or turned over after that, belong to pairs of tokens.

    Scores of a bank of profiles (a parameter that is no table) are only known for what they are when they are picked.
    """
    note, name = note_of(flow, out), getattr(func, "__name__", "")
    known = note is not None and note.pairs is not None
    if name in ("gather", "take_along_dim"):
        if known and not note.pairs.gathered:
            sinks.picked(flow, note.pairs, out)
        elif not known and picks_pairs(flow, args, kwargs, out):
            leaf = sinks.sink(flow, out, f"{flow.where_am_i()} relative embedding", "relative embedding", "score")
            out = write(scale(out, 1 / 2), Note(scores=True, pairs=leaf))
            sinks.picked(flow, leaf, out)
    last = {out.dim() - 1, out.dim() - 2}
    if known and name == "transpose" and note.pairs.gathered and {a % out.dim() for a in args[1:3]} == last:
        note.pairs.turned = not note.pairs.turned
    return out


def picks_pairs(flow: Flow, args: tuple, kwargs: dict, out: Tensor) -> bool:
    """Whether entries of the last axis are picked by position numbers, one for each pair of tokens."""
    index = note_of(flow, pick(args, kwargs, 2, "index"))
    dim = pick(args, kwargs, 1, "dim")
    square = out.dim() >= 3 and out.shape[-1] == out.shape[-2] > 1
    by_position = index is not None and index.kind == "index"
    return flow.composite.positions == "sink" and by_position and square and dim in (-1, out.dim() - 1)


def joined(flow: Flow, constant: Tensor) -> Tensor:
    """A constant piece of a sequence (CLS, registers): a leaf, so that its share is known."""
    leaf = flow.leaf(constant)
    flow.inputs.constants.append((flow.name_of(constant, "joined"), flow.depth, leaf))
    return leaf


def sinks_of(flow: Flow, x: Any) -> tuple[Leaf, ...]:
    """The rotary leaves that entered x."""
    note = note_of(flow, x) if isinstance(x, Tensor) else None
    return note.sinks if note is not None else ()


def take_roles(flow: Flow, operands: list[Tensor], roles: tuple[str, ...] = ("query", "key")) -> None:
    """The first operand of a product of two rotated tensors is the query, the second the key; behind a softmax stand values."""
    if all(sinks_of(flow, x) for x in operands):
        for x, role in zip(operands, roles, strict=True):
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
