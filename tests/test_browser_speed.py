"""Pages stay small, and are drawn, stepped and scrolled fast enough: what `bench views` measures."""

from __future__ import annotations

import importlib
import json

import pytest
from browsing import MARKS
from pelrp_nb.views.page import LARGEST

bench_views = importlib.import_module("pelrp_nb.bench.views")  # the package gives the command of that name
pytestmark = MARKS


@pytest.fixture(scope="module")
def found() -> dict[str, float]:
    return bench_views.measure(rounds=4)


@pytest.mark.parametrize("name", bench_views.GOALS)
def test_a_goal_is_met(name, found):
    assert bench_views.met(name, found[name]), f"{name}: {found[name]:.1f}, goal {bench_views.GOALS[name]}"


def test_the_command_prints_every_goal_and_says_whether_all_are_met(found, capsys, monkeypatch):
    monkeypatch.setattr(bench_views, "measure", lambda rounds: found | {"step at 512 tokens, ms": 99.0})
    assert bench_views.views([]) == 1
    shown = capsys.readouterr().out
    assert all(name in shown for name in bench_views.GOALS)
    assert bench_views.views(["--json"]) == 1
    assert json.loads(capsys.readouterr().out)["step at 512 tokens, ms"] == 99.0


def test_a_long_result_still_fits_into_a_cell():
    assert len(bench_views.sheet(1000, 32).html(framed=True)) < LARGEST
