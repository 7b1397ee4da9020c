"""Every kind of view is drawn by a real browser from a file that holds the parts of its kind alone, of a short text and of a long one."""
# ruff: noqa: F811 (a fixture that is imported)

from __future__ import annotations

import pytest
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
        for box in page.locator("#view :is(input[type=radio], input[type=checkbox]):not([disabled])").all():
            box.evaluate("one => one.click()")
        for box in page.locator("#view select:not([disabled])").all():
            box.evaluate(
                "one => { one.selectedIndex = one.options.length - 1; one.dispatchEvent(new Event('change', { bubbles: true })); }"
            )
        unfold(page)
        assert page.get_by_role("alert").count() == 0, page.get_by_role("alert").first.inner_text()
