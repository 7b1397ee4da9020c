"""The other views in a real browser: positions in detail, comparison, prediction, pictures, the inspector, exports."""
# ruff: noqa: F811 (a fixture that is imported)

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
import torch
from browsing import MARKS, browser, number, numbers, opened, section, slider, stated, step_through, unfold  # noqa: F401
from hostile import TOKENS
from made import REVIEW, made
from PIL import Image
from playwright.sync_api import expect
from shapes import words
from test_amounts import CANNOT, NOT_KEPT
from test_streams import heard, written
from test_views import ODD, everywhere

from pelrp_nb.views.data import coarse
from pelrp_nb import Options, exchange, explain, plan, views, zoo
from pelrp_nb.views import text
from pelrp_nb.views.steps import walk

pytestmark = MARKS
T, H, F = len(REVIEW), 3, 6


def detailed(**changed):
    """An explanation with all that can be asked for, heads and frequencies adding up to its sinks."""
    e = made(**changed)
    rng = torch.Generator().manual_seed(1)
    detail = {"query_key": {}, "heads": {}, "frequencies": {}, "attention": {}}
    for s, name in enumerate(e.sinks):
        share = torch.rand(2 * H, T, generator=rng, dtype=torch.float64)
        parts = share / share.sum(0) * e.positional[s]
        detail["heads"][name] = {"query": parts[:H], "key": parts[H:]}
        detail["query_key"][name] = {"query": parts[:H].sum(0), "key": parts[H:].sum(0)}
        share = torch.rand(T, F, generator=rng, dtype=torch.float64)
        waves = torch.tensor([6.3, 20.0, 200.0, 2000.0, 20_000.0, float("inf")], dtype=torch.float64)
        parts = share / share.sum(1, keepdim=True) * e.positional[s][:, None]
        detail["frequencies"][name] = {"relevance": parts, "wavelength": waves}
    for b in e.boundaries:
        if b.kind == "attention":
            share = torch.rand(H, T, generator=rng, dtype=torch.float64)
            detail["attention"][f"layer {b.layer}"] = {"heads": share / share.sum(0) * b.relevance, "values": 0.1, "scores": 0.2}
    pair = torch.randn(H, T, T, generator=rng, dtype=torch.float64)
    detail["pairs"] = {"layer 0 bias": {"relevance": pair.sum(0), "heads": pair, "written": "centred"}}
    return made(**changed, detail=detail)


# --- what is told of a ledger ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("book", "told"), [(CANNOT, "cannot tell in bfloat16"), (NOT_KEPT, "not kept")], ids=["cannot", "not kept"])
def test_a_ledger_that_neither_closes_nor_opens_says_so_in_every_view(browser, tmp_path, book, told):
    e = made(ledger=book)
    with opened(browser, e.sheet("stepper"), tmp_path) as page:
        head = page.get_by_text(f"ledger {told}", exact=True)
        expect(head).to_be_visible()
        assert head.get_attribute("class") == "quiet"
        account = page.get_by_role("region", name="Account so far")
        expect(account).to_contain_text(f"ledger {told}")
        assert "rounding" not in account.inner_text()
    with opened(browser, views.compare([e, made()]), tmp_path) as page:
        row = page.get_by_role("row", name="ledger")
        expect(row).to_contain_text(told)
        expect(row).to_contain_text("closed")


# --- positions in detail -----------------------------------------------------------------------------------------------


def test_queries_and_keys_are_shown_for_each_sink_and_head(browser, tmp_path):
    e = detailed()
    with opened(browser, e.sheet("xray"), tmp_path) as page:
        pane = section(page, "Queries and keys")

        def shown() -> list[list[float]]:
            rows = [numbers(token.locator("small")) for token in pane.locator(".token").all()]
            return [list(side) for side in zip(*rows, strict=True)]

        for sink in (e.sinks[0], e.sinks[2]):
            pane.get_by_label("Sink").select_option(sink)
            wanted = [e.detail["query_key"][sink][side].tolist() for side in ("query", "key")]
            assert shown() == [pytest.approx(row, abs=2e-3) for row in wanted]
        pane.get_by_label("Head").select_option("1")
        wanted = [e.detail["heads"][e.sinks[2]][side][1].tolist() for side in ("query", "key")]
        assert shown() == [pytest.approx(row, abs=2e-3) for row in wanted]


