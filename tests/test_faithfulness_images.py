"""Pictures: perturbation and segmentation by hand, and every method on a small vision transformer."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from faithful import judged
from models import build
from torch import nn

from pelrp_nb import zoo
from pelrp_nb.errors import InputError
from pelrp_nb.faithfulness import ALL, OURS_IMAGES, PROTOCOLS, Case, Configuration, Example, Subject, load, measure
from pelrp_nb.faithfulness.images import cover
from pelrp_nb.faithfulness.read import case_of

pytest.importorskip("captum")
FOUR = replace(OURS_IMAGES, fractions=(0.0, 0.5, 1.0))


class Sum(nn.Module):
    """Logits 0 and the sum of the pixels, of one channel and 2 x 2."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.config = SimpleNamespace(patch_size=1)

    def forward(self, pixel_values):
        total = pixel_values.sum((1, 2, 3))
        return SimpleNamespace(logits=torch.stack([torch.zeros_like(total), total], -1))


def picture(asked: Subject, values: list[float], mask=None) -> Case:
    row = {"pixel_values": torch.tensor(values, dtype=torch.float64).view(1, 2, 2)}
    return Case(row, (), (), 1, asked.answers([row])[0], 0, "", 0, mask=mask)


def test_perturbation_by_hand():
    """Pixels 3, 1, -2, 0.5: half of them gone, most relevant first, leaves -1.5; least first leaves 4."""
    asked = Subject(Sum(), None, Configuration(images=FOUR))
    here = picture(asked, [3, 1, -2, 0.5])
    found = judged(PROTOCOLS["perturbation"], asked, here, [[3, 1], [-2, 0.5]])["values"]
    assert found["positive-perturbation-auc"] == pytest.approx(0.25 * 2.5 + 0.5 * -1.5)
    assert found["negative-perturbation-auc"] == pytest.approx(0.25 * 2.5 + 0.5 * 4.0)
    assert found["symmetric-relevance-gain"] == pytest.approx(0.5 * 5.5)


def test_a_clamped_map_orders_only_what_speaks_for():
    """As the authors do it; below zero the order is chance."""
    asked = Subject(Sum(), None, Configuration(images=replace(FOUR, below_zero="clamp")))
    orders = set()
    for seed in range(12):
        here = replace(picture(asked, [3, 1, -2, 0.5]), seed=seed)
        found = judged(PROTOCOLS["perturbation"], asked, here, [[3, -1], [-2, -3]])["values"]
        orders.add(round(found["positive-perturbation-auc"], 6))
    assert len(orders) > 1


def test_segmentation_by_hand():
    """Mean 0: the two pixels above it are called the object; one of them is, and one of the others too."""
    asked = Subject(Sum(), None, Configuration(images=FOUR))
    mask = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    here = picture(asked, [1, 1, 1, 1], mask)
    found = judged(PROTOCOLS["segmentation"], asked, here, [[3, 2], [-1, -4]])["values"]
    assert found["pixel-accuracy"] == pytest.approx(0.5) and found["mean-iou"] == pytest.approx(1 / 3)
    assert found["mean-average-precision"] == pytest.approx((0.5 * (1 + 2 / 3) + 0.5 * (1 + 2 / 3)) / 2)
    perfect = judged(PROTOCOLS["segmentation"], asked, here, [[1, 0], [1, 0]])["values"]
    assert set(perfect.values()) == {1.0}
    worst = judged(PROTOCOLS["segmentation"], asked, here, [[0, 1], [0, 1]])["values"]
    assert worst["pixel-accuracy"] == 0.0 and worst["mean-iou"] == 0.0
    unjudged = replace(here, mask=torch.tensor([[1.0, torch.nan], [torch.nan, 0.0]]))
    assert judged(PROTOCOLS["segmentation"], asked, unjudged, [[3, 9], [9, -4]])["values"]["pixel-accuracy"] == 1.0


def test_replacements_by_hand():
    pixels = torch.tensor([[[1.0, 2.0], [3.0, 6.0]]])
    hidden = torch.tensor([[True, False], [False, False]])
    assert cover(pixels, hidden, "zero").flatten().tolist() == [0, 2, 3, 6]
    assert cover(pixels, hidden, "mean").flatten().tolist() == [3, 2, 3, 6]
    assert cover(pixels, hidden, "blur").flatten().tolist() == [3, 2, 3, 6]  # the box is larger than the picture


def test_every_method_maps_every_pixel():
    """A random ViT: each method gives a map, positions apart where PA-LRP knows them; a mask brings segmentation along."""
    model = build("vit", dtype=torch.float32)
    rng = torch.Generator().manual_seed(0)
    mask = torch.zeros(16, 16)
    mask[4:9, 3:10] = 1
    examples = [Example(label=1, image=torch.randn(3, 16, 16, generator=rng), mask=mask.numpy()) for _ in range(2)]
    settings = Configuration(methods=ALL, images=replace(OURS_IMAGES, fractions=(0.0, 0.5, 1.0)))
    result = measure(model, None, examples, settings)
    assert not result.errors
    assert set(result.measures) == {
        "symmetric-relevance-gain", "positive-perturbation-auc", "negative-perturbation-auc", "leave-one-out-correlation",
        "pixel-accuracy", "mean-iou", "mean-average-precision",
    }  # fmt: skip
    assert {row["n"] for row in result.rows() if row["measure"] != "leave-one-out-correlation"} == {2}
    assert result.estimate("leave-one-out", "leave-one-out-correlation").mean == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["scenes-learnable", "scenes-rotary"])
def test_every_method_maps_the_scenes_of_the_zoo(name):
    settings = Configuration(methods=ALL, images=FOUR)
    result = measure(*zoo.load(name), load("digit-scenes", limit=1), settings)
    assert not result.errors and set(result.methods) == set(ALL)


def test_pictures_that_do_not_fit_are_recorded():
    model = build("vit", dtype=torch.float32)
    asked = Subject(model, None, Configuration())
    with pytest.raises(InputError, match="image processor"):
        case_of(asked, Example(image=torch.zeros(3, 16, 16).numpy()), 0)
    with pytest.raises(InputError, match="channels, height, width"):
        case_of(asked, Example(image=torch.zeros(16, 16)), 0)
    settings = Configuration(methods=("random",), protocols=("segmentation",))
    with pytest.raises(InputError, match="mask"):
        measure(model, None, [Example(image=torch.zeros(3, 16, 16))], settings)
    empty = measure(model, None, [Example(image=torch.zeros(3, 16, 16), mask=torch.zeros(16, 16).numpy())], settings)
    assert "empty" in empty.errors["*"][0][1]
