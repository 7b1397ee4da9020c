"""A random input for any architecture, from what its forward pass takes."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from .recipes import IMAGE, VOCABULARY
from .shrink import tree

TOKENS, ANSWER = 12, 7  # tokens of a text, and of what a decoder has said so far


def ids(config: Any, length: int, rng: torch.Generator) -> Tensor:
    """Token ids (1, length) that have no special meaning to any part of the model."""
    special: set[int] = set()
    size = VOCABULARY
    for part in tree(config):
        for name, value in vars(part).items():
            if name.endswith(("_token_id", "_token_index", "_index")) and isinstance(value, int):
                special.add(value)
            if name in ("vocab_size", "src_vocab_size") and isinstance(value, int) and value > 8:
                size = min(size, value)
    plain = torch.tensor([i for i in range(4, size) if i not in special])
    return plain[torch.randint(0, len(plain), (1, length), generator=rng)]


MAIN = ("input_ids", "pixel_values", "input_features", "input_values", "inputs")


def inputs(model: Any, seed: int = 1) -> dict[str, Tensor]:
    """A random batch of one, with what the model's main input and its decoder need."""
    rng = torch.Generator().manual_seed(seed)
    config, takes = model.config, inspect.signature(model.forward).parameters
    main = model.main_input_name
    if main not in takes:
        main = next((name for name in MAIN if name in takes), main)
    made: dict[str, Tensor] = {}
    if "spatial_shapes" in takes:
        made = patches(config, rng)
    elif main == "pixel_values" or (main == "inputs" and "pixel_values" in takes):
        made[main] = torch.randn(1, first(config, "num_channels", 3), *picture(config), generator=rng)
    elif main == "input_features":
        made[main] = sound(config, rng)
    elif main == "input_values" or (main == "inputs" and first(config, "conv_dim", None)):
        made[main] = torch.randn(1, 4000, generator=rng)
    else:
        made[main] = ids(config, TOKENS, rng)
    if config.is_encoder_decoder or "decoder_input_ids" in takes:
        made["decoder_input_ids"] = ids(config, ANSWER, rng)
    return made


def further(model: nn.Module, given: dict[str, Tensor], seed: int) -> list[dict[str, Tensor]]:
    """The same with a picture beside the text, or with a sound."""
    rng = torch.Generator().manual_seed(seed)
    config, takes = model.config, inspect.signature(model.forward).parameters
    ways = {
        "pixel_values": lambda: torch.randn(1, first(config, "num_channels", 3), *picture(config), generator=rng),
        "input_features": lambda: sound(config, rng),
    }
    return [{**given, name: made()} for name, made in ways.items() if name in takes and name not in given]


def patches(config: Any, rng: torch.Generator) -> dict[str, Tensor]:
    """A picture already cut up: (1, patches, pixels of one), all of them there, and how they lie."""
    side = int(first(config, "num_patches", 16) ** 0.5)
    pixels = first(config, "num_channels", 3) * first(config, "patch_size", 16) ** 2
    return {
        "pixel_values": torch.randn(1, side * side, pixels, generator=rng),
        "pixel_attention_mask": torch.ones(1, side * side, dtype=torch.int64),
        "spatial_shapes": torch.tensor([[side, side]]),
    }


def picture(config: Any) -> tuple[int, int]:
    """Height and width in pixels."""
    size = first(config, "image_size", IMAGE)
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


BINS = ("feature_projection_input_dim", "num_mel_bins", "input_feat_per_channel", "feature_size")


def sound(config: Any, rng: torch.Generator) -> Tensor:
    """Frames of a spectrum: (1, bins, frames) where their number is fixed, (1, frames, bins) else."""
    bins = next((v for name in BINS if (v := first(config, name, None)) is not None), 80)
    fixed = first(config, "max_source_positions", None) if first(config, "num_mel_bins", None) else None
    return torch.randn(1, 64, bins, generator=rng) if fixed is None else torch.randn(1, bins, 2 * fixed, generator=rng)


def first(config: Any, name: str, otherwise: Any) -> Any:
    """The value of a field, in whichever part of the configuration has it."""
    return next((v for part in tree(config) if (v := getattr(part, name, None)) is not None), otherwise)
