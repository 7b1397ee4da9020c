"""What each view saves as a picture is what it shows: the same words and numbers, the same colours, in a file that draws by itself."""
# ruff: noqa: F811 (a fixture that is imported)

from __future__ import annotations

import io
import json
import re
import unicodedata
import xml.etree.ElementTree as ET
from collections import Counter

import numpy as np
import pytest
from browsing import MARKS, browser, opened, section  # noqa: F401
from every_kind import EVERY
from made import REVIEW, made
from PIL import Image
from pelrp_nb.views.colour import STEPS, palette
from test_browser_kinds import saved

pytestmark = MARKS
SVG = "{http://www.w3.org/2000/svg}"
ALLOWED = {f"{SVG}{tag}" for tag in ("svg", "rect", "path", "text", "image")}


def widest(e) -> float:
    """The largest number of any step."""
    parts = (e.relevance(), e.semantic, e.positional.sum(0), *(b.relevance for b in e.boundaries))
    return max(float(one.abs().max()) for one in parts)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)


def colours_of(picture: np.ndarray) -> Counter[str]:
    """How many pixels there are of each colour."""
    found, counts = np.unique(picture.reshape(-1, 3) @ (2**16, 2**8, 1), return_counts=True)
    return Counter({f"#{colour:06x}": count for colour, count in zip(found.tolist(), counts.tolist(), strict=True)})


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\S+", unicodedata.normalize("NFKC", text)))


def at_half(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture.astype(np.uint8)).resize((picture.shape[1] // 2, picture.shape[0] // 2)), dtype=int)


@pytest.mark.parametrize("kind", EVERY)
def test_the_picture_of_a_view_holds_its_words_and_numbers_and_draws_by_itself(kind, browser, tmp_path):
    with opened(browser, EVERY[kind](REVIEW), tmp_path, accept_downloads=True) as page:
        svg, png = saved(page, "SVG"), saved(page, "PNG")
        page.eval_on_selector("#view > .pelrp", "root => root.classList.add('pictured')")
        places = page.locator('.card, [aria-label="Step by step"]').all() if kind in ("explanation", "image") else [page.locator("#view")]
        shown = words(" ".join(place.inner_text() for place in places).replace("\u2026", " "))
        unseen = words(" ".join(page.locator(".hidden").all_text_contents()))
    root = ET.fromstring(svg)
    assert {node.tag for node in root.iter()} <= ALLOWED
    held = unicodedata.normalize("NFKC", "".join(node.text or "" for node in root.iter(f"{SVG}text"))).replace(" ", "")
    assert sum(shown.values()) > 15 and len(held) > 100
    assert [word for word, n in (shown - unseen).items() if held.count(word.strip(".,:;\u201c\u201d")) < n] == []
    size = {"width": int(root.get("width")), "height": int(root.get("height"))}
    path = tmp_path / "picture.svg"
    path.write_text(svg, encoding="utf-8")
    alone = browser.new_page(viewport=size)
    alone.goto(path.as_uri())
    drawn, other = pixels(alone.screenshot()), at_half(pixels(png))
    alone.close()
    assert drawn.shape == other.shape and len(colours_of(drawn)) > 20
    assert np.abs(drawn - other).mean() < 3  # of 255: letters are smoothed otherwise


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_png_has_the_colours_of_the_screen(scheme, browser, tmp_path):
    e = made()
    strongest = int(e.relevance().abs().argmax())
    with opened(browser, e.sheet("stepper"), tmp_path, accept_downloads=True, color_scheme=scheme) as page:
        png = pixels(saved(page, "PNG"))
        tokens = section(page, "Tokens").locator(".token").all()
        shown = [pixels(token.screenshot()) for token in tokens]
        ground = page.eval_on_selector("#view > .pelrp", "root => getComputedStyle(root).backgroundColor")
    colours = [colours_of(one).most_common(1)[0] for one in shown]
    held = colours_of(png)
    for colour, count in colours:
        assert held[colour] >= 4 * 0.9 * count  # two pixels of the file for one of the screen, each way
    assert "#{:02x}{:02x}{:02x}".format(*json.loads(ground.replace("rgb(", "[").replace(")", "]"))) == held.most_common(1)[0][0]
    assert len({colour for colour, _ in colours}) > 4
    strong = palette(scheme == "dark")[STEPS + round(STEPS * float(e.relevance()[strongest]) / widest(e))].back
    assert colours[strongest][0] == strong


def test_a_picture_of_a_view_with_nothing_to_press_has_what_is_cut_off_on_the_screen(browser, tmp_path):
    with opened(browser, made(tuple(f"word{i}" for i in range(900))), tmp_path, 400, accept_downloads=True) as page:
        root = ET.fromstring(saved(page, "SVG"))
        assert page.locator(".pictured").count() == 0 and page.get_by_role("button", name="SVG").is_visible()
    text = " ".join(node.text or "" for node in root.iter(f"{SVG}text"))
    assert "word0 " in text and "word899" in text
    assert not {"play", "Save as a file", "Close the steps"} & {node.text for node in root.iter(f"{SVG}text")}
