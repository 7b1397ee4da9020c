"""The views of routes in a real browser: what is drawn, pruned, lit, opened and taken away; by pointer, by keys, in words."""
# ruff: noqa: F811 (a fixture that is imported)

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from browsing import MARKS, browser, number, opened, section, stated  # noqa: F401
from handed import handed
from hostile import TOKENS
from models import build_position
from PIL import Image
from playwright.sync_api import Page, expect
from test_browser_kinds import saved

from pelrp_nb import Options, explain, live, views, zoo
from pelrp_nb.errors import InputError
from pelrp_nb.views import text

pytestmark = MARKS
WORDS = ["the", "plot", "of", "this", "film", "is", "thin"]
SCRIPT = 16.0  # milliseconds of script that a move of the slider may take


@pytest.fixture(scope="module")
def found():
    """Routes of a small trained model."""
    model, tokenizer = zoo.load("reviews-rotary")
    return explain(model, "a gorgeous , witty film", processor=tokenizer, options=Options(detail={"routes"}))


def chart(page: Page):
    return page.locator("svg.routes")


def track(page: Page):
    return page.get_by_role("slider", name="Show", exact=True)


def told(page: Page) -> str:
    return page.locator(".readout").first.text_content()


def drawn_edges(page: Page) -> int:
    """How many curves there are in the picture."""
    return page.evaluate(
        "[...document.querySelectorAll('svg.routes .edges path')].map(p => p.getAttribute('d') || '').join('').split('M').length - 1"
    )


def largest(routes):
    """The largest edge over heads: its amount, level, and both places."""
    every = [
        (abs(float(m[i, j])), float(m[i, j]), level, i, j)
        for level, m in enumerate(map(routes.matrix, routes.names))
        for i in range(len(m))
        for j in range(len(m))
    ]
    return max(every)[1:]


def test_the_slider_says_how_much_is_drawn_and_draws_it(found, browser, tmp_path):
    routes = found.routes
    sizes = sorted((abs(float(x)) for name in routes.names for x in routes.matrix(name).flatten()), reverse=True)
    with opened(browser, routes, tmp_path) as page:
        before = -1
        for key in ("Home", "PageUp", "PageUp", "End"):
            track(page).press(key)
            many = drawn_edges(page)
            assert many >= before
            before = many
            said = page.get_by_text("of what heads handed on").text_content()
            assert int(said.split()[0]) == many
            assert int(re.findall(r"carr(?:y|ies) (\d+) %", said)[0]) == pytest.approx(100 * sum(sizes[:many]) / sum(sizes), abs=0.6)
            goal = int(track(page).get_attribute("aria-valuenow")) / 100
            assert sum(sizes[:many]) >= (goal - 1e-6) * sum(sizes) and (not many or sum(sizes[: many - 1]) < goal * sum(sizes))
        assert many > 10 and int(re.findall(r"(\d+) % of the answer", said)[0]) >= 95
        track(page).press("Home")
        assert "0 edges carry 0 %" in page.get_by_text("of what heads handed on").text_content()


def test_keys_read_each_place_in_the_numbers_of_the_result(found, browser, tmp_path):
    routes = found.routes
    with opened(browser, routes, tmp_path) as page:
        chart(page).focus()
        page.keyboard.press("End")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowLeft")
        at = len(found.tokens) - 2
        node = routes.nodes["layer 0 attention"]
        assert told(page).startswith(f"{at} \u201c{found.tokens[at]}\u201d after the attention of layer 0")
        wanted = [float(node["relevance"][at]), float(node["skip"][at]), float(routes.matrix(0)[at].sum())]
        assert stated(told(page)) == pytest.approx(wanted, rel=2e-2, abs=1e-4)
        page.keyboard.press("Home")
        assert told(page).startswith(f"0 \u201c{found.tokens[0]}\u201d")


def test_a_place_lights_its_way_and_escape_lets_it_go(found, browser, tmp_path):
    with opened(browser, found.routes, tmp_path) as page:
        assert page.locator("svg.routes .lit path").count() == 0
        chart(page).focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        assert page.locator("svg.routes .lit path").count() > 1
        assert section(page, "The way through \u201ca\u201d").count() == 1
        page.keyboard.press("Escape")
        assert page.locator("svg.routes .lit path").count() == 0 and section(page, "The way through \u201ca\u201d").count() == 0


