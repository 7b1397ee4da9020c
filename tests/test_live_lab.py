"""Live views in a real JupyterLab with a live kernel: run, cancel, fail, link, and a kernel that dies."""
# ruff: noqa: F811 (fixtures that are imported)

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import MARKS, browser, numbers  # noqa: F401
from hostile import TOKENS
from lab import Lab, lab  # noqa: F401
from playwright.sync_api import Page, expect

from pelrp_nb import rules
from pelrp_nb.live import workbench

pytestmark = MARKS
SETUP = """
import time
from ipywidgets import Dropdown, HBox, IntSlider, VBox, jslink, link
from pelrp_nb import live, zoo
model, tokenizer = zoo.load("reviews-rotary")
def slow(module, given, output):
    time.sleep(0.12)
    output.register_hook(lambda g: time.sleep(0.25))
for layer in model.model.layers:
    layer.register_forward_hook(slow)
pair = zoo.load("reviews-rotary")
m = live.monitor({"quick": pair, "slow": (model, tokenizer)}, text="a gorgeous , witty film")
m
"""
BENCH = "b = live.bench('epsilon')\nb"
LINKED = """
pick = Dropdown(options=["pa-lrp", "attn-lrp", "cp-lrp"], description="by")
n = live.monitor(pair[0], pair[1], text="a dull film")
link((pick, "value"), (n, "method"))
v = live.break_it(pair[0], "a dull film", processor=pair[1]).explore()
at = IntSlider(0, 0, 14, description="at")
jslink((at, "value"), (v, "step"))
VBox([HBox([pick, at]), n, v])
"""


@pytest.fixture(scope="module")
def notebook(lab: Lab) -> Iterator[tuple[Lab, Page]]:
    """One notebook for all tests below, in their order: the last one kills its kernel."""
    with lab.opened([SETUP, BENCH, LINKED]) as page:
        page.get_by_role("slider", name="Step").first.wait_for()
        yield lab, page


def cell(page: Page, i: int):
    return page.locator(".jp-Cell").nth(i)


def runs(lab: Lab, page: Page) -> int:
    """How many runs the monitor has begun; once the last of them has ended."""
    ended = "import time\nwhile m.running: time.sleep(0.05)\nprint(m.report['serial'])"
    return int(lab.python(page, ended))


def runs_after(lab: Lab, page: Page, before: int) -> int:
    """The same, once there is one more: what a page asks for takes its time to reach the kernel."""
    until = time.monotonic() + 30
    while (found := runs(lab, page)) == before and time.monotonic() < until:
        time.sleep(0.05)
    return found


def test_the_monitor_fills_in_while_the_backward_pass_runs(notebook):
    lab, page = notebook
    here = cell(page, 0)
    here.get_by_label("Model", exact=True).select_option("slow")
    here.get_by_role("button", name="Run", exact=True).click()
    expect(here.locator(".phase")).to_have_text(re.compile("walking back: [1-4] of 5 boundaries"))
    filled = here.locator("table.live tbody tr:not(.dim)").count()
    assert 1 <= filled <= 4
    checks = here.locator("table.live tr:not(.dim) .check").all_text_contents()
    assert 1 <= len(checks) <= 5 and set(checks) == {"\u2713 closed"}  # as soon as relevance is there
    expect(here.locator(".phase")).to_have_text("done")
    expect(here.locator("table.live tbody .good")).to_have_count(5)
    shown = numbers(here.locator(".found .strip .token small"))
    assert shown == pytest.approx(eval(lab.python(page, "print(m.result.relevance().tolist())")), abs=5.1e-4)
    assert here.get_by_role("progressbar").get_attribute("aria-valuenow") == "5"


def test_cancel_works_and_the_model_is_as_it_was(notebook):
    lab, page = notebook
    here = cell(page, 0)
    before = lab.python(page, "print([len(x._forward_hooks) for x in model.modules()], m.result.target)")
    here.get_by_role("button", name="Run", exact=True).click()
    expect(here.locator(".phase")).to_have_text(re.compile("walking back"))
    here.get_by_role("button", name="Cancel").click()
    expect(here.locator(".phase")).to_have_text("cancelled")
    assert lab.python(page, "print([len(x._forward_hooks) for x in model.modules()], m.result.target)") == before


def test_an_error_appears_in_the_view_and_the_kernel_survives(notebook):
    lab, page = notebook
    here = cell(page, 0)
    here.get_by_label("Model", exact=True).select_option("quick")
    here.get_by_label("Target", exact=True).fill("excellent")
    here.get_by_role("button", name="Run", exact=True).click()
    expect(here.get_by_role("alert")).to_contain_text("The model has no label 'excellent'; its labels are negative, positive.")
    assert lab.python(page, "print(6 * 7)") == "42"
    here.get_by_label("Target", exact=True).fill("")
    here.get_by_role("button", name="Run", exact=True).click()
    expect(here.locator(".phase")).to_have_text("done")
    assert here.get_by_role("alert").count() == 0


