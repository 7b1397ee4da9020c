"""What exchange misses: positions in any order, replayed or really taken; positions that enter little by little; runs that go on."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from pelrp_nb import exchange, zoo
from pelrp_nb.composites import CP_LRP, PA_LRP
from pelrp_nb.errors import FileError
from pelrp_nb.faithfulness import confirmation, limits, limits_page, paths
from pelrp_nb.faithfulness.confirmation import Job
from pelrp_nb.faithfulness.confirmed import Batch
from pelrp_nb.faithfulness.limits import Orders, main
from pelrp_nb.faithfulness.replayed import gradient_of, gradients, replayed, states
from pelrp_nb.zoo.questions import KINDS


def batch_of(name: str, kind: str = "fetch") -> Batch:
    """Two questions that were looked at before."""
    model, tokenizer = zoo.load(name)
    ((batch, _),) = Job(name, 0, kind, model.double(), tokenizer, list(zoo.task(kind).examples[:2])).batches()
    return batch


@pytest.mark.parametrize("name", ["tasks-rotary", "tasks-relative"])
def test_swaps_of_a_batch_are_worth_what_exchange_says_of_each_row(name):
    batch = batch_of(name)
    orders = Orders.of(batch)
    found = replayed(batch, orders.swapped).sum(1)
    for row, one in enumerate(batch.rows):
        matrix = exchange(batch.model, one, processor=batch.processor, target=int(batch.target[row]), partners=None).matrix
        t, u = batch.places[torch.tensor(orders.swaps)].T
        torch.testing.assert_close(found[row], matrix[t, u], atol=1e-8, rtol=0)


def test_the_wrong_sign_of_alibi_is_the_linearity_above_scores_and_no_fault_of_the_weights():
    """On the mystery of the labs exchange is what weights made anew are worth, and comes to the truth as layers are really run."""
    model, tokenizer = zoo.load("tasks-alibi")
    line, order = "order sun moon ? the moon of a sun in", [*range(12)]
    order[6], order[9] = 9, 6
    ids, found = tokenizer(line, return_tensors="pt")["input_ids"], {}
    for word in ("moon", "sun"):
        label = torch.tensor([model.config.label2id[word]])
        batch = Batch(model.double(), tokenizer, ids, label, torch.arange(1, 11))
        made, values = states(batch, [order])
        weights = replayed(batch, [order])
        steps = [float(weights.sum())]
        for depth, ((x, g), other) in enumerate(zip(gradients(batch, CP_LRP), made, strict=True)):
            steps += [float(((x[:, None] - other) * g[:, None]).sum() + weights[:, depth:].sum())] if depth else []
        found[word] = torch.tensor([*steps, float(batch.values() - values[0, 0])])
    by_weights, *deeper, truth = (found["moon"] - found["sun"]).tolist()
    worth = exchange(model, line, processor=tokenizer, target="moon", contrast="sun", partners=None).matrix[6, 9]
    assert by_weights == pytest.approx(float(worth), abs=1e-4) and by_weights < 0 < truth
    assert [by_weights, *deeper] == sorted([by_weights, *deeper]) and deeper[-1] == pytest.approx(truth, abs=1e-6)


def test_layers_in_their_own_order_are_what_gradients_stand_at():
    batch = batch_of("tasks-learnable")
    made, values = states(batch, [range(batch.ids.shape[1])])
    torch.testing.assert_close(values[:, 0], batch.values())
    for (x, g), other in zip(gradients(batch, CP_LRP), made, strict=True):
        torch.testing.assert_close(x, other[:, 0])
        assert g.shape == x.shape


@pytest.mark.parametrize("name", ["tasks-relative", "tasks-alibi"])
def test_biases_that_have_entered_whole_are_the_models_own(name):
    batch = batch_of(name)
    one = replace(batch, ids=batch.ids[:1], target=batch.target[:1])
    before = one.values()
    owner, called = paths._maker(batch.model)
    with paths._scaled(owner, called, one.ids.shape[1], 1.0) as leaf:
        torch.testing.assert_close(one.values(), before, atol=1e-5, rtol=0)
        assert gradient_of(one, leaf).abs().max() > 0
    with paths._scaled(owner, called, one.ids.shape[1], 0.0):
        assert (one.values() - before).abs() > 1e-3
    assert torch.equal(one.values(), before)


@pytest.mark.parametrize("name", ["tasks-learnable", "tasks-rotary", "tasks-relative"])
def test_positions_that_entered_little_by_little_leave_the_model_as_it_was(name):
    batch = batch_of(name)
    before = batch.values()
    still = list(range(batch.ids.shape[1]))
    found = paths.integrated(batch, [still, still[::-1]])
    torch.testing.assert_close(found[:, 0], torch.zeros(2, dtype=torch.float64))
    assert found[:, 1].abs().min() > 0 and torch.equal(batch.values(), before)


def test_vectors_integrated_come_to_what_they_change():
    """The gradient averaged from the mean position on, times the way, is the change of the value (Sundararajan et al. 2017)."""
    batch = batch_of("tasks-learnable")
    table = paths.table_of(batch.model)
    p = table.weight.data[: batch.ids.shape[1]].clone()
    mean, total = p[batch.places].mean(0), torch.zeros(2, dtype=torch.float64)
    points = [(i + 0.5) / 60 for i in range(60)]
    for a in points:
        with paths.rows_of(table, mean + a * (p - mean)):
            total += ((p - mean) * paths.at_tokens(batch, None)).sum((-1, -2)) / 60
    with paths.rows_of(table, mean.expand_as(p)):
        nowhere = batch.values()
    torch.testing.assert_close(total, batch.values() - nowhere, atol=0.02, rtol=0.01)


def test_exchange_of_added_vectors_is_the_linear_form():
    batch = batch_of("tasks-learnable")
    orders = Orders.of(batch)
    found = paths.linear(batch, orders.swapped, PA_LRP)
    one = exchange(batch.model, batch.rows[0], processor=batch.processor, target=int(batch.target[0]), partners=None)
    t, u = batch.places[torch.tensor(orders.swaps)].T
    torch.testing.assert_close(found[0], one.matrix[t, u], atol=1e-8, rtol=0)


def test_a_run_goes_on_from_what_is_there_and_writes_between_its_lines(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(confirmation, "fresh", lambda kind: list(zoo.task(kind).examples[:2]))
    monkeypatch.setattr(confirmation, "KINDS", {kind: KINDS[kind] for kind in ("fetch", "majority")})
    monkeypatch.setattr(limits, "MODELS", ("tasks-relative",))
    monkeypatch.setattr(limits, "SEEDS", 1)
    page = tmp_path / "page.md"
    page.write_text("no lines")
    command = [str(tmp_path / "found"), "--out", str(page)]
    with pytest.raises(FileError, match="must have the lines"):
        main(command)
    page.write_text(f"before\n{limits_page.BEGIN}\n{limits_page.END}\nafter\n")
    assert main(command) == 0
    first = page.read_text()
    assert first.startswith("before\n") and first.endswith("\nafter\n") and "| integrated, plain gradient |" in first
    truth = next(line for line in first.splitlines() if line.startswith(f"| {limits.TRUE} |"))
    assert truth.split(" | ")[1:3] == ["1.00 (1.00)", "1.00 (1.00)"]
    monkeypatch.setattr(limits, "measured", None)
    assert main(command) == 0 and page.read_text() == first
    kept = next((tmp_path / "found").iterdir())
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "weights": "others"}))
    with pytest.raises(FileError, match="of other weights"):
        main(command)
