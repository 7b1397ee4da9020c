"""What the fields of a configuration are, told by their names, and the ways of making them small that are tried in turn."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

WIDTH, HEADS, HEAD = 64, 4, 16
VOCABULARY, POSITIONS, IMAGE = 128, 64, 64


@dataclass(frozen=True)
class Recipe:
    """How to make a default configuration small; the further ones are tried where the library refuses the first.

    widths: also make widths and heads small (else only depth, vocabulary, experts, lengths)
    layers: how many layers at most
    times:  how many layers of each kind at least, if there are as many
    fill:   give a value to fields that the default leaves empty
    alter:  role of a field -> the number it gets whatever it was; None: what it was
    """

    name: str
    widths: bool = True
    layers: int = 6
    times: int = 1
    fill: bool = False
    alter: dict[str, int | None] = field(default_factory=dict)


RECIPES = (
    Recipe("small"),
    Recipe("small, empty fields filled in", fill=True),
    Recipe("small, each kind of layer twice", times=2),
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
