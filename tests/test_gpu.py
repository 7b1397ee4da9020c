"""What must hold on a GPU: skipped without one, and the command that asks all of it is run on the processor."""

from __future__ import annotations

import importlib
import json

import pytest
import torch

from pelrp_nb import __main__ as command_line
from pelrp_nb.bench import on_device
from pelrp_nb.composites import PA_LRP
from pelrp_nb.engine.options import Options
from pelrp_nb.engine.propagation import propagate

bench_gpu = importlib.import_module("pelrp_nb.bench.gpu")  # the package gives the command of that name
SMALL = ["bench", "gpu", "--device", "cpu", "--small", "--rounds", "1"]


@pytest.fixture(scope="session")
def gpu() -> str:
    """A CUDA device."""
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    return "cuda"


@pytest.mark.gpu
@pytest.mark.parametrize("name", on_device.CHECKS)
def test_it_holds_on_a_gpu(gpu, name):
    found = on_device.checked(name, gpu)
    assert found.holds is not False, found.told


@pytest.mark.gpu
@pytest.mark.parametrize("case", [0, 2, 4])
def test_the_authors_numbers_come_out_on_a_gpu(gpu, request, case):
    import numpy as np
    from transformers import LlamaForCausalLM

    golden = request.getfixturevalue("golden")
    numbers = np.load(golden / "cases" / f"stories260K_{case}.npz")
    model = LlamaForCausalLM.from_pretrained(golden / "models" / "stories260K", dtype=torch.float32).eval().to(gpu)
    with propagate(model, PA_LRP, Options(audit=True)) as flow:
        logits = model(input_ids=torch.tensor(numbers["input_ids"])[None].to(gpu), use_cache=False).logits
        found = flow.trace(logits[0, -1, int(numbers["target"])])
    want = torch.as_tensor(numbers["rel_embeds"])
    assert found.ledger.closed and float((found.tokens - want).abs().max() / want.abs().max()) < 2e-3


def test_the_command_checks_measures_and_counts(capsys):
    assert command_line.main([*SMALL, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["checks"]) == list(on_device.CHECKS) and all(check["holds"] for check in found["checks"].values())
    assert "torch" in found["machine"] and "transformers" in found["machine"]
    sizes = {(cost["tokens"], cost["arm"]) for cost in found["costs"] if cost["seconds"] > 0}
    assert sizes == {(tokens, arm) for tokens in (16, 32) for arm in bench_gpu.ARMS}
    assert len(found["texts per second"]) == 2 and all(speed > 0 for speed in found["texts per second"].values())


def test_a_check_that_fails_or_breaks_is_told_and_the_rest_runs(monkeypatch, capsys):
    def breaks(device: str) -> on_device.Outcome:
        raise ValueError("a kernel is missing")

    fails = on_device.Outcome(False, "moved by 1")
    checks = {"forward": lambda device: fails, "ledger": breaks, "widened": on_device.widened}
    monkeypatch.setattr(on_device, "CHECKS", checks)
    assert command_line.main([*SMALL, "--minutes", "0"]) == 1
    shown = capsys.readouterr().out
    assert "FAILED forward" in shown and "moved by 1" in shown and "ValueError: a kernel is missing" in shown
    assert "ok     widened" in shown and shown.endswith("failed: forward, ledger\n")


def test_what_has_not_begun_in_time_is_left_out(monkeypatch, capsys):
    monkeypatch.setattr(on_device, "CHECKS", {})
    assert command_line.main([*SMALL, "--minutes", "0"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("no time left") == 2 * len(bench_gpu.ARMS) and "texts a second" not in shown


def test_an_arm_without_room_is_left_out_and_the_others_go_on(monkeypatch, capsys):
    once, asked = bench_gpu.once, []

    def full(run, device):
        asked.append(run)
        if len(asked) == 3:
            raise torch.OutOfMemoryError("no room")
        return once(run, device)

    monkeypatch.setattr(on_device, "CHECKS", {})
    monkeypatch.setattr(bench_gpu, "once", full)
    assert command_line.main(SMALL) == 0
    assert capsys.readouterr().out.count("no room") == 1


def test_without_a_gpu_it_says_what_to_type(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command_line.main(["bench", "gpu"]) == 2
    assert "bench gpu --device cpu --small" in capsys.readouterr().err


def test_a_wait_on_the_way_back_is_counted(monkeypatch):
    from pelrp_nb.engine.account import Account

    add = Account.add

    def waiting(self, category, name, depth, amounts):
        float(amounts.sum())
        add(self, category, name, depth, amounts)

    assert on_device.waits("cpu").holds
    monkeypatch.setattr(Account, "add", waiting)
    found = on_device.waits("cpu")
    assert found.holds is False and "aten::_local_scalar_dense" in found.told
