"""What a cell shows by itself in JupyterLab and in Notebook 7, wide and at 400 pixels: small, whole, and with its words in sight."""
# ruff: noqa: F811 (a fixture that is imported)

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from browsing import MARKS, browser  # noqa: F401
from lab import PLACES, Lab, Server
from playwright.sync_api import Browser, Locator, Page, expect
from test_browser_card import TALL
from test_views_card import TOLD

pytestmark = MARKS
STRONGEST = {"text": "enjoyable", "contrast": "enjoyable", "encoder and decoder": "[PAD]", "300 tokens": "word297"}
CELLS = (
    "from made import made\nfrom test_views_card import TOLD",
    *(f"TOLD[{name!r}][0]()" for name in TOLD),
    "made().sheet('stepper')",
)
SIDES = "window.jupyterapp.shell.collapseLeft?.(); window.jupyterapp.shell.collapseRight?.()"


@pytest.fixture(scope="module", params=PLACES)
def ran(request, browser: Browser, tmp_path_factory) -> Iterator[Page]:
    """A notebook of results, run; JupyterLab with its side panels closed, which leave no notebook at 400 pixels."""
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed: pip install {request.param}")
    own = None if request.param == "jupyterlab" else Server(tmp_path_factory.mktemp(request.param), request.param)
    lab = Lab(own or request.getfixturevalue("jupyter"), browser)
    try:
        with lab.opened(CELLS) as page:
            page.evaluate(SIDES)
            lab.finished(page)
            yield page
    finally:
        if own:
            own.stop()


def cell(page: Page, at: int) -> Locator:
    found = page.locator(".jp-CodeCell").nth(at)
    found.locator(".jp-OutputArea").first.scroll_into_view_if_needed()
    return found


def inside(part: dict, whole: dict) -> bool:
    """Whether one box lies in another, from top to bottom and from left to right."""
    return all(whole[x] <= part[x] and part[x] + part[size] <= whole[x] + whole[size] + 1 for x, size in (("x", "width"), ("y", "height")))


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", TOLD)
def test_a_result_is_whole_in_its_cell_and_its_strongest_word_is_in_sight(name, width, ran):
    ran.set_viewport_size({"width": width, "height": 1000})
    output = cell(ran, 1 + list(TOLD).index(name)).locator(".jp-OutputArea-output").first
    page = output.frame_locator("iframe[srcdoc]")
    word = page.get_by_text(STRONGEST[name], exact=True).first if name in STRONGEST else page.locator("canvas.pane").first
    expect(word).to_be_in_viewport(ratio=1)
    ran.wait_for_timeout(100)  # the frame takes the height of what it holds
    box = output.bounding_box()
    assert box["height"] <= TALL and inside(word.bounding_box(), box)
    assert inside(page.get_by_role("button", name="Step through").bounding_box(), box)


def test_what_is_taller_is_measured_as_taller(ran):
    """The steps by themselves."""
    ran.set_viewport_size({"width": 1280, "height": 1000})
    found = cell(ran, len(CELLS) - 1)
    expect(found.frame_locator("iframe[srcdoc]").get_by_role("slider", name="Step", exact=True)).to_be_visible()
    assert found.locator("iframe[srcdoc]").bounding_box()["height"] > TALL
