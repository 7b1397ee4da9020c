"""Memory over many explanations, here over forty; over two thousand: `python tests/flat_memory.py`."""

from __future__ import annotations

import json

import flat_memory
import torch

import pelrp_nb


def test_memory_is_flat_over_forty_explanations(capsys):
    assert flat_memory.main(40) == 0
    assert json.loads(capsys.readouterr().out)["explanations"] == 40


def test_what_each_explanation_leaves_behind_is_noticed(monkeypatch):
    explain, left = pelrp_nb.explain, []

    def leaking(model, inputs):
        left.append(torch.ones(2**21))  # 8 MiB, more than a process has lying about
        return explain(model, inputs)

    monkeypatch.setattr(pelrp_nb, "explain", leaking)
    assert flat_memory.main(40) == 1
