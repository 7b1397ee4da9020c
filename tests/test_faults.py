"""A fault at every call of a forward pass and of the walk back; here at a few of them, all by `python tests/faults.py`."""

from __future__ import annotations

import pytest
from faults import DOORS, MODELS, Fault, calls_of, functions, sweep, tried
from interrupts import by_hand, model_of


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("door", DOORS)
def test_a_fault_at_any_call_comes_out_and_leaves_nothing_behind(name, door):
    turn = MODELS.index(name) + 3 * (door == "explain")  # other calls, and other exceptions, in each of the six
    found = list(sweep(name, door, every=150, first=13 * turn, turn=turn))
    assert len(found) >= 2
    assert not [told for told in found if told[2]]


def test_calls_are_those_of_torch_of_hooks_and_of_our_own_functions():
    model, x, _ = model_of("llama")
    calls = calls_of(lambda: by_hand(model, x))
    assert {"forward", "hook"} <= set(calls) and len(set(calls)) > 2 and len(list(functions())) > 3


def test_what_a_fault_leaves_behind_is_noticed(monkeypatch):
    model, x, _ = model_of("llama")
    run = lambda: by_hand(model, x)
    right = run()
    monkeypatch.setattr("pelrp_nb.engine.module_hooks.Entry.close", lambda self: None)
    assert "left behind" in str(tried(model, run, Fault(40), right))
