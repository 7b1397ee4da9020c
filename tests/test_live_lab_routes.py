"""Routes in a real JupyterLab with a live kernel: a chosen place and an opened head are walked through when they are asked to."""
# ruff: noqa: F811 (fixtures that are imported)

from __future__ import annotations

import pytest
from browsing import MARKS, browser, number  # noqa: F401
from lab import Lab, lab  # noqa: F401
from playwright.sync_api import expect

from pelrp_nb import Options, explain, zoo

pytestmark = MARKS
TEXT = "a gorgeous , witty film"
CELL = f"""
from pelrp_nb import live, zoo
model, tokenizer = zoo.load("reviews-rotary")
live.routes(model, "{TEXT}", processor=tokenizer).explore(row=2, token=3, head=2)
"""
PARTS = [("place", {"layer 1 attention": {"places": [3]}}), ("head", {"layer 0": {"heads": [2]}})]


def test_a_place_and_a_head_are_walked_through_by_the_kernel(lab: Lab):
    model, tokenizer = zoo.load("reviews-rotary")
    with lab.opened([CELL]) as page:
        for part, only in PARTS:
            wanted = explain(model, TEXT, processor=tokenizer, options=Options(only=only)).relevance().tolist()
            button = page.get_by_role("button", name=f"Exact: walk through this {part} alone")
            button.wait_for(timeout=120_000)
            panel = page.locator(".exact").filter(has=button)
            button.click()
            expect(panel.get_by_text(f"reach the words through this {part} alone")).to_be_visible(timeout=60_000)
            shown = [number(token.locator("small").text_content()) for token in panel.locator(".token").all()]
            assert shown == pytest.approx(wanted, abs=1e-4)
