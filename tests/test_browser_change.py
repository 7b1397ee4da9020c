"""One word changed in place in the monitor: a real browser before a real monitor, with what they tell each other handed over."""
# ruff: noqa: F811 (a fixture that is imported)

from __future__ import annotations

import json

import pytest
from browsing import MARKS, browser, numbers, opened  # noqa: F401
from playwright.sync_api import expect

from pelrp_nb import live, zoo
from pelrp_nb.errors import InputError
from pelrp_nb.views.data import as_json
from pelrp_nb.views.module import script, style

pytestmark = MARKS
TEXT = "a gorgeous , witty film"
HOST = """
const values = JSON.parse(document.getElementById("held").textContent), heard = {};
window.put = (name, value) => { values[name] = value; heard[`change:${name}`]?.forEach((hear) => hear()); };
window.say = (message) => heard["msg:custom"]?.forEach((hear) => hear(message));
render({ el: document.getElementById("view"), model: { get: (name) => values[name], on: (e, hear) => (heard[e] ??= []).push(hear),
  off() {}, save_changes() {}, set: (name, value) => put(name, value), send: (message) => window.told(message) } });
"""


@pytest.fixture
def monitor():
    monitor = live.monitor(*zoo.load("reviews-rotary"))
    monitor.run(TEXT)
    return monitor


@pytest.fixture
def page(browser, monitor):
    """The monitor's page before its kernel: each message is answered, each trait that it changes is handed on."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(8000)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    messages = []
    page.expose_function("told", lambda message: messages.append(message))
    names = ("kind", "data", "step", "token", "state", "more", "wanted", "asks", *monitor.kept)
    held = as_json({name: getattr(monitor, name) for name in names})
    page.set_content(
        f'<style>{style()}</style><div id="view"></div><script type="application/json" id="held">{held}</script>'
        f'<script type="module">{script("monitor")}{HOST}</script>'
    )
    page.evaluate("say({ here: true })")
    page.monitor, page.messages = monitor, messages
    yield page
    page.close()
    assert errors == []


def answer(page) -> None:
    """What a kernel does: hear the last message, wait for the run, hand on the traits."""
    page.wait_for_timeout(100)
    page.monitor._heard(None, page.messages[-1])
    page.monitor._work.wait()
    for name in page.monitor.kept:
        page.evaluate("([name, text]) => put(name, JSON.parse(text))", [name, as_json(getattr(page.monitor, name))])


def change(page, word: str, other: str) -> None:
    page.get_by_role("button", name=word).first.press("F2")
    field = page.get_by_role("textbox", name=f"another word for {word}")
    expect(field).to_be_focused()
    field.fill(other)
    field.press("Enter")


def rows(page) -> list[list[float]]:
    """The numbers of the strip, row by row."""
    cells = [numbers(cell.locator("small")) for cell in page.locator(".found .strip .token").all()]
    return [list(row) for row in zip(*cells, strict=True)]


def test_enter_runs_the_text_with_the_other_word_and_both_results_stand_under_each_other(page):
    before = page.monitor.result
    change(page, "gorgeous", "dreadful")
    answer(page)
    now = page.monitor.result
    assert page.monitor.text == "a dreadful , witty film" and page.monitor.before == before != now
    strip = page.locator(".found .strip .token .label").all_text_contents()
    assert strip == ["[CLS]", "a", "gorgeous \u2192 dreadful", ",", "witty", "film", "[SEP]"]
    old, new = before.relevance().tolist(), now.relevance().tolist()
    wanted = [old, new] + ([[b - a for a, b in zip(old, new, strict=True)]] if before.target == now.target else [])
    assert rows(page) == [pytest.approx(row, abs=1e-3) for row in wanted]
    said = page.locator(".found .lead").text_content()
    assert f"Before: {before.target}" in said and f"Now: {now.target}" in said and (len(wanted) == 3) == ("not subtracted" not in said)
    assert page.get_by_label("Text", exact=True).input_value() == page.monitor.text


def test_a_word_can_be_changed_again_and_by_pointer_or_its_button(page):
    change(page, "witty", "dull")
    answer(page)
    first = page.monitor.result
    page.locator('.token[data-token="2"]').dblclick()
    field = page.get_by_role("textbox", name="another word for gorgeous")
    field.press("Escape")
    assert page.locator(".changing").count() == 0 and len(page.messages) == 2
    page.locator('.token[data-token="5"]').click()
    page.get_by_role("button", name="Change \u201cfilm\u201d").click()
    page.get_by_role("textbox", name="another word for film").fill("book")
    page.keyboard.press("Enter")
    answer(page)
    assert page.monitor.text == "a gorgeous , dull book" and page.monitor.before == first


def test_words_of_several_tokens_and_a_word_taken_out_are_one_column(page):
    change(page, "gorgeous", "unabashedly enjoyable and witty")
    answer(page)
    labels = page.locator(".found .strip .token .label").all_text_contents()
    assert labels[2].startswith("gorgeous \u2192 ") and labels[3] == "," and len(labels) == 7
    sums = rows(page)
    assert sum(sums[1]) == pytest.approx(float(page.monitor.result.relevance().sum()), abs=5e-3)


def test_special_tokens_cannot_be_changed_and_a_run_of_its_own_keeps_nothing_beside_it(page):
    page.get_by_role("button", name="[CLS]").first.press("F2")
    assert page.locator(".changing").count() == 0
    change(page, "witty", "dull")
    answer(page)
    page.get_by_role("button", name="Run", exact=True).click()
    answer(page)
    assert page.monitor.before is None and page.monitor.earlier == {} and page.locator(".found .lead").count() == 0


def test_the_saved_page_shows_both_and_lets_nobody_change_anything(browser, monitor, tmp_path):
    monitor.change("gorgeous", "dreadful")
    with opened(browser, monitor.sheet(), tmp_path, 400) as page:
        assert "gorgeous \u2192 dreadful" in page.locator(".found .strip").text_content()
        page.get_by_role("button", name="witty").first.press("F2")
        assert page.locator(".changing").count() == 0 and page.evaluate("document.documentElement.scrollWidth") <= 400


def test_a_word_that_is_not_there_once_is_refused(monitor):
    with pytest.raises(InputError, match="must hold 'dull' once, and holds it 0 times"):
        monitor.change("dull", "bright")
    assert json.dumps(monitor.earlier) == "{}" and monitor.text == TEXT
