"""The card of a result in a real browser: small, whole without a press, one press from all the rest, read by keys, print and colours."""
# ruff: noqa: F811 (a fixture that is imported)

from __future__ import annotations

import io

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import MARKS, browser, opened, section, stated, step_through  # noqa: F401
from hostile import TOKENS
from made import REVIEW, made
from PIL import Image
from playwright.sync_api import expect
from test_views_card import BAD, TOLD, card, said, seen, weighed

from pelrp_nb import views
from pelrp_nb.ledger import Ledger

pytestmark = MARKS
TALL = 400  # pixels: Notebook 7 puts what is much taller into a box that scrolls


def result(page):
    return section(page, "Result")


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", TOLD)
def test_the_card_is_at_most_400_pixels_tall_and_tells_all_without_a_press(name, width, browser, tmp_path):
    e = TOLD[name][0]()
    with opened(browser, e, tmp_path, width, through=False) as page:
        assert page.locator("#view").bounding_box()["height"] <= TALL
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        shown = result(page).text_content()
        assert said(card(e)["headline"]) in shown and said(card(e)["against"]) in shown and "The numbers add up" in shown
        assert page.locator(".token, .walker").count() == 0 and "%" not in shown
        first = result(page).locator(".running, canvas").first.bounding_box()
        assert first["y"] + 20 < TALL


TOP = """tall => { const walk = document.createTreeWalker(document.querySelector('#view'), NodeFilter.SHOW_TEXT), seen = [];
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const range = document.createRange(); range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    if (box.height > 0 && box.bottom <= tall) seen.push(node.textContent);
  }
  return seen.join(""); }"""  # the text that can be seen in the top of a page


def answered(name: str, seen: str) -> list[bool]:
    """Whether a text says of a result what was decided, because of which two, what speaks against it, and that the numbers add up."""
    _, what, because, against = TOLD[name]
    reasons = seen.partition(" because of ")[2].partition(" against it: ")
    return [
        what in seen,
        all(word in reasons[0] for word in because),
        all(word in reasons[2] for word in against),
        "The numbers add up" in seen,
    ]


def test_the_top_400_pixels_answer_the_questions_of_their_own_result_and_of_no_other(browser, tmp_path):
    for name, (make, *_) in TOLD.items():
        with opened(browser, make(), tmp_path, through=False) as page:
            seen = page.evaluate(TOP, TALL)
        assert answered(name, seen) == [True] * 4
        assert not any(answered(other, seen)[0] and all(answered(other, seen)[1:3]) for other in TOLD if other != name)
    with opened(browser, made(ledger=Ledger(1.0, 0.5, 0.25, scale=1.0)), tmp_path, through=False) as page:
        assert "The numbers do not add up" in page.evaluate(TOP, TALL)
        assert "The numbers do not add up" not in page.evaluate(TOP, 60)


def test_the_frame_of_a_cell_is_at_most_400_pixels_tall_at_any_width(browser, tmp_path):
    """264 pixels are what JupyterLab leaves of 400; a cell adds some 14 pixels of its own."""
    cells = [f"<div>{TOLD[name][0]()._repr_html_()}</div>" for name in TOLD]
    with opened(browser, f"<!doctype html><meta charset=utf-8>{''.join(cells)}", tmp_path, through=False) as page:
        tall = "[...document.querySelectorAll('iframe')].map(frame => frame.getBoundingClientRect().height)"
        for width in (264, 342, 400, 480, 560, 740, 860, 1280):
            page.set_viewport_size({"width": width + 16, "height": 900})
            page.wait_for_timeout(150)
            found = page.evaluate(tall)
            assert len(found) == len(TOLD) and min(found) > 200 and max(found) <= TALL - 14, (width, found)


def test_one_press_shows_the_steps_and_another_hides_them(browser, tmp_path):
    with opened(browser, made(), tmp_path, through=False) as page:
        button = page.get_by_role("button", name="Step through")
        button.press("Enter")
        closing = page.get_by_role("button", name="Close the steps")
        expect(closing).to_be_focused()
        assert closing.get_attribute("aria-expanded") == "true" and page.locator(".token").count() == len(REVIEW)
        closing.press("Enter")
        expect(page.get_by_role("button", name="Step through")).to_be_focused()
        assert page.locator(".token").count() == 0


