"""Long texts are measured against their length: what is fitted, what is said, and that an arm runs."""

from __future__ import annotations

import importlib
import json

import pytest
import torch

from pelrp_nb.errors import InputError

LONG = importlib.import_module("pelrp_nb.bench.long")  # the name is that of the function
COUNTS = (1024, 2048, 4096, 8192)


def test_what_grows_with_the_square_of_the_length_is_found():
    assert LONG.fitted(COUNTS, [0.5 + 2.0 * T / 1000 + 0.3 * (T / 1000) ** 2 for T in COUNTS]) == pytest.approx(0.3)


@pytest.mark.parametrize(("gib", "said"), [(1, "within"), (7, "beyond")])
def test_a_report_says_whether_six_gigabytes_are_enough(gib, said, monkeypatch, capsys):
    takes = {"plain": 1.0, "explain": 1.5, "plan": 0.03}
    monkeypatch.setattr(LONG, "fresh", lambda arm, name, T: (takes[arm] * T, gib * 2**30 * T // 8192))
    LONG.long(["--only", "width-512"])
    told = capsys.readouterr().out
    assert f"{said} 6 GB at 8,192 tokens" in told and "8,192   8192.0s  12288.0s    1.50    0.02" in told


@pytest.mark.parametrize("arm", ["plain", "explain", "plan"])
def test_an_arm_prints_its_seconds_and_bytes(arm, capsys):
    threads = torch.get_num_threads()
    LONG.long(["--only", "stories260k", "--tokens", "64", "--arm", arm])
    torch.set_num_threads(threads)
    seconds, taken = json.loads(capsys.readouterr().out)
    assert 0 < seconds < 60 and taken >= 0


def test_a_shape_that_is_not_there_is_told():
    with pytest.raises(InputError, match=r"A shape must be one of stories260k, width-512; got wide\. Type --only width-512\."):
        LONG.long(["--only", "wide"])