def test_the_spectrum_shows_every_wavelength_and_names_the_largest(browser, tmp_path):
    e = detailed()
    with opened(browser, e.sheet("xray"), tmp_path) as page:
        pane = section(page, "Frequencies")
        said = pane.get_by_role("img").get_attribute("aria-label")
        sums = e.detail["frequencies"][e.sinks[0]]["relevance"].sum(0)
        bars = [number(part.split()[-1]) for part in said.removeprefix("spectrum: ").split(", ")]
        assert bars == pytest.approx(sums.tolist(), abs=2e-2)
        assert "never turning" in said and "20k" in said
        section(page, "Sinks").locator("canvas").hover(position={"x": 5, "y": 5})
        expect(pane.locator("polyline")).to_have_count(1)  # the token under the pointer


def test_the_pair_matrix_says_how_the_bias_is_written(browser, tmp_path):
    e = detailed()
    with opened(browser, e.sheet("xray"), tmp_path) as page:
        pane = section(page, "Pairs")
        assert "centred per row" in pane.text_content()
        pane.locator("canvas").focus()
        page.keyboard.press("ArrowRight")
        told = pane.get_by_role("status").text_content()
        assert stated(told)[-1] == pytest.approx(float(e.detail["pairs"]["layer 0 bias"]["relevance"][0, 1]), rel=2e-2, abs=2e-2)


def test_an_exchange_shows_pairs_places_and_distances(browser, tmp_path):
    model, tokenizer = zoo.load("reviews-rotary")
    found = exchange(model, "a dull , clumsy film", processor=tokenizer, partners=None)
    with opened(browser, found, tmp_path) as page:
        pane = page.get_by_label("What positions are worth", exact=True)
        expect(pane.get_by_text("what the value would lose if the two tokens exchanged their positions")).to_be_visible()
        for name, matrix in (("all", found.matrix), ("layer 2", found.of("layer 2"))):
            pane.get_by_label("Attention").select_option(name)
            pane.locator("canvas").focus()
            page.keyboard.press("ArrowRight")
            told = pane.locator(".readout").text_content()
            first, second = found.places.sort().values[:2]
            assert stated(told)[-1] == pytest.approx(float(matrix[first, second]), rel=2e-2, abs=2e-2)
            page.keyboard.press("ArrowLeft")
        shown = [numbers(token.locator("small"))[0] for token in pane.locator(".token").all()]
        assert shown == pytest.approx(found.signed[found.places.sort().values].tolist(), abs=2e-3)
        said = pane.get_by_role("img", name="profile").get_attribute("aria-label")
        away = found.by_distance()
        sizes = [number(part.split()[3]) for part in said.removeprefix("profile: ").split(", ")]
        assert sizes == pytest.approx(away["size"].tolist(), abs=2e-3)
    e = explain(model, "a dull , clumsy film", processor=tokenizer)
    with opened(browser, views.xray(e, exchange=found), tmp_path) as page:
        expect(section(page, "Exchange").locator("canvas")).to_be_visible()


def test_heads_appear_on_demand_and_by_key(browser, tmp_path):
    e = detailed()
    with opened(browser, e, tmp_path) as page:
        pane = page.locator("section[aria-label=Heads]")
        assert not pane.is_visible()
        slider(page).press("h")
        assert "belong to a layer" not in pane.text_content() or pane.is_visible()
        slider(page).press("PageDown")
        slider(page).press("PageDown")
        expect(pane.locator(".rownames div").first).to_have_text("head 0 output")
        assert pane.locator(".rownames div").count() == 3 * H
        slider(page).press("h")
        assert not pane.is_visible()


def test_inside_attention_values_and_scores_stand_apart(browser, tmp_path):
    e = detailed()
    with opened(browser, e, tmp_path) as page:
        slider(page).press("PageDown")
        slider(page).press("ArrowLeft")
        flow = section(page, "This step").get_by_role("img")
        expect(flow).to_have_attribute("aria-label", re.compile("to values .* scores .* softmax .* skip"))
        brought = next(b.total for b in e.boundaries if b.name == "layer 0 attention")
        said = flow.get_attribute("aria-label").split(" to ")[1]
        assert stated(said)[:3] == pytest.approx([0.1, 0.2, brought - 0.3], abs=2e-3)


