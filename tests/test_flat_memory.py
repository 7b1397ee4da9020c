"""Memory over many explanations, here over forty in a process of its own; over two thousand: `python tests/flat_memory.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LEAKING = """
import sys
import flat_memory, pelrp_nb, torch
explain, left = pelrp_nb.explain, []

def leaking(model, inputs):
    left.append(torch.ones(2**21))  # 8 MiB
    return explain(model, inputs)

pelrp_nb.explain = leaking
sys.exit(flat_memory.main(40))
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(HERE), str(HERE.parent)])
    return subprocess.run([sys.executable, *command], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)


def test_memory_is_flat_over_forty_explanations():
    done = run(str(HERE / "flat_memory.py"), "40")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["explanations"] == 40


def test_what_each_explanation_leaves_behind_is_noticed():
    done = run("-c", LEAKING)
    assert done.returncode == 1 and json.loads(done.stdout)["MiB more at most"] > 200