def test_a_word_is_read_by_pointer_and_by_keys_with_its_parts(browser, tmp_path):
    e = made()
    with opened(browser, e, tmp_path, through=False) as page:
        text = result(page).get_by_role("group", name="the text, in colour")
        read = result(page).locator(".readout")
        assert read.text_content() == "Point at a word, or use the arrow keys."
        text.locator("[data-at]").nth(2).hover()
        wanted = [float(x) for x in (e.semantic[2], e.positional.sum(0)[2], e.relevance()[2])]
        assert read.text_content().startswith("gorgeous")
        assert sorted(stated(read.text_content())) == pytest.approx(sorted(wanted), abs=5.1e-3)
        text.press("Home")
        text.press("ArrowRight")
        assert read.text_content().startswith("a")
        text.press("End")
        assert read.text_content().startswith("[SEP]")
        assert page.evaluate("document.querySelectorAll('.card [tabindex=\"0\"]').length") == 1


def test_one_switch_shows_content_and_position_on_one_scale(browser, tmp_path):
    e = made()
    with opened(browser, e, tmp_path, through=False) as page:
        words = result(page).locator(".running [data-at]")
        most = float(e.relevance().abs().max())
        for part, values in (("both", e.relevance()), ("content", e.semantic), ("position", e.positional.sum(0))):
            result(page).get_by_label(part, exact=True).check()
            shades = [
                next((c for c in word.get_attribute("class").split() if c[0] == "p" and c[1:].lstrip("-").isdigit()), "p0")
                for word in words.all()
            ]
            wanted = [round(max(-1.0, min(1.0, float(x) / most)) * 20) for x in values]
            assert [int(shade[1:]) for shade in shades] == pytest.approx(wanted, abs=1)


def test_the_bar_begins_each_term_where_the_one_before_it_ends(browser, tmp_path):
    e = made()
    with opened(browser, e, tmp_path, through=False) as page:
        boxes = "bars => bars.map(bar => [parseFloat(bar.style.left), parseFloat(bar.style.width), bar.className])"
        bars = page.eval_on_selector_all(".waterfall i", boxes)
    amounts = [amount for _, _, amount, _ in card(e)["terms"]]
    sums = np.cumsum([0.0, *amounts])
    unit = 100 / (sums.max() - sums.min())
    for (left, width, kind), start, end in zip(bars, sums[:-1], sums[1:], strict=True):
        assert left == pytest.approx((min(start, end) - sums.min()) * unit, abs=0.02)
        assert width == pytest.approx(abs(end - start) * unit, abs=0.02)
        assert ("minus" in kind) == (end < start)


def test_a_long_text_stands_where_most_is_carried_and_the_whole_of_it_is_one_line(browser, tmp_path):
    tokens = [f"word{i}" for i in range(1500)]
    amounts = [0.01] * 1500
    amounts[1480] = 2.0
    with opened(browser, weighed(tuple(tokens), amounts), tmp_path, through=False) as page:
        text, strong = result(page).locator(".running"), result(page).get_by_text("word1480", exact=True)
        expect(result(page).locator(".mini")).to_be_visible()
        inside = (
            "([box, word]) => word.offsetTop >= box.scrollTop && word.offsetTop + word.offsetHeight <= box.scrollTop + box.clientHeight"
        )
        seen = f"({inside})([document.querySelector('.running'), document.querySelector('[data-at=\"1480\"]')])"
        for width in (1280, 500):  # a window made narrow, too
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_function(seen)
        assert strong.is_visible() and page.locator("#view").bounding_box()["height"] <= TALL
        result(page).locator(".mini").click(position={"x": 2, "y": 4})
        assert text.evaluate("box => box.scrollTop") < 40
        page.set_viewport_size({"width": 700, "height": 900})
        page.wait_for_timeout(100)
        assert not page.evaluate(seen)  # whoever moved it stays there
        darkest = "canvas => { const d = canvas.getContext('2d').getImageData(0, 4, 720, 1).data; let at = 0; "
        darkest += "for (let x = 0; x < 720; x++) if (d[4 * x] + d[4 * x + 2] < d[4 * at] + d[4 * at + 2]) at = x; return at; }"
        assert result(page).locator(".mini").evaluate(darkest) == pytest.approx(1480 * 720 / 1500, abs=2)
    with opened(browser, made(), tmp_path, through=False) as page:
        assert not result(page).locator(".mini").is_visible()


