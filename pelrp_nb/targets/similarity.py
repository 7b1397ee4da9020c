"""Why two texts are alike: the cosine of their embeddings as a target, the other text's embedding taken as given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import TargetError
from ..inputs.arguments import call
from ..inputs.encode import encode
from .target import Similar

# one vector (1, D) of the tokens' vectors (1, T, D)
POOLING: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda h: h.mean(1), "max": lambda h: h.amax(1), "first": lambda h: h[:, 0], "last": lambda h: h[:, -1],
}  # fmt: skip
THEIRS = {
    "pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "first", "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}  # fmt: skip


def similarity(model: nn.Module, wanted: Similar, processor: Any) -> Callable[[Any], Tensor]:
    """A function of the model's output for one text: its cosine with the other text's embedding.

    Dividing by the length of an embedding is a division as everywhere: the length is taken as given, so nothing is lost there.
    """
    pooling = wanted.pooling or pooling_of(model)
    other = encode(model, wanted.text, processor)
    with torch.no_grad():
        constant = embedding(call(model, {**other.tensors, **other.more}), pooling)
        constant = constant / constant.norm()

    def cosine(output: Any) -> Tensor:
        vector = embedding(output, pooling)
        return (vector / vector.norm(dim=-1, keepdim=True) * constant).sum()

    cosine.__name__ = f"similarity to {wanted.text!r}"
    return cosine


def pooling_of(model: nn.Module) -> str:
    """How the model's folder says that tokens become one vector; the mean if it does not."""
    folder = Path(str(getattr(getattr(model, "config", None), "_name_or_path", "")))
    card = folder / "1_Pooling" / "config.json"
    if not card.is_file():
        return "mean"
    said = json.loads(card.read_text(encoding="utf-8"))
    chosen = [name for key, name in THEIRS.items() if said.get(key)] or [said.get("pooling_mode", "mean")]
    if len(chosen) > 1 or chosen[0] not in POOLING:
        raise TargetError(f'The pooling of {folder.name} ({", ".join(map(str, chosen))}) has no name here. Type pooling="mean".')
    return chosen[0]


def embedding(output: Any, pooling: str) -> Tensor:
    """The vector (1, D) of one text."""
    if pooling == "pooler":
        found = getattr(output, "pooler_output", None)
        if found is None:
            raise TargetError('This model has no pooler. Type pooling="mean" or pooling="first".')
        return found
    if pooling not in POOLING:
        raise TargetError(f'pooling must be one of {", ".join([*POOLING, "pooler"])}; got {pooling!r}. Type pooling="mean".')
    hidden = getattr(output, "last_hidden_state", None)
    if hidden is None:
        raise TargetError(f"Similarity needs a model that gives a vector per token, got {type(output).__name__}. Load it with AutoModel.")
    return POOLING[pooling](hidden)