def test_without_detail_the_view_says_what_to_type(browser, tmp_path):
    with opened(browser, made(), tmp_path) as page:
        slider(page).press("PageDown")
        slider(page).press("PageDown")
        slider(page).press("h")
        assert 'Options(detail={"heads"})' in page.locator("section[aria-label=Heads]").text_content()


@pytest.mark.parametrize("name", ["t5", "whisper"])
def test_encoder_and_decoder_are_walked_apart_and_balance_on_every_step(name, browser, tmp_path):
    given = heard() if name == "whisper" else ("w7 w8 w9", "w20 w21")
    e = explain(written(name), given, processor=words(special=True), options=Options(audit=True))
    with opened(browser, e, tmp_path) as page:
        for which, stream in e.streams.items():
            page.get_by_role("radio", name=which).check()
            steps = walk(stream.plain())
            slider(page).press("Home")
            for at, step in enumerate(steps):
                assert slider(page).get_attribute("aria-valuenow") == str(at)
                assert page.locator(".said").first.text_content() == step["said"]
                assert section(page, "Account so far").locator("p.good").count() == 1
                slider(page).press("ArrowRight")
            shown = numbers(section(page, "Tokens").locator(".token small"))
            assert shown == pytest.approx(stream.relevance().tolist(), abs=5.1e-3 * max(1, abs(e.value)))
            assert "other streams" in section(page, "The whole flow").text_content()
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280


# --- predict, then step ------------------------------------------------------------------------------------------------


def test_a_prediction_is_set_by_keys_and_by_dragging_and_scored_by_the_next_step(browser, tmp_path):
    e = made()
    with opened(browser, e, tmp_path) as page:
        slider(page).press("Home")
        page.get_by_label("predict, then step").check()
        guesses = page.get_by_role("slider", name="prediction for")
        assert guesses.count() == T and {g.get_attribute("aria-valuenow") for g in guesses.all()} == {"0"}
        wanted = e.boundaries[-1].relevance
        scale = float(wanted.abs().max())
        for t, guess in enumerate(guesses.all()):
            steps = round(float(wanted[t]) / scale * 10)
            for _ in range(abs(steps)):
                guess.press("ArrowUp" if steps > 0 else "ArrowDown")
        page.get_by_role("button", name="Step, and score it").click()
        score = section(page, "Predict").get_by_role("status").text_content()
        assert float(score.split("Agreement ")[1].split()[0]) > 0.98 and "You named the token that carries most" in score
        box = guesses.nth(1).bounding_box()
        page.mouse.move(box["x"] + 10, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + 10, box["y"] + 2)
        page.mouse.up()
        assert float(guesses.nth(1).get_attribute("aria-valuenow")) > 0.8


# --- side by side ------------------------------------------------------------------------------------------------------


def three():
    return [made(seed=s, card={"method": m, "model": "m"}) for s, m in ((0, "pa-lrp"), (1, "attn-lrp"), (2, "cp-lrp"))]


def test_comparison_shows_all_numbers_and_differences(browser, tmp_path):
    found = three()
    with opened(browser, views.compare(found), tmp_path) as page:

        def shown() -> np.ndarray:
            rows = section(page, "Tokens").locator(".token").all()
            return np.array([numbers(token.locator("small")) for token in rows]).T

        R = np.array([e.relevance().tolist() for e in found])
        assert shown() == pytest.approx(R, abs=5.1e-3)
        page.get_by_label("Difference to").select_option("pa-lrp")
        assert shown() == pytest.approx(R - R[:1], abs=5.1e-3)
        page.get_by_label("Difference to").select_option("none")
        page.get_by_label("content", exact=True).check()
        assert shown() == pytest.approx(np.array([e.semantic.tolist() for e in found]), abs=5.1e-3)
        page.get_by_role("slider", name="After").press("Home")
        assert shown() == pytest.approx(np.array([e.boundaries[-1].relevance.tolist() for e in found]), abs=5.1e-3)
        section(page, "Tokens").locator(".token").nth(2).hover()
        assert section(page, "Tokens").locator(".readout").text_content().count("lrp") == 3
        cosine = torch.nn.functional.cosine_similarity(found[0].relevance(), found[1].relevance(), 0)
        assert number(section(page, "Agreement").locator("td").nth(2).text_content()) == pytest.approx(float(cosine), abs=6e-3)
        tokens = section(page, "Accounts").locator("tr", has_text="tokens").locator("td")
        assert numbers(tokens) == pytest.approx([e.ledger.tokens for e in found], abs=5e-3)


