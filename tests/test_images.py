"""Relevance of pictures: every unit of the logit in pixels, positions and named keepers; maps at any size with the same sums."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from models import randomise
from tolerance import rounding

from pelrp_nb import ATTN_LRP, AUTHORS_VISION, CP_LRP, PA_LRP, PA_LRP_RES, PA_LRP_VISION, Options, explain, propagate, rules, zoo
from pelrp_nb.amounts import signed
from pelrp_nb.errors import InputError, MissingError
from pelrp_nb.inputs.image_processor import as_picture
from pelrp_nb.results.image_maps import resized
from pelrp_nb.zoo import scene_models, scenes

COMPOSITES = {
    "pa": PA_LRP, "attn": ATTN_LRP, "cp": CP_LRP, "vision": PA_LRP_VISION, "res": PA_LRP_RES, "authors": AUTHORS_VISION,
    "z-box": replace(PA_LRP_VISION, patch=rules.zbox), "gamma 1 on patches": replace(PA_LRP, patch=rules.gamma(1.0)),
}  # fmt: skip
SHOWN = ("scenes-learnable", "scenes-rotary")
every_model = pytest.mark.parametrize("name", SHOWN)
every_composite = pytest.mark.parametrize("composite", COMPOSITES.values(), ids=COMPOSITES)


def random_model(name: str) -> torch.nn.Module:
    """Random weights of variance 1 / fan in and biases that are not zero, in float64."""
    model = randomise((scene_models.learnable() if name == "scenes-learnable" else scene_models.rotary()).double())
    for key, weight in model.named_parameters():
        if "lambda" in key:
            weight.data.fill_(0.7)
    return model


@pytest.fixture(scope="module")
def models():
    return {name: random_model(name) for name in SHOWN}


@pytest.fixture(scope="module")
def pixels():
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1


# --- the account ------------------------------------------------------------------------------------------------------


@every_model
@every_composite
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_pixels_positions_constants_and_softmax_are_the_logit(models, pixels, name, composite, attention):
    model = models[name]
    model.set_attn_implementation(attention)
    found = explain(model, {"pixel_values": pixels}, composite=composite, options=Options(audit=True))
    book = found.ledger
    assert book.closed, book
    total = found.maps["content"].sum() + found.positional.sum() + sum(book.constants.values()) + sum(book.softmax.values())
    assert float(total) + book.stabilisers == pytest.approx(book.value, abs=rounding(book.scale))
    assert float(found.semantic.sum()) == pytest.approx(book.tokens, abs=1e-9)


@every_model
def test_the_map_is_content_and_position(models, pixels, name):
    found = explain(models[name], {"pixel_values": pixels}, composite=PA_LRP_VISION)
    prefix = sum(token.startswith("[") for token in found.tokens)
    torch.testing.assert_close(found.map, found.maps["content"] + found.maps["position"])
    patches = found.positional[:, prefix:].sum(0).reshape(8, 8)
    each = found.maps["position"].reshape(8, 4, 8, 4)
    torch.testing.assert_close(each.sum((1, 3)), patches)
    assert float((each - each.mean((1, 3), keepdim=True)).abs().max()) < 1e-12  # evenly over the pixels of a patch
    content = found.maps["content"].reshape(8, 4, 8, 4).sum((1, 3)).flatten()
    torch.testing.assert_close(content, found.semantic[prefix:])


@every_model
def test_results_carry_no_notes_of_the_engine(models, pixels, name):
    found = explain(models[name], {"pixel_values": pixels})
    tensors = (found.semantic, found.positional, found.map, *found.maps.values(), *found.reductions.values())
    assert not any(vars(x) for x in (*tensors, *(b.relevance for b in found.boundaries)))


def test_first_tokens_are_named_constants(models, pixels):
    learnt = explain(models["scenes-learnable"], {"pixel_values": pixels})
    turned = explain(models["scenes-rotary"], {"pixel_values": pixels})
    assert learnt.tokens[:2] == ("[CLS]", "patch 0,0") and len(learnt.tokens) == 65
    assert turned.tokens[:4] == ("[CLS]", "[register 1]", "[register 2]", "patch 0,0") and len(turned.tokens) == 67
    assert {"vit.embeddings.cls_token"} <= set(learnt.ledger.constants)
    assert {"dinov3_vit.embeddings.cls_token", "dinov3_vit.embeddings.register_tokens"} <= set(turned.ledger.constants)
    for found in (learnt, turned):
        special = torch.tensor(found.special)
        assert float(found.semantic[special].abs().max()) == 0 and found.special[0]
        assert {len(b.relevance) for b in found.boundaries} == {len(found.tokens)}
    assert float(turned.positional[:, :3].abs().max()) == 0  # registers are not rotated
    assert set(turned.sink_kinds) == {"rotary"} and set(learnt.sink_kinds) == {"learnable"}


def test_content_is_position_when_positions_are_constants(models, pixels):
    found = explain(models["scenes-learnable"], {"pixel_values": pixels}, composite=ATTN_LRP)
    assert found.sinks == () and float(found.maps["position"].abs().max()) == 0
    assert "vit.embeddings.position_embeddings" in found.ledger.constants


def test_z_box_pays_each_pixel_against_its_bounds(models, pixels):
    """The patch convolution redone by hand: the same shares of the relevance that arrives behind it."""
    model, composite = models["scenes-learnable"], COMPOSITES["z-box"]
    arrived = {}
    with propagate(model, composite) as flow:
        handle = model.vit.embeddings.patch_embeddings.projection.register_forward_hook(lambda _, __, out: arrived.update(z=out))
        value = model(pixel_values=pixels).logits[0].max()
        handle.remove()
    paid = flow.trace(value, keep=True).tokens
    (g,) = torch.autograd.grad(value, arrived["z"])
    convolution, z = model.vit.embeddings.patch_embeddings.projection, arrived["z"]
    patches = torch.nn.functional.unfold(pixels, 4, stride=4).mT  # (1, patches, 48)
    low, high = (torch.full_like(patches, float(x)) for x in (pixels.min(), pixels.max()))
    R = (z * g).detach().flatten(2).mT
    weight, bias = (x.detach() for x in (convolution.weight.flatten(1), convolution.bias))
    by_hand = sum(rules.zbox.relevance(R, patches, low, high, weight=weight, bias=bias))
    by_hand = torch.nn.functional.fold(by_hand.mT, (32, 32), 4, stride=4)[0]
    torch.testing.assert_close(paid, by_hand, rtol=1e-8, atol=1e-10)
    assert float(paid.sum()) == pytest.approx(float(R.sum()), abs=1e-9)  # the bias takes no share


def test_gamma_changes_the_map_and_not_the_account(models, pixels):
    plain, bent = (explain(models["scenes-learnable"], {"pixel_values": pixels}, composite=c) for c in (PA_LRP, PA_LRP_VISION))
    assert plain.value == bent.value and plain.ledger.closed and bent.ledger.closed
    assert float((plain.map - bent.map).abs().max()) > 0.05 * float(plain.map.abs().max())


def test_the_authors_recipe_starts_with_one(models, pixels):
    found = explain(models["scenes-rotary"], {"pixel_values": pixels}, composite=AUTHORS_VISION)
    assert found.ledger.value == 1.0 and found.ledger.closed and found.value != 1.0
    assert float(found.positional.abs().max()) == 0  # all of attention goes through values


def test_pixels_beyond_the_last_patch_belong_to_it(models):
    """A picture of 34 x 33 pixels: the model reads 32 x 32 of it, and no pixel is lost from the account."""
    x = torch.rand(1, 3, 34, 33, dtype=torch.float64)
    found = explain(models["scenes-rotary"], {"pixel_values": x})
    assert found.map.shape == (34, 33) and found.ledger.closed
    assert float(found.semantic.sum()) == pytest.approx(found.ledger.tokens, abs=1e-9)
    assert float(found.map[32:].abs().max()) <= float(found.maps["position"].abs().max())


# --- sizes and modes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (48, 40), (100, 33), (16, 16), (7, 5), (1, 1)])
def test_resizing_keeps_the_sum(size):
    x = torch.randn(32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = resized(x, size)
    assert found.shape == size
    assert float(found.sum()) == pytest.approx(float(x.sum()), abs=1e-10)


def test_resizing_is_area_interpolation_rescaled():
    x = torch.randn(8, 8, dtype=torch.float64)
    by_area = torch.nn.functional.interpolate(x[None, None], size=(4, 2), mode="area")[0, 0]
    torch.testing.assert_close(resized(x, (4, 2)), by_area * 8)
    torch.testing.assert_close(resized(x, (16, 16)), x.repeat_interleave(2, 0).repeat_interleave(2, 1) / 4)
    torch.testing.assert_close(resized(x, (8, 8)), x)


def test_pictures_of_any_mode_are_converted():
    from PIL import Image

    colour = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    picture = Image.fromarray(colour)
    for mode in ("L", "RGBA", "P", "1", "CMYK", "I;16"):
        assert as_picture(picture.convert("L").convert(mode) if mode == "I;16" else picture.convert(mode)).shape == (20, 30, 3)
    same = [colour, torch.from_numpy(colour), colour.transpose(2, 0, 1), colour / 255.0, np.dstack([colour, colour[..., :1]])]
    assert all((as_picture(one) == colour).all() and as_picture(one).dtype == np.uint8 for one in same)
    grey = as_picture(colour[..., 0])
    assert (grey == colour[..., :1]).all() and (as_picture(colour[..., :1]) == grey).all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((5, 6, 7)), r"got \(5, 6, 7\)"),
        (np.zeros(9), r"got \(9,\)"),
        (np.zeros((0, 4, 3)), r"got \(0, 4, 3\)"),
        (np.full((4, 4), -1.0), "got -1 to -1"),
        (np.full((4, 4), 300), "got 300 to 300"),
        (np.full((4, 4), np.nan), "from 0 to 1"),
    ],
    ids=["channels", "axes", "empty", "normalised", "too bright", "nan"],
)
def test_what_is_no_picture_is_refused_with_its_sizes(given, said):
    with pytest.raises(InputError, match=said):
        as_picture(given)


def test_maps_have_the_size_of_the_users_picture():
    """PIL, path and array of another size go through the processor; the maps come back at that size with the same sums."""
    from PIL import Image

    model, worker = scene_models.learnable().eval(), scene_models.processor()
    picture = Image.fromarray(zoo.task("digit-scenes").examples[0].image).resize((50, 70)).convert("L")
    found = explain(model, picture, processor=worker)
    small = explain(model, dict(worker([as_picture(picture)], return_tensors="pt")))
    assert found.map.shape == (70, 50) and small.map.shape == (32, 32)
    for name, one in small.maps.items():
        assert float(found.maps[name].sum()) == pytest.approx(float(one.sum()), abs=1e-6)
    torch.testing.assert_close(found.semantic, small.semantic)
    again = explain(model, [np.asarray(picture), np.asarray(picture)], processor=worker)
    torch.testing.assert_close(again[1].map, found.map)


def test_a_cropped_picture_keeps_the_models_size():
    model, worker = scene_models.learnable().eval(), scene_models.processor()
    worker.do_center_crop, worker.crop_size = True, {"height": 32, "width": 32}
    assert explain(model, np.zeros((50, 70), np.uint8), processor=worker).map.shape == (32, 32)


# --- drawn ------------------------------------------------------------------------------------------------------------


def test_overlay_and_patches_draw_every_number(models, pixels):
    found = explain(models["scenes-learnable"], {"pixel_values": pixels}, composite=PA_LRP_VISION)
    figure = found.overlay(np.zeros((64, 48, 3), np.uint8))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    maps = {"both": found.map, **found.maps}
    assert titles[:4] == ["picture", *(f"{name} {signed(float(one.sum()), 3)}" for name, one in maps.items())]
    assert figure.axes[1].images[0].get_array().shape[:2] == (64, 48)
    grid = found.patches("absolute")
    assert sum(len(axes.texts) for axes in grid.axes) == 64
    drawn = torch.tensor(np.asarray(grid.axes[0].images[0].get_array()))
    torch.testing.assert_close(drawn.flatten(), found.relevance("absolute")[1:])


def test_a_table_of_patches_needs_no_script():
    from pelrp_nb.views.overlay import overlay, table
    from pelrp_nb.amounts import digits

    text = table([[0.5, -1.0], [0.0, float("nan")]], "<patches>")
    assert text.count("<td") == 4 and digits(1.0, 2)(-1.0) in text and "&lt;patches&gt;" in text and "<script" not in text
    with pytest.raises(ValueError, match="must have the picture's size"):
        overlay(np.zeros((4, 4, 3), np.uint8), {"content": np.zeros((2, 2))})


def test_a_text_has_no_map():
    from made import made

    for draw in (made().patches, lambda: made().overlay(np.zeros((2, 2, 3)))):
        with pytest.raises(InputError, match="Only an explanation of an image"):
            draw()


# --- scenes -----------------------------------------------------------------------------------------------------------


def test_scenes_say_what_is_in_them():
    for scene in zoo.task("digit-scenes").examples[:60]:
        assert scene.image.shape == (32, 32, 3) and scene.image.dtype == np.uint8
        assert scene.digits[0].quadrant == 0 and len({d.digit for d in scene.digits}) == len(scene.digits) >= 2
        assert scene.label == 10 + scene.upper_left and scene.upper_left in scene.present
        for placed in scene.digits:
            rows, columns = np.nonzero(placed.mask)
            assert set(rows // 16) == {placed.quadrant // 2} and set(columns // 16) == {placed.quadrant % 2}
            light = scene.image.mean(-1)
            assert light[placed.mask].mean() > light[~np.any([d.mask for d in scene.digits], 0)].max() * 0.9
        assert (scene.truth(scene.label) == scene.digits[0].mask).all() and scene.truth(scene.upper_left).any()
        absent = next(digit for digit in range(10) if digit not in scene.present)
        assert not scene.truth(absent).any() and not scene.truth(10 + scene.digits[1].digit).any()


def test_held_out_digits_are_not_learnt_from():
    pytest.importorskip("sklearn")
    kept, learnt = (scenes.digits(held_out) for held_out in (True, False))
    assert len(kept.classes) + len(learnt.classes) == 1797
    assert not {x.tobytes() for x in kept.pixels} & {x.tobytes() for x in learnt.pixels}
    assert set(kept.classes) == set(learnt.classes) == set(range(10))


def test_the_same_seed_gives_the_same_scenes():
    source = scenes.digits(held_out=True)
    first, second, other = (next(scenes.scenes(source, seed)) for seed in (3, 3, 4))
    assert (first.image == second.image).all() and (first.image != other.image).any()


def test_without_scikit_learn_training_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingError, match=r'pip install "pelrp_nb\[train\]"'):
        scenes.digits(held_out=False)


@every_model
def test_scene_models_reach_95_per_cent(name):
    card = zoo.card(name)
    assert card["accuracies"]["upper left"] >= 0.95 and card["accuracies"]["present"] >= 0.95
    assert card["bytes"] <= 1_500_000 and card["license"] == "BSD-3-Clause"
    assert zoo.check(name, limit=100) >= card["packaged_accuracy"] - 0.06


@every_model
def test_trained_scene_models_explain_scenes(name):
    model, processor = zoo.load(name)
    scene = zoo.task(name).examples[0]
    pixels = dict(processor([scene.image], return_tensors="pt"))
    found = explain(model, pixels, composite=PA_LRP_VISION, options=Options(audit=True))
    assert found.ledger.closed and found.map.shape == (32, 32)
    R = found.map.abs()
    inside = float(R[torch.from_numpy(scene.truth(scene.label))].sum() / R.sum())
    assert inside > float(scene.truth(scene.label).mean()) * 2  # twice what chance would give


def test_200_steps_are_not_needed_to_see_a_loss_fall(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    from pelrp_nb.zoo.train import train

    monkeypatch.setattr(scene_models, "MEASURED", 20)
    monkeypatch.setattr(scene_models, "COURSE", replace(scene_models.COURSE, batch=8))
    card = train("scenes-learnable", steps=30, out=tmp_path / "trained")
    assert card["losses"][1] < card["losses"][0] and zoo.card(tmp_path / "trained")["steps"] == 30


def test_every_layer_of_a_residual_network_balances():
    """ResNet's convolutions come in lists too, inside a block that relevance may pass by: its layers are its blocks."""
    from transformers import ResNetConfig, ResNetForImageClassification

    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [2, 2], "layer_type": "basic"}
    model = randomise(ResNetForImageClassification(ResNetConfig(**sizes)).double().eval())
    found = explain(model, {"pixel_values": torch.randn(1, 3, 32, 32, dtype=torch.float64)}, options=Options(audit=True))
    layers = [b for b in found.boundaries if b.kind == "layer"]
    assert len(layers) == 4 and found.ledger.closed
    assert all(abs(b.gap) < 1e-6 * found.ledger.scale for b in layers)


@pytest.mark.parametrize("kind", ["MobileViT", "HGNetV2"])
def test_a_layer_that_relevance_passes_by_has_no_account_of_its_own(kind):
    """Layers inside a branch whose output meets what went around it: a gap there would blame a rule for what took another way."""
    import transformers

    sizes = {
        "MobileViT": {"hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 8, 8, 16, 16, 16, 32], "image_size": 32},
        "HGNetV2": {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "stem_channels": [3, 8, 8], "stage_in_channels": [8, 8, 8, 16],
                    "stage_mid_channels": [8, 8, 8, 8], "stage_out_channels": [8, 8, 16, 16], "stage_num_blocks": [1, 1, 1, 1]},
    }  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(**sizes[kind])
    model = randomise(getattr(transformers, f"{kind}ForImageClassification")(config).double().eval())
    heard = []
    options = Options(audit=True, watch=heard.append)
    found = explain(model, {"pixel_values": torch.randn(1, 3, 32, 32, dtype=torch.float64)}, options=options)
    layers = [b for b in found.boundaries if b.kind == "layer"]
    assert found.ledger.closed and any(b.gap is None for b in layers)
    assert all(abs(b.gap) < 1e-6 * found.ledger.scale for b in (*layers, *heard) if b.gap is not None)
