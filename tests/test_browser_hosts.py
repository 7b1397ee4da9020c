"""Results in the hosts people use: an nbconvert page, and a real JupyterLab with a live kernel on loopback."""
# ruff: noqa: F811 (a fixture that is imported)

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from browsing import MARKS, browser, number, numbers, opened, section, slider, step_through  # noqa: F401
from hostile import TOKENS
from lab import NOTEBOOK, Lab, lab  # noqa: F401
from made import REVIEW, made
from pelrp_nb.views import html_card
from playwright.sync_api import FrameLocator, Page, expect
from test_views import ODD, everywhere

pytestmark = MARKS


def notebook(outputs: list, sources: tuple[str, ...] = ("result",)) -> nbformat.NotebookNode:
    cells = [nbformat.v4.new_code_cell(source, outputs=outputs) for source in sources]
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=spec)


def shown(e) -> list:
    data = {"text/plain": repr(e), "text/html": e._repr_html_()}
    return [nbformat.v4.new_output("execute_result", data, execution_count=1)]


# --- what a result gives a notebook ------------------------------------------------------------------------------------


def test_a_result_gives_one_line_of_text_and_one_of_html_each_time_the_same():
    from IPython.core.formatters import DisplayFormatter

    formatter = DisplayFormatter()
    formatter.active_types = ["text/plain", "text/html"]  # as in a notebook
    bundles = [formatter.format(made())[0] for _ in range(2)]
    assert bundles[0] == bundles[1] and set(bundles[0]) == {"text/plain", "text/html"}
    assert bundles[0]["text/plain"] == repr(made()) and "\n" not in bundles[0]["text/plain"]


def test_the_html_is_a_table_and_a_page_that_hides_it():
    html = made()._repr_html_()
    name = re.match(r"<style>\.(pelrp-[0-9a-f]{12})\{display:none\}</style><div class='\1'>", html)[1]
    assert html.count("<iframe") == 1 and html.endswith("</iframe>") and html_card.fallback(made().plain()) in html
    assert name not in made(seed=1)._repr_html_()


def test_a_page_too_large_for_a_cell_is_left_out_and_said():
    html = ODD["no token"]._repr_html_()
    assert "<iframe" in html
    large = made([f"t{i}" for i in range(5000)], layers=40)._repr_html_()
    assert "<iframe" not in large and "type .explore()" in large and len(large) < 500_000


# --- nbconvert ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def converted(browser, tmp_path):
    """Opens results as nbconvert shows them; our frame must ask for nothing."""
    from nbconvert import HTMLExporter

    context = browser.new_context(viewport={"width": 1100, "height": 900}, offline=True)
    asked: list[str] = []

    def show(*results) -> Page:
        book = notebook([])
        book.cells = [nbformat.v4.new_code_cell("result", outputs=shown(e), execution_count=1) for e in results]
        html, _ = HTMLExporter().from_notebook_node(book)
        path = tmp_path / "converted.html"
        path.write_text(html, encoding="utf-8")
        page = context.new_page()
        page.on("request", lambda request: request.frame != page.main_frame and asked.append(request.url))
        page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
        page.goto(path.as_uri(), wait_until="domcontentloaded")
        return page

    yield show
    context.close()
    assert asked == []


def framed(page: Page, at: int = 0) -> FrameLocator:
    return page.frame_locator(f"iframe[srcdoc] >> nth={at}")


def test_nbconvert_shows_the_page_in_its_own_height_and_hides_the_table(converted):
    e = made()
    page = converted(e)
    frame = framed(page)
    step_through(frame)
    tokens = frame.get_by_role("region", name="Tokens", exact=True)
    expect(tokens.locator(".token .label")).to_have_text(list(REVIEW))
    assert numbers(tokens.locator(".token small")) == pytest.approx(e.relevance().tolist(), abs=5.1e-3)
    assert not page.locator("td", has_text="gorgeous").first.is_visible()
    track = frame.get_by_role("slider", name="Step", exact=True)
    for _ in range(14):
        track.press("ArrowLeft")
    assert track.get_attribute("aria-valuenow") == "0"
    page.wait_for_timeout(200)
    inner = page.frames[1].evaluate("document.body.offsetHeight")
    assert abs(page.locator("iframe").bounding_box()["height"] - inner) <= 8


