"""A linear head on DINOv3's first token: transformers has the trunk, but no class that classifies with it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import DINOv3ViTConfig, DINOv3ViTModel, DINOv3ViTPreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput


class DINOv3ViTClassifier(DINOv3ViTPreTrainedModel):
    """DINOv3ViTModel, then one linear map of the normed CLS token (B, D) to logits (B, labels)."""

    base_model_prefix = "dinov3_vit"

    def __init__(self, config: DINOv3ViTConfig) -> None:
        super().__init__(config)
        self.dinov3_vit = DINOv3ViTModel(config)
        assert config.num_labels is not None
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, pixel_values: Tensor, **asked: Any) -> ImageClassifierOutput:
        """Logits of pictures (B, C, H, W); `output_attentions` and `output_hidden_states` as for the trunk."""
        found = self.dinov3_vit(pixel_values=pixel_values, **asked)
        more = {key: found[key] for key in ("hidden_states", "attentions") if key in found}
        return ImageClassifierOutput(logits=self.classifier(found.pooler_output), **more)
