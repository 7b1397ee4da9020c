"""Two small vision transformers of the digit scenes, and how they are trained.

    scenes-learnable    ViT: a learned vector per patch is added at the input
    scenes-rotary       DINOv3-type ViT: the row and column of a patch turn queries and keys in every layer; two registers

Each has twenty logits: ten say which classes are present, ten which digit stands in the upper left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from ..errors import ZooError
from .catalogue import MODELS, Dose, Trained
from .loop import Course, Tell, learn
from .measure import of_scenes
from .scenes import CLASSES, CREDIT, LABELS, LICENSE, SIDE, Scene, digits, scenes
from .tasks import held_out_scenes, task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WIDTH, LAYERS, HEADS, INNER, PATCH = 64, 4, 4, 128, 4
REGISTERS = 2
COURSE = Course(steps=6_000, batch=32, rate=2e-3, decay=0.02)
MEASURED = 1_000  # held-out scenes
PRESENT = 10.0  # weight of the mean over ten classes, present or absent, against the one digit asked for


def train(name: str, dose: Dose, tell: Tell) -> Trained:
    """Train a model on scenes drawn without end from the digits that are not held out."""
    if dose.epochs is not None:
        raise ZooError(f"Scenes have no end, so there are no epochs. Type: python -m pelrp_nb.zoo.train {name} --steps N")
    course = replace(COURSE, steps=dose.steps or COURSE.steps)
    source = digits(held_out=False)
    model = learnable() if MODELS[name].positions == "learnable" else rotary()
    first, last = learn(model, _batches(scenes(source, dose.seed + 1), course.batch), _loss, course, tell, dose.checkpoint)

    def measure(model: Any, processor: Any) -> Mapping[str, Any]:
        found = of_scenes(model, processor, list(islice(held_out_scenes(), MEASURED)))
        packaged = task(name).examples
        return {
            "accuracy": round(found["upper left"], 4),
            "accuracies": {question: round(value, 4) for question, value in found.items()},
            "examples": MEASURED,
            "packaged_accuracy": round(of_scenes(model, processor, packaged)["upper left"], 4),
            "packaged_examples": len(packaged),
        }

    facts = {
        "labels": list(LABELS),
        "trained_on": course.steps * course.batch,
        "data": f"scenes of {len(source.classes)} handwritten digits of scikit-learn; held out by hash: those of the others",
        "license": LICENSE,
        "credit": CREDIT,
        "steps": course.steps,
        "losses": [round(first, 4), round(last, 4)],
    }
    return Trained(model, processor(), facts, measure)


def processor() -> Any:
    """Pictures of any size to 32 x 32 pixels between -1 and 1."""
    import transformers

    kind = getattr(transformers, "ViTImageProcessorPil", None) or transformers.ViTImageProcessor
    half = [0.5] * 3
    return kind(size={"height": SIDE, "width": SIDE}, image_mean=half, image_std=half)


def _batches(drawn: Iterator[Scene], size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Pixels (B, 3, H, W) between -1 and 1, classes present (B, 10), the digit in the upper left (B,)."""
    while True:
        some = list(islice(drawn, size))
        pixels = torch.from_numpy(np.stack([scene.image for scene in some])).permute(0, 3, 1, 2) / 127.5 - 1
        present = torch.tensor([[digit in scene.present for digit in range(CLASSES)] for scene in some])
        yield pixels.contiguous(), present.float(), torch.tensor([scene.upper_left for scene in some])


def _loss(model: Any, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    pixels, present, upper_left = batch
    logits = model(pixel_values=pixels).logits
    told = binary_cross_entropy_with_logits(logits[:, :CLASSES], present)
    return PRESENT * told + cross_entropy(logits[:, CLASSES:], upper_left)


def _sizes() -> dict[str, Any]:
    return {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "image_size": SIDE,
        "patch_size": PATCH,
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: number for number, label in enumerate(LABELS)},
    }


def learnable() -> PreTrainedModel:
    """ViT."""
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(ViTConfig(**_sizes(), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))


def rotary() -> PreTrainedModel:
    """DINOv3's trunk with a linear head."""
    from transformers import DINOv3ViTConfig

    from .dinov3_classifier import DINOv3ViTClassifier

    return DINOv3ViTClassifier(DINOv3ViTConfig(**_sizes(), num_register_tokens=REGISTERS, pos_embed_rescale=None))
