"""Every kind of view is drawn by a real browser from a file that holds the parts of its kind alone, of a short text and of a long one."""
# ruff: noqa: F811 (a fixture that is imported)

from __future__ import annotations

from itertools import pairwise

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import MARKS, browser, opened, unfold  # noqa: F401
from every_kind import EVERY, LONG
from made import REVIEW
from pelrp_nb.views import module

pytestmark = MARKS


def test_there_is_a_view_of_every_kind():
    assert EVERY.keys() == module.KINDS.keys()


@pytest.mark.parametrize("tokens", [REVIEW, LONG], ids=["short", "long"])
@pytest.mark.parametrize("kind", EVERY)
def test_it_is_drawn_and_answers_every_choice_without_an_error(kind, tokens, browser, tmp_path):
    sheet = EVERY[kind](tokens)
    assert sheet.kind == kind
    with opened(browser, sheet, tmp_path) as page:
        unfold(page)
        assert len(page.locator("#view").inner_text()) > 80
        levels = page.locator(":is(h1, h2, h3, h4):visible").evaluate_all("all => all.map(one => Number(one.tagName[1]))")
        assert levels[:1] == [1] and all(after <= before + 1 for before, after in pairwise(levels)), levels
        if tokens is REVIEW:
            found = Axe().run(page).response["violations"]
            serious = [rule["id"] for rule in found if rule["impact"] in ("serious", "critical")]
            assert serious == [], [node["html"][:160] for rule in found for node in rule["nodes"][:1]]
        for box in page.locator("#view :is(input[type=radio], input[type=checkbox]):not([disabled])").all():
            box.evaluate("one => one.click()")
        for box in page.locator("#view select:not([disabled])").all():
            box.evaluate(
                "one => { one.selectedIndex = one.options.length - 1; one.dispatchEvent(new Event('change', { bubbles: true })); }"
            )
        unfold(page)
        assert page.get_by_role("alert").count() == 0, page.get_by_role("alert").first.inner_text()


def test_two_places_that_were_not_exchanged_have_an_empty_cell_and_the_reason_stands_under_it(browser, tmp_path):
    with opened(browser, EVERY["exchange"](REVIEW), tmp_path) as page:
        assert "nan" not in page.locator("#view").inner_text()
        assert page.get_by_text("Empty: these two were not exchanged").is_visible()
        canvas = page.locator("canvas")
        canvas.focus()
        for _ in REVIEW:
            page.keyboard.press("ArrowRight")
        assert page.locator(".heat .readout").text_content().split("\u2002")[1].strip().startswith(f"{len(REVIEW) - 2} ")  # the last told
        drawn = "one => [...one.getContext('2d').getImageData(0, 5, one.width, 1).data].filter((_, i) => i % 4 === 3)"
        opaque = canvas.evaluate(drawn)
        assert opaque[-len(opaque) // 20] == 0 and opaque[-len(opaque) // 6] == 255