def test_texts_of_different_words_stand_apart_with_linked_hover(browser, tmp_path):
    found = [made(("a", "good", "film")), made(("good", "heavens"), layers=3)]
    with opened(browser, views.compare(found, ["one", "two"]), tmp_path) as page:
        strips = page.locator("ol.strip")
        assert strips.count() == 2
        strips.nth(0).locator(".token").nth(1).hover()
        assert "pointed" in strips.nth(1).locator(".token").nth(0).get_attribute("class")


def test_comparison_refuses_nothing_and_a_wrong_number_of_names():
    with pytest.raises(ValueError, match="at least one"):
        views.compare([])
    with pytest.raises(ValueError, match="one name per result, 3, got 1"):
        views.compare(three(), ["x"])


# --- pictures ----------------------------------------------------------------------------------------------------------


def photo(rows: int = 3, columns: int = 4, patch: int = 5):
    tokens = ("<0>", *(f"patch {r},{c}" for r in range(rows) for c in range(columns)))
    rng = torch.Generator().manual_seed(3)
    maps = {name: torch.randn(rows * patch, columns * patch, generator=rng) for name in ("content", "position")}
    return made(tokens, map=maps["content"] + maps["position"], maps=maps)


def test_a_large_picture_is_a_jpeg_and_a_byte_a_pixel_of_its_maps_and_is_drawn_all_the_same(browser, tmp_path):
    e = photo(7, 7, 32)
    across = np.linspace(0, 255, 224).astype(np.uint8)
    pixels = np.stack([np.tile(across, (224, 1)), np.tile(across[:, None], (1, 224)), np.full((224, 224), 90, np.uint8)], -1)
    sheet = views.image(e, pixels)
    held = sheet.data["image"]
    assert held["picture"]["jpeg"].startswith(b"\xff\xd8") and len(held["picture"]["jpeg"]) < 224 * 224 / 4
    assert len(held["maps"]["content"]["i8"]) == 224 * 224 and len(sheet.html()) < 420_000
    with opened(browser, sheet, tmp_path) as page:
        page.get_by_role("slider", name="Opacity").press("Home")
        page.wait_for_timeout(300)  # a JPEG is there a moment later
        shown = np.asarray(Image.open(io.BytesIO(page.locator("canvas.picture").screenshot())).convert("RGB"), float)
        for x, y in ((0.1, 0.1), (0.9, 0.2), (0.5, 0.8)):
            at = shown[int(y * shown.shape[0]), int(x * shown.shape[1])]
            assert at == pytest.approx([255 * x, 255 * y, 90], abs=12)


@pytest.mark.parametrize("values", [[[0.0, -2.0, 1.0], [float("nan"), 0.5, 2.0]], [[0.0]], [[float("inf"), 1.0]]])
def test_a_byte_a_number_keeps_signs_zeros_and_what_is_no_number(values):
    box = coarse(values)
    steps = np.frombuffer(box["i8"], "i1").reshape(box["shape"]).astype(float)
    back = np.where(steps == -128, np.nan, steps * box["scale"])
    most = np.abs(np.array(values)[np.isfinite(values)]).max()
    np.testing.assert_allclose(back, np.clip(values, -most, most), atol=most / 250)


