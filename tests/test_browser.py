"""The page of an explanation in a real browser: what it shows, how it is walked, and what it refuses to do."""
# ruff: noqa: F811 (a fixture that is imported)

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
import torch
from browsing import MARKS, browser, number, numbers, opened, section, slider, stated, unfold  # noqa: F401
from hostile import TOKENS
from made import REVIEW, made
from playwright.sync_api import expect
from test_browser_learning import spelt, symbols
from test_views import ODD, everywhere, fragment

from pelrp_nb.views import text
from pelrp_nb.views.steps import walk

pytestmark = MARKS


REDUCED = {"signed": "with their signs", "absolute": "sizes", "positive": "positive parts", "l2": "lengths"}


def shown_tokens(page) -> list[float]:
    return numbers(section(page, "Tokens").locator(".token small"))


def account(page, name: str = "Account so far") -> dict[str, float]:
    rows = section(page, name).locator("table.book tr").all()
    return {row.locator("th").text_content(): number(row.locator("td").first.text_content()) for row in rows}


# --- the numbers -------------------------------------------------------------------------------------------------------


def test_each_part_and_reduction_shows_the_explanations_numbers(browser, tmp_path):
    e = made()
    with opened(browser, e, tmp_path) as page:
        tokens = section(page, "Tokens")
        assert tokens.locator(".token .label").all_text_contents() == list(REVIEW)
        for reduction in e.offered:
            tokens.get_by_label(REDUCED[reduction], exact=True).check()
            content, position = e.parts(reduction)
            for part, wanted in (("content", content), ("position", position), ("both", content + position)):
                tokens.get_by_label(part, exact=True).check()
                assert shown_tokens(page) == pytest.approx(wanted.tolist(), abs=5.1e-3)
            sums = stated(tokens.locator("p").last.text_content().split("tokens: ")[1])
            wanted = [float(x.sum()) for x in (content + position, content, position)]
            assert sums == pytest.approx(wanted, abs=5.1e-3)


def test_the_head_and_the_ledger_show_the_account(browser, tmp_path):
    e = made()
    with opened(browser, e, tmp_path) as page:
        said = "\u201cpositive\u201d is \u22120.185, lowered mostly by \u201cgorgeous\u201d and \u201c,\u201d."
        assert page.get_by_role("heading", level=1).text_content() == said
        assert account(page, "Ledger") == pytest.approx(dict(e.ledger.rows()), abs=5.1e-4)
        widths = page.eval_on_selector_all(
            "section[aria-label=Ledger] .book .bar i", "bars => bars.map(bar => parseFloat(bar.style.width))"
        )
        largest = max(abs(amount) for _, amount in e.ledger.rows())
        assert widths == pytest.approx([50 * abs(amount) / largest for _, amount in e.ledger.rows()], abs=0.01)
        assert "Ledger closed" in section(page, "Ledger").text_content()
        page.get_by_text("constants by name (4)").click()
        cells = section(page, "Ledger").locator("details").first.locator("td")
        cells.first.wait_for()  # a fold is filled when it opens
        assert numbers(cells) == pytest.approx(sorted(e.ledger.constants.values(), key=lambda x: -abs(x)), abs=5.1e-4)


def test_the_positions_map_has_a_row_per_sink_and_its_sum(browser, tmp_path):
    e = made()
    with opened(browser, e, tmp_path) as page:
        sinks = section(page, "Sinks")
        assert sinks.locator(".rownames div").all_text_contents() == list(e.sinks)
        sinks.get_by_text("as a table").click()
        rows = sinks.locator("tbody tr")
        rows.first.wait_for()
        for i, row in enumerate(rows.all()):
            total, *cells = numbers(row.locator("td"))
            assert cells == pytest.approx(e.positional[i].tolist(), abs=5.1e-4)
            assert total == pytest.approx(float(e.positional[i].sum()), abs=5.1e-4)
        assert "a convention" in section(page, "Positions").text_content()