def test_hostile_text_is_typed_and_explained(notebook):
    """All payloads that fit, in three runs; each is text to the tokenizer and to the page."""
    lab, page = notebook
    here = cell(page, 0)
    payloads = [t for t in TOKENS if t.strip() and len(t) < 90 and "\ud800" not in t]
    assert len(payloads) > 40
    for start in range(0, len(payloads), 12):
        typed = " ".join(payloads[start : start + 12])
        here.get_by_role("textbox", name="Text").fill(typed)
        before = runs(lab, page)
        here.get_by_role("textbox", name="Text").press("Enter")
        assert runs_after(lab, page, before) == before + 1
        expect(here.locator(".phase")).to_have_text(re.compile("done|failed"))
        assert here.get_by_role("textbox", name="Text").input_value() == re.sub("\r\n?", "\n", typed)
    assert page.evaluate("window.hit") is None


def test_a_pause_of_typing_runs(notebook):
    lab, page = notebook
    here = cell(page, 0)
    here.get_by_label("run at each pause of typing").check()
    before = runs(lab, page)
    here.get_by_role("textbox", name="Text").fill("not a good film")
    expect(here.locator(".found .strip .token .label")).to_have_text(["[CLS]", "not", "a", "good", "film", "[SEP]"])
    assert runs_after(lab, page, before) == before + 1
    here.get_by_label("run at each pause of typing").uncheck()


def test_the_result_can_be_stepped_through(notebook):
    _, page = notebook
    here = cell(page, 0)
    here.get_by_role("button", name="Step through it").click()
    track = here.get_by_role("slider", name="Step")
    track.focus()
    page.keyboard.press("End")
    expect(track).to_have_attribute("aria-valuetext", re.compile("the inputs"))


def test_the_bench_computes_what_the_sliders_say(notebook):
    _, page = notebook
    here = cell(page, 1)
    eps = here.get_by_role("slider", name="eps")
    eps.focus()
    page.keyboard.press("End")
    rows = here.get_by_role("table", name="what every input received").locator("tbody tr")
    wanted = workbench.compute(rules.epsilon, {"eps": 2.0})
    expect(here.get_by_text("+0.500 was kept: the inputs receive +0.500 of +1.000.")).to_be_visible()
    assert wanted["sums"]["kept"] == pytest.approx(0.5)
    assert numbers(rows.locator("td:nth-of-type(2)"))[:3] == pytest.approx([x["relevance"] for x in wanted["inputs"]], abs=5.1e-4)
    here.get_by_role("button", name="Start again").click()
    expect(eps).to_have_attribute("aria-valuenow", "0")


def test_core_widgets_are_linked_both_ways(notebook):
    lab, page = notebook
    here = cell(page, 2)
    method = here.get_by_label("Method", exact=True)
    here.get_by_label("by", exact=True).select_option("cp-lrp")
    expect(method).to_have_value("cp-lrp")
    method.select_option("attn-lrp")
    expect(here.get_by_label("by", exact=True)).to_have_value("attn-lrp")
    assert lab.python(page, "print(n.method, pick.value)") == "attn-lrp attn-lrp"


def test_a_core_slider_steps_through_a_view_without_python(notebook):
    _, page = notebook
    here = cell(page, 2)
    step = here.get_by_role("slider", name="Step")
    handle = here.locator(".widget-slider .noUi-handle")
    handle.focus()
    handle.press("ArrowRight")
    expect(step).to_have_attribute("aria-valuenow", "1")
    step.focus()
    page.keyboard.press("ArrowRight")
    expect(here.locator(".widget-readout")).to_have_text("2")


def test_live_views_pass_axe(notebook):
    _, page = notebook
    found = Axe().run(page, context=".pelrp").response["violations"]
    bad = [v for v in found if v["impact"] in ("serious", "critical")]
    assert not bad, [(v["id"], [node["html"][:160] for node in v["nodes"][:3]]) for v in bad]


def test_shortcuts_of_the_notebook_sleep_in_the_view(notebook):
    """`b` on a button would insert a cell otherwise."""
    _, page = notebook
    count = page.locator(".jp-Cell").count()
    for name in ("Run", "Cancel"):
        cell(page, 0).get_by_role("button", name=name, exact=True).focus()
        page.keyboard.press("b")
        page.keyboard.press("d")
    assert page.locator(".jp-Cell").count() == count


def test_a_kernel_that_dies_is_noticed(notebook):
    """While a run is under way: the view says so, and keeps what it has."""
    _, page = notebook
    here = cell(page, 0)
    here.get_by_label("Model", exact=True).select_option("slow")
    here.get_by_role("button", name="Run", exact=True).click()
    expect(here.locator(".phase")).to_have_text(re.compile("walking back: [1-4]"))
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute("
                  "{ code: 'import os, signal; os.kill(os.getpid(), signal.SIGKILL)' }); }")  # fmt: skip
    expect(here.locator(".notice")).to_contain_text("The kernel does not answer", timeout=30_000)
    assert here.locator("table.live tbody tr:not(.dim)").count() >= 1
