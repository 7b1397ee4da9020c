"""A tiny configuration from the default one: the same architecture with every number made small.

There is no configuration per model. Fields are told apart by what their names say (a width, a number of heads, a vocabulary), and
are made smaller by one factor each, so that what was equal stays equal and what divided still divides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

WIDTH, HEADS, HEAD = 64, 4, 16
VOCABULARY, POSITIONS, IMAGE = 128, 64, 64


@dataclass(frozen=True)
class Recipe:
    """How to make a default configuration small; the further ones are tried where the library refuses the first.

    widths: also make widths and heads small (else only depth, vocabulary, experts, lengths)
    layers: how many layers at most
    fill:   give a value to fields that the default leaves empty
    alter:  role of a field -> the number it gets whatever it was; None: what it was
    """

    name: str
    widths: bool = True
    layers: int = 6
    fill: bool = False
    alter: dict[str, int | None] = field(default_factory=dict)


RECIPES = (
    Recipe("small"),
    Recipe("small, empty fields filled in", fill=True),
    Recipe("small, one head, one codebook", alter={"heads": 1, "codebooks": 1}),
    Recipe("small, whole vocabulary", alter={"vocabulary": None, "token": None}),
    Recipe("widths as they are", widths=False),
)

# what a field is, by its name; the first that fits
ROLES = tuple(
    (role, re.compile(pattern))
    for role, pattern in (
        ("keep", r"chunk_size_(feed_forward|lm_head)|type_vocab|kernel|stride|padding|dilation|num_labels|seed|ngram_size|hop_length"
                 r"|merge_size|num_channels|audio_channels|input_channels|in_chans|pretraining_tp|vocab_offset|sampl|_conv$|conv_dim"
                 r"|projection_input_dim|^input_(dim|size|feat_size)$|^feature_size$"),
        ("codebooks", r"^num_codebooks$"),
        ("vocabulary", r"vocab_size|_vocab$|vocabulary|vocab_size_base|codebook_size"),
        ("token", r"_token_(id|index)s?$|_token_ids$|^(mask|unk|pad|bos|eos)_index$|suppress_tokens$|stop_token"),
        ("experts", r"experts?$|experts_num|expert_num|^zero_expert_num$"),
        ("per token", r"experts_per_tok|moe_top_?k$|moe_k$|^top_k$"),
        ("groups", r"^n_group$|^num_expert_group$"),
        ("top group", r"^topk_group$"),
        ("top keys", r"index_topk|topk_blocks|^index_local_blocks$"),
        ("window", r"sliding_window$|sliding_window_size|window_len|local_attention$|attention_window|window_size|attention_chunk_size"
                   r"|^chunk_size$|mamba_chunk_size|index_block_size|^block_size$|global_block_size|local_radius|attn_chunk_length|keep_window"
                   r"|context_size|rel_extent"),
        ("positions", r"position_embeddings$|n_positions|n_ctx|max_seq_len|model_max_length|max_\w*positions?$|context_length"
                      r"|max_pos_emb|max_distance|max_relative_position"),
        ("image", r"image_size|crop_size"),
        ("heads", r"heads$|n_head$|^num_query_groups$|_heads_per_layer$"),
        ("head width", r"head_dim|^d_kv$|^kv_channels$|head_size$|d_head$|headdim$|^dim_head$|^rotary_dim$|^d_head$|head_width"),
        ("period", r"period$|interval$|frequency$|every_n_layers$|layer_step$|sparse_step$|window_pattern$"),
        ("offset", r"layer_offset$"),
        ("layers", r"layers?$|^depth$|^num_blocks$|^num_layers_per_stack$|first_k_dense_replace|^num_self_attends_per_block$"),
        ("layer number", r"layer_(start|end)_index"),
        ("repeats", r"^depths$|block_repeats|^block_sizes$|^n_attn_blocks$"),
        ("factor", r"depth_coefficient$"),
        ("width", r"size(_\w+)?$|sizes$|dims?(_\w+)?$|^d_?ff$|width|units$|channels$|rank$|filters$|state$|^d_(model|inner|latents)$"
                  r"|n_embd|n_inner|ffn|hidden|attention_hidden|^dim_ff$|d_ssm$|dt_rank$|embed"),
    )
)  # fmt: skip


def role_of(name: str) -> str:
    """What a field of a configuration says, by its name."""
    return next((role for role, pattern in ROLES if pattern.search(name)), "keep")


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


def shrink(config: Any, recipe: Recipe = RECIPES[0], links: dict[int, int] | None = None) -> Any:
    """The same configuration, small. Raises whatever the library raises for a configuration it does not like.

    `links` says what the widths of other parts have become, since parts name each other's widths.
    """
    fields = {name: vars(config).get(name) for name in type(config).__dataclass_fields__}
    scales = measure(fields, recipe)
    scales.links = {**(links or linked(config, recipe)), scales.hidden[0]: scales.hidden[1]}
    changed: dict[str, Any] = {}
    for name, value in fields.items():
        if nested(value):
            changed[name] = shrink(value, recipe, scales.links)
        elif name not in ("id2label", "label2id", "problem_type", "rope_scaling"):
            if recipe.fill and not value:
                new = filled(name, value, fields, scales)
            elif isinstance(value, int) and role_of(name) in recipe.alter:
                new = value if recipe.alter[role_of(name)] is None else recipe.alter[role_of(name)]
            else:
                new = resized(name, value, scales)
            if new is not value and new != value:
                changed[name] = new
    changed.update(products(fields, changed, scales.links))
    apart = per_layer(config, scales)
    return type(config)(**changed, **({"per_layer_config": apart} if apart else {}))


def linked(config: Any, recipe: Recipe) -> dict[int, int]:
    """The width of every part, before and after."""
    found: dict[int, int] = {}
    for part in tree(config):
        old, new = measure({n: vars(part).get(n) for n in type(part).__dataclass_fields__}, recipe).hidden
        found.setdefault(old, new)
    return found


def products(fields: dict[str, Any], changed: dict[str, Any], links: dict[int, int]) -> dict[str, int]:
    """Widths that were heads times head width, so that they are that again."""
    numbers = {n: v for n, v in fields.items() if isinstance(v, int) and not isinstance(v, bool)}
    found: dict[str, int] = {}
    for heads, each in ((h, e) for h in numbers if role_of(h) == "heads" for e in numbers if role_of(e) == "head width"):
        for name, value in numbers.items():
            if role_of(name) == "width" and value not in links and value == numbers[heads] * numbers[each]:
                found[name] = changed.get(heads, numbers[heads]) * changed.get(each, numbers[each])
    return found


def per_layer(config: Any, scales: Scales) -> dict[int, dict[str, Any]]:
    """What a configuration of unequal layers says of each layer that stands for all, made small."""
    stored = {int(i): said for i, said in (config.to_dict().get("per_layer_config") or {}).items()}
    kept = {new: stored[old] for new, old in enumerate(scales.kept) if old in stored}
    return {i: {name: resized(name, value, scales) for name, value in said.items()} for i, said in kept.items()}


def filled(name: str, value: Any, fields: dict[str, Any], scales: Scales) -> Any:
    """A plausible value for a field that the default configuration leaves empty."""
    if name == "rope_parameters" and value == {} and fields.get("layer_types"):
        return {kind: {"rope_type": "default", "rope_theta": 10000.0} for kind in fields["layer_types"]}
    if value is not None:
        return value
    if name == "layer_types":
        return ["full_attention"] * scales.layers
    if name == "default_language" and fields.get("languages"):
        return fields["languages"][0]
    return next((new for pattern, new in EMPTY if pattern.search(name)), FILLINGS.get(role_of(name)))


FILLINGS = {"experts": 4, "per token": 2, "groups": 1, "top group": 1, "head width": HEAD, "heads": HEADS, "vocabulary": VOCABULARY}
EMPTY = ((re.compile("^clip_"), 8.0), (re.compile("kv_heads$"), 1), (re.compile("^pad_token_id$"), 0), (re.compile("^mask_token_id$"), 3),
         (re.compile("_budget$"), 8), (re.compile("compress_ratio$"), 4))  # fmt: skip


def nested(value: Any) -> bool:
    """Whether a value of a configuration is a configuration itself."""
    return hasattr(value, "to_dict") and hasattr(value, "model_type")


def tree(config: Any) -> list[Any]:
    """A configuration and all that are nested in it."""
    return [config, *(inner for value in vars(config).values() if nested(value) for inner in tree(value))]


# --- the factors -----------------------------------------------------------------------------------------------------

WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embed_dim", "embedding_dim", "d_latents", "hidden_dim", "embedding_size")
HEAD_COUNTS = ("num_attention_heads", "encoder_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads",
               "decoder_attention_heads", "num_encoder_attention_heads", "encoder_num_attention_heads", "mamba_num_heads")  # fmt: skip
HEAD_WIDTHS = ("head_dim", "d_kv", "d_head", "kv_channels", "attention_head_size", "attention_head_dim", "dim_head")
DEPTHS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "num_encoder_layers", "depth",
          "encoder_num_hidden_layers", "num_blocks", "decoder_layers")  # fmt: skip


def measure(fields: dict[str, Any], recipe: Recipe) -> Scales:
    """How much smaller widths, heads and head widths become, and which layers stand for all."""

    def first(names: tuple[str, ...]) -> int:
        return next((fields[n] for n in names if isinstance(fields.get(n), int) and fields[n] > 0), 0)

    depth, hidden, heads = first(DEPTHS), first(WIDTHS), first(HEAD_COUNTS)
    scales = Scales(1.0, 1.0, 1.0, depth, *representatives(fields, depth, recipe.layers), hidden=(hidden, hidden))
    stages = common_factor(fields, depth)
    if stages or not recipe.widths or not hidden:
        scales.width, scales.staged = 1 / (stages or 1) if recipe.widths else 1.0, bool(stages)
        scales.hidden = hidden, int(hidden * scales.width)
        return scales
    new = WIDTH
    if heads:
        each = first(HEAD_WIDTHS) or max(1, hidden // heads)
        whole = "qk_rope_head_dim" in fields          # head widths in parts: keep their sums
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


def representatives(fields: dict[str, Any], depth: int, most: int) -> tuple[int, list[int]]:
    """The layers that stand for all: one of each kind that the fields tell apart, at least two; their indices."""
    if depth <= 2:
        return depth, list(range(depth))
    told = [v for v in fields.values() if isinstance(v, list | tuple) and len(v) == depth > 4]
    told += [[i < v for i in range(depth)] for n, v in fields.items() if FIRST.search(n) and isinstance(v, int)]
    told += [[i >= depth - v for i in range(depth)] for n, v in fields.items() if LAST.search(n) and isinstance(v, int)]
    kinds: dict[tuple, int] = {}
    for i in range(depth):
        kinds.setdefault(tuple(str(v[i]) for v in told), i)
    kept = sorted(kinds.values())[:most]
    kept += [i for i in range(depth) if i not in kept][: max(0, 2 - len(kept))]
    return len(kept), sorted(kept)


# --- one field -------------------------------------------------------------------------------------------------------

LAYER_NUMBERS = re.compile(r"(idxs|layer_ids|layers|layers_indices|indexes|indices)$")


def resized(name: str, value: Any, scales: Scales) -> Any:
    """The small value of one field."""
    role = role_of(name)
    if isinstance(value, dict):
        return {k: resized(str(k), v, scales) for k, v in value.items()}
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return type(value)(resized_list(name, role, list(value), scales))
    if isinstance(value, float):
        return min(value, 1.0) if role == "factor" else value
    if LAST.search(name):
        return sum(i >= scales.depth - value for i in scales.kept)
    if FIRST.search(name):
        return sum(i < value for i in scales.kept)
    change = NUMBERS.get(role)
    return value if change is None else change(value, scales)


def resized_list(name: str, role: str, value: list, scales: Scales) -> list:
    """The small value of a list: one entry per layer, numbers of layers, one entry per stage."""
    whole = all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    if len(value) == scales.depth > 4:
        value = [value[i] for i in scales.kept]
    elif whole and LAYER_NUMBERS.search(name) and all(v < scales.depth for v in value):
        return [scales.kept.index(v) for v in value if v in scales.kept]
    if name.endswith("_section"):
        return [max(1, int(v * scales.head)) for v in value]
    if len(value) == 1 and isinstance(value[0], list | tuple) and len(value[0]) == 2 and isinstance(value[0][0], list | tuple):
        kinds, times = value[0]                      # [[["global", "local"], 12]]: these kinds, so many times
        return [[kinds, max(1, scales.layers // len(kinds)) if times * len(kinds) == scales.depth else times]]
    if role == "layers" and whole:
        return [min(v, 3) for v in value]
    change = NUMBERS.get(role)
    return value if change is None or not whole else [change(v, scales) for v in value]


def rounded(x: float, step: int) -> int:
    """The nearest multiple of `step`, at least one."""
    return max(step, step * round(x / step))


def width(value: int, scales: Scales) -> int:
    """A width; those that were small stay."""
    if value in scales.links:
        return scales.links[value]
    if value < 16 or scales.width == 1:
        return value
    new = value * scales.width
    return int(new) if new == int(new) and new >= 8 else rounded(new, 8)


def layers(value: int, scales: Scales) -> int:
    """A number of layers: all of them, or how many of those that stand for all come before it."""
    if value >= scales.depth or value <= 2:
        return value if value <= 2 else scales.layers
    return max(1, sum(i < value for i in scales.kept))


NUMBERS: dict[str, Callable[[int, Scales], int]] = {
    "vocabulary": lambda v, s: min(v, VOCABULARY),
    "token": lambda v, s: v if v < VOCABULARY else VOCABULARY - 1 - v % 8,
    "experts": lambda v, s: min(v, 4),
    "per token": lambda v, s: min(v, 2),
    "groups": lambda v, s: min(v, 2),
    "top group": lambda v, s: 1,
    "top keys": lambda v, s: min(v, 4),
    "window": lambda v, s: min(v, 2 if s.staged else 8),
    "period": lambda v, s: min(v, 2),
    "offset": lambda v, s: min(v, 1),
    "positions": lambda v, s: min(v, POSITIONS),
    "image": lambda v, s: IMAGE,
    "heads": lambda v, s: max(1, round(v * s.heads)) if v else v,
    "head width": lambda v, s: max(2, round(v * s.head)) if v >= 16 else v,
    "layers": layers,
    "layer number": lambda v, s: min(v, s.layers - 1),
    "repeats": lambda v, s: min(v, 2),
    "width": width,
}