def test_two_results_in_one_notebook_are_two_pages(converted):
    page = converted(made(), made(seed=1))
    for at in (0, 1):
        step_through(framed(page, at))
        expect(framed(page, at).get_by_role("slider", name="Step", exact=True)).to_be_visible()
    framed(page, 0).get_by_role("slider", name="Step", exact=True).press("Home")
    assert framed(page, 1).get_by_role("slider", name="Step", exact=True).get_attribute("aria-valuenow") == "14"


def test_nbconvert_shows_hostile_texts_as_text(converted):
    page = converted(ODD["hostile"], *(everywhere(token) for token in TOKENS[:6]))
    expect(framed(page).locator(".running").first).to_contain_text("window.hit=1")
    step_through(framed(page))
    framed(page).get_by_label("whole words").uncheck()
    expect(framed(page).locator(".token").nth(len(TOKENS) - 1)).to_be_attached()
    page.wait_for_timeout(300)
    assert page.evaluate("window.hit") is None and [f.evaluate("window.hit") for f in page.frames[1:]] == [None] * 7


# --- JupyterLab --------------------------------------------------------------------------------------------------------

CELLS = (
    "from made import made\nfrom hostile import TOKENS\ne = made(); e",
    "import ipywidgets\nview = e.explore('stepper')\nslider = ipywidgets.IntSlider(max=14, description='step')\n"
    "tie = ipywidgets.jslink((slider, 'value'), (view, 'step'))\nother = ipywidgets.HBox([view, slider]); other",
    "view",
    "heard = []\nview.observe(lambda change: heard.append(change.new), 'step')",
    "rows = {s: {'query': e.positional[:2], 'key': e.positional[2:]} for s in e.sinks}\n"
    "detailed = made(detail={'heads': rows}); deep = detailed.explore('stepper', step=4, heads=True); deep",
    "made(TOKENS, card={'model': TOKENS[0], 'method': TOKENS[2]}).explore(step=14, words=False)",
    "detailed.explore(step=4, part='content')",
)


@pytest.fixture(scope="module")
def ran(lab: Lab) -> Iterator[Page]:
    """The notebook, all cells run, in a browser that reaches loopback only."""
    with lab.opened(CELLS, width=1400, height=9000, accept_downloads=True) as page:
        page.locator(".jp-CodeCell").last.locator(".pelrp").wait_for()
        yield page


def cell(page: Page, at: int):
    return page.locator(".jp-CodeCell").nth(at)


def track(place):
    return place.get_by_role("slider", name="Step", exact=True)


def test_lab_shows_the_page_of_a_result(ran):
    frame = cell(ran, 0).frame_locator("iframe[srcdoc]")
    step_through(frame)
    tokens = frame.get_by_role("region", name="Tokens", exact=True)
    expect(tokens.locator(".token .label")).to_have_text(list(REVIEW))
    assert numbers(tokens.locator(".token small")) == pytest.approx(made().relevance().tolist(), abs=5.1e-3)


def test_lab_shows_the_live_view_and_python_hears_its_steps(ran):
    view = cell(ran, 1)
    track(view).focus()
    for _ in range(14):
        ran.keyboard.press("ArrowLeft")
    assert track(view).get_attribute("aria-valuenow") == "0"
    assert numbers(view.locator(".token small")) == [0.0] * 10
    ran.keyboard.press("b")  # JupyterLab's shortcut for a new cell sleeps
    assert ran.locator(".jp-CodeCell").count() == len(CELLS)
    ran.keyboard.press("End")
    assert numbers(view.locator(".token small")) == pytest.approx(made().relevance().tolist(), abs=5.1e-3)


