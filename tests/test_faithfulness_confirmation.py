"""The confirmation of what positions are worth: fresh questions, true effects, numbers that follow from the files, runs that go on."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations

import pytest
import torch

from pelrp_nb import explain, permute_positions, zoo
from pelrp_nb.faithfulness import confirmation
from pelrp_nb.faithfulness.confirmation import Job, fresh, main
from pelrp_nb.faithfulness.confirmation_page import result
from pelrp_nb.faithfulness.confirmation_result import models_of
from pelrp_nb.faithfulness.confirmed import effects_of, exchanged, shuffles
from pelrp_nb.zoo.questions import KINDS, is_held_out


def looked_at(kind: str, count: int = 2) -> list:
    """Questions on which everything was tried: the fresh ones are for the confirmation."""
    return list(zoo.task(kind).examples[:count])


@pytest.fixture
def small(monkeypatch):
    """Two questions of two kinds that were looked at before, asked of one model."""
    monkeypatch.setattr(confirmation, "fresh", looked_at)
    monkeypatch.setattr(confirmation, "MODELS", ("tasks-learnable",))
    monkeypatch.setattr(confirmation, "REVIEWED", ())
    monkeypatch.setattr(confirmation, "models", lambda out, name: [(0, *zoo.load(name))])
    monkeypatch.setattr(confirmation, "KINDS", {kind: KINDS[kind] for kind in ("fetch", "majority")})


@pytest.mark.parametrize("kind", KINDS)
def test_fresh_questions_are_held_out_and_were_never_looked_at(kind):
    texts = [one.text for one in fresh(kind)]
    seen = {one.text for one in zoo.task(kind, count=200).examples}
    assert len(texts) == 40 and all(map(is_held_out, texts)) and not seen & set(texts)
    assert len({len(text.split()) for text in texts}) == 1


@pytest.mark.parametrize("name", ["tasks-rotary", "tasks-alibi"])
def test_effects_are_those_of_positions_really_permuted(name):
    model, tokenizer = zoo.load(name)
    ((batch, _),) = Job(name, 0, "fetch", model, tokenizer, looked_at("fetch", 2)).batches()
    batch = replace(batch, places=batch.places[:5])
    found = effects_of(batch, lambda done: None)
    t, n = 2, len(batch.places)
    changes = []
    for u in batch.places.tolist():
        if u != (place := int(batch.places[t])):
            with torch.no_grad(), permute_positions(model, exchanged(batch.ids.shape[1], place, u)):
                logits = model(input_ids=batch.ids, attention_mask=torch.ones_like(batch.ids)).logits
            changes.append(batch.values() - logits[range(2), batch.target].double())
    changes = torch.stack(changes)
    torch.testing.assert_close(found["swap"][:, t], changes.abs().sum(0) / (n - 1), atol=1e-4, rtol=0)
    torch.testing.assert_close(found["signed swap"][:, t], changes.sum(0) / (n - 1), atol=1e-4, rtol=0)


def test_what_is_explained_is_what_is_changed():
    model, tokenizer = zoo.load("tasks-rotary")
    ((batch, known),) = Job("tasks-rotary", 0, "order", model, tokenizer, looked_at("order", 2)).batches()
    found = [explain(model, row, processor=tokenizer).value for row in batch.rows]
    torch.testing.assert_close(torch.tensor(found).double(), batch.values(), atol=1e-5, rtol=1e-5)
    words = tokenizer.convert_ids_to_tokens(batch.ids[0][batch.places].tolist())
    inside = [word for word, yes in zip(words, known["truth"][0], strict=True) if yes]
    assert inside == [looked_at("order")[0].text.split()[i] for i in looked_at("order")[0].truth.tokens]


def test_shuffles_leave_special_tokens_where_they_are_and_are_the_same_for_all():
    orders = list(shuffles(8, range(1, 7)))
    assert orders == list(shuffles(8, range(1, 7))) and len({tuple(order) for order in orders}) == 16
    assert all(order[0] == 0 and order[7] == 7 and sorted(order) == list(range(8)) for order in orders)
    assert tuple(orders[0][1:7]) in set(permutations(range(1, 7)))


def test_a_run_goes_on_from_what_is_there_and_writes_its_result_at_the_end_of_the_page(small, tmp_path, monkeypatch):
    page = tmp_path / "positions.md"
    page.write_text("# What was to be measured\n")
    command = [str(tmp_path / "found"), "--out", str(page)]
    assert main(command) == 0
    first = page.read_text()
    assert first.startswith("# What was to be measured\n\n<!-- result") and "| `tasks-learnable` | 0 | 4 | none |" in first
    files = sorted((tmp_path / "found").iterdir())
    assert [file.name for file in files] == ["tasks-learnable-0-fetch.json", "tasks-learnable-0-majority.json"]
    files[0].unlink()
    before = files[1].stat().st_mtime_ns
    assert main(command) == 0 and page.read_text() == first and files[1].stat().st_mtime_ns == before
    other = json.loads(files[1].read_text())
    files[1].write_text(json.dumps({**other, "weights": "others"}))
    with pytest.raises(Exception, match="is of other weights"):
        main(command)


def question(kind: str, good: bool, share: float) -> dict:
    """One question on which exchange follows the effect, or runs against it."""
    effect = [0.1, 0.2, 0.3, 0.4]
    account = effect if good else effect[::-1]
    accounts = {key: [account] for key in ("exchange by size", "exchange", "delta attention")}
    accounts |= {key: [effect[::-1]] for key in ("PA-LRP", "uniform half", "random")}
    relevance = {key: [[9.0, 1.0, -1.0, 2.0]] for key in ("PA-LRP", "AttnLRP", "delta attention")}
    return {
        "effects": {**{key: [effect] for key in ("swap", "signed swap", "move")}, "shuffle": [share]},
        "accounts": accounts, "shares": {"exchange": [share], "PA-LRP": [1 - share], "delta attention": [share]},
        "relevance": relevance, "truth": [[0, 1, 1, 0]], "questions": 2,
    }  # fmt: skip


def files(seeds: int, good: bool) -> list[dict]:
    """Models of which every number is known."""
    kinds = ("recall", "fetch", "order", "previous", "first-half", "majority")
    return [
        {"name": "tasks-rotary", "seed": seed, "kind": kind, "parts": [question(kind, good, 0.9 - number / 10 - seed / 1000)]}
        for seed in range(seeds) for number, kind in enumerate(kinds)
    ]  # fmt: skip


def test_numbers_follow_from_the_files():
    (model,) = models_of(files(1, True))
    assert model.sample("swap", "exchange").value == pytest.approx(1) and model.sample("swap", "PA-LRP").value == pytest.approx(-1)
    assert model.difference("signed swap", "exchange", "PA-LRP").value == pytest.approx(2)
    assert model.sample("share ~ shuffle", "exchange").value == pytest.approx(1)
    assert model.sample("order against majority", "exchange").value == 1 and model.sample("order against majority", "PA-LRP").value == 0
    assert model.mass("AttnLRP", False, "order").value == pytest.approx(0.5)  # 2 of 4: the question's own name is not counted
    assert model.mass("AttnLRP", True, "order").value == pytest.approx(1 / 3)


@pytest.mark.parametrize(("good", "prediction", "said"), [(True, "met", "better"), (False, "refuted", "no difference is shown")])
def test_predictions_and_decisions_are_those_of_the_protocol(good, prediction, said):
    found = result(files(5, good))
    assert f"| swap | at least 0.65 | {'' if good else '-'}1.000" in found and found.count(f"| {prediction} |") == (4 if good else 2)
    line = next(line for line in found.splitlines() if line.startswith("| `tasks-rotary` | swap |"))
    assert line.endswith(f"| {said} |")
    assert "seed 0: 1 of 2 `recall`" in found