def test_the_cell_under_the_pointer_is_told_and_marked_everywhere(browser, tmp_path):
    e = made()
    with opened(browser, e, tmp_path) as page:
        map_ = section(page, "Sinks").locator("canvas")
        map_.scroll_into_view_if_needed()
        cell = map_.bounding_box()["width"] / len(REVIEW)
        map_.hover(position={"x": 4.5 * cell, "y": 30})
        told = section(page, "Sinks").get_by_role("status").text_content()
        assert told.startswith("layer 1 rotary") and "4 witty" in told
        assert stated(told) == pytest.approx([float(e.positional[1, 4])], abs=5.1e-4)
        assert "pointed" in section(page, "Tokens").locator(".token").nth(4).get_attribute("class")
        map_.press("ArrowLeft")
        assert "3 ," in section(page, "Sinks").get_by_role("status").text_content()


def test_without_sinks_the_page_says_so(browser, tmp_path):
    with opened(browser, ODD["no sink, no layer"], tmp_path) as page:
        assert "no sink" in section(page, "Positions").text_content()


# --- the walk ----------------------------------------------------------------------------------------------------------


def paid(e, step) -> torch.Tensor:
    return e.positional[step["paid"]].sum(0)


def check_step(page, e, step) -> None:
    """Tokens, sums, account and sentence of one step are the explanation's."""
    assert section(page, "Step by step").locator(".said").first.text_content() == step["said"]
    assert account(page) == pytest.approx(dict(step["account"]), abs=5.1e-4 * max(1, abs(e.value)))
    if step["kind"] == "answer":
        assert shown_tokens(page) == [0.0] * len(e.tokens)
        return
    here = e.semantic if step["kind"] == "inputs" else e.boundaries[step["boundary"]].relevance
    both = here if step["kind"] in ("mlp", "attention") else here + paid(e, step)
    assert shown_tokens(page) == pytest.approx(both.tolist(), abs=5.1e-3), step["name"]


def test_the_keyboard_steps_through_all_and_shows_each_steps_numbers(browser, tmp_path):
    e = made()
    steps = walk(e.plain())
    with opened(browser, e, tmp_path) as page:
        track = slider(page)
        track.focus()
        page.keyboard.press("Home")
        for at, step in enumerate(steps):
            assert track.get_attribute("aria-valuenow") == str(at)
            spoken = track.get_attribute("aria-valuetext")
            assert spoken.startswith(f"step {at} of {len(steps) - 1}, {step['name']}") and "gap" in spoken
            check_step(page, e, step)
            page.keyboard.press("ArrowRight")
        assert track.get_attribute("aria-valuenow") == str(len(steps) - 1) == track.get_attribute("aria-valuemax")
        page.keyboard.press("PageDown")
        assert "embeddings" in track.get_attribute("aria-valuetext")
        page.keyboard.press("PageDown")
        assert "layer 0," in track.get_attribute("aria-valuetext")
        page.keyboard.press("PageUp")
        assert "embeddings" in track.get_attribute("aria-valuetext")


def test_the_mouse_steps_through_all_too(browser, tmp_path):
    e = made()
    steps = walk(e.plain())
    with opened(browser, e, tmp_path) as page:
        back, on = page.get_by_role("button", name="one step back"), page.get_by_role("button", name="one step on", exact=True)
        assert on.get_attribute("aria-disabled") == "true"
        for step in reversed(steps):
            check_step(page, e, step)
            back.click(force=step["kind"] == "answer")
        assert back.get_attribute("aria-disabled") == "true"
        box = slider(page).bounding_box()
        page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] / 2)
        assert slider(page).get_attribute("aria-valuenow") == "7"
        page.get_by_role("button", name="to the inputs").click()
        assert slider(page).get_attribute("aria-valuenow") == "14"


def test_touch_scrubs(browser, tmp_path):
    with opened(browser, made(), tmp_path, 400, has_touch=True) as page:
        box = slider(page).bounding_box()
        page.touchscreen.tap(box["x"] + 2, box["y"] + box["height"] / 2)
        assert slider(page).get_attribute("aria-valuenow") == "0"


def test_play_walks_to_the_inputs_and_pauses_on_demand(browser, tmp_path):
    with opened(browser, made(layers=2), tmp_path) as page:
        page.get_by_label("Speed").select_option("fast")
        play = page.get_by_role("button", name="play")
        play.click()
        assert slider(page).get_attribute("aria-valuenow") == "0"  # from the end it starts again
        pause = page.get_by_role("button", name="pause")
        expect(slider(page)).not_to_have_attribute("aria-valuenow", "0")
        pause.click()
        stopped = slider(page).get_attribute("aria-valuenow")
        page.wait_for_timeout(700)
        assert slider(page).get_attribute("aria-valuenow") == stopped
        page.get_by_role("button", name="play").click()
        expect(slider(page)).to_have_attribute("aria-valuenow", "8")
        expect(page.get_by_role("button", name="play")).to_be_visible()