def test_what_a_place_holds_goes_where_its_panel_says(browser, tmp_path):
    routes = handed(WORDS)
    with opened(browser, routes, tmp_path) as page:
        chart(page).focus()
        for key in ("End", "ArrowUp", "ArrowUp", "Enter"):
            page.keyboard.press(key)
        book = page.get_by_role("table", name="what it holds goes")
        rows = {row.locator("th").text_content(): row.locator("td").first.text_content() for row in book.locator("tr").all()}
        node, t = routes.nodes["layer 1 attention"], len(WORDS) - 1
        assert number(rows["this place"]) == pytest.approx(float(node["relevance"][t]), abs=2e-3)
        assert number(rows["skipped on"]) == pytest.approx(float(node["skip"][t]), abs=2e-3)
        assert number(rows["handed on to places"]) == pytest.approx(float(routes.matrix(1)[t].sum()), abs=2e-3)
        parts = [number(shown) for name, shown in rows.items() if name != "this place"]
        assert sum(parts) == pytest.approx(number(rows["this place"]), abs=5e-3)


def test_an_edge_shows_its_heads_and_a_head_its_matrix(found, browser, tmp_path):
    routes = found.routes
    amount, level, i, j = largest(routes)
    heads = [float(routes.matrix(level, h)[i, j]) for h in range(found.heads.shape[1])]
    with opened(browser, routes, tmp_path) as page:
        page.evaluate("document.querySelector('svg.routes').scrollIntoView()")
        where = page.evaluate(
            """() => {
              const paths = [...document.querySelectorAll('svg.routes .edges path')].filter(p => p.getAttribute('d'));
              const path = paths.at(-1), point = path.getPointAtLength(path.getTotalLength() / 2);
              const { x, y } = point.matrixTransform(path.getScreenCTM());
              return [x, y];
            }"""
        )
        page.mouse.move(*where)
        assert stated(told(page))[-1] == pytest.approx(amount, rel=1e-2)
        page.mouse.click(*where)
        panel = section(page, f"layer {level}: \u201c{found.tokens[i]}\u201d to \u201c{found.tokens[j]}\u201d")
        shown = {m[1]: number(m[2]) for m in (re.match(r"(head \d) (.*)", b) for b in panel.get_by_role("button").all_text_contents())}
        assert shown == {f"head {h}": pytest.approx(x, rel=2e-2, abs=1e-4) for h, x in enumerate(heads)}
        panel.get_by_role("button").first.click()
        most = max(range(len(heads)), key=lambda h: abs(heads[h]))
        matrix = section(page, f"layer {level} head {most}")
        matrix.locator("canvas").focus()
        for key in ("ArrowDown",) * i + ("ArrowRight",) * j:
            page.keyboard.press(key)
        read = matrix.locator(".readout").text_content()
        assert read.startswith(f"{i} {found.tokens[i]}") and stated(read)[-1] == pytest.approx(heads[most], rel=1e-2, abs=1e-4)


def test_the_table_of_edges_holds_the_largest_in_order(found, browser, tmp_path):
    routes = found.routes
    with opened(browser, routes, tmp_path) as page:
        page.get_by_text("the largest edges, as a table").click()
        first = page.get_by_role("region", name="the largest edges").locator("tbody tr").first.locator("td").all_text_contents()
        amount, level, i, j = largest(routes)
        assert first[:3] == [f"layer {level}", f"\u201c{found.tokens[i]}\u201d", f"\u201c{found.tokens[j]}\u201d"]
        assert number(first[3]) == pytest.approx(amount, rel=1e-2)


def test_heads_are_sorted_by_what_they_carry_and_say_what_they_look_like(found, browser, tmp_path):
    table = found.routes.to_frame().sort_values("handed", ascending=False, kind="stable")
    with opened(browser, views.heads(found), tmp_path) as page:
        tiles = page.locator(".thumb")
        names = [f"{row['attention']} head {row['head']}" for row in table.to_dict("records")]
        assert tiles.locator("b").all_text_contents() == names
        carried = [int(x.split()[0]) for x in tiles.locator(".quiet").all_text_contents()]
        assert carried == pytest.approx((100 * table["handed"] / table["handed"].sum()).tolist(), abs=0.6)
        tiles.nth(2).click()
        assert tiles.nth(2).get_attribute("aria-pressed") == "true" and section(page, names[2]).locator("canvas").is_visible()
        page.get_by_label("by layer").check()
        assert tiles.locator("b").first.text_content() == "layer 0 head 0"


def test_heads_of_one_pattern_can_be_picked(browser, tmp_path):
    routes = handed(WORDS, layers=2)
    one = routes.found["layer 1"]
    one["values"][2] = 0
    one["values"][2].diagonal(-1).fill_(3.0)
    with opened(browser, views.heads(routes), tmp_path) as page:
        assert "previous token" in page.locator(".thumb").first.text_content()
        page.get_by_label("Looks like").select_option("previous token")
        assert page.locator(".thumb b").first.text_content() == "layer 1 head 2"
        assert all("previous token" in tile for tile in page.locator(".thumb").all_text_contents())


