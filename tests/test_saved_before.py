"""Results that version 0.1 saved load, say the same numbers, balance and are drawn.

`saved/explanation-0.1.safetensors` was written by version 0.1.0 (commit ad9ac73) with

    model, tokenizer = pelrp_nb.zoo.load("reviews-rotary")
    found = pelrp_nb.explain(model, "a gorgeous , witty film", processor=tokenizer, options=pelrp_nb.Options(audit=True))
    found.save("explanation-0.1.safetensors")

and the numbers below are what it printed of `found`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import pelrp_nb
from pelrp_nb.results.explanation import Explanation

SAVED = Path(__file__).resolve().parent / "saved" / "explanation-0.1.safetensors"
TOKENS = ("[CLS]", "a", "gorgeous", ",", "witty", "film", "[SEP]")
SEMANTIC = [-0.018671369180083275, 0.016361290588974953, 0.12467983365058899, 0.017523247748613358, 0.15562492609024048,
            0.009131421335041523, 0.004871450364589691]  # fmt: skip
POSITIONAL = [-0.00012940340093337, 0.0022146583069115877, 0.004352179821580648, 0.003146794158965349, -0.0009535770514048636,
              0.0004372240509837866, 0.009110772982239723]  # fmt: skip
LINES = {"tokens": 0.309521, "positions": 0.018179, "softmax": 0.356576, "value": 0.684276}


@pytest.fixture(scope="module")
def old() -> Explanation:
    return pelrp_nb.Explanation.load(SAVED)


def test_a_result_of_version_0_1_has_its_numbers_and_its_ledger(old):
    assert old.tokens == TOKENS
    torch.testing.assert_close(old.semantic, torch.tensor(SEMANTIC), rtol=0, atol=0)
    torch.testing.assert_close(old.positional.sum(0), torch.tensor(POSITIONAL))
    ledger = old.ledger
    found = {"tokens": ledger.tokens, "positions": ledger.positions, "softmax": sum(ledger.softmax.values()), "value": ledger.value}
    assert found == pytest.approx(LINES, abs=1e-6)
    assert ledger.closed and ledger.audited


def test_a_result_of_version_0_1_is_drawn_and_read_in_every_way(old):
    page = old.to_html()
    assert all(word in page for word in ("gorgeous", "witty"))
    assert "gorgeous" in old.to_latex() and "gorgeous" in str(old)
    assert list(old.to_frame()["token"]) == list(TOKENS)
    assert old.figure("tokens") is not None


def test_a_result_of_today_says_its_format_and_an_old_one_is_saved_in_it_unchanged(old, tmp_path):
    path = tmp_path / "again.safetensors"
    old.save(path)
    versions = []
    for file in (SAVED, path):
        with safe_open(file, "pt") as opened:
            versions.append(json.loads(opened.metadata()["pelrp_nb"])["version"])
    assert all(isinstance(version, int) for version in versions) and versions[0] <= versions[1]
    again = pelrp_nb.Explanation.load(path)
    assert torch.equal(again.semantic, old.semantic) and again.ledger == old.ledger