def test_a_picture_is_laid_under_relevance_and_its_patches_are_read(browser, tmp_path):
    e = photo()
    pixels = np.zeros((15, 20, 3), np.uint8)
    pixels[:, :, 1] = 200
    with opened(browser, views.image(e, pixels), tmp_path) as page:
        canvas = page.locator("canvas.picture")

        def colour(x: int, y: int) -> list[int]:
            return list(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB").getpixel((x, y)))

        page.get_by_role("slider", name="Opacity").press("Home")
        assert colour(7, 7) == [0, 200, 0]
        page.get_by_role("slider", name="Opacity").press("End")
        assert colour(7, 7) != [0, 200, 0]
        box = canvas.bounding_box()
        canvas.hover(position={"x": box["width"] * 0.9, "y": box["height"] * 0.9})
        told = section(page, "Step by step").locator(".readout", has_text="patch").first.text_content()
        assert told.startswith("patch 2,3")
        assert stated(told) == pytest.approx([float(e.relevance()[-1])], abs=5e-3)
        slider(page).press("Home")
        slider(page).press("ArrowRight")
        canvas.focus()
        page.keyboard.press("ArrowRight")
        told = section(page, "Step by step").locator(".readout", has_text="patch").first.text_content()
        assert told.startswith("patch 2,3") or stated(told)[-1] == pytest.approx(float(e.boundaries[-1].relevance[2]), abs=5e-3)


def test_a_picture_of_another_shape_or_a_text_is_refused():
    with pytest.raises(ValueError, match="not of an image"):
        views.image(made())
    with pytest.raises(ValueError, match="picture must be"):
        views.image(photo(), np.zeros((2, 2, 1)))


# --- the inspector -----------------------------------------------------------------------------------------------------

RULE = {"operation": "linear", "rule": "epsilon", "reason": "linear map", "conserves": "all but the bias"}
TREE = {
    "name": "", "kind": "Model", "rules": [], "children": [
        {"name": "layers.0", "kind": "Layer", "rules": [{**RULE, "operation": "add", "rule": "residual"}],
         "children": [{"name": "layers.0.mlp", "kind": "MLP", "rules": [RULE], "children": []}]},
        {"name": "head", "kind": "Linear", "rules": [RULE], "children": []}],
}  # fmt: skip


def inspected(tree=TREE, **changed):
    from pelrp_nb import rules
    from pelrp_nb.rules import pages

    known = {rule.name: pages.page_of(rule) for rule in (rules.epsilon, rules.residual)}
    given = {"model": "Model", "method": "pa-lrp", "sinks": [("layer 0 rotary", "rotary")], "pages": known}
    return views.inspector(tree, **{**given, **changed})


def test_the_inspector_shows_each_modules_rules_and_their_pages(browser, tmp_path):
    with opened(browser, inspected(), tmp_path) as page:
        assert "3 operations, 1 sink" in page.locator("header").text_content()
        expect(page.get_by_label("what operations conserve")).to_contain_text("3 hand on all but what is booked by name")
        residual = page.get_by_role("button", name="add residual")
        residual.click()
        panel = section(page, "Rule")
        assert "R(a)=acR(c)" in panel.locator("math").all_text_contents()[1] and "in layers.0" in panel.text_content()
        assert residual.get_attribute("aria-pressed") == "true"
        search = page.get_by_role("searchbox")
        search.fill("mlp")
        expect(page.get_by_text("1 found")).to_be_visible()
        assert page.locator(".tree li:visible").count() == 3  # the way to it
        assert not page.get_by_text("head Linear").is_visible()
        search.fill("nowhere")
        expect(page.get_by_text('nothing is called "nowhere" here')).to_be_visible()
        search.fill("")
        page.get_by_role("button", name="close all").click()
        assert not page.get_by_text("layers.0", exact=True).is_visible()


def test_layers_that_are_alike_are_drawn_once(browser, tmp_path):
    def layer(i: int, rule: str = "epsilon") -> dict:
        inner = {"name": "mlp", "kind": "Mlp", "rules": [{**RULE, "rule": rule}], "children": []}
        return {"name": str(i), "kind": "Layer", "rules": [], "children": [inner]}

    layers = [*(layer(i) for i in range(31)), layer(31, "gamma"), layer(32), layer(33)]
    tree = {"name": "", "kind": "Model", "rules": [], "children": [{"name": "layers", "kind": "ModuleList", "rules": [],
                                                                   "children": layers}]}  # fmt: skip
    with opened(browser, inspected(tree), tmp_path) as page:
        assert page.get_by_text("0\u201330 Layer \u00b7 31 alike").count() == 1 and page.get_by_text("alike").count() == 1  # two are no run
        assert page.locator("li b", has_text=re.compile("^31$")).is_visible()
        page.get_by_label("Find a module, operation or rule").fill("epsilon")
        expect(page.get_by_text("3 found")).to_be_visible()
        page.get_by_role("button", name="linear epsilon").first.click()
        expect(section(page, "Rule")).to_contain_text("in layers.0\u201330.mlp")


@pytest.fixture(scope="module")
def planned():
    model, tokenizer = zoo.load("reviews-rotary")
    return plan(model, "a gorgeous , witty film", processor=tokenizer).sheet()


@pytest.mark.parametrize("words", ["rotary", "attention", "rms_norm", "RMS norm", "where it stands", "residual"])
def test_the_inspector_finds_what_people_look_for(words, planned, browser, tmp_path):
    with opened(browser, planned, tmp_path) as page:
        page.get_by_role("searchbox").fill(words)
        told = page.get_by_text("nothing is called" if words == "where it stands" else re.compile(r"^[1-9]\d* found$"))
        expect(told).to_be_visible()


def test_the_inspector_says_where_positions_enter_and_why(planned, browser, tmp_path):
    with opened(browser, planned, tmp_path) as page:
        page.get_by_role("button", name="positions enter: rotary").click()
        panel = section(page, "Rule")
        expect(panel).to_contain_text("in model.layers.0\u20133.self_attn")
        expect(panel).to_contain_text("a factor that differs from place to place, and turns")
        expect(panel).to_contain_text("half to the angle")


@pytest.mark.parametrize("width", [1280, 400])
def test_the_rule_stays_in_sight_wherever_the_map_is_scrolled_to(width, planned, browser, tmp_path):
    with opened(browser, planned, tmp_path, width=width) as page:
        last = page.get_by_role("button", name="linear epsilon").last
        last.click()
        expect(section(page, "Rule").get_by_role("heading", name="linear: epsilon")).to_be_in_viewport()
        expect(last).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_inspectors_refusals_stand_first(browser, tmp_path):
    with opened(browser, inspected(refusals=["no rule for aten::foo in layers.3"]), tmp_path) as page:
        assert "no rule for aten::foo" in page.get_by_role("note").text_content()


# --- taken away --------------------------------------------------------------------------------------------------------


def saved(page, kind: str) -> str | bytes:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=kind, exact=True).click()
    found = waiting.value.path().read_bytes()
    assert waiting.value.suggested_filename.endswith(f".{kind.lower()}")
    return found if kind == "PNG" else found.decode("utf-8")


