"""What the atlas lists: each name of transformers' auto classes, under each kind of model."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ..errors import InputError

# kind -> the mapping of transformers.models.auto.modeling_auto that lists its classes
KINDS = {
    "causal-lm": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "masked-lm": "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    "seq2seq": "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "image": "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    "speech": "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES",
    "tower": "",
}
# Models without a head that answers, of text or picture or both; in none of the lists, but asked for.
TOWERS = {
    "clip": "CLIPModel", "clip_text_model": "CLIPTextModel", "siglip": "SiglipModel", "siglip_text_model": "SiglipTextModel",
    "dinov3_vit": "DINOv3ViTModel", "dinov3_convnext": "DINOv3ConvNextModel",
}  # fmt: skip
MAIN = ("causal-lm", "masked-lm", "seq2seq", "image")  # what the counts are about; the others are extra


# Kinds of positions that a model has only if it is asked: model type -> fields of its configuration. Extra rows, in no count.
OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "bamba": ({"attn_layer_indices": [1]},),
    "beit": ({"use_relative_position_bias": True}, {"use_absolute_position_embeddings": True}),
    "data2vec-vision": ({"use_relative_position_bias": True},),
    "deberta": ({"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False},),
    "deberta-v2": ({"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False},),
    "distilbert": ({"sinusoidal_pos_embds": True},),
    "esm": ({"position_embedding_type": "rotary"},),
    "falcon": ({"alibi": True},),
    "roformer": ({"rotary_value": True},),
    "xlm": ({"sinusoidal_embeddings": True},),
    "zamba2": ({"use_mem_rope": True},),
}


@dataclass(frozen=True, order=True)
class Entry:
    """One architecture: `kind` is the auto class, `name` the model type, `model` its class in transformers.

    option: the first field of the configuration that is not as by default; empty if all are
    """

    kind: str
    name: str
    model: str
    option: str = ""

    @property
    def key(self) -> str:
        """How results are filed: the name alone is listed under several kinds."""
        return "/".join(filter(None, (self.kind, self.name, self.model, self.option)))

    @property
    def fields(self) -> dict[str, Any]:
        """What the configuration is told beyond its defaults."""
        return next((fields for fields in OPTIONS.get(self.name, ()) if self.option in fields), {})


def listed(kind: str) -> list[Entry]:
    """All architectures of a kind, in the order of transformers; where one name has several classes or options, each of them."""
    from transformers.models.auto import modeling_auto

    mapping = getattr(modeling_auto, KINDS[kind]) if KINDS[kind] else TOWERS
    plain = [Entry(kind, name, m) for name, classes in mapping.items() for m in ([classes] if isinstance(classes, str) else classes)]
    return [e for p in plain for e in (p, *(Entry(kind, p.name, p.model, next(iter(f))) for f in OPTIONS.get(p.name, ())))]


def choose(names: list[str], kinds: list[str]) -> list[Entry]:
    """The entries that were asked for; all of the kinds if no name is given.

    Raises InputError for a name that none of the kinds lists; it suggests the nearest.
    """
    everything = [entry for kind in kinds for entry in listed(kind)]
    if not names:
        return everything
    by_name: dict[str, list[Entry]] = {}
    for entry in everything:
        by_name.setdefault(entry.name.replace("_", "-"), []).append(entry)
    chosen: list[Entry] = []
    for name in names:
        found = by_name.get(name.replace("_", "-"))
        if found is None:
            near = get_close_matches(name.replace("_", "-"), by_name, 3, 0.5)
            hint = f"Did you mean {' or '.join(by_name[n][0].name for n in near)}?" if near else "Type it without a name for all."
            raise InputError(f"An architecture must be listed under {', '.join(kinds)}; {name!r} is not. {hint}")
        chosen += found
    return chosen