def test_reduced_motion_never_moves_by_itself(browser, tmp_path):
    with opened(browser, made(), tmp_path, reduced_motion="reduce") as page:
        page.get_by_role("button", name="to the answer").click()
        page.get_by_role("button", name="one step on, without motion").click()
        page.wait_for_timeout(1500)
        assert slider(page).get_attribute("aria-valuenow") == "1"


def test_a_press_on_the_whole_flow_or_a_row_of_all_layers_steps_there(browser, tmp_path):
    with opened(browser, made(), tmp_path) as page:
        page.get_by_role("button", name=re.compile("^layer 2: ")).click()
        assert "layer 2," in slider(page).get_attribute("aria-valuetext")
        page.get_by_role("button", name=re.compile("^layer 0: ")).press("Enter")
        assert "layer 0," in slider(page).get_attribute("aria-valuetext")
        page.get_by_role("region", name="All layers").locator("canvas").click(position={"x": 10, "y": 10})
        assert "layer 3," in slider(page).get_attribute("aria-valuetext")


def test_nothing_moves_when_a_step_is_made(browser, tmp_path):
    with opened(browser, made(), tmp_path) as page:
        boxes = (
            "() => [...document.querySelectorAll('.token, section, table, .sankey')].map(x => x.getBoundingClientRect())"
            ".map(b => [b.x, b.y, b.width, b.height].map(Math.round))"
        )
        slider(page).focus()
        before = page.evaluate(boxes)
        for key in ("ArrowLeft", "ArrowLeft", "Home", "ArrowRight"):
            page.keyboard.press(key)
            assert page.evaluate(boxes) == before
        section(page, "Tokens").locator(".token").nth(2).hover()
        assert page.evaluate(boxes) == before


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
        assert stated(told) == pytest.approx(wanted, abs=5.1e-3)
        page.keyboard.press("Enter")
        assert "chosen" in tokens.locator(".token").nth(2).get_attribute("class")
        page.keyboard.press("End")
        assert tokens.locator(".readout").text_content().startswith("9 [SEP]")
        assert slider(page).get_attribute("aria-valuenow") == "14"  # arrows on tokens do not step
        stops = "[...document.querySelectorAll('.strip')].map(s => s.querySelectorAll('button[tabindex=\"0\"]').length)"
        assert set(page.evaluate(stops)) <= {0, 1}


def test_the_rule_in_force_shows_its_formula_and_its_own_lines(browser, tmp_path):
    from pelrp_nb import PA_LRP, rules
    from pelrp_nb.rules.pages import latex

    e = made(card={"composite": repr(PA_LRP)})
    with opened(browser, e, tmp_path) as page:
        slider(page).press("Home")
        assert "nothing has moved" in section(page, "Rule").text_content()
        for _ in range(3):
            slider(page).press("ArrowRight")
        pane = section(page, "Rule")
        assert "attention" in pane.locator(".options").text_content()
        pane.get_by_label("softmax", exact=True).check()
        assert symbols(pane.locator(".formula").text_content()) == symbols("".join(map(spelt, latex(rules.softmax))))
        pane.get_by_text("the definition, as it is written").click()
        pane.locator(".source").first.wait_for()
        assert "def relevance(" in pane.locator(".source").first.text_content()


# --- filters -----------------------------------------------------------------------------------------------------------


def test_filters_hide_tokens_but_never_from_the_ledger(browser, tmp_path):
    e = made(("[CLS]", "un", "##like", "##ly", "good", "[SEP]"))
    with opened(browser, e, tmp_path) as page:
        before = account(page, "Ledger")
        page.get_by_label("whole words").uncheck()
        page.get_by_label("hide special tokens").check()
        labels = section(page, "Tokens").locator(".token .label")
        assert labels.all_text_contents() == ["un", "##like", "##ly", "good"]
        said = page.get_by_text("tokens hidden, together").text_content()
        assert said.startswith("2 of 6 tokens hidden")
        assert stated(said) == pytest.approx([float(e.relevance()[[0, 5]].sum())], abs=5.1e-3)
        page.get_by_label("whole words").check()
        assert labels.all_text_contents() == ["unlikely", "good"]
        assert shown_tokens(page) == pytest.approx([float(e.relevance()[1:4].sum()), float(e.relevance()[4])], abs=5.1e-3)
        assert account(page, "Ledger") == before


