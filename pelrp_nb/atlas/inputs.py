"""A random input for any architecture, from what its forward pass takes."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from .shrink import IMAGE, VOCABULARY, tree

TOKENS, ANSWER = 12, 7                            # tokens of a text, and of what a decoder has said so far


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


def inputs(model: nn.Module, seed: int = 1) -> dict[str, Tensor]:
    """A random batch of one, with what the model's main input and its decoder need."""
    rng = torch.Generator().manual_seed(seed)
    config, takes = model.config, inspect.signature(model.forward).parameters
    main = model.main_input_name
    if main not in takes and "input_ids" in takes:
        main = "input_ids"
    made: dict[str, Tensor] = {}
    if main == "pixel_values":
        made[main] = torch.randn(1, first(config, "num_channels", 3), *picture(config), generator=rng)
    elif main == "input_features":
        made[main] = sound(config, rng)
    elif main == "input_values":
        made[main] = torch.randn(1, 4000, generator=rng)
    else:
        made[main] = ids(config, TOKENS, rng)
    if config.is_encoder_decoder or "decoder_input_ids" in takes:
        made["decoder_input_ids"] = ids(config, ANSWER, rng)
    return made


def picture(config: Any) -> tuple[int, int]:
    """Height and width in pixels."""
    size = first(config, "image_size", IMAGE)
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def sound(config: Any, rng: torch.Generator) -> Tensor:
    """Frames of a spectrum: (1, bins, frames) for convolutional encoders, (1, frames, bins) else."""
    bins = first(config, "num_mel_bins", None)
    frames = 2 * first(config, "max_source_positions", 32)
    if bins is not None:
        return torch.randn(1, bins, frames, generator=rng)
    return torch.randn(1, 64, first(config, "input_feat_per_channel", 80), generator=rng)


def first(config: Any, name: str, otherwise: Any) -> Any:
    """The value of a field, in whichever part of the configuration has it."""
    return next((v for part in tree(config) if (v := getattr(part, name, None)) is not None), otherwise)
