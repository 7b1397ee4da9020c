"""What each argument of a model's `forward` is: the one place where the engine looks at names.

    content    what is explained: ids, pixels, features, and every float argument of another name
    positions  numbers of places: constants that differ by place
    constant   known by name to be neither: token types, boxes, which places are predicted
    mask       what hides
    control    flags, numbers, labels

`Options(roles={"covariates": "content", ...})` overrules all of it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

ROLES = ("content", "positions", "constant", "mask", "control")
CONTENT = ("input_ids", "inputs_embeds", "pixel_values", "input_features", "input_values", "decoder_input_ids", "decoder_inputs_embeds")
POSITIONS = ("position_ids", "cache_position", "timesteps", "grid_thw")  # the last: rows and columns of patches, frames
CONSTANTS = ("token_type_ids", "segment_ids", "bbox", "target_mapping")  # the last: which places XLNet predicts
CONTROL = ("labels", "logits_to_keep")


def role_of(name: str, value: Any, given: str | None = None) -> str:
    """The role of one argument; `given` is what the user says it is."""
    if given is not None:
        return given
    if not isinstance(value, Tensor):
        return "control"
    if name.endswith(CONTENT):
        return "content"
    if name.endswith(POSITIONS):
        return "positions"
    if name.endswith(CONSTANTS):
        return "constant"
    if name.endswith("mask") or value.dtype == torch.bool:
        return "mask"
    if name.endswith(CONTROL):
        return "control"
    return "content" if value.dim() else "constant"


def reason_of(name: str, value: Tensor, given: str | None = None) -> str:
    """Why, in one line."""
    if given is not None:
        return "as Options(roles=...) says"
    if name.endswith((*CONTENT, *POSITIONS, *CONSTANTS, *CONTROL, "mask")):
        return "by the name of the argument"
    if value.dtype == torch.bool:
        return "it is true or false"
    if not value.dim():
        return "a single number is a setting"
    if value.is_floating_point():
        return "numbers of no other name are content"
    return "whole numbers: content where a table is looked up by them"