def test_a_text_from_right_to_left_reads_from_right_to_left(browser, tmp_path):
    with opened(browser, made(("[CLS]", "\u05e9\u05dc\u05d5\u05dd", "\u05e2\u05d5\u05dc\u05dd", "[SEP]")), tmp_path, through=False) as page:
        words = result(page).locator(".running [data-at]")
        first, second = (words.nth(i).bounding_box()["x"] for i in (1, 2))
        assert first > second


@pytest.mark.parametrize("name", BAD)
def test_a_card_is_drawn_of_any_result(name, browser, tmp_path):
    e, told = BAD[name]
    with opened(browser, e, tmp_path, 400) as page:
        assert result(page).get_by_role("heading").text_content() == told
        assert page.get_by_role("alert").count() == 0 and page.evaluate("document.documentElement.scrollWidth") <= 400


@pytest.mark.parametrize(("width", "height"), [(4000, 3000), (1, 1)])
def test_a_real_picture_of_any_size_stands_in_the_card_in_its_own_shape(width, height, browser, tmp_path):
    with opened(browser, seen(width, height), tmp_path, 400, through=False) as page:
        assert page.locator("#view").bounding_box()["height"] <= TALL
        for pane in page.locator("canvas.pane").all():
            box = pane.bounding_box()
            assert box["width"] / box["height"] == pytest.approx(width / height, rel=0.03) and box["width"] > 50
        page.locator("canvas.pane").last.press("ArrowRight")
        assert result(page).locator(".readout").text_content().startswith("row 1, column 1")


def test_two_hundred_contrasts_stand_side_by_side(browser, tmp_path):
    found = [weighed(("a", "b"), [2.0, i / 100 - 1.0], target=f"first rather than class {i}", card={}) for i in range(200)]
    with opened(browser, views.compare(found, [f"class {i}" for i in range(200)]), tmp_path, 400) as page:
        assert page.get_by_role("alert").count() == 0 and page.evaluate("document.documentElement.scrollWidth") <= 400
        rows = section(page, "Tokens").locator(".token").nth(1).locator("small").all_text_contents()
        assert len(rows) == 200 and rows[0] == "\u22121.000" and rows[199] == "+0.990"


def test_the_card_shows_hostile_texts_as_text(browser, tmp_path):
    with opened(browser, made(TOKENS, card={"own": True}, target=TOKENS[0]), tmp_path, through=False) as page:
        assert "window.hit=1" in result(page).locator(".running").text_content()
        assert page.locator("#view :is(img, iframe, object, embed, link, a, form, style, script, video)").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_a_card(scheme, browser, tmp_path):
    for name in ("text", "picture", "encoder and decoder"):
        with opened(browser, TOLD[name][0](), tmp_path, through=False, color_scheme=scheme) as page:
            found = [rule for rule in Axe().run(page).response["violations"] if rule["impact"] in ("serious", "critical")]
            assert [(rule["id"], rule["nodes"][0]["html"][:160]) for rule in found] == []


def test_on_paper_the_strongest_word_is_the_darkest_and_nothing_is_left_to_press(browser, tmp_path):
    e = TOLD["text"][0]()
    with opened(browser, e, tmp_path, through=False, color_scheme="dark") as page:
        page.emulate_media(media="print", color_scheme="dark")
        strong, weak = (result(page).locator("[data-at]", has_text=word) for word in ("enjoyable", "thoroughly"))
        light = [np.median(np.asarray(Image.open(io.BytesIO(one.screenshot())).convert("L"))) for one in (strong, weak)]
        assert light[0] < light[1] and light[1] > 200
        exact = "one => getComputedStyle(one).printColorAdjust"
        assert strong.evaluate(exact) == "exact"
        assert not page.get_by_role("button", name="Step through").is_visible() and not result(page).get_by_text("content").is_visible()


def test_where_the_system_has_its_own_colours_words_keep_theirs_and_the_choice_is_seen(browser, tmp_path):
    with opened(browser, made(), tmp_path, forced_colors="active") as page:
        strong = result(page).locator("[data-at]", has_text="gorgeous")
        plain = result(page).locator("[data-at]", has_text="a").first
        back = "one => getComputedStyle(one).backgroundColor"
        assert strong.evaluate(back) != plain.evaluate(back)
        chosen = "one => getComputedStyle(one.nextElementSibling).backgroundColor"
        kinds = [result(page).get_by_label(part, exact=True).evaluate(chosen) for part in ("both", "content")]
        assert kinds[0] != kinds[1]
        step_through(page)
