"""A list of results in a real browser: a tile for each, sorted, filtered and read by keys; a thousand of them stay light."""
# ruff: noqa: F811 (a fixture that is imported)

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import MARKS, browser, opened, stated  # noqa: F401
from hostile import TOKENS
from made import made
from playwright.sync_api import expect
from test_views_card import TOLD

from pelrp_nb import Explanations

pytestmark = MARKS
TEXTS = ("a dull film", "a witty and warm film", "so dull", "nothing here works", "wise")


def several(texts=TEXTS, **given) -> Explanations:
    """A result for each text, two labels in turn."""
    found = []
    for i, text in enumerate(texts):
        tokens = ("[CLS]", *text.split(), "[SEP]")
        special = tuple(token[0] == "[" for token in tokens)
        found.append(made(tokens, seed=i, special=special, target=("positive", "negative")[i % 2], **given))
    return Explanations(found)


def shown(page) -> list[int]:
    """The numbers of the results that are drawn, in their order."""
    return [int(re.match(r"\[(\d+)\]", tile)[1]) for tile in page.locator(".tile").all_text_contents()]


def test_there_is_a_tile_for_each_with_its_label_value_length_and_ledger(browser, tmp_path):
    found = several()
    with opened(browser, found, tmp_path) as page:
        tiles = page.locator(".tile").all_text_contents()
        assert shown(page) == [0, 1, 2, 3, 4]
    for e, text, tile in zip(found, TEXTS, tiles, strict=True):
        count = len(text.split())
        assert e.target in tile and text in tile and f"{count} word{'s' * (count != 1)} " in tile and "\u2713 closed" in tile
        assert stated(tile)[0] == pytest.approx(e.value, abs=1e-3)
        assert f"positions {round(100 * e.positional_share)} %" in tile


@pytest.mark.parametrize(
    ("order", "by"),
    [
        ("value", lambda e, text: -e.value),
        ("label", lambda e, text: e.target),
        ("length of the text", lambda e, text: -len(text.split())),
        ("share of positions", lambda e, text: -e.positional_share),
    ],
)
def test_tiles_are_sorted_as_is_chosen_and_the_other_way_round(order, by, browser, tmp_path):
    found = several()
    wanted = sorted(range(len(TEXTS)), key=lambda i: by(found[i], TEXTS[i]))
    with opened(browser, found, tmp_path) as page:
        page.get_by_label("Sort by").select_option(label=order)
        assert shown(page) == wanted != [0, 1, 2, 3, 4]
        page.get_by_label("the other way round").check()
        assert shown(page) == wanted[::-1]
        page.get_by_label("Sort by").select_option(label="as they came")
        assert shown(page) == [4, 3, 2, 1, 0]


def test_a_filter_finds_texts_and_labels_and_says_how_many(browser, tmp_path):
    with opened(browser, several(), tmp_path) as page:
        box = page.get_by_role("searchbox", name="Filter by text or label")
        box.fill("DULL")
        assert shown(page) == [0, 2]
        expect(page.get_by_text("2 of 5 results hold \u201cdull\u201d")).to_be_visible()
        box.fill("negative")
        assert shown(page) == [1, 3]
        box.fill("no such word")
        assert shown(page) == [] and page.get_by_text("0 of 5 results").is_visible()
        box.fill("")
        assert shown(page) == [0, 1, 2, 3, 4]


def test_arrow_keys_go_from_tile_to_tile_and_enter_opens_the_card(browser, tmp_path):
    found = several()
    with opened(browser, found, tmp_path) as page:
        assert page.eval_on_selector_all(".tile", "all => all.filter(one => one.tabIndex === 0).length") == 1
        page.locator(".tile").first.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        card = page.get_by_role("region", name="Result")
        assert page.locator(".tile[aria-expanded=true]").text_content().startswith("[1]")
        assert "\u201cnegative\u201d" in card.get_by_role("heading").text_content()
        text = card.get_by_role("group", name="the text, in colour")
        text.press("Home")
        text.press("ArrowRight")
        told = stated(card.locator(".readout").text_content())
        e = found[1]
        assert told == pytest.approx([float(x[1]) for x in (e.semantic, e.positional.sum(0), e.relevance())], abs=5e-3)
        page.locator(".tile[aria-expanded=true]").press("Enter")
        assert page.get_by_role("region", name="Result").count() == 0


def test_colours_are_of_one_scale_or_of_each_result(browser, tmp_path):
    found = several()
    most = [float(e.relevance().abs().max()) for e in found]
    shade = "span => Math.abs(Number((span.className.match(/p(-?\\d+)/) ?? [0, 0])[1]))"
    strongest = f"all => all.map(tile => Math.max(...[...tile.querySelectorAll('.running span')].map({shade})))"
    with opened(browser, found, tmp_path) as page:
        assert page.eval_on_selector_all(".tile", strongest) == pytest.approx([20 * x / max(most) for x in most], abs=1)
        page.get_by_label("each by its own largest").check()
        assert page.eval_on_selector_all(".tile", strongest) == [20] * 5 and not page.locator(".scale").is_visible()


def test_a_thousand_results_are_light_in_a_cell_in_a_page_and_on_the_screen(browser, tmp_path):
    many = Explanations(made(("a", *[f"w{k}" for k in range(10)], str(i)), seed=i % 7) for i in range(1000))
    assert len(many._repr_html_()) < 700_000 and len(many.to_html()) < 2_000_000
    with opened(browser, many, tmp_path) as page:
        assert page.locator(".tile").count() == 24 and page.get_by_text("The first 24 are drawn.").is_visible()
        assert page.evaluate("performance.now()") and page.locator("#view *").count() < 1500
        page.get_by_role("button", name="Show 96 more").click()
        assert page.locator(".tile").count() == 120
        page.get_by_role("searchbox").fill("999")
        assert shown(page) == [999]


def test_without_scripts_there_is_a_table_and_what_is_left_is_said(browser, tmp_path):
    many = Explanations(made(("a", "b"), seed=i) for i in range(53))
    with opened(browser, many, tmp_path, java_script_enabled=False) as page:
        assert page.locator("noscript td", has_text="[49]").is_visible()
        assert page.locator("noscript div", has_text="and 3 more: they need scripts").last.is_visible()
    assert "and 33 more: .table() has all" in many._repr_html_() and "and 3 more" not in Explanations(many[:50]).to_html()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_kind_of_result_has_its_tile_and_axe_finds_nothing_serious(scheme, browser, tmp_path):
    found = Explanations(told[0]() for told in TOLD.values())
    with opened(browser, found, tmp_path, 400, color_scheme=scheme) as page:
        assert page.locator(".tile").count() == len(TOLD) and page.get_by_role("alert").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        for tile in page.locator(".tile").all():
            tile.click()
            assert page.get_by_role("region", name="Result").count() == 1
        serious = [rule for rule in Axe().run(page).response["violations"] if rule["impact"] in ("serious", "critical")]
        assert [(rule["id"], rule["nodes"][0]["html"][:160]) for rule in serious] == []


def test_hostile_texts_are_shown_as_text(browser, tmp_path):
    found = Explanations([made(TOKENS, card={"own": True}, target=TOKENS[0]), made()])
    with opened(browser, found, tmp_path) as page:
        assert "window.hit=1" in page.locator(".tile").first.text_content()
        assert page.locator("#view :is(img, iframe, object, embed, link, a, form, style, script, video)").count() == 0