def test_a_step_can_be_taken_away_in_every_form(browser, tmp_path):
    e = made()
    with opened(browser, e, tmp_path, accept_downloads=True) as page:
        slider(page).press("PageDown")
        rows = list(csv.reader(io.StringIO(saved(page, "CSV"))))
        assert rows[0][0].startswith("# positive") and "reviews-rotary" in "".join(rows[0]) and "ledger closed" in "".join(rows[0])
        assert rows[1] == ["index", "token", "content", "position", "both"]
        assert [row[1] for row in rows[2 : 2 + T]] == list(REVIEW)
        assert [float(row[2]) for row in rows[2 : 2 + T]] == pytest.approx(e.boundaries[0].relevance.tolist(), rel=1e-6)
        held = json.loads(saved(page, "JSON"))
        assert held["step"]["name"] == "embeddings"
        assert held["data"]["parts"]["signed"]["both"] == pytest.approx(e.relevance().tolist())
        assert held["data"]["boundaries"][1]["relevance"] == pytest.approx(e.boundaries[1].relevance.tolist(), rel=1e-6)
        assert saved(page, "PNG").startswith(b"\x89PNG")
        root = ET.fromstring(saved(page, "SVG"))
        words = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
        assert set(REVIEW) <= set(words) and any("ledger closed" in (w or "") for w in words)
        again = saved(page, "HTML")
    with opened(browser, again, tmp_path) as page:
        assert "embeddings" in slider(page).get_attribute("aria-valuetext")
        page.get_by_role("button", name="to the inputs").click()
        assert numbers(section(page, "Tokens").locator(".token small")) == pytest.approx(e.relevance().tolist(), abs=5.1e-3)


