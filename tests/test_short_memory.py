"""Where what the layers keep is not free they are run again by themselves; where not even that fits it is said before."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from models import build, inputs
from shapes import same_answer

from pelrp_nb import Options, explain, plan
from pelrp_nb.engine import memory
from pelrp_nb.errors import InputError

EACH = 100 * 2**20  # what a layer is made to take


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many layers' bytes free, on which every layer takes EACH and long texts are short."""

    def made(free: float) -> list[int]:
        asked: list[int] = []

        def taken(device: torch.device) -> int:
            asked.append(len(asked) * EACH)
            return asked[-1]

        monkeypatch.setattr(memory, "LITTLE", 0)
        monkeypatch.setattr(memory, "taken", taken)
        monkeypatch.setattr(memory, "free", lambda device: int(free * EACH))
        return asked

    return made


def runs(model) -> Counter[int]:
    """How often each layer of a Llama runs."""
    found: Counter[int] = Counter()
    for i, layer in enumerate(model.model.layers):
        whole = layer.forward
        layer.forward = lambda *args, i=i, whole=whole, **more: (found.update([i]), whole(*args, **more))[1]
    return found


@pytest.mark.parametrize(("free", "once"), [(10, (0, 1, 2)), (3.5, (0,))])
def test_layers_are_run_again_from_where_it_is_known_that_the_rest_does_not_fit(free, once, machine):
    model, x = build("llama", dtype=torch.float32), inputs("llama")
    whole = explain(model, x, options=Options(checkpoint=False))
    machine(free)
    count = runs(model)
    found = explain(model, x)
    assert {i for i, n in count.items() if n == 1} == set(once)
    said = [note for note in found.card["notes"] if "run again" in note]
    assert bool(said) == (len(once) < 3)
    if said:
        assert said == ["layers are run again on the way back: about 300.0 MiB would be kept otherwise, and 350.0 MiB are free"]
    same_answer(found, whole)
    assert torch.equal(found.semantic, whole.semantic) and found.ledger == whole.ledger


def test_a_machine_with_too_little_memory_is_told_before_it_is_full(machine):
    model, x = build("llama", dtype=torch.float32), inputs("llama")
    machine(1.5)
    with pytest.raises(InputError, match=r"needs 200.* MiB or more .* 150\.0 MiB are free on cpu\. Shorten the text"):
        explain(model, x)
    assert explain(model, x, options=Options(checkpoint=False)).ledger.closed


def test_whoever_says_never_is_not_asked(machine):
    model, x = build("llama", dtype=torch.float32), inputs("llama")
    asked = machine(1.5)
    count = runs(model)
    explain(model, x, options=Options(checkpoint=False))
    assert not asked and set(count.values()) == {1}
    explain(model, x, options=Options(checkpoint=True))
    assert not asked


def test_nobody_asks_for_a_short_text(monkeypatch):
    monkeypatch.setattr(memory, "taken", lambda device: pytest.fail("asked"))
    explain(build("llama", dtype=torch.float32), inputs("llama"))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_a_process_has_taken_grows_with_what_it_makes(device):
    before = memory.taken(torch.device(device))
    x = torch.ones(2**24, device=device)
    after = memory.taken(torch.device(device))
    if device == "meta" or before is None:
        assert before is after is None
    else:
        assert 0.9 * x.nbytes < after - before < 1.5 * x.nbytes


def test_a_plan_says_that_layers_will_be_run_again_and_expects_the_less(monkeypatch):
    model, x = build("llama", "eager", torch.float32), inputs("llama", T=24)
    whole = plan(model, x)
    monkeypatch.setenv(memory.LIMIT, str(whole.peak - 1))
    less = plan(model, x)
    assert any("run again" in note for note in less.notes) and less.peak < whole.peak
    assert less.bytes == plan(model, x, options=Options(checkpoint=True)).bytes
    assert plan(model, x, options=Options(checkpoint=False)).bytes == whole.bytes
    monkeypatch.setenv(memory.LIMIT, "1000")
    assert any("shorten the text" in note for note in plan(model, x).notes)


def test_checkpoint_is_one_of_three():
    with pytest.raises(InputError, match="checkpoint must be True or False, got 1"):
        Options(checkpoint=1)
    assert Options().checkpoint is None
