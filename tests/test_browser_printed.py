"""Printed, nothing is cut off; with backgrounds off, as browsers print, and from a dark theme, the stronger is the darker."""
# ruff: noqa: F811 (a fixture that is imported)

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pypdfium2
import pytest
import torch
from browsing import MARKS, browser, opened, unfold  # noqa: F401
from every_kind import EVERY, LONG
from made import made
from playwright.sync_api import Page, expect
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


# --- nothing is cut off at the edge ----------------------------------------------------------------------------------

TEXT = "this plot of a gorgeous film was witty and rather long but we did not like the ending of it all ."
LONGER = tuple(TEXT.split())
A4 = 718  # CSS pixels between margins of a centimetre
BEYOND = (
    "edge => [...document.querySelectorAll('#view *')].filter(one => !one.children.length && one.textContent.trim()"
    " && one.getBoundingClientRect().width && one.getBoundingClientRect().right > edge).map(one => one.textContent)"
)


@pytest.mark.parametrize("kind", EVERY)
def test_on_paper_nothing_lies_beyond_the_edge(kind, browser, tmp_path):
    with opened(browser, EVERY[kind](LONGER), tmp_path, width=A4) as page:
        unfold(page)
        page.emulate_media(media="print")
        assert page.evaluate(BEYOND, A4 + 2) == []


def test_the_printed_monitor_has_every_number_of_every_boundary_under_its_word(browser, tmp_path):
    sheet = EVERY["monitor"](LONGER)
    report = sheet.state["report"]
    with opened(browser, sheet, tmp_path) as page:
        shown = page.locator("table.wraps tbody tr").evaluate_all("rows => rows.map(row => [...row.cells].slice(1).map(x => x.innerText))")
        page.emulate_media(media="print")
        with pypdfium2.PdfDocument(page.pdf(format="A4")) as paper:
            text = " ".join(leaf.get_textpage().get_text_range() for leaf in paper).split("Relevance on its way back")[1]
    words = text.split()
    assert len(shown) == len(report["boundaries"]) and all(len(row) == 2 + len(report["tokens"]) for row in shown)
    for number in (number for row in shown for number in row[1:]):
        words.remove(number)
    for word in LONGER:
        assert words.count(word) >= len(shown) * LONGER.count(word)


def test_a_table_of_more_tokens_than_it_has_columns_says_how_many_are_left_out(browser, tmp_path):
    with opened(browser, made(LONG).sheet("xray"), tmp_path) as page:
        unfold(page)
        assert page.locator("table.wraps thead th").count() == 121
        assert page.get_by_text("80 more tokens are not drawn; sums are over all.").is_visible()


# --- names of rows ---------------------------------------------------------------------------------------------------

NAMES = (
    "all => all.map(one => [...one.querySelectorAll('small')].map(x => [x.textContent, Math.round(x.getBoundingClientRect().top)])).flat()"
)
ROWS = "all => all.map(one => [...one.querySelectorAll('small')].map(x => Math.round(x.getBoundingClientRect().top)))"


def beside() -> Any:
    """Two results of more words than stand in one line."""
    return views.compare([made(LONGER), made(LONGER, seed=1)], ["one", "other"])


@pytest.mark.parametrize("width", [400, 1280])
def test_the_names_of_rows_stand_beside_each_line_that_a_strip_is_wrapped_into(width, browser, tmp_path):
    with opened(browser, beside(), tmp_path, width=width) as page:
        for wide in (width, width + 300):  # and after the window has changed
            page.set_viewport_size({"width": wide, "height": 900})
            lines = page.locator(".rowed li").evaluate_all("all => new Set(all.map(one => one.offsetTop)).size")
            expect(page.locator(".rowed .names > div")).to_have_count(lines)
            first, second = ({row[i] for row in page.locator(".rowed li").evaluate_all(ROWS)} for i in (0, 1))
            assert lines > 1 and len(first) == lines
            named = page.locator(".rowed .names").evaluate_all(NAMES)
            assert {top for name, top in named if name == "one"} == first and {top for name, top in named if name == "other"} == second


def test_on_paper_each_number_has_the_name_of_its_row_on_its_height(browser, tmp_path):
    with opened(browser, beside(), tmp_path) as page:
        shown = page.locator(".rowed li").evaluate_all("all => all.map(one => [...one.querySelectorAll('small')].map(x => x.textContent))")
        page.emulate_media(media="print")
        with pypdfium2.PdfDocument(page.pdf(format="A4")) as paper:
            leaf = paper[0].get_textpage()
            heights = {name: set(heights_of(leaf, name)) for name in ("one", "other")}
            for row, name in enumerate(heights):
                for one in shown:
                    assert any(abs(at - near) < 2 for at in heights_of(leaf, one[row]) for near in heights[name]), one


def heights_of(leaf: pypdfium2.PdfTextPage, text: str) -> list[float]:
    """Where a text stands on a page, each time: how high its first letter begins."""
    found, search = [], leaf.search(text, match_case=True, match_whole_word=True)
    while (at := search.get_next()) is not None:
        found.append(leaf.get_charbox(at[0], loose=True)[1])
    return found
