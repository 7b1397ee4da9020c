"""A real JupyterLab or Notebook 7 on loopback with a live kernel, driven by Chromium; nothing outside may be reached."""

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
SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyter-widgets/jupyterlab-manager/plugin": {"saveState": True},
}
START = 60  # seconds that the server may take
RUN_ALL = "notebook:run-all-cells"
NOTEBOOK = "window.jupyterapp.shell.currentWidget"
KERNEL = f"{NOTEBOOK}.sessionContext.session?.kernel"
CELLS = f"[...{NOTEBOOK}.content.widgets].map(cell => cell.model)"
PATIENCE = 60_000  # milliseconds that a kernel and its first widget may take


OWN = "(reading 'schema')"  # an error of Notebook 7.6 itself, in its list of settings, with any notebook
PLACES = {"jupyterlab": "lab/workspaces/{0.stem}/tree/{0.name}", "notebook": "notebooks/{0.name}"}  # application -> where it opens a file


class Server:
    """JupyterLab, or Notebook 7, running."""

    def __init__(self, folder: Path, app: str = "jupyterlab") -> None:
        self.folder, self.app = folder, app
        for name, values in SETTINGS.items():
            path = folder / "settings" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(values))
        (folder / "notebooks").mkdir()
        env = {
            **os.environ, "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTER_PLATFORM_DIRS": "1",
            "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"), "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "JUPYTER_CONFIG_DIR": str(folder / "config"), "IPYTHONDIR": str(folder / "ipython"),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        options = ["--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root", "--expose-app-in-browser"]
        options += ["--IdentityProvider.token=", f"--ServerApp.root_dir={folder / 'notebooks'}"]
        command = [sys.executable, "-m", app, *options]
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
        raise RuntimeError(f"{self.app} did not start within {START} s:\n{(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        """End the server and its kernels."""
        os.killpg(self.server.pid, signal.SIGTERM)
        try:
            self.server.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.server.pid, signal.SIGKILL)
            self.server.wait()


class Lab:
    """The server in a browser; `opened(cells)` is a notebook with its cells run."""

    def __init__(self, server: Server, browser: Browser) -> None:
        self.folder, self.url, self.place, self.browser = server.folder, server.url, PLACES[server.app], browser
        self.trouble: list[str] = []

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
    def opened(self, cells: Sequence[str], width: int = 1280, height: int = 1000, run: bool = True, **options) -> Iterator[Page]:
        """A notebook in the browser with its cells run."""
        path = self.folder / "notebooks" / f"n{time.monotonic_ns()}.ipynb"
        code = [{"cell_type": "code", "id": f"c{i}", "metadata": {}, "execution_count": None, "outputs": [], "source": cell}
                for i, cell in enumerate(cells)]  # fmt: skip
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        path.write_text(json.dumps({"cells": code, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
        with self._notebook(path, viewport={"width": width, "height": height}, **options) as page:
            if run:
                page.evaluate(f"window.jupyterapp.commands.execute('{RUN_ALL}')")
            yield page

    @contextmanager
    def reopened(self, page: Page, **options) -> Iterator[Page]:
        """A copy of the notebook of a page, as it was saved: JupyterLab starts a kernel for it that knows nothing of its views."""
        name = page.evaluate(f"{NOTEBOOK}.context.save().then(() => {NOTEBOOK}.context.path)")
        copy = self.folder / "notebooks" / f"again-{name}"
        copy.write_bytes(copy.with_name(name).read_bytes())
        with self._notebook(copy, **options) as again:
            yield again

    @contextmanager
    def _notebook(self, path: Path, **options) -> Iterator[Page]:
        """A notebook whose kernel is ready, in a workspace of its own, or earlier ones come back; no request leaves this machine."""
        context = self.browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        page, outside = context.new_page(), []
        page.on("dialog", lambda dialog: (dialog.type == "beforeunload" or self.trouble.append(dialog.message), dialog.accept()))
        page.on("request", lambda r: r.url.startswith((self.url, "data:", "blob:")) or outside.append(r.url[:200]))
        page.on("pageerror", lambda error: OWN in str(error) or self.trouble.append(str(error)))
        page.goto(self.url + self.place.format(path))
        page.wait_for_function(f"window.jupyterapp?.shell.currentWidget?.context?.path === '{path.name}' && {NOTEBOOK}.context.isReady")
        page.wait_for_function(f"{KERNEL}?.status === 'idle' && window.jupyterapp.commands.isEnabled('{RUN_ALL}')")
        try:
            yield page
            assert page.evaluate("window.hit") is None, "a text was executed"
            assert outside == [] and self.trouble == []
        finally:
            page.evaluate(f"{NOTEBOOK}.sessionContext.shutdown()")
            context.close()


@pytest.fixture(scope="module")
def lab(jupyter: Server, browser: Browser) -> Lab:
    """The one JupyterLab in the browser of a file of tests; import `browser` from browsing beside it."""
    return Lab(jupyter, browser)
