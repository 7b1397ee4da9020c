"""Several processes and machines: torchrun's ranks and a cluster's workers share the shards of one folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pelrp_nb import Explanations, explain_to, zoo
from pelrp_nb.errors import FileError, InputError, MissingError
from pelrp_nb.results.folder import Folder
from pelrp_nb.streaming import on_ray

pytest.importorskip("pyarrow")
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [one.text for one in zoo.task("reviews").examples[:50]]


@pytest.fixture
def reviews(texts, tmp_path) -> Path:
    path = tmp_path / "reviews.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def load():
    return zoo.load("reviews-rotary")


def test_ranks_of_torchrun_share_a_folder_and_one_of_them_speaks(reviews, texts, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "pelrp_nb", "explain", "--shard=5"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    given = [*command, f"--input={reviews}", f"--output={tmp_path / 'out'}"]
    done = subprocess.run(given, capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("50 of 50 inputs explained") == 1
    found = Explanations.load(tmp_path / "out")
    assert found.complete and [e.text for e in found] == texts and not found.damaged


def test_a_worker_makes_the_shards_that_it_is_asked_for_in_any_order(reviews, texts, tmp_path):
    worker = on_ray.Worker(str(tmp_path / "out"), load, str(reviews), {"shard": 20, "keep": ("boundaries",)})
    for number in (1, 2, 0, 2):
        assert worker({"id": np.array([number])})["id"].tolist() == [number]
    folder = Folder(tmp_path / "out")
    assert [(entry.number, entry.first, entry.inputs) for entry in folder.entries()] == [(0, 0, 20), (1, 20, 20), (2, 40, 10)]
    model, tokenizer = load()
    found = explain_to(folder.path, model, reviews, processor=tokenizer, shard=20, keep="boundaries", progress=False)
    assert [e.text for e in found] == texts and found[3].boundaries and not found[3].reductions


def test_a_worker_refuses_the_folder_of_another_run(reviews, tmp_path):
    on_ray.Worker(str(tmp_path / "out"), load, str(reviews), {"shard": 20})
    with pytest.raises(FileError, match="shard was 20, is 30"):
        on_ray.Worker(str(tmp_path / "out"), load, str(reviews), {"shard": 30})


def test_without_ray_the_extra_is_named_and_iterators_are_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(MissingError, match=r'pip install "pelrp_nb\[ray\]"'):
        patch.setitem(sys.modules, "ray", None)
        on_ray.explain_on_ray(tmp_path / "out", load, ["fine"])
    monkeypatch.setattr(on_ray, "extra", lambda *names: Numbers({}))
    with pytest.raises(InputError, match="an iterator can be read only once"):
        on_ray.explain_on_ray(tmp_path / "out", load, iter(["fine"]))


class Numbers:
    """What `ray.data` does with the numbers of shards, in this process: two workers take turns, the last shards come first.

    It has no `range`, whose tasks would wait for ever on a cluster whose processors the workers have.
    """

    def __init__(self, given: dict) -> None:
        self.given = given

    def from_items(self, items: list[dict], *, override_num_blocks: int) -> Numbers:
        assert override_num_blocks == max(len(items), 1)
        self.numbers = [item["id"] for item in items]
        return self

    def ActorPoolStrategy(self, *, size: int) -> int:
        return size

    def map_batches(self, kind, *, fn_constructor_args: tuple, **given) -> Numbers:
        self.given |= given
        self.workers = [kind(*fn_constructor_args) for _ in range(given["compute"] if self.numbers else 0)]
        return self

    def iter_batches(self, *, batch_size: None):
        for number in reversed(self.numbers):
            yield self.workers[number % len(self.workers)]({"id": np.array([number])})


def test_a_cluster_makes_the_folder_of_one_process(reviews, texts, tmp_path, monkeypatch):
    given: dict = {}
    monkeypatch.setattr(on_ray, "extra", lambda *names: Numbers(given))
    found = on_ray.explain_on_ray(tmp_path / "out", load, reviews, workers=2, gpus=0.5, shard=20)
    assert given == {"batch_size": 1, "compute": 2, "num_gpus": 0.5, "num_cpus": 1}
    assert found.complete and [e.text for e in found] == texts and not found.damaged
    assert len(on_ray.explain_on_ray(tmp_path / "none", load, [])) == 0
