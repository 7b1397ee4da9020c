"""By how much the numbers of one configuration become smaller, so that what divided still divides."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from .recipes import HEAD, HEADS, WIDTH, Recipe, role_of

WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embed_dim", "embedding_dim", "d_latents", "hidden_dim", "embedding_size")
HEAD_COUNTS = ("num_attention_heads", "encoder_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads",
               "decoder_attention_heads", "num_encoder_attention_heads", "encoder_num_attention_heads", "mamba_num_heads")  # fmt: skip
HEAD_WIDTHS = ("head_dim", "d_kv", "d_head", "kv_channels", "attention_head_size", "attention_head_dim", "dim_head")
DEPTHS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "num_encoder_layers", "depth",
          "encoder_num_hidden_layers", "num_blocks", "decoder_layers")  # fmt: skip


@dataclass
class Scales:
    """The factors of one configuration; nested ones have their own.

    kept:   the layers that stand for all, by their index in the default configuration
    hidden: the width of the model before and after; links: the same of other parts
    staged: a model of stages, whose picture is 2 x 2 at the end
    """

    width: float
    heads: float
    head: float
    depth: int
    layers: int
    kept: list[int]
    hidden: tuple[int, int] = (0, 0)
    links: dict[int, int] = field(default_factory=dict)
    staged: bool = False


def measure(fields: dict[str, Any], recipe: Recipe) -> Scales:
    """How much smaller widths, heads and head widths become, and which layers stand for all."""

    def first(names: tuple[str, ...]) -> int:
        return next((fields[n] for n in names if isinstance(fields.get(n), int) and fields[n] > 0), 0)

    depth, hidden, heads = first(DEPTHS), first(WIDTHS), first(HEAD_COUNTS)
    scales = Scales(1.0, 1.0, 1.0, depth, *representatives(fields, depth, recipe), hidden=(hidden, hidden))
    stages = common_factor(fields, depth)
    if stages or not recipe.widths or not hidden:
        scales.width, scales.staged = 1 / (stages or 1) if recipe.widths else 1.0, bool(stages)
        scales.hidden = hidden, int(hidden * scales.width)
        return scales
    new = WIDTH
    if heads:
        each = first(HEAD_WIDTHS) or max(1, hidden // heads)
        whole = "qk_rope_head_dim" in fields  # head widths in parts: keep their sums
        scales.head = 2.0 ** -max(0, round(math.log2(each / HEAD))) if whole or each < HEAD else HEAD / each
        times = heads * each / hidden
        new_heads = min(heads, int(HEADS * times) if times in (0.5, 1, 2, 4) else HEADS)
        new = int(new_heads * max(1, round(each * scales.head)) / times) if times in (0.5, 1, 2, 4) else WIDTH
        scales.heads = new_heads / heads
    scales.width, scales.hidden = new / hidden, (hidden, new)
    return scales


def common_factor(fields: dict[str, Any], depth: int) -> int:
    """By what a model of stages can be divided so that every width stays a multiple of eight; 0 if it has no stages."""
    lists = [v for n, v in fields.items() if role_of(n) == "width" and isinstance(v, list | tuple) and len(v) > 1]
    lists = [v for v in lists if all(isinstance(x, int) for x in v) and not len(v) == depth > 4]
    staged = isinstance(fields.get("depths"), list | tuple)
    if not lists and not staged:
        return 0
    widths = [x for v in lists for x in v] + [fields[n] for n in WIDTHS if isinstance(fields.get(n), int) and not lists]
    return next((f for f in (8, 4, 2) if widths and all(w % (8 * f) == 0 for w in widths)), 1)


FIRST, LAST = re.compile(r"^(first_k_dense_replace|num_dense_layers|moe_layer_start_index)$"), re.compile(r"^num_kv_shared_layers$")


def representatives(fields: dict[str, Any], depth: int, recipe: Recipe) -> tuple[int, list[int]]:
    """The layers that stand for all: some of each kind that the fields tell apart, at least two; their indices."""
    if depth <= 2:
        return depth, list(range(depth))
    told = [v for v in fields.values() if isinstance(v, list | tuple) and len(v) == depth > 4]
    told += [[i < v for i in range(depth)] for n, v in fields.items() if FIRST.search(n) and isinstance(v, int)]
    told += [[i >= depth - v for i in range(depth)] for n, v in fields.items() if LAST.search(n) and isinstance(v, int)]
    kinds: dict[tuple, list[int]] = {}
    for i in range(depth):
        kinds.setdefault(tuple(str(v[i]) for v in told), []).append(i)
    kept = sorted(i for same in kinds.values() for i in same[: recipe.times])[: recipe.layers]
    kept += [i for i in range(depth) if i not in kept][: max(0, 2 - len(kept))]
    return len(kept), sorted(kept)