def test_encoder_and_decoder_are_chosen_apart_and_cross_edges_join_them(browser, tmp_path):
    model, x = build_position("t5")
    e = explain(model, x, options=Options(detail={"routes"}))
    with opened(browser, e.routes, tmp_path) as page:
        pick = page.get_by_label("Between")
        assert pick.locator("option").all_text_contents() == ["encoder", "decoder", "decoder to encoder"]
        assert "stayed" in page.locator(".keys").text_content()
        pick.select_option(label="decoder to encoder")
        assert "stayed" not in page.locator(".keys").text_content()  # places of two streams: nothing can
        names = page.locator("svg.routes text").all_text_contents()
        assert len(names) == len(e.streams["encoder"].tokens) + len(e.streams["decoder"].tokens)
        page.keyboard.press("Tab")
        chart(page).focus()
        page.keyboard.press("Home")
        page.keyboard.press("Enter")
        expect(page.get_by_text("It receives in")).to_be_visible()


# --- sizes, speed, files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [True, False])
def test_a_page_of_64_tokens_and_12_layers_stays_under_600_kilobytes(causal):
    routes = handed([f"token{t}" for t in range(64)], layers=12, heads=12, causal=causal)
    for sheet in (routes.sheet(), routes.sheet("heads")):
        assert len(sheet.html().encode()) < 600_000


def test_a_move_of_the_slider_takes_at_most_16_milliseconds_of_script(browser, tmp_path):
    routes = handed([f"token{t}" for t in range(64)], layers=12, heads=12, causal=False)
    with opened(browser, routes, tmp_path) as page:
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})

        def busy() -> float:
            return next(m["value"] for m in session.send("Performance.getMetrics")["metrics"] if m["name"] == "ScriptDuration")

        track(page).press("Home")
        taken = []
        for _ in range(3):
            start = busy()
            moves = page.evaluate(
                """() => {
                  const track = document.querySelector('[role=slider][aria-label=Show]');
                  const press = (key) => track.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
                  press('Home');
                  const last = Number(track.getAttribute('aria-valuemax'));
                  for (let at = 0; at < last; at++) press('ArrowRight');
                  return last + 1;
                }"""
            )
            taken.append(1000 * (busy() - start) / moves)
        assert drawn_edges(page) > 5000
        assert min(taken) < SCRIPT


@pytest.mark.parametrize("kind", ["routes", "heads"])
def test_what_is_shown_can_be_taken_away_in_every_form(kind, found, browser, tmp_path):
    with opened(browser, found.sheet(kind), tmp_path, accept_downloads=True) as page:
        rows = list(csv.reader(io.StringIO(saved(page, "CSV"))))
        assert rows[0][0].startswith("# positive") and "reviews-rotary" in rows[0][0]
        assert len(rows) - 2 == (drawn_edges(page) if kind == "routes" else found.heads.shape[0] * found.heads.shape[1])
        held = json.loads(saved(page, "JSON"))
        assert held["caption"].startswith("positive") and len(held["heads"]) == found.heads.shape[0] * found.heads.shape[1]
        picture = ET.fromstring(saved(page, "SVG"))
        assert picture.tag.endswith("svg") and any("witty" in (t.text or "") or "head" in (t.text or "") for t in picture.iter())
        assert saved(page, "PNG").startswith(b"\x89PNG")
        again = saved(page, "HTML")
    with opened(browser, again, tmp_path) as page:
        expect(page.locator("svg.routes" if kind == "routes" else ".thumb").first).to_be_visible()


def test_where_no_scripts_run_tables_hold_the_largest_edges_and_heads(found, browser, tmp_path):
    with opened(browser, found.routes, tmp_path, java_script_enabled=False) as page:
        amount, _, i, j = largest(found.routes)
        row = page.locator("tr", has_text=f"{i} {found.tokens[i]}").filter(has_text=f"{j} {found.tokens[j]}").first
        assert stated(row.text_content())[0] == pytest.approx(amount, rel=1e-2)
        assert page.locator("summary", has_text="the heads that handed on most").count() == 1


