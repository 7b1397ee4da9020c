"""A circuit in a real browser: what a place reads and who reads it, the heads of a message; kept in a file; damaged files are told."""
# ruff: noqa: F811 (a fixture that is imported)

from __future__ import annotations

import csv

import pytest
import torch
from browsing import MARKS, browser, number, opened, section  # noqa: F401
from every_kind import circuit
from playwright.sync_api import expect
from test_browser_kinds import saved

from pelrp_nb import patch, zoo
from pelrp_nb.errors import FileError
from pelrp_nb.results.circuit import Circuit, chosen

TEXTS = "sun moon star sun", "sun fish star sun"


@pytest.fixture(scope="module")
def found() -> Circuit:
    model, tokenizer = zoo.load("induction-rotary")
    return patch(model, *TEXTS, processor=tokenizer, metric=("moon", "fish")).circuit(3)


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_a_saved_circuit_is_the_same(found, tmp_path, ending):
    found.save(tmp_path / f"circuit{ending}")
    again = Circuit.load(tmp_path / f"circuit{ending}")
    assert (again.messages, again.tokens, str(again), again.faithfulness) == (found.messages, found.tokens, str(found), found.faithfulness)
    assert all(torch.equal(again.amounts[name], x) for name, x in found.amounts.items())
    assert again.to_html() == found.to_html()


def test_a_file_that_is_damaged_or_holds_something_else_is_told(found, tmp_path):
    path = tmp_path / "circuit.npz"
    found.save(path)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(FileError, match=r"circuit\.npz"):
        Circuit.load(path)
    with pytest.raises(FileError, match="nowhere"):
        found.save(tmp_path / "nowhere" / "circuit.npz")
    model, tokenizer = zoo.load("induction-rotary")
    patch(model, *TEXTS, processor=tokenizer, metric=("moon", "fish")).save(path)
    with pytest.raises(FileError, match="must hold a circuit"):
        Circuit.load(path)


@pytest.mark.browser
def test_keys_choose_a_place_and_say_what_it_reads(found, browser, tmp_path):
    with opened(browser, found, tmp_path) as page:
        page.locator("svg.routes").focus()
        for key in ("End", "ArrowUp", "ArrowUp", "Enter"):
            page.keyboard.press(key)
        expect(page.locator(".readout").first).to_contain_text("after the attention of layer 1: reads 2, is read by 0")
        reads = [m for m in found.messages if m.attention == "layer 1" and m.at == 4]
        shown = [button.text_content() for button in page.locator(".edgelist button").all()]
        assert [name.split("”")[0].strip("“") for name in shown] == [m.other for m in reads]
        assert [number(name.split("”")[1]) for name in shown] == pytest.approx([m.amount for m in reads], abs=0.006)
        page.locator(".edgelist button").first.click()
        panel = page.locator(".edgelist").first
        expect(panel).to_contain_text("layer 1 head 3")
        page.locator("svg.routes").focus()
        page.keyboard.press("Escape")
        assert page.locator(".edgelist").count() == 0 and page.locator("svg.routes .lit path").count() == 0


@pytest.mark.browser
def test_a_line_is_clicked_and_its_heads_are_read_aloud(found, browser, tmp_path):
    with opened(browser, found, tmp_path) as page:
        told = page.locator("svg.routes").get_attribute("aria-label")
        assert "3 messages" in told and "“sun” at 4 reads “moon” at 2" in told
        box = page.locator("svg.routes .edges path.against").first.bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        expect(page.get_by_role("heading", name="layer 1: “sun” at 4 reads")).to_be_visible()


@pytest.mark.browser
def test_the_table_and_what_is_taken_away_hold_every_message(found, browser, tmp_path):
    with opened(browser, found, tmp_path) as page:
        rows = [row.locator("td").all_text_contents() for row in section(page, "All messages").locator("tbody tr").all()]
        named = [[f"{m.attention} head {m.head}", f"{m.token} at {m.at}", f"{m.other} at {m.source}"] for m in found.messages]
        assert [row[:3] for row in rows] == named
        assert [number(row[3]) for row in rows] == pytest.approx([m.amount for m in found.messages], abs=0.006)
        text = saved(page, "CSV")
        (caption, head, *lines) = csv.reader(text.removeprefix("\ufeff").splitlines())
        assert "is left of" in caption[0] and head[-1] == "without it" and len(lines) == 3
        assert [float(line[-1]) for line in lines] == pytest.approx([m.amount for m in found.messages], rel=1e-6)
        assert "is left of" in saved(page, "SVG")


@pytest.mark.browser
def test_what_the_answer_would_lose_is_drawn_as_what_speaks_for_it(found, browser, tmp_path):
    assert found.clean > found.corrupt and found.messages[0].amount < 0
    with opened(browser, found, tmp_path) as page:
        look = "path => [getComputedStyle(path).stroke, getComputedStyle(path).strokeDasharray]"
        lost, key = page.locator("svg.routes .edges path.against").first.evaluate(look), page.locator(".keys path").first.evaluate(look)
        assert lost == key and lost[1] == "none" and "rgb(189, 100, 19)" in lost[0]
        assert page.locator(".keys").first.text_content().startswith(" the answer would lose it")


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 400])
def test_a_large_circuit_fits_into_a_small_page(browser, tmp_path, width):
    sheet = circuit([f"token{t}" for t in range(64)], layers=12, count=100)
    assert len(sheet.html()) < 190_000
    with opened(browser, sheet, tmp_path, width=width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert section(page, "All messages").locator("tbody tr").count() == 100


def test_encoder_decoder_and_cross_attention_stand_apart():
    edges = {
        "encoder layer 0": torch.ones(1, 3, 3), "decoder layer 0": torch.ones(1, 3, 3),
        "decoder layer 0 block.cross": torch.ones(1, 3, 3), "decoder layer 1": torch.ones(1, 3, 3),
    }  # fmt: skip
    found = Circuit.of(edges, chosen(edges, 36), ["a", "b", "c"], "yes", 1.0, 1.0, 0.0)
    groups = found.sheet().data["groups"]
    assert [(len(g["levels"]), g["own"]) for g in groups] == [(1, True), (2, True), (1, False)]
