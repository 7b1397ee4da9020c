"""What all tests share: the authors' numbers where they are at hand, one thread unless OMP_NUM_THREADS says more, honest skips."""

from __future__ import annotations

import os
from pathlib import Path

import checked  # noqa: F401  before anything of the package is imported
import pytest
import torch
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
CI = bool(os.environ.get("PELRP_CI"))
NEEDS = {"golden": "golden", "chromium": "browser", "bubblewrap": "sandbox"}  # fixture -> the marker of its tests

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
settings.register_profile("here", deadline=None, derandomize=CI, print_blob=True)
settings.load_profile("here")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the project; absent in a user's clone."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the folder ../shared is not here")
    return folder


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    """The folder of the authors' numbers."""
    return shared / "golden"


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium that Playwright can drive."""
    from pelrp_nb import environment

    if (found := environment.chromium()) is None:
        pytest.skip("Chromium is not installed; install the package chromium")
    return found


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory):
    """One JupyterLab for all files of tests that a worker runs."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed: pip install jupyterlab")
    from lab import Server

    server = Server(tmp_path_factory.mktemp("lab"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def bubblewrap() -> None:
    """Submissions can be run in a sandbox here."""
    from pelrp_nb.labs.sandbox import SandboxError, refuse_unless_safe

    try:
        refuse_unless_safe()
    except SandboxError as error:
        pytest.skip(str(error))


def pytest_collection_modifyitems(items):
    """Whoever uses the fixture wears its marker."""
    for item in items:
        for fixture, marker in NEEDS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a browser or golden test that skips has failed: it proves nothing."""
    report = yield
    marked = [marker for marker in NEEDS.values() if item.get_closest_marker(marker)]
    if CI and report.skipped and marked and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"this {marked[0]} test must run in CI, but it was skipped: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """In CI a whole file that skips itself has failed too."""
    report = yield
    if CI and report.outcome == "skipped":
        report.outcome = "failed"
    return report