def test_the_largest_tokens_are_the_largest(browser, tmp_path):
    e = made()
    with opened(browser, e, tmp_path) as page:
        page.get_by_role("combobox", name="Tokens").select_option("3")
        wanted = sorted(e.relevance().abs().topk(3).indices.tolist())
        assert section(page, "Tokens").locator(".token .label").all_text_contents() == [REVIEW[t] for t in wanted]


# --- any text, any numbers, any width ----------------------------------------------------------------------------------


def test_no_hostile_text_runs_or_asks_for_anything(browser, tmp_path):
    with opened(browser, ODD["hostile"], tmp_path) as page:
        page.get_by_label("whole words").uncheck()
        labels = section(page, "Tokens").locator(".token .label").all_text_contents()
        assert labels == ["".join(piece.text for piece in text.pieces(token)) for token in TOKENS]
        unfold(page)
        for token in section(page, "Tokens").locator(".token").all()[::5]:
            token.hover()
        page.wait_for_timeout(200)
        foreign = "#view :is(img, iframe, object, embed, link, a, form, style, script, video)"
        assert page.locator(foreign).count() == 0


@pytest.mark.parametrize("token", ["<img src=x onerror=window.hit=1>", "</script><script>window.hit=1</script>", "\u202e\0", "__proto__"])
def test_no_label_or_name_runs_either(token, browser, tmp_path):
    with opened(browser, everywhere(token), tmp_path) as page:
        page.get_by_label(text.visible(token), exact=True).check()
        assert section(page, "Tokens").locator(".token").count() == 1


@pytest.mark.parametrize(
    "token", ["<img src=x onerror=window.hit=1>", "<svg onload=window.hit=1>", "</td></table><script>window.hit=1</script>"]
)
def test_the_table_runs_nothing_where_scripts_are_trusted(token, browser, tmp_path):
    with opened(browser, f"<!doctype html><meta charset=utf-8>{fragment(everywhere(token))}", tmp_path) as page:
        page.wait_for_timeout(100)
        assert page.locator("img, svg, script").count() == 0
        assert token[:30] in page.locator("td").nth(6).text_content()


@pytest.mark.parametrize("e", ODD.values(), ids=ODD)
def test_the_page_is_drawn_whatever_the_numbers(e, browser, tmp_path):
    with opened(browser, e, tmp_path) as page:
        assert page.get_by_role("alert").count() == 0
        shown = len(e.words()) if page.get_by_label("whole words").count() else len(e.tokens)
        assert section(page, "Tokens").locator(".token, .dense [data-at]").count() == min(2048, shown)
        for key in ("Home", "ArrowRight", "ArrowRight", "End"):
            slider(page).press(key)
        unfold(page)


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


def test_any_script_and_direction_reads_as_it_should(browser, tmp_path):
    words = ("\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627", "\u4e2d\u6587", "\u0928\u092e\u0938", "plain")
    with opened(browser, made(words), tmp_path) as page:
        labels = section(page, "Tokens").locator(".token .label")
        assert labels.all_text_contents() == list(words)
        ways = labels.evaluate_all("all => all.map(x => getComputedStyle(x).direction)")
        assert ways == ["rtl", "rtl", "ltr", "ltr", "ltr"]
        lefts = labels.evaluate_all("all => all.map(x => x.getBoundingClientRect().left)")
        assert lefts == sorted(lefts)  # tokens stand in order, whatever their script


def test_a_long_input_is_turned_page_by_page(browser, tmp_path):
    e = made([f"t{i}" for i in range(5000)], layers=12)
    with opened(browser, e, tmp_path) as page:
        tokens = section(page, "Tokens")
        assert tokens.locator(".dense [data-at]").count() == 2048
        page.get_by_role("button", name="next tokens").click()
        assert tokens.locator(".dense [data-at]").first.text_content() == "t2048"
        text = tokens.get_by_role("group", name="tokens, in colour")
        text.press("Home")
        for t in (2048, 2049, 2050):
            told = tokens.locator(".readout").text_content()
            assert told.startswith(f"{t} t{t}") and stated(told)[0] == pytest.approx(float(e.relevance()[t]), abs=5.1e-2)
            text.press("ArrowRight")
        said = tokens.locator("p").last.text_content()
        assert stated(said.split("tokens: ")[1])[0] == pytest.approx(float(e.relevance().sum()), abs=5.1e-2)


