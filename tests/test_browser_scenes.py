"""Both models of scenes in a browser: the overlay on a real picture, its maps, and the steps through the layers."""
# ruff: noqa: F811 (a fixture that is imported)

from __future__ import annotations

import io

import numpy as np
import pytest
from browsing import MARKS, browser, numbers, opened, section, slider, stated  # noqa: F401
from pelrp_nb import PA_LRP_VISION, explain, views, zoo
from pelrp_nb.views.steps import walk
from PIL import Image
from playwright.sync_api import expect

pytestmark = MARKS


@pytest.fixture(scope="module", params=["scenes-learnable", "scenes-rotary"])
def scene(request):
    """A real picture and its explanation."""
    picture = zoo.task(request.param).examples[0].image
    model, processor = zoo.load(request.param)
    return picture, explain(model, dict(processor([picture], return_tensors="pt")), composite=PA_LRP_VISION)


def canvas_of(page) -> np.ndarray:
    shot = page.locator("canvas.picture").screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"), float)


def test_the_picture_shows_through_as_far_as_it_is_told(scene, browser, tmp_path):
    picture, e = scene
    with opened(browser, views.image(e, picture), tmp_path) as page:
        dial = page.get_by_role("slider", name="Opacity")
        dial.press("Home")
        bare = canvas_of(page)
        size = bare.shape[0] // e.map.shape[0]
        small = np.asarray(picture, float)
        assert np.abs(bare[size // 2 :: size, size // 2 :: size][: small.shape[0], : small.shape[1]] - small).max() <= 2
        dial.press("End")
        shown = {}
        for part, wanted in (("content", e.maps["content"]), ("position", e.maps["position"]), ("both", e.map)):
            section(page, "Step by step").get_by_label(part, exact=True).check()
            shown[part] = np.abs(canvas_of(page) - bare).sum(-1)[size // 2 :: size, size // 2 :: size]
            r, c = np.unravel_index(int(wanted.abs().argmax()), wanted.shape)
            assert shown[part][r, c] > 0
            idle = (wanted.abs() < 1e-6 * wanted.abs().max()).numpy()
            assert shown[part][: idle.shape[0], : idle.shape[1]][idle].max(initial=0) <= 3
        assert not np.array_equal(shown["content"], shown["position"])
        before = canvas_of(page)
        page.get_by_label("patch grid").check()
        assert not np.array_equal(canvas_of(page), before)


def test_every_step_shows_its_patches_and_its_account(scene, browser, tmp_path):
    picture, e = scene
    patches = [t for t, token in enumerate(e.tokens) if token.startswith("patch ")]
    columns = 1 + max(int(e.tokens[t].split(",")[1]) for t in patches)
    with opened(browser, views.image(e, picture), tmp_path) as page:
        canvas, read = page.locator("canvas.picture"), section(page, "Step by step").locator(".readout", has_text="patch").first
        slider(page).press("Home")
        for step in walk(e.plain()):
            assert page.locator(".said").first.text_content() == step["said"]
            assert section(page, "Account so far").locator("p.good").count() == 1
            if step["kind"] not in ("answer", "inputs"):
                values = e.boundaries[step["boundary"]].relevance
                values = values + e.positional[step["paid"]].sum(0) if step["kind"] == "layer" else values
                most = max(patches, key=lambda t: abs(float(values[t])))
                r, c = divmod(most - patches[0], columns)
                box = canvas.bounding_box()
                canvas.hover(position={"x": box["width"] * (c + 0.5) / columns, "y": box["height"] * (r + 0.5) / columns})
                expect(read).to_contain_text(f"patch {r},{c}")
                assert stated(read.text_content()) == pytest.approx([float(values[most])], rel=5e-3, abs=5e-3)
            slider(page).press("ArrowRight")
