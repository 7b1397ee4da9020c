"""A real JupyterLab on loopback with a live kernel, driven by Chromium; nothing outside may be reached."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from playwright.sync_api import TimeoutError as Timeout

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = {"notification": {"fetchNews": "false", "checkForUpdates": False}}
START = 60                                       # seconds that the server may take
RUN_ALL = "notebook:run-all-cells"
NOTEBOOK = "window.jupyterapp.shell.currentWidget"
KERNEL = f"{NOTEBOOK}.sessionContext.session?.kernel"
CELLS = f"[...{NOTEBOOK}.content.widgets].map(cell => cell.model)"
PATIENCE = 60_000                                # milliseconds that a kernel and its first widget may take


class Lab:
    """A running server; `opened(cells)` is a notebook with its cells run."""

    def __init__(self, folder: Path, browser: Browser) -> None:
        self.folder, self.browser = folder, browser
        self.trouble: list[str] = []
        settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        for name, values in SETTINGS.items():
            (settings / f"{name}.jupyterlab-settings").write_text(json.dumps(values))
        (folder / "notebooks").mkdir()
        env = {
            **os.environ, "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTER_PLATFORM_DIRS": "1",
            "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"), "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "JUPYTER_CONFIG_DIR": str(folder / "config"), "IPYTHONDIR": str(folder / "ipython"),
            "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        options = ["--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root", "--expose-app-in-browser"]
        options += ["--IdentityProvider.token=", f"--ServerApp.root_dir={folder / 'notebooks'}"]
        command = [sys.executable, "-m", "jupyterlab", *options]
        with (folder / "log").open("w") as log:
            self.server = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        self.url = self._wait()

    def _wait(self) -> str:
        """The address, once the server answers."""
        end = time.monotonic() + START
        while time.monotonic() < end:
            for info in (self.folder / "runtime").glob("jpserver-*.json"):
                url = json.loads(info.read_text())["url"]
                try:
                    with urllib.request.urlopen(f"{url}api/status", timeout=2):
                        return url
                except OSError:
                    pass
            time.sleep(0.2)
        raise RuntimeError(f"JupyterLab did not start within {START} s:\n{(self.folder / 'log').read_text()[-2000:]}")

    def python(self, page: Page, code: str) -> str:
        """What a line of Python prints in the notebook's kernel."""
        return page.evaluate(
            """async (code) => {
              const kernel = KERNEL;
              const asked = kernel.requestExecute({ code, store_history: false, silent: false });
              let said = "";
              asked.onIOPub = ({ header, content }) => {
                if (header.msg_type === "stream") said += content.text;
                if (header.msg_type === "error") said += `${content.ename}: ${content.evalue}`;
              };
              await asked.done;
              return said.trim();
            }""".replace("KERNEL", KERNEL),
            code,
        )

    def finished(self, page: Page, seconds: int = 240) -> None:
        """Wait until every cell has run; the first error, or where it stands when the time is over, is the failure's message."""
        wrong = f"{CELLS}.flatMap(cell => cell.toJSON().outputs).find(o => o.output_type === 'error')"
        try:
            page.wait_for_function(f"{wrong} || {CELLS}.every(cell => cell.executionCount !== null)", timeout=1000 * seconds)
        except Timeout:
            counts, status = page.evaluate(f"[{CELLS}.map(cell => cell.executionCount), {KERNEL}?.status]")
            raise AssertionError(f"after {seconds} s the kernel is {status}, cells ran as {counts}") from None
        error = page.evaluate(wrong)
        assert error is None, "\n".join((error["evalue"], *error["traceback"]))

    @contextmanager
    def opened(self, cells: Sequence[str], width: int = 1280, run: bool = True, **options) -> Iterator[Page]:
        """A notebook in the browser with its cells run; fails on any request that leaves this machine."""
        path = self.folder / "notebooks" / f"n{time.monotonic_ns()}.ipynb"
        code = [{"cell_type": "code", "id": f"c{i}", "metadata": {}, "execution_count": None, "outputs": [], "source": cell}
                for i, cell in enumerate(cells)]  # fmt: skip
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        path.write_text(json.dumps({"cells": code, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
        context = self.browser.new_context(viewport={"width": width, "height": 1000}, **options)
        context.set_default_timeout(PATIENCE)
        page, outside = context.new_page(), []
        page.on("request", lambda r: r.url.startswith((self.url, "data:", "blob:")) or outside.append(r.url[:200]))
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.goto(f"{self.url}lab/workspaces/{path.stem}/tree/{path.name}")        # its own, or earlier notebooks come back
        page.wait_for_function(f"window.jupyterapp?.shell.currentWidget?.context?.path === '{path.name}' && {NOTEBOOK}.context.isReady")
        page.wait_for_function(f"{KERNEL}?.status === 'idle' && window.jupyterapp.commands.isEnabled('{RUN_ALL}')")
        if run:
            page.evaluate(f"window.jupyterapp.commands.execute('{RUN_ALL}')")
        try:
            yield page
            assert page.evaluate("window.hit") is None, "a text was executed"
            assert outside == [] and self.trouble == []
        finally:
            page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
            context.close()

    def stop(self) -> None:
        """End the server and its kernels."""
        os.killpg(self.server.pid, signal.SIGTERM)
        try:
            self.server.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.server.pid, signal.SIGKILL)
            self.server.wait()


@pytest.fixture(scope="module")
def lab(tmp_path_factory, browser: Browser) -> Iterator[Lab]:
    """One JupyterLab for a file of tests; import `browser` from browsing beside it."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed: pip install jupyterlab")
    here = Lab(tmp_path_factory.mktemp("lab"), browser)
    yield here
    here.stop()
