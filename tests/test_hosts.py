"""Hosts other than Jupyter's: marimo, and the theme that VS Code sets."""
# ruff: noqa: F811 (a fixture that is imported)

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import CHROMIUM, browser, opened  # noqa: F401
from lab import ROOT
from made import REVIEW, made
from playwright.sync_api import Browser, Page, expect


pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path: apt-get install -y chromium")


# --- marimo ----------------------------------------------------------------------------------------------------------

APP = """import marimo

app = marimo.App()


@app.cell
def _():
    from made import made

    view = made().explore("stepper", step=3)
    view
    return (view,)


@app.cell
def _():
    from made import made as again

    again()
    return


if __name__ == "__main__":
    app.run()
"""


@contextmanager
def marimo(folder: Path) -> Iterator[str]:
    """The address of an app that marimo runs on loopback."""
    (folder / "app.py").write_text(APP, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "HF_HUB_OFFLINE": "1", "HOME": str(folder)}
    command = [
        sys.executable,
        "-m",
        "marimo",
        "-q",
        "run",
        "app.py",
        "--headless",
        "--no-token",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.browser
@pytest.mark.skipif(find_spec("marimo") is None, reason="marimo is not installed: pip install marimo")
def test_marimo_shows_the_live_view_and_the_card(browser: Browser, tmp_path):
    with marimo(tmp_path) as url:
        page = browser.new_page(viewport={"width": 1280, "height": 1200})
        page.set_default_timeout(60_000)
        page.goto(url)
        slider = page.get_by_role("slider", name="Step", exact=True).first
        expect(slider).to_have_attribute("aria-valuenow", "3", timeout=60_000)
        slider.press("ArrowLeft")
        expect(slider).to_have_attribute("aria-valuenow", "2")
        assert page.locator(".token .label").first.text_content() in REVIEW
        shown = page.locator("iframe[srcdoc]")
        expect(shown.first).to_be_attached()
        page.close()


# --- VS Code ---------------------------------------------------------------------------------------------------------

GROUND = {"vscode-dark": "#1e1e1e", "vscode-light": "#ffffff", "vscode-high-contrast": "#000000"}
CODE = """([kind, ground]) => {
  document.documentElement.style.setProperty("--vscode-editor-background", ground);
  document.body.classList.add(kind);
}"""


def grounded(page: Page) -> tuple[str, str]:
    """The theme of the view, and the colour behind it."""
    root = page.locator(".pelrp").first
    return root.get_attribute("data-theme"), root.evaluate("x => getComputedStyle(x).backgroundColor")


@pytest.mark.browser
@pytest.mark.parametrize("kind", GROUND)
@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_theme_is_that_of_vs_code_whatever_the_system_says(kind, system, browser, tmp_path):
    ground = GROUND[kind]
    with opened(browser, made(), tmp_path, color_scheme=system) as page:
        page.evaluate(CODE, [kind, ground])
        rgb = ", ".join(str(int(ground[i : i + 2], 16)) for i in (1, 3, 5))
        expect(page.locator(".pelrp").first).to_have_attribute("data-theme", "light" if kind == "vscode-light" else "dark")
        assert grounded(page)[1] == f"rgb({rgb})"
        found = Axe().run(page).response["violations"]
        assert [rule["id"] for rule in found if rule["impact"] in ("serious", "critical")] == []