def test_no_name_is_obeyed_or_lost(browser, tmp_path):
    tokens = (*TOKENS, "film")
    for sheet in (handed(tokens, layers=2, target=TOKENS[0]).sheet(), handed(tokens, layers=2, target=TOKENS[1]).sheet("heads")):
        with opened(browser, sheet, tmp_path) as page:
            assert page.get_by_role("alert").count() == 0
            assert text.visible(TOKENS[0], 20)[:12] in page.locator("#view").text_content() or sheet.kind == "heads"
            page.eval_on_selector_all("details", "all => all.forEach(fold => { fold.open = true; })")
            if sheet.kind == "routes":
                chart(page).focus()
                for key in ("Home", "Enter", "ArrowUp", "Enter"):
                    page.keyboard.press(key)


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("size", [(8, 4), (40, 12), (200, 24)])
def test_a_graph_fits_into_its_page(size, width, browser, tmp_path):
    tokens, layers = size
    with opened(browser, handed([f"token{t}" for t in range(tokens)], layers=layers), tmp_path, width=width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        box = chart(page).bounding_box()
        assert box["width"] <= width and box["height"] <= 720


def test_a_head_is_walked_through_exactly_where_the_model_is_at_hand(found, browser, tmp_path):
    model, tokenizer = zoo.load("reviews-rotary")
    sheet = live.routes(model, "a gorgeous , witty film", processor=tokenizer)
    part = "exact layer 0 head 2"
    wanted = explain(model, "a gorgeous , witty film", processor=tokenizer, options=Options(only={"layer 0": {"heads": [2]}}))
    sent = replace(sheet, more={part: sheet.asked[part]}, state={"head": 2})
    with opened(browser, sent, tmp_path) as page:
        panel = section(page, "layer 0 head 2")
        panel.get_by_role("button", name="Exact: walk through this head alone").click()
        expect(panel.get_by_text("reach the words through this head alone")).to_be_visible()
        shown = [number(token.locator("small").text_content()) for token in panel.locator(".token").all()]
        assert shown == pytest.approx(wanted.relevance().tolist(), abs=1e-4)
    with opened(browser, found.routes.sheet(), tmp_path) as page:  # a file has nobody to ask
        assert page.get_by_role("button", name="Exact").count() == 0


def test_a_place_is_walked_through_exactly_and_the_way_down_from_it_is_lit(browser, tmp_path):
    model, tokenizer = zoo.load("reviews-rotary")
    sheet = live.routes(model, "a gorgeous , witty film", processor=tokenizer)
    part, only = "exact layer 1 place 3", Options(detail={"routes"}, only={"layer 1 attention": {"places": [3]}})
    wanted = explain(model, "a gorgeous , witty film", processor=tokenizer, options=only)
    sent = replace(sheet, more={part: sheet.asked[part]}, state={"row": 2, "token": 3, "shown": 95})
    lit = "[...document.querySelectorAll('svg.routes .lit path')].map(p => p.getAttribute('d'))"
    with opened(browser, sent, tmp_path) as page:
        panel, mixed = page.locator(".exact"), page.evaluate(lit)
        panel.get_by_role("button", name="Exact: walk through this place alone").click()
        expect(panel.get_by_text("reach the words through this place alone")).to_be_visible()
        shown = [number(token.locator("small").text_content()) for token in panel.locator(".token").all()]
        assert shown == pytest.approx(wanted.relevance().tolist(), abs=1e-4)
        walked = page.evaluate(lit)
        start = float(page.locator("svg.routes .ring.chosen").get_attribute("cy"))
        tops = [float(re.match(r"M\S+ ([\d.]+)", d)[1]) for d in walked]
        assert min(tops) == pytest.approx(start, abs=0.1) and walked != mixed and len(walked) > 1
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Let go").click()
        assert not page.evaluate(lit)
    assert not {i for i, row in enumerate(wanted.routes.matrix("layer 1")) if row.any()} - {3}


def test_routes_with_a_model_refuse_several_inputs_and_a_part_of_the_model():
    model, tokenizer = zoo.load("reviews-rotary")
    with pytest.raises(InputError, match="One input at a time is shown, got 2"):
        live.routes(model, ["a film", "dull"], processor=tokenizer)
    with pytest.raises(InputError, match="`only` leaves a part"):
        live.routes(model, "dull", processor=tokenizer, options=Options(only={"layer 0": {"heads": [0]}}))


def test_on_paper_matrices_are_light_and_lists_keep_their_names(browser, tmp_path):
    def ground() -> tuple[int, ...]:
        shot = Image.open(io.BytesIO(page.locator(".board canvas").screenshot())).convert("RGB")
        return shot.getpixel((shot.width - 6, 6))

    with opened(browser, handed(WORDS), tmp_path, color_scheme="dark") as page:
        chart(page).focus()
        for key in ("End", "ArrowUp", "Enter"):
            page.keyboard.press(key)
        first = page.locator(".edgelist button").first
        first.click()
        page.locator(".edgelist button").first.click()
        assert max(ground()) < 80
        page.emulate_media(media="print")
        page.wait_for_timeout(100)
        assert min(ground()) > 220
        assert page.locator(".edgelist button").first.is_visible() and not section(page, "Save as a file").is_visible()
