"""Printed with backgrounds off, as browsers print unless told otherwise, and from a dark theme: the stronger, the darker, in every view."""
# ruff: noqa: F811 (a fixture that is imported)

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pypdfium2
import pytest
import torch
from browsing import MARKS, browser, opened  # noqa: F401
from playwright.sync_api import Page
from test_views_card import weighed

from pelrp_nb import Explanations, views

pytestmark = MARKS
AMOUNTS = {
    "most": 1.0, "much": 0.75, "half": 0.5, "some": 0.25, "little": 0.1, "least": -0.1, "less": -0.25, "middle": -0.5, "heavy": -0.75,
    "worst": -1.0,
}  # fmt: skip
PAGE = (794, 2000)  # CSS pixels: the width of A4, and room for all of a view
BOXES = "all => all.map(one => { const b = one.getBoundingClientRect(); return [one.innerText.trim(), b.x, b.y, b.width, b.height]; })"


def text() -> Any:
    """A result whose words carry known amounts."""
    return weighed(tuple(AMOUNTS), list(AMOUNTS.values()))


def pictured() -> Any:
    """A grey picture of ten patches in a row that carry the same amounts."""
    tokens = tuple(f"patch 0,{c}" for c in range(len(AMOUNTS)))
    values = torch.tensor(list(AMOUNTS.values()))[None].repeat_interleave(10, 1).repeat(10, 1)
    grey = torch.full((10, 100, 3), 128, dtype=torch.uint8)
    maps = {"content": values, "position": torch.zeros_like(values)}
    return weighed(tokens, list(AMOUNTS.values()), map=values, maps=maps, picture=grey)


VIEWS: dict[str, tuple[Callable[[], Any], str]] = {  # view -> what is printed, and where its colours are
    "result": (text, ".card .running [data-at]"),
    "stepper": (lambda: text().sheet("stepper"), ".token"),
    "picture": (pictured, "canvas.pane:last-of-type"),
    "compare": (lambda: views.compare([text(), text()], ["one", "other"]), ".token"),
    "list": (lambda: Explanations([text(), text()]).sheet(), ".tile:first-of-type .running span"),
}  # fmt: skip


def printed(page: Page, marked: str) -> list[float]:
    """How light the ground is under each amount, of 255, on paper."""
    page.set_viewport_size({"width": PAGE[0], "height": PAGE[1]})
    page.emulate_media(media="print", color_scheme="dark")
    boxes = page.locator(marked).evaluate_all(BOXES)
    size = {"width": f"{PAGE[0]}px", "height": f"{PAGE[1]}px"}
    with pypdfium2.PdfDocument(page.pdf(print_background=False, margin=dict.fromkeys(("top", "left"), "0"), **size)) as paper:
        light = np.asarray(paper[0].render(scale=96 / 72).to_pil().convert("L"), float)
    if len(boxes) == 1:  # a picture: its patches
        [(_, x, y, width, height)] = boxes
        boxes = [(name, x + width * i / len(AMOUNTS), y, width / len(AMOUNTS), height) for i, name in enumerate(AMOUNTS)]
    found = {}
    for name, x, y, width, height in boxes:
        found.setdefault(
            name.split("\n")[0], float(np.median(light[round(y) + 2 : round(y + height) - 2, round(x) + 2 : round(x + width) - 2]))
        )
    return [found[name] for name in AMOUNTS]


def ordered(light: list[float]) -> bool:
    """Whether strength can be told by darkness, on each side of zero."""
    for side in (light[:5], light[:4:-1]):
        if any(stronger > weaker + 1 for stronger, weaker in pairwise(side)) or side[-1] - side[0] < 30:
            return False
    return True


@pytest.mark.parametrize("view", VIEWS)
def test_on_paper_without_backgrounds_the_stronger_is_the_darker(view, browser, tmp_path):
    make, marked = VIEWS[view]
    with opened(browser, make(), tmp_path, through=False, color_scheme="dark") as page:
        light = printed(page, marked)
        assert ordered(light), light


def test_without_the_rule_that_keeps_colours_the_order_is_lost(browser, tmp_path):
    with opened(browser, text(), tmp_path, through=False, color_scheme="dark") as page:
        page.evaluate(
            "document.querySelectorAll('style').forEach(s => { s.textContent = s.textContent.replaceAll('color-adjust: exact', ''); })"
        )
        assert not ordered(printed(page, ".card .running [data-at]"))
