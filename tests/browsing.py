"""What all tests in a browser share: pages opened without network, that fail on any error, dialog or request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from pelrp_nb.amounts import ROUNDING
from pelrp_nb.environment import chromium

CHROMIUM = chromium()
expect.set_options(timeout=15_000)
MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install -y chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def watched(page: Page, allowed: str) -> Iterator[Page]:
    """A page that must stay quiet: no message, error, dialog or popup, and no request but for what starts as allowed."""
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (trouble.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: request.url.startswith(allowed) or trouble.append(f"request: {request.url[:200]}"))
    page.on("popup", lambda _: trouble.append("popup"))
    yield page
    assert page.evaluate("window.hit") is None, "a text was executed"
    assert trouble == []


@contextmanager
def opened(browser: Browser, shown: Any, folder: Path, width: int = 1280, through: bool = True, **options: Any) -> Iterator[Page]:
    """The page of an explanation or a sheet, or a page as text, from a file and without network.

    through: press what stands under the card of a result, so that all of it is there
    """
    path = folder / "page.html"
    if isinstance(shown, str):
        path.write_text(shown, encoding="utf-8")
    else:
        shown.to_html(path)
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
    context.set_default_timeout(10_000)
    with watched(context.new_page(), path.as_uri()) as page:
        page.goto(path.as_uri())
        if through:
            step_through(page)
        yield page
    context.close()


def step_through(place: Any) -> None:
    """Open all that stands behind a result's card; nothing where there is no card, or where it is open."""
    button = place.get_by_role("button", name="Step through", exact=True)
    if button.count():
        button.click()


def number(shown: str) -> float:
    """A number as the page prints it; one that is rounding, of which no digit is printed, counts as 0."""
    return 0.0 if shown == ROUNDING else float(shown.replace("\u2212", "-").replace("+", ""))


def numbers(place: Locator) -> list[float]:
    return [number(shown) for shown in place.all_text_contents()]


def stated(text: str) -> list[float]:
    """Every signed number in a sentence."""
    return [number(x) for x in re.findall(r"[+\u2212]\d+\.?\d*|\b0\.0+\b", text)]


def section(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def slider(page: Page) -> Locator:
    return page.get_by_role("slider", name="Step", exact=True)


def unfold(page: Page) -> None:
    """Open all that is folded; what stands inside is drawn then."""
    for _ in range(3):  # folds inside folds
        page.eval_on_selector_all("details", "all => all.forEach(fold => { fold.open = true; })")
        page.wait_for_timeout(50)
