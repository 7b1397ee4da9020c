"""The levels that `make processors` sets are levels: each rounds in a way of its own."""

from __future__ import annotations

import subprocess
import sys

import processors
import pytest

PRODUCTS = """
import hashlib, random, torch
draw = random.Random(0).gauss
a, b = (torch.tensor([[draw(0, 1) for _ in range(96)] for _ in range(96)]) for _ in range(2))
print(*(hashlib.sha256(x.numpy().tobytes()).hexdigest() for x in (a @ b, a.softmax(-1))))
"""


def test_the_oldest_level_rounds_products_and_kernels_otherwise():
    levels = processors.had()
    if len(levels) == 1:
        pytest.skip("this processor has one level")
    run = lambda level: subprocess.run(
        [sys.executable, "-c", PRODUCTS], env=processors.environment(level, 1), text=True, capture_output=True, check=True
    )
    oldest, newest = (run(level).stdout.split() for level in (levels[0], levels[-1]))
    assert len(oldest) == len(newest) == 2 and all(one != other for one, other in zip(oldest, newest, strict=True))


def test_what_compares_up_to_rounding_is_run_under_other_levels():
    names = {path.rsplit("test_", 1)[1] for path in processors.comparing()}
    assert {"targets.py", "batches.py", "positions.py", "golden.py"} <= names and "house.py" not in names


def test_a_level_is_run_by_its_name_alone(monkeypatch, capsys):
    ran = []
    monkeypatch.setattr(processors, "passed", lambda *run: ran.append(run) or True)
    oldest = processors.had()[0]
    assert processors.main([f"{oldest}/2"]) == 0 and [run[:2] for run in ran] == [(oldest, 2)]
    assert processors.main(["avx3"]) == 2 and len(ran) == 1
    assert "got avx3. Type some, or one of these." in capsys.readouterr().out