def test_a_long_text_is_read_in_one_box_that_begins_where_most_is_carried(browser, tmp_path):
    e = made([f"t{i}" for i in range(1500)], layers=3)
    most = int(e.relevance().abs().argmax())
    with opened(browser, e, tmp_path) as page:
        tokens = section(page, "Tokens")
        expect(tokens.locator("canvas.mini")).to_be_visible()
        word = tokens.locator(f'.dense [data-at="{most}"]')
        seen, around = word.bounding_box(), word.locator("xpath=..").bounding_box()
        assert around["y"] <= seen["y"] and seen["y"] + seen["height"] <= around["y"] + around["height"]
        assert re.search(r"\bp-?\d", word.get_attribute("class"))
        word.click()
        assert "chosen" in word.get_attribute("class")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_word_out_of_sight_has_its_colour_when_it_comes_into_sight(browser, tmp_path):
    e = made([f"t{i}" for i in range(1500)], layers=3)
    with opened(browser, e, tmp_path) as page:
        slider(page).press("PageDown")
        text = section(page, "Tokens").get_by_role("group", name="tokens, in colour")
        text.press("End")
        page.wait_for_timeout(100)
        layer = next(b for b in e.boundaries if b.kind == "embeddings")
        both = (layer.relevance + e.positional.sum(0))[-8:].tolist()
        classes = section(page, "Tokens").locator(".dense [data-at]").evaluate_all("all => all.slice(-8).map(x => x.className)")
        signs = [(-1 if "p-" in c else 1) if re.search(r"\bp-?\d", c) else 0 for c in classes]
        assert any(signs) and all(sign == 0 or (sign > 0) == (x > 0) for sign, x in zip(signs, both, strict=True))


def test_many_layers_are_folded_where_hardly_anything_changes_and_the_colour_says_how(browser, tmp_path):
    e = made(layers=24)
    still = [replace(b, relevance=e.boundaries[0].relevance) if b.kind == "layer" and b.layer < 9 else b for b in e.boundaries]
    with opened(browser, replace(e, boundaries=tuple(still)), tmp_path) as page:
        pane = section(page, "All layers")
        names = pane.locator(".rownames div")
        assert pane.get_by_label("by the square root").is_checked()
        assert "layer 8 \u2026 embeddings" in names.all_text_contents() and names.count() == 16
        expect(pane.get_by_text("57 of 73 rows folded")).to_be_visible()
        pane.get_by_label("layers alone, folded").uncheck()
        assert names.count() == 73
        pane.get_by_label("each row by its own largest").check()
        pane.locator("canvas").focus()
        page.keyboard.press("ArrowRight")
        assert stated(pane.get_by_role("status").last.text_content())[-1] == pytest.approx(float(e.boundaries[-1].relevance[1]), abs=1e-2)


def test_the_slider_of_the_walk_stays_in_sight(browser, tmp_path):
    with opened(browser, made(layers=24), tmp_path) as page:
        page.evaluate("document.querySelector('[aria-label=\"Account so far\"]').scrollIntoView({ block: 'start' })")
        expect(slider(page)).to_be_in_viewport()


def test_without_scripts_the_table_stands_in(browser, tmp_path):
    with opened(browser, made(), tmp_path, java_script_enabled=False) as page:
        assert page.locator("noscript span", has_text="gorgeous").first.bounding_box()["height"] > 10
        page.locator("noscript summary", has_text="Every number").press("Enter")
        assert page.locator("noscript td", has_text="gorgeous").bounding_box()["height"] > 10
        assert page.locator("noscript div", has_text="Ledger closed").last.bounding_box()["y"] > 200


def test_streams_are_chosen_by_name(browser, tmp_path):
    with opened(browser, ODD["streams"], tmp_path) as page:
        page.get_by_label("<image>", exact=True).check()
        assert section(page, "Tokens").locator(".label").all_text_contents() == ["y", "z"]