@pytest.mark.parametrize("kind", ["text", "picture"])
def test_a_card_that_is_closed_can_be_saved_as_it_is_and_an_open_one_with_its_step(kind, browser, tmp_path):
    shown = made() if kind == "text" else replace(photo(), special=(True, *(False,) * 12))
    with opened(browser, shown, tmp_path, through=False, accept_downloads=True) as page:
        button = page.get_by_role("button", name="Save as SVG", exact=True)
        with page.expect_download() as waiting:
            button.press("Enter")
        root = ET.fromstring(waiting.value.path().read_text(encoding="utf-8"))
        words = "".join(node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}text"))
        card = page.locator(".card h1").text_content()
        assert "".join(card.split()) in "".join(words.split()) and "ledger closed" in words and "Step through" not in words
        if kind == "picture":
            assert root.find(".//{http://www.w3.org/2000/svg}image") is not None
        step_through(page)
        expect(button).to_have_count(0)
        expect(page.get_by_role("button", name="SVG", exact=True)).to_have_count(1)


@pytest.mark.parametrize(("kind", "heading"), [("stepper", "Step by step"), ("flow", "The whole flow"), ("xray", "Positions")])
def test_each_part_alone_is_taken_away_as_itself(browser, tmp_path, kind, heading):
    with opened(browser, made().sheet(kind).to_html(), tmp_path, accept_downloads=True) as page:
        again = saved(page, "HTML")
        assert set(REVIEW) <= {row[1] for row in csv.reader(io.StringIO(saved(page, "CSV"))) if len(row) > 1}
    with opened(browser, again, tmp_path) as page:
        assert page.get_by_role("heading", name=heading).count() == 1 and page.get_by_role("heading", name="Save as a file").count() == 1


def test_no_hostile_text_comes_alive_in_what_is_taken_away(browser, tmp_path):
    with opened(browser, ODD["hostile"], tmp_path, accept_downloads=True) as page:
        page.get_by_label("whole words").uncheck()
        found = saved(page, "CSV")
        svg = saved(page, "SVG")
        again = saved(page, "HTML")
        json.loads(saved(page, "JSON"))
    rows = list(csv.reader(io.StringIO(found)))
    named = [row[1] for row in rows[2 : 2 + len(TOKENS)]]
    assert len(named) == len(TOKENS) and not any(name.startswith(("=", "+", "-", "@")) for name in named)
    tags = {node.tag.split("}")[1] for node in ET.fromstring(svg).iter()}
    assert tags == {"svg", "rect", "text", "path"} and "onload" not in {key for node in ET.fromstring(svg).iter() for key in node.attrib}
    with opened(browser, again, tmp_path) as page:
        assert section(page, "Tokens").locator(".token").count() == len(TOKENS)


HOSTILE = ("<img src=x onerror=window.hit=1>", "</script><script>window.hit=1</script>", "\u202eevil\0", "W" * 10_000)


@pytest.mark.parametrize("token", HOSTILE, ids=range(len(HOSTILE)))
def test_no_view_obeys_a_text(token, browser, tmp_path):
    hostile = {**TREE, "name": token, "kind": token, "rules": [dict.fromkeys(RULE, token)]}
    shown = [
        views.compare([everywhere(token), everywhere(token)], [token, token + "2"]),
        inspected(hostile, model=token, method=token, sinks=[(token, token)], refusals=[token]),
        everywhere(token).sheet("xray"), everywhere(token).sheet("flow"), everywhere(token).sheet("stepper"),
    ]  # fmt: skip
    for sheet in shown:
        with opened(browser, sheet, tmp_path) as page:
            assert page.get_by_role("alert").count() == 0
            assert text.visible(token, 20)[:12] in page.locator("#view").text_content()
            unfold(page)
