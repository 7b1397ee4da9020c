"""A linear head on DINOv3's first token: transformers has the trunk, but no class that classifies with it."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import DINOv3ViTConfig, DINOv3ViTModel, DINOv3ViTPreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput


class DINOv3ViTClassifier(DINOv3ViTPreTrainedModel):
    """DINOv3ViTModel, then one linear map of the normed CLS token (B, D) to logits (B, labels)."""

    base_model_prefix = "dinov3_vit"

    def __init__(self, config: DINOv3ViTConfig) -> None:
        super().__init__(config)
        self.dinov3_vit = DINOv3ViTModel(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, pixel_values: Tensor) -> ImageClassifierOutput:
        """Logits of pictures (B, C, H, W)."""
        return ImageClassifierOutput(logits=self.classifier(self.dinov3_vit(pixel_values=pixel_values).pooler_output))