def test_lab_links_a_core_slider_to_the_step_in_the_browser(ran):
    view = cell(ran, 1)
    handle = view.locator(".noUi-handle")
    track(view).press("Home")
    expect(handle).to_have_attribute("aria-valuenow", "0.0")
    handle.press("ArrowRight")
    handle.press("ArrowRight")
    expect(track(view)).to_have_attribute("aria-valuenow", "2")


def test_lab_keeps_two_views_of_one_result_together(ran):
    track(cell(ran, 1)).press("Home")
    expect(track(cell(ran, 2))).to_have_attribute("aria-valuenow", "0")
    track(cell(ran, 2)).press("ArrowRight")
    expect(track(cell(ran, 1))).to_have_attribute("aria-valuenow", "1")


def test_lab_sends_heads_when_the_view_asks_for_them(ran):
    expect(cell(ran, 4).locator(".rownames div").first).to_have_text("head 0 query position")


def test_lab_shows_hostile_texts_as_text_and_runs_none(ran):
    assert cell(ran, 5).locator(".token").count() == len(TOKENS)
    assert ran.evaluate("window.hit") is None


def kept(place, page: Page) -> str:
    """What the view saves as a page."""
    with page.expect_download() as waiting:
        place.get_by_role("region", name="Save as a file").get_by_role("button", name="HTML").click()
    return Path(waiting.value.path()).read_text(encoding="utf-8")


def test_lab_keeps_a_live_view_as_a_page_in_the_state_shown(ran, browser, tmp_path):
    """Written in the browser; heads that nobody had asked for yet are in it."""
    view = cell(ran, 6)
    track(view).press("ArrowRight")
    with opened(browser, kept(view, ran), tmp_path) as page:
        assert slider(page).get_attribute("aria-valuenow") == "5"
        tokens = section(page, "Tokens")
        assert tokens.get_by_label("content", exact=True).is_checked()
        assert tokens.locator(".token small").all_text_contents() == section(view, "Tokens").locator(".token small").all_text_contents()
        assert page.title() == "positive, reviews-rotary"
        slider(page).press("h")
        expect(page.locator("section[aria-label=Heads] .rownames div").first).to_have_text("head 0 query position")
    with opened(browser, kept(view, ran), tmp_path, java_script_enabled=False) as page:
        assert page.locator("noscript td", has_text="gorgeous").bounding_box()["height"] > 10


def test_lab_keeps_hostile_texts_as_text(ran, browser, tmp_path):
    text = kept(cell(ran, 5), ran)
    assert len(text) < 1.1 * len(made(TOKENS).to_html())  # the parts it needs, and no others
    block = re.search(r'id="view-data">(.*?)</script', text, re.DOTALL)[1]
    assert not set(block) & set("<>&\u2028\u2029")
    with opened(browser, text, tmp_path) as page:
        assert section(page, "Tokens").locator(".token").count() == len(TOKENS)
    with opened(browser, text, tmp_path, java_script_enabled=False) as page:
        assert page.locator("noscript tr").count() == len(TOKENS) + 1 and page.locator("noscript :is(img, svg, a, b)").count() == 0


def test_lab_reopened_without_its_kernel_still_shows_and_keeps_the_views(ran, lab, browser, tmp_path):
    """The widgets' state is in the file; the new kernel does not know them, and is not asked."""
    with lab.reopened(ran, viewport={"width": 1400, "height": 9000}, accept_downloads=True) as page:
        frame = cell(page, 0).frame_locator("iframe[srcdoc]")
        step_through(frame)
        frame.get_by_role("slider", name="Step", exact=True).press("Home")
        assert number(frame.locator("table.book tr.value td").first.text_content()) == pytest.approx(made().value, abs=5.1e-4)
        view = cell(page, 6)
        track(view).press("Home")
        text = kept(view, page)
    with opened(browser, text, tmp_path) as page:
        assert slider(page).get_attribute("aria-valuenow") == "0"
