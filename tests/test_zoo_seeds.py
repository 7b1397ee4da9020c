"""Task models from other seeds: killed at any moment they come to the same weights, and one that can do less says so."""

from __future__ import annotations

import json

import pytest
import torch

from pelrp_nb import zoo
from pelrp_nb.__main__ import main
from pelrp_nb.errors import ZooError
from pelrp_nb.zoo import seeds, task_models, train_seeds
from pelrp_nb.zoo.catalogue import Dose
from pelrp_nb.zoo.checkpoint import Checkpoint
from pelrp_nb.zoo.measure import accuracy
from pelrp_nb.zoo.train import run


class Killed(Exception):
    """Stands for a process that ends in the middle of a step."""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few questions measured."""
    monkeypatch.setattr(task_models, "MEASURED", 20)


def silent(step, total, loss):
    """Nobody is told."""


def kept(folder, name="tasks-none", seed=1):
    """A checkpoint written after every step."""
    return Checkpoint(folder / "kept.pt", f"{name} {seed}", 0.0)


def dose(folder=None, seed=1):
    return Dose(seed, steps=9, checkpoint=None if folder is None else kept(folder, seed=seed))


@pytest.mark.parametrize("name", ["tasks-none", "tasks-alibi"])
def test_a_killed_training_comes_to_the_same_weights(name, tmp_path):
    whole = run(name, dose(), tmp_path / "whole", silent)
    for last in (2, 3, 5):

        def until(step, total, loss, last=last):
            if step > last:
                raise Killed

        with pytest.raises(Killed):
            run(name, dose(tmp_path), tmp_path / "killed", until)
    went_on = []
    killed = run(name, dose(tmp_path), tmp_path / "killed", lambda step, *_: went_on.append(step))
    assert went_on == [7, 8, 9]
    assert killed["sha256"] == whole["sha256"] and killed["losses"] == whole["losses"]


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    run("tasks-none", dose(tmp_path), tmp_path / "out", silent)
    with pytest.raises(ZooError, match="must be a checkpoint of `tasks-none 2`, but is one of `tasks-none 1`"):
        run("tasks-none", dose(tmp_path, seed=2), tmp_path / "out", silent)


def test_a_damaged_checkpoint_is_told(tmp_path):
    (tmp_path / "kept.pt").write_bytes(b"half a file")
    with pytest.raises(ZooError, match="Delete it to train from the start"):
        run("tasks-none", dose(tmp_path), tmp_path / "out", silent)


def test_a_review_classifier_keeps_no_checkpoint(tmp_path):
    with pytest.raises(ZooError, match="keeps no checkpoint"):
        run("reviews-rotary", dose(tmp_path), tmp_path / "out", silent)


def test_seeds_are_trained_once_and_told_beside_the_package(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(train_seeds, "PLAN", (("tasks-none", 1), ("tasks-none", 2)))
    command = ["zoo", "seeds", "tasks-none", "--out", str(tmp_path), "--steps", "3"]
    assert main(command) == 1  # three steps teach nothing
    said = capsys.readouterr().out
    assert said.count("the package's own 100.0%: less in recall") == 2 and "seed 2" in said
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("card.json")}
    assert len(before) == 2 and not list(tmp_path.rglob("*.pt"))
    assert main(command) == 1 and said == capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("card.json")}
    assert [seed for seed, _, _ in seeds.models(tmp_path, "tasks-none")] == [0, 1, 2]
    assert main([*command[:-1], "4"]) == 2 and "Type another --out" in capsys.readouterr().err


def test_a_seed_as_good_as_the_package_s_own_is_no_complaint(capsys):
    own = dict(json.loads(json.dumps(dict(zoo.card("tasks-rotary")))), seed=3)
    assert train_seeds.told(own) == 0 and "less" not in capsys.readouterr().out
    worse = {**own, "accuracies": {**own["accuracies"], "order": 0.99}}
    assert train_seeds.told(worse) == 1 and "less in order 99.0% (package 100.0%)" in capsys.readouterr().out


def test_the_plan_has_five_seeds_of_two_models_and_three_of_the_others():
    counts = {name: 1 + sum(name == known for known, _ in seeds.PLAN) for name in (*seeds.CLAIMED, *seeds.OTHERS)}
    assert set(counts) == {f"tasks-{called}" for called in ("none", "absolute", "learnable", "rotary", "alibi", "relative")}
    assert {name for name, count in counts.items() if count == 5} == {"tasks-rotary", "tasks-learnable"}
    assert sorted(counts.values()) == [3, 3, 3, 3, 5, 5]


@pytest.mark.parametrize(
    ("command", "said"),
    [([], "zoo seeds --out DIR"), (["reviews-rotary", "--out", "x"], "not `reviews-rotary`: tasks-rotary, tasks-learnable")],
)
def test_what_cannot_be_trained_from_seeds_says_what_to_type(command, said, capsys):
    assert main(["zoo", "seeds", *command]) == 2
    assert said in capsys.readouterr().err


# --- those that travel with the package ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({name for name, _ in seeds.PLAN}))
def test_every_task_model_travels_with_its_seeds_whole_and_unlike_each_other(name):
    found = list(seeds.models(None, name))
    assert [seed for seed, _, _ in found] == [0, *sorted(seed for known, seed in seeds.PLAN if known == name)]
    for seed, model, _ in found[1:]:  # loading compared the sha256 of the card
        assert zoo.card(name, seed)["seed"] == seed and zoo.card(name, seed)["parameters"] == zoo.card(name)["parameters"]
        assert any(not torch.equal(a, b) for a, b in zip(model.parameters(), found[0][1].parameters(), strict=True))


def test_all_seeds_are_under_four_megabytes():
    files = [file for name, seed in seeds.PLAN for file in seeds.folder(seeds.PACKAGE, name, seed).iterdir()]
    assert len(files) == 5 * len(seeds.PLAN) and sum(file.stat().st_size for file in files) < 4_000_000


def test_what_a_card_of_another_seed_states_is_measured_again():
    model, tokenizer = zoo.load("tasks-relative", seed=2)
    stated = zoo.card("tasks-relative", 2)["accuracies"]
    for kind in ("fetch", "first-half"):
        examples = zoo.task(kind, count=300).examples
        assert accuracy(model, tokenizer, examples) == pytest.approx(
            stated[kind], abs=3 * (stated[kind] * (1 - stated[kind]) / 300) ** 0.5 + 1e-9
        )


@pytest.mark.parametrize(
    ("name", "said"), [("tasks-rotary", "seeds 0, 1, 2, 3, 4"), ("reviews-rotary", "no other seed"), ("no/where", "no other")]
)
def test_a_seed_that_is_not_there_says_which_are(name, said):
    with pytest.raises(ZooError, match=said):
        zoo.load(name, seed=9)
