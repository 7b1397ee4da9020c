"""Results that travel: what a pickle of one holds, through which pools it goes, and how small it can be made."""

from __future__ import annotations

import copy
import io
import os
import pickle
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
import torch
from made import made
from shapes import drawn, together

from pelrp_nb import Explanation, Explanations, exchange, explain
from pelrp_nb.engine.trace import Boundary
from pelrp_nb.errors import InputError
from pelrp_nb.inputs.outputs import tensors_in
from models import build

POOL = """
import multiprocessing, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from made import made

def one(seed):
    return made(("a", "b"), layers=2, seed=seed)

if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.map(one, range(1000), chunksize=50)
    assert found[::100] == [one(seed) for seed in range(0, 1000, 100)]
    print(len(found))
"""


class NoTensors(ForkingPickler):
    """The pickler of a pool, to which no tensor may come: torch would open a file for it."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.dispatch_table = {**self.dispatch_table, torch.Tensor: self.refuse}

    def refuse(self, x: torch.Tensor) -> tuple:
        raise AssertionError(f"a tensor {tuple(x.shape)} was handed to torch")


def sent(value: object) -> object:
    """What arrives at the other end of a pool."""
    file = io.BytesIO()
    NoTensors(file).dump(value)
    return pickle.loads(file.getvalue())


def numbers(value: object) -> list[tuple]:
    """Every real tensor in a value, by where it is."""
    return [(path, x.dtype, x.tolist()) for path, x in tensors_in(value)]


def kinds() -> dict[str, object]:
    """One of each kind of result."""
    one = made(streams={"text": made(seed=1)}, detail={"heads": {"layer 0": torch.rand(2, 3), "none": torch.empty(0, 4)}})
    found = {"an explanation": one, "several": Explanations([one, made(seed=2)]), "a boundary": one.boundaries[0], "rows": one.layers}
    return found | {"an exchange": exchange(build("llama"), together(drawn((5,))), target=3)}


@pytest.mark.parametrize("name", ["an explanation", "several", "a boundary", "rows", "an exchange"])
def test_what_is_sent_to_another_process_holds_no_tensor_of_torch(name):
    value = kinds()[name]
    again = sent(value)
    assert type(again) is type(value) and str(again) == str(value) and numbers(again) == numbers(value)
    with pytest.raises(AssertionError, match="was handed to torch"):
        sent(torch.ones(2))


def test_what_arrives_is_equal_and_may_be_written_to():
    e = made(detail={"half": torch.rand(3).bfloat16(), "turns": torch.rand(2, 2, dtype=torch.complex64), "one": torch.tensor(2.5)})
    for again in (sent(e), pickle.loads(pickle.dumps(e, 0)), copy.copy(e), copy.deepcopy(e)):
        assert again == e and type(again) is Explanation and type(again.boundaries[0]) is Boundary
        again.semantic[0] += 1
        assert again != e


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the number of open files is limited where there is fork")
def test_a_thousand_results_come_through_a_pool_of_four_that_may_open_256_files(tmp_path):
    (tmp_path / "pool.py").write_text(POOL)
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    told = subprocess.run(
        [sys.executable, str(tmp_path / "pool.py")], capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": path}
    )
    assert told.stdout.split() == ["1000"], told.stderr[-2000:]


def test_a_pickle_holds_the_entries_and_less_than_two_kilobytes_beside_them():
    e = explain(build("llama"), together(drawn((9,))), target=3)
    entries = [e.semantic, e.positional, *e.reductions.values(), *[b.relevance for b in e.boundaries]]
    without = len(pickle.dumps(dict(e.card))) + len(pickle.dumps(e.ledger)) + len(pickle.dumps(e.tokens))
    assert len(pickle.dumps(e)) < sum(x.numel() * x.element_size() for x in entries) + without + 2048
    view = made(semantic=torch.zeros(1_000_000, dtype=torch.float64)[:10])
    assert len(pickle.dumps(view)) < 20_000  # the rest of the memory that a view lies in stays at home


@pytest.mark.parametrize("dtype", ["float16", torch.float16, torch.float32])
def test_numbers_are_narrower_on_request_and_sums_are_not(dtype, tmp_path):
    e = made(streams={"text": made(seed=1)}, detail={"heads": {"layer 0": torch.rand(2, 3)}, "count": torch.tensor([3])})
    small = e.to(dtype)
    wanted = getattr(torch, str(dtype).removeprefix("torch."))
    held = [small.semantic, small.positional, *small.reductions.values(), small.boundaries[0].relevance, small.streams["text"].semantic]
    assert {x.dtype for x in [*held, small.detail["heads"]["layer 0"]]} == {wanted} and small.detail["count"].dtype == torch.int64
    assert small.relevance().dtype == torch.float32 and small.ledger == e.ledger and small.value == e.value
    for name in e.offered:
        torch.testing.assert_close(small.relevance(name).double(), e.relevance(name), rtol=3e-3, atol=3e-3)
    assert small.boundaries[0].total == pytest.approx(e.boundaries[0].total, abs=5e-3)
    assert small.plain()["tokens"] == e.plain()["tokens"] and small.to_frame().shape == e.to_frame().shape
    for suffix in (".npz", ".safetensors"):
        small.save(tmp_path / f"e{suffix}")
        assert Explanation.load(tmp_path / f"e{suffix}") == small
    assert len(pickle.dumps(small)) < len(pickle.dumps(e)) and Explanations([e]).to(dtype) == [small]


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda e: e.to("int8"), r"dtype must be one of float16, float32, float64, got 'int8'. Type to\('float16'\)"),
        (lambda e: e.to(torch.bfloat16), "dtype must be one of"),
        (lambda e: made(semantic=torch.full((10,), 1e5)).to("float16"), r"up to 65504, and there is 100000. Type to\('float32'\)"),
    ],
)
def test_a_type_that_does_not_hold_the_numbers_is_refused(ask, says):
    with pytest.raises(InputError, match=says):
        ask(made())
