"""The interactive page in a real browser: what it shows, how it is walked with the keyboard, and what it refuses to do."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hostile import TOKENS
from made import REVIEW, made
from pelrp_nb.explanation import Explanation
from pelrp_nb.views import text
from playwright.sync_api import Browser, Locator, Page, sync_playwright
from test_views import ODD, everywhere

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path: apt-get install -y chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, e: Explanation, folder: Path, width: int = 1280, **options) -> Iterator[Page]:
    """The page of an explanation, without network; fails on any error, dialog, request or navigation."""
    path = folder / "page.html"
    e.to_html(path)
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
    context.set_default_timeout(10_000)
    page, trouble = context.new_page(), []
    page.on("console", lambda message: trouble.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (trouble.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: request.url == path.as_uri() or trouble.append(f"request: {request.url}"))
    page.on("popup", lambda _: trouble.append("popup"))
    page.goto(path.as_uri())
    yield page
    assert page.evaluate("window.hit") is None, "a token was executed"
    assert trouble == []
    context.close()


def number(shown: str) -> float:
    return float(shown.replace("\u2212", "-").replace("+", ""))


def numbers(place: Locator) -> list[float]:
    return [number(shown) for shown in place.all_text_contents()]


def section(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


# --- the numbers -------------------------------------------------------------------------------------------------------


def test_each_part_and_reduction_shows_the_explanations_numbers(browser, tmp_path):
    e = made()
    with opened(browser, e, tmp_path) as page:
        tokens = section(page, "Tokens")
        assert tokens.locator(".token .label").all_text_contents() == list(REVIEW)
        for reduction in e.offered:
            tokens.get_by_label(reduction, exact=True).check()
            content, position = e.parts(reduction)
            for part, wanted in (("content", content), ("position", position), ("both", content + position)):
                tokens.get_by_label(part, exact=True).check()
                assert numbers(tokens.locator(".token small")) == pytest.approx(wanted.tolist(), abs=5.1e-3)
            sums = re.findall(r"[+\u2212]\d+\.?\d*", tokens.locator("p").last.text_content())
            assert [number(x) for x in sums] == pytest.approx(
                [float(x.sum()) for x in (content, position, content + position)], abs=5.1e-3
            )


def test_the_head_and_the_ledger_show_the_account(browser, tmp_path):
    e = made()
    with opened(browser, e, tmp_path) as page:
        assert page.get_by_role("heading", level=1).text_content() == f"positive {text.digits(abs(e.value), 5)(e.value)}"
        assert "positions carry 42 %" in page.locator("header").text_content()
        rows = section(page, "Ledger").locator("table.book tr")
        shown = {row.locator("th").text_content(): number(row.locator("td").first.text_content()) for row in rows.all()}
        assert shown == pytest.approx(dict(e.ledger.rows()), abs=5.1e-4)
        widths = [
            float(x) for x in page.eval_on_selector_all(".book .bar i", "bars => bars.map(bar => parseFloat(bar.style.width))")
        ]
        largest = max(abs(amount) for _, amount in e.ledger.rows())
        assert widths == pytest.approx([50 * abs(amount) / largest for _, amount in e.ledger.rows()], abs=0.01)
        assert "Ledger closed" in section(page, "Ledger").text_content()
        page.get_by_text("constants by name (4)").click()
        section(page, "Ledger").locator("details td").first.wait_for()  # a fold is filled when it opens
        assert numbers(section(page, "Ledger").locator("details").first.locator("td")) == pytest.approx(
            sorted(e.ledger.constants.values(), key=lambda x: -abs(x)), abs=5.1e-4
        )


def test_the_positions_map_has_a_row_per_sink_and_its_sum(browser, tmp_path):
    e = made()
    with opened(browser, e, tmp_path) as page:
        rows = section(page, "Positions").locator("tbody tr")
        assert rows.locator("th").all_text_contents() == list(e.sinks)
        for i, row in enumerate(rows.all()):
            total, *cells = numbers(row.locator("td"))
            assert cells == pytest.approx(e.positional[i].tolist(), abs=5.1e-4)
            assert total == pytest.approx(float(e.positional[i].sum()), abs=5.1e-4)
        assert "a convention" in section(page, "Positions").text_content()


def test_without_sinks_the_page_says_so(browser, tmp_path):
    with opened(browser, ODD["no sink, no layer"], tmp_path) as page:
        assert "no sink" in section(page, "Positions").text_content()


# --- the layers, by keyboard -------------------------------------------------------------------------------------------


def shown_layer(page: Page) -> dict[str, list[float]]:
    rows = section(page, "Layer by layer").locator("li:not(.names) .token").all()
    columns = [[number(x) if x else math.nan for x in row.locator("small").all_text_contents()] for row in rows]
    return dict(zip(("layer", "attention", "mlp"), zip(*columns, strict=True), strict=True))


def test_the_keyboard_steps_through_every_layer_and_shows_its_numbers(browser, tmp_path):
    e = made()
    kept = {(b.kind, b.layer): b for b in e.boundaries}
    with opened(browser, e, tmp_path) as page:
        slider = page.get_by_role("slider", name="Layer")
        slider.focus()
        page.keyboard.press("Home")
        first = shown_layer(page)
        assert list(first["layer"]) == pytest.approx(kept["embeddings", None].relevance.tolist(), abs=5.1e-3)
        assert all(map(math.isnan, first["attention"])) and slider.get_attribute("aria-valuenow") == "0"
        for i in range(4):
            page.keyboard.press("ArrowRight")
            for kind, values in shown_layer(page).items():
                assert list(values) == pytest.approx(kept[kind, i].relevance.tolist(), abs=5.1e-3), (kind, i)
            told = slider.get_attribute("aria-valuetext")
            assert told.startswith(f"layer {i}:") and told == page.locator("output").text_content()
            assert number(re.search(r"total (\S+)", told)[1]) == pytest.approx(kept["layer", i].total, abs=5.1e-3)
        page.keyboard.press("ArrowRight")
        assert slider.get_attribute("aria-valuenow") == "4" == slider.get_attribute("aria-valuemax")
        page.keyboard.press("ArrowLeft")
        assert slider.get_attribute("aria-valuenow") == "3"
        page.keyboard.press("End")
        assert slider.get_attribute("aria-valuenow") == "4"


def test_buttons_and_pointer_step_too_and_stop_at_the_ends(browser, tmp_path):
    with opened(browser, made(), tmp_path) as page:
        slider = page.get_by_role("slider", name="Layer")
        back, on = page.get_by_role("button", name="back one layer"), page.get_by_role("button", name="on one layer")
        assert on.get_attribute("aria-disabled") == "true"
        back.click()
        assert slider.get_attribute("aria-valuenow") == "3" and on.get_attribute("aria-disabled") == "false"
        page.get_by_role("button", name="first boundary").click()
        back.click(force=True)
        assert slider.get_attribute("aria-valuenow") == "0"
        on.focus()
        page.keyboard.press("Enter")
        assert slider.get_attribute("aria-valuenow") == "1"
        box = slider.bounding_box()
        page.mouse.click(box["x"] + box["width"] * 0.49, box["y"] + box["height"] / 2)
        assert slider.get_attribute("aria-valuenow") == "2"


def test_nothing_moves_when_a_layer_is_stepped(browser, tmp_path):
    with opened(browser, made(), tmp_path) as page:
        boxes = (
            "() => [...document.querySelectorAll('.token, section, table')].map(x => x.getBoundingClientRect())"
            ".map(b => [b.x, b.y, b.width, b.height])"
        )
        page.get_by_role("slider", name="Layer").focus()
        before = page.evaluate(boxes)
        for key in ("ArrowLeft", "ArrowLeft", "Home"):
            page.keyboard.press(key)
            assert page.evaluate(boxes) == before
        section(page, "Tokens").locator(".token").nth(2).hover()
        assert page.evaluate(boxes) == before


def test_the_table_of_all_layers_marks_the_present_one(browser, tmp_path):
    e = made()
    with opened(browser, e, tmp_path) as page:
        page.get_by_text("All layers in one table").click()
        rows = section(page, "Layer by layer").locator("tbody tr")
        rows.first.wait_for()
        assert rows.locator("th").all_text_contents() == ["embeddings", "layer 0", "layer 1", "layer 2", "layer 3"]
        page.get_by_role("slider", name="Layer").press("Home")
        assert section(page, "Layer by layer").locator("tr.current th").all_text_contents() == ["embeddings"]
        assert numbers(rows.nth(0).locator("td"))[1:] == pytest.approx(e.semantic.tolist(), abs=5.1e-3)


def test_arrows_move_over_tokens_and_tell_their_numbers(browser, tmp_path):
    e = made()
    with opened(browser, e, tmp_path) as page:
        tokens = section(page, "Tokens")
        tokens.locator(".token").first.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        told = tokens.locator(".readout").text_content()
        assert told.startswith("2 gorgeous")
        wanted = [float(x) for x in (e.relevance()[2], e.semantic[2], e.positional.sum(0)[2])]
        assert [number(x) for x in re.findall(r"[+\u2212]\d+\.?\d*", told)] == pytest.approx(wanted, abs=5.1e-4)
        page.keyboard.press("End")
        assert tokens.locator(".readout").text_content().startswith("9 [SEP]")
        stops = "[...document.querySelectorAll('.strip')].map(s => s.querySelectorAll('button[tabindex=\"0\"]').length)"
        assert page.evaluate(stops) == [1, 1]


# --- any text, any numbers, any width ----------------------------------------------------------------------------------


def test_no_hostile_text_runs_or_asks_for_anything(browser, tmp_path):
    with opened(browser, ODD["hostile"], tmp_path) as page:
        labels = section(page, "Tokens").locator(".token .label").all_text_contents()
        assert labels == ["".join(piece.text for piece in text.pieces(token)) for token in TOKENS]
        for fold in page.locator("summary").all():
            fold.click()
        for token in section(page, "Tokens").locator(".token").all()[::5]:
            token.hover()
        page.wait_for_timeout(200)
        foreign = "#view :is(img, svg, iframe, object, embed, link, a, form, style, script, video)"
        assert page.locator(foreign).count() == 0


@pytest.mark.parametrize(
    "token", ["<img src=x onerror=window.hit=1>", "</script><script>window.hit=1</script>", "\u202e\0", "__proto__"]
)
def test_no_label_or_name_runs_either(token, browser, tmp_path):
    with opened(browser, everywhere(token), tmp_path) as page:
        page.get_by_label(text.visible(token), exact=True).check()
        assert section(page, "Tokens").locator(".token").count() == 1


@pytest.mark.parametrize(
    "token", ["<img src=x onerror=window.hit=1>", "<svg onload=window.hit=1>", "</td></table><script>window.hit=1</script>"]
)
def test_the_table_runs_nothing_where_scripts_are_trusted(token, browser, tmp_path):
    path = tmp_path / "table.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{everywhere(token)._repr_html_()}", encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_timeout(100)
    assert page.evaluate("window.hit") is None and page.locator("img, svg, script").count() == 0
    assert token[:30] in page.locator("td").nth(6).text_content()
    page.close()


@pytest.mark.parametrize("e", ODD.values(), ids=ODD)
def test_the_page_is_drawn_whatever_the_numbers(e, browser, tmp_path):
    with opened(browser, e, tmp_path) as page:
        assert page.get_by_role("alert").count() == 0
        assert section(page, "Tokens").locator(".token").count() == min(120, len(e.tokens))
        for fold in page.locator("summary").all():
            fold.click()


def test_what_is_no_number_is_hatched_and_named(browser, tmp_path):
    values = torch.tensor([math.nan, math.inf, -2.0])
    with opened(browser, made(("a", "b", "c"), sinks=0, reductions={}, semantic=values), tmp_path) as page:
        blocks = section(page, "Tokens").locator(".token")
        assert blocks.locator("small").all_text_contents() == ["nan", "+inf", "\u22122.000"]
        assert "nan" in blocks.first.get_attribute("class") and "p20" in blocks.nth(1).get_attribute("class")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 760, 1280, 1600])
def test_the_page_fits_any_width_and_scheme(width, scheme, browser, tmp_path):
    with opened(browser, made((*REVIEW, "W" * 10_000)), tmp_path, width, color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        right = "Math.max(...[...document.querySelectorAll('.token')].map(x => x.getBoundingClientRect().right))"
        assert page.evaluate(right) <= width
        lit = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", lit)[:3])) < 200) == (scheme == "dark")


def test_a_long_input_is_turned_page_by_page(browser, tmp_path):
    e = made([f"t{i}" for i in range(5000)], layers=12)
    with opened(browser, e, tmp_path) as page:
        tokens = section(page, "Tokens")
        assert tokens.locator(".token").count() == 120 and page.locator("*").count() < 12_000
        page.get_by_role("button", name="next tokens").click()
        assert tokens.locator(".label").first.text_content() == "t120"
        assert numbers(tokens.locator(".token small")) == pytest.approx(e.relevance()[120:240].tolist(), abs=5.1e-2)
        assert number(re.search(r"both (\S+)\.", tokens.locator("p").last.text_content())[1]) == pytest.approx(
            float(e.relevance().sum()), abs=5.1e-2
        )


def test_without_scripts_the_table_stands_in(browser, tmp_path):
    with opened(browser, made(), tmp_path, java_script_enabled=False) as page:
        assert page.locator("noscript td", has_text="gorgeous").bounding_box()["height"] > 10
        assert page.locator("noscript div", has_text="Ledger closed").last.bounding_box()["y"] > 200


def test_streams_are_chosen_by_name(browser, tmp_path):
    with opened(browser, ODD["streams"], tmp_path) as page:
        page.get_by_label("<image>", exact=True).check()
        assert section(page, "Tokens").locator(".label").all_text_contents() == ["y", "z"]


def test_every_control_has_a_name_and_can_be_reached(browser, tmp_path):
    with opened(browser, made(), tmp_path) as page:
        unnamed = page.evaluate(
            "[...document.querySelectorAll('button, input, [role=slider], [tabindex=\"0\"]')].filter(x => "
            "!(x.getAttribute('aria-label') || x.textContent.trim() || x.labels?.[0]?.textContent.trim())).length"
        )
        assert unnamed == 0
        seen = set()
        for _ in range(40):
            page.keyboard.press("Tab")
            here = "(x => x.getAttribute('aria-label') || x.className || x.tagName)(document.activeElement)"
            seen.add(page.evaluate(here))
        assert {"Layer", "back one layer", "relevance by row and token", "SUMMARY", "INPUT"} <= seen
