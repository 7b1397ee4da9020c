"""What all tests share: the authors' numbers where they are at hand, one thread per worker, honest skips."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
CI = bool(os.environ.get("PELRP_CI"))

torch.set_num_threads(1)
settings.register_profile("here", deadline=None, derandomize=CI)
settings.load_profile("here")


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of the authors' numbers, beside the project; absent in a user's clone."""
    folder = ROOT.parent / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip("the authors' numbers (../shared/golden) are not here")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium that Playwright can drive."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("Chromium is not installed; install the package chromium")
    return found


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a browser or golden test that skips has failed: it proves nothing."""
    outcome = yield
    report = outcome.get_result()
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        for marker in ("browser", "golden"):
            if item.get_closest_marker(marker):
                report.outcome = "failed"
                report.longrepr = f"this {marker} test must run in CI, but it was skipped: {report.longrepr}"
