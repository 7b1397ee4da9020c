"""Everybody can read every view: names for all controls, no serious finding of axe, contrast in light and dark."""
# ruff: noqa: F811 (a fixture that is imported)

from __future__ import annotations

import os
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import MARKS, browser, opened, slider, unfold  # noqa: F401
from handed import handed
from made import made
from pelrp_nb import PA_LRP, views
from test_amounts import rounded
from test_browser_kinds import detailed, inspected, photo, three

pytestmark = MARKS
ARIA = Path(__file__).parent / "aria"
KINDS = {
    "explanation": lambda: detailed(card={"composite": repr(PA_LRP), "model": "reviews-rotary", "method": "pa-lrp"}),
    "compare": lambda: views.compare(three()),
    "image": lambda: views.image(photo()),
    "routes": lambda: handed(("the", "plot", "of", "film")).sheet(),
    "heads": lambda: handed(("the", "plot", "of", "film"), layers=2).sheet("heads"),
    "inspector": lambda: inspected(refusals=["no rule for aten::foo in layers.3"]),
}
kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(kind, scheme, browser, tmp_path):
    with opened(browser, KINDS[kind](), tmp_path, color_scheme=scheme) as page:
        if kind == "explanation":
            page.get_by_label("predict, then step").check()
            slider(page).press("PageDown")
            slider(page).press("PageDown")
            slider(page).press("h")
        unfold(page)
        found = Axe().run(page).response["violations"]
        serious = [
            (rule["id"], rule["nodes"][0]["html"][:160], rule["nodes"][0].get("failureSummary", "")[:200])
            for rule in found
            if rule["impact"] in ("serious", "critical")
        ]
        assert serious == []


@kinds
def test_the_tree_a_screen_reader_sees_is_the_committed_one(kind, browser, tmp_path):
    with opened(browser, KINDS[kind](), tmp_path) as page:
        seen = page.locator("#view").aria_snapshot()
    path = ARIA / f"{kind}.yml"
    if os.environ.get("PELRP_WRITE_ARIA"):
        path.write_text(seen + "\n", encoding="utf-8")
    assert seen + "\n" == path.read_text(encoding="utf-8"), "PELRP_WRITE_ARIA=1 writes it anew; look at the difference first"


def test_rounding_leaves_no_trace_in_the_page(browser, tmp_path):
    seen = []
    for noise in (3e-9, -2e-8):
        with opened(browser, rounded(noise), tmp_path) as page:
            unfold(page)
            slider(page).press("PageDown")
            seen.append(page.locator("#view").aria_snapshot())
    assert seen[0] == seen[1] and "only rounding is missing" in seen[0]


@kinds
def test_every_control_has_a_name_and_sleeps_jupyterlabs_shortcuts(kind, browser, tmp_path):
    with opened(browser, KINDS[kind](), tmp_path) as page:
        controls = "[...document.querySelectorAll('button, input, select, summary, [role=slider], [tabindex=\"0\"]')]"
        unnamed = page.evaluate(
            f"{controls}.filter(x => !(x.getAttribute('aria-label') || x.textContent.trim() || x.labels?.[0]?.textContent.trim()))"
            ".map(x => x.outerHTML.slice(0, 100))"
        )
        assert unnamed == []
        awake = f"{controls}.filter(x => !x.hasAttribute('data-lm-suppress-shortcuts')).map(x => x.outerHTML.slice(0, 100))"
        assert page.evaluate(awake) == []


def test_every_control_can_be_reached_by_tab(browser, tmp_path):
    with opened(browser, made(), tmp_path) as page:
        seen = set()
        for _ in range(60):
            page.keyboard.press("Tab")
            here = "(x => x.getAttribute('aria-label') || x.textContent.trim() || x.value || x.tagName)(document.activeElement)"
            seen.add(page.evaluate(here))
        assert {"Step", "one step back", "play", "Speed", "the whole flow", "HTML", "CSV", "as a table"} <= seen


def test_a_step_is_spoken_once(browser, tmp_path):
    with opened(browser, made(), tmp_path) as page:
        live = "[...document.querySelectorAll('[aria-live], [role=status]')].map(x => x.textContent)"
        before = page.evaluate(live)
        slider(page).press("ArrowLeft")
        after = page.evaluate(live)
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
