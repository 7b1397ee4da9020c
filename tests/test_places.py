"""Every place it runs: devices, dispatched and offloaded, experts, quantised, wrapped; or a refusal with the reason."""

from __future__ import annotations

import pytest
import torch
from elsewhere import Elsewhere
from models import build, inputs, score

from pelrp_nb.composites import AUTHORS_VISION, CP_LRP, PA_LRP, PA_LRP_RES
from pelrp_nb.engine import positions
from pelrp_nb.engine.propagation import Options, propagate

# --- devices ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(monkeypatch):
    """A model and its input on a device that has neither float64 nor anything of the CPU's."""
    monkeypatch.setattr("pelrp_nb.engine.inspection.inspect", lambda model: None)
    monkeypatch.setattr(positions, "counts", lambda x: x.dtype == torch.int64 and x.dim() > 0 and x.shape[-1] > 1)

    def made(family: str, attention: str, dtype: torch.dtype):
        x = {k: v.to("meta") if isinstance(v, torch.Tensor) else v for k, v in inputs(family, dtype=dtype).items()}
        return build(family, attention, dtype).to("meta"), x

    return made


DETAIL = Options(detail={"heads", "query_key", "frequencies"})
RUNS = {"llama": (PA_LRP, DETAIL), "gpt2": (CP_LRP, DETAIL), "distilbert": (PA_LRP_RES, DETAIL), "vit": (AUTHORS_VISION, Options())}


@pytest.mark.parametrize(("family", "attention"), [(f, a) for f in RUNS for a in ("sdpa", "eager")])
def test_nothing_takes_the_cpu_or_float64_for_granted(elsewhere, family, attention):
    model, x = elsewhere(family, attention, torch.float32)
    for composite, options in ((PA_LRP, Options(audit=True)), RUNS[family]):
        with Elsewhere() as there, propagate(model, composite, options) as flow:
            found = flow.trace(score(model(**x)))
        assert there.calls > 500 and found.sinks
        results = [found.tokens, found.positional, *found.reductions.values(), *(b.relevance for b in found.boundaries)]
        assert all(r.device.type == "cpu" and r.dtype == torch.float32 for r in results)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_elsewhere(elsewhere, dtype):
    model, x = elsewhere("llama", "sdpa", dtype)
    with Elsewhere(), propagate(model, PA_LRP) as flow:
        assert flow.trace(score(model(**x))).tokens.dtype == torch.float32


def test_the_strict_device_would_notice():
    x = torch.ones(3, device="meta")
    with pytest.raises(AssertionError, match="mixes devices"), Elsewhere():
        x + torch.ones(3)
    with pytest.raises(AssertionError, match=r"makes torch\.float64"), Elsewhere():
        x.double()


def test_doctor_says_what_was_never_run(monkeypatch):
    from pelrp_nb import doctor

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**30, 2**32))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    from importlib import import_module

    assert "never run there" in import_module(doctor.__module__).device()
